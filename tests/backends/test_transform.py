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


def test_each_domain_is_centred_by_itself():
  rows = draw(40, 3) + np.repeat([[0.0], [9.0]], [30, 10], axis=0)
  rows = np.append(rows, np.full((1, 3), 1e3), axis=0).astype(np.float32)
  is_target = np.arange(41) >= 30
  valid = np.arange(41) < 40
  for change, std in (
    (transform.domain_mean(), [1.0, 1.0]),
    (transform.domain_zscore(), [rows[:30].std(0), rows[30:40].std(0)]),
  ):
    state = jax.jit(change.fit)(rows, is_target, valid)
    moved = jax.vmap(change.apply, (None, 0))(state, rows[:40])
    for part, scale in ((slice(30), std[0]), (slice(30, 40), std[1])):
      want = (rows[part] - rows[part].mean(0)) / scale
      np.testing.assert_allclose(moved[part], want, rtol=1e-3, atol=1e-4)
    # Without target clips every clip is of the source.
    alone = change.fit(rows[:30], np.zeros(30, bool), None)
    far = change.apply(alone, jnp.full(3, 9.0))
    want = (9.0 - rows[:30].mean(0)) / std[0]
    np.testing.assert_allclose(far, want, rtol=1e-3)


def test_unit_leaves_directions_only():
  change = transform.unit()
  emb = jnp.asarray(draw(4, 3))
  found = change.apply({}, emb)
  np.testing.assert_allclose(jnp.sum(found**2), 1.0, rtol=1e-6)
  np.testing.assert_allclose(found, emb / jnp.linalg.norm(emb), rtol=1e-6)
