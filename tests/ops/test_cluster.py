"""Farthest points and k-means."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.cluster
import sklearn.metrics

from asd_jax.ops import cluster


@pytest.fixture
def rng():
  return np.random.default_rng(0)


def test_farthest_points_are_chosen_in_turn():
  keys = jnp.array([[0.0], [10.0], [4.0], [5.0], [10.0]])
  np.testing.assert_array_equal(cluster.k_centre(keys, 3), [3, 0, 1])
  # The copy of a chosen row comes after every row that is not one.
  np.testing.assert_array_equal(cluster.k_centre(keys, 9), [3, 0, 1, 2, 4])


def test_rows_that_may_not_be_chosen_are_passed_over(rng):
  keys = jnp.asarray(rng.normal(size=(30, 4)), jnp.float32)
  usable = np.arange(30) % 3 > 0
  rows = np.flatnonzero(usable)
  got = cluster.k_centre(
    jnp.where(usable[:, None], keys, 1e3), 12, usable=jnp.asarray(usable)
  )
  want = rows[np.asarray(cluster.k_centre(keys[rows], 12))]
  np.testing.assert_array_equal(got, want)


def blobs(rng, num, spread=0.1):
  centre = rng.normal(size=(num, 6)) * 5.0
  label = rng.integers(0, num, 300)
  noise = rng.normal(size=(300, 6)) * spread
  return jnp.asarray(centre[label] + noise, jnp.float32), label


def test_k_means_finds_groups_that_are_apart(rng, key):
  x, label = blobs(rng, 5)
  starts = jax.random.split(key, 8)
  many = jax.jit(jax.vmap(lambda key: cluster.k_means(key, x, 5)))(starts)
  got = jax.tree.map(lambda a: a[jnp.argmin(many.inertia)], many)
  assert sklearn.metrics.adjusted_rand_score(label, got.label) > 0.99
  for i in range(5):
    mean = np.asarray(x)[np.asarray(got.label) == i].mean(0)
    np.testing.assert_allclose(got.centre[i], mean, atol=1e-4)


def test_k_means_is_as_good_as_scikit_learn(rng):
  x, _ = blobs(rng, 7, spread=3.0)
  ref = sklearn.cluster.KMeans(7, n_init=10, random_state=0).fit(x)
  many = jax.jit(jax.vmap(lambda key: cluster.k_means(key, x, 7)))(
    jax.random.split(jax.random.key(0), 10)
  )
  assert many.label.shape == (10, 300)
  assert float(many.inertia.min()) < 1.03 * ref.inertia_
  gap = np.square(np.asarray(x) - many.centre[0][many.label[0]]).sum()
  np.testing.assert_allclose(many.inertia[0], gap, rtol=1e-4)


def test_k_means_has_no_empty_group(rng, key):
  x = jnp.asarray(rng.normal(size=(12, 3)), jnp.float32)
  got = cluster.k_means(key, x, 12)
  assert sorted(got.label.tolist()) == list(range(12))
  np.testing.assert_allclose(got.inertia, 0.0, atol=1e-5)


def test_more_groups_than_different_rows_do_no_harm(key):
  x = jnp.repeat(jnp.array([[0.0, 1.0], [4.0, 4.0]]), 5, axis=0)
  got = cluster.k_means(key, x, 4)
  assert np.isfinite(got.centre).all()
  np.testing.assert_allclose(got.inertia, 0.0, atol=1e-6)
  assert len(set(got.label.tolist())) == 2


def test_the_start_spreads_over_the_rows(key):
  x = jnp.array([[0.0], [0.0], [0.0], [9.0], [50.0]])
  for each in jax.random.split(key, 5):
    start = cluster.spread_centres(each, x, 3)
    assert sorted(start[:, 0].tolist()) == [0.0, 9.0, 50.0]


def test_one_group_is_the_mean(rng, key):
  x = jnp.asarray(rng.normal(size=(20, 3)), jnp.float32)
  got = cluster.k_means(key, x, 1)
  np.testing.assert_allclose(got.centre[0], x.mean(0), atol=1e-5)
  assert not got.label.any()
  with pytest.raises(ValueError, match="num and num_starts must be at least 1"):
    cluster.k_means(key, x, 0)
