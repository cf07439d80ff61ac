import numpy as np
import pytest

from asd_jax import errors
from asd_jax.training import job


@pytest.mark.parametrize("batch_size", [1, 4, 7, 10])
def test_each_pass_has_every_row_once(batch_size):
  order = job.Order(10, batch_size=batch_size, num_epochs=3, seed=5)
  rows = np.concatenate([order.at(i) for i in range(order.num_steps)])
  assert len(rows) == 30 // batch_size * batch_size
  for one in range(len(rows) // 10):
    passed = rows[10 * one : 10 * one + 10]
    np.testing.assert_array_equal(np.sort(passed), np.arange(10))
  assert {len(order.at(i)) for i in range(order.num_steps)} == {batch_size}


def test_an_order_is_decided_by_seed_and_step():
  order = lambda seed: job.Order(50, batch_size=8, num_epochs=2, seed=seed)
  np.testing.assert_array_equal(order(1).at(9), order(1).at(9))
  assert not np.array_equal(order(1).at(9), order(2).at(9))


def test_a_batch_larger_than_the_set_is_refused():
  with pytest.raises(
    errors.InputError, match=r"found 11, expected at most.*10"
  ):
    job.Order(10, batch_size=11, num_epochs=1, seed=0)
