import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from asd_jax.ops import shift


def draw(*shape, seed=0):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize(("num", "other"), [(40, 10), (7, 30), (1, 1)])
def test_distance_equals_scipy(num, other):
  source, target = draw(num), draw(other, seed=1) + 0.3
  source[: num // 2] = np.round(source[: num // 2])  # with ties
  want = stats.wasserstein_distance(source, target)
  assert float(shift.wasserstein(source, target)) == pytest.approx(want, 1e-4)


def test_a_shifted_sample_is_as_far_as_its_shift():
  source = draw(1000, 3)
  found = shift.domain_shift(source, source + 2.0)
  np.testing.assert_allclose(found, 2.0 / source.std(0), rtol=1e-4)
  np.testing.assert_allclose(shift.domain_shift(source, source), 0.0, atol=1e-6)


def test_features_in_one_call_equal_features_one_by_one():
  source, target = draw(50, 4), draw(8, 4, seed=1)
  source[:, 2] = 1.0  # constant
  target[:, 2] = 1.0
  found = np.asarray(jax.jit(shift.domain_shift)(source, target))
  for j in range(4):
    each = shift.domain_shift(source[:, j : j + 1], target[:, j : j + 1])
    np.testing.assert_allclose(found[j], each[0], rtol=1e-5)
  assert found[2] == 0.0


def test_equal_distances_drop_the_first_ones():
  distance = jnp.array([0.5, 0.2, 0.5, 0.9, 0.5])
  keep, limit = shift.drop_largest(distance, 2)
  assert keep.tolist() == [False, True, True, False, True]
  assert float(limit) == 0.5
  keep, limit = shift.drop_largest(distance, 4)
  assert keep.tolist() == [False, True, False, False, False]
  assert float(limit) == pytest.approx(0.35)


@pytest.mark.parametrize(("num", "limit"), [(0, np.inf), (3, -np.inf)])
def test_all_or_nothing(num, limit):
  keep, found = shift.drop_largest(jnp.array([1.0, 2.0, 3.0]), num)
  assert keep.tolist() == [num == 0] * 3
  assert float(found) == limit


def test_the_limit_itself_is_kept():
  keep = shift.drop_above(jnp.array([0.5, 0.25, 0.75]), 0.5)
  assert keep.tolist() == [True, True, False]
