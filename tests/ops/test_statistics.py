import functools

import jax.numpy as jnp
import numpy as np
import pytest

from asd_jax.ops import statistics


@pytest.fixture
def rows():
  rng = np.random.default_rng(0)
  return (rng.normal(size=(101, 5)) * 3 - 40).astype(np.float32)


@pytest.mark.parametrize("kind", ["moments", "diagonal_moments"])
def test_pieces_merge_to_the_whole_in_any_order(rows, kind):
  of = getattr(statistics, kind)
  pieces = [of(jnp.asarray(p)) for p in np.split(rows, [1, 40, 43])]
  width = rows.shape[1]
  none = statistics.no_moments(pieces[0].scatter.shape)
  for order in ((0, 1, 2, 3), (3, 1, 0, 2)):
    total = functools.reduce(statistics.merge, [pieces[i] for i in order], none)
    cov = np.cov(rows.astype(np.float64).T)
    want = cov if kind == "moments" else np.diag(cov)
    assert int(total.num) == len(rows)
    np.testing.assert_allclose(total.mean, rows.mean(0), rtol=1e-5)
    got = statistics.covariance(total)
    np.testing.assert_allclose(got, want, atol=1e-4)
  assert total.mean.shape == (width,)


def test_moments_of_nothing_change_nothing(rows):
  some = statistics.moments(jnp.asarray(rows))
  none = statistics.no_moments((5, 5))
  for merged in (statistics.merge(none, some), statistics.merge(some, none)):
    np.testing.assert_allclose(merged.scatter, some.scatter, rtol=1e-6)
    np.testing.assert_allclose(merged.mean, some.mean, rtol=1e-6)


def test_one_row_has_no_spread(rows):
  one = statistics.moments(jnp.asarray(rows[:1]))
  assert not np.any(statistics.covariance(one))
