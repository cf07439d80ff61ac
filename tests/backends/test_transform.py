"""Whitening with dimensions that are constant on the training clips."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asd_jax.backends import transform


def draw(*shape, seed=0):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def rows_with_a_constant(level):
  rows = draw(200, 5) @ draw(5, 5, seed=1)
  return np.insert(rows, 2, level, axis=1).astype(np.float32)


@pytest.mark.parametrize("level", [0.0, -7.0, 1234.5])
@pytest.mark.parametrize("covariance", ["empirical", "ledoit_wolf"])
def test_a_dropped_dimension_changes_no_distance(level, covariance):
  rows = rows_with_a_constant(level)
  settings = dict(covariance=covariance, ridge=1e-5)
  if covariance == "ledoit_wolf":
    settings["ridge"] = 0.0
  change = transform.zca(**settings, drop_constant=True)
  state = jax.jit(change.fit)(rows, jnp.zeros(200, bool), None)
  query = rows[7].copy()
  query[2] += 3.0  # as never in training
  np.testing.assert_allclose(
    change.apply(state, query), change.apply(state, rows[7]), atol=1e-5
  )
  if covariance == "empirical":
    rest = np.delete(rows, 2, axis=1)
    plain = transform.zca(**settings)
    want = plain.fit(rest, jnp.zeros(200, bool), None)
    found = np.delete(np.delete(state["matrix"], 2, 0), 2, 1)
    np.testing.assert_allclose(found, want["matrix"], rtol=1e-3, atol=1e-4)


def test_without_constants_dropping_them_changes_nothing():
  rows = draw(100, 4)
  none = jnp.zeros(100, bool)
  one = transform.zca().fit(rows, none, None)
  other = transform.zca(drop_constant=True).fit(rows, none, None)
  jax.tree.map(np.testing.assert_array_equal, one, other)


def test_rows_that_are_all_equal_become_zero():
  rows = np.full((10, 3), 2.5, np.float32)
  change = transform.zca(drop_constant=True)
  state = change.fit(rows, jnp.zeros(10, bool), None)
  found = change.apply(state, jnp.array([1.0, 2.0, 3.0]))
  np.testing.assert_array_equal(found, 0.0)


@pytest.mark.parametrize(
  ("num", "same_as"), [(7, "empirical"), (6, "ledoit_wolf"), (4, "ledoit_wolf")]
)
def test_the_covariance_follows_the_number_of_rows(num, same_as):
  rows, is_target = draw(num, 6), jnp.zeros(num, bool)
  found = transform.zca(covariance="by_rank").fit(rows, is_target, None)
  want = transform.zca(covariance=same_as).fit(rows, is_target, None)
  np.testing.assert_array_equal(found["matrix"], want["matrix"])
