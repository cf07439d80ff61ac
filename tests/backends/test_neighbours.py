"""Nearest neighbours and densities against scikit-learn, and edge cases."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.neighbors

from asd_jax.backends import base, density, knn

METRICS = {
  "euclidean": ("euclidean", lambda d: d),
  "sqeuclidean": ("sqeuclidean", lambda d: d),
  "cosine": ("cosine", lambda d: d),
  "half_cosine": ("cosine", lambda d: d / 2),
  "half_chord": ("cosine", lambda d: np.sqrt(np.maximum(d, 0) / 2)),
}


def bank_of(emb):
  none = np.zeros(len(emb), bool)
  return base.bank_of(np.float32(emb), none, num_target=0)


def fitted(backend, emb):
  return jax.jit(backend.fit)(bank_of(emb))


@functools.partial(jax.jit, static_argnums=0)
def fit_and_score(backend, bank, query):
  return jax.vmap(backend.score, (None, 0))(backend.fit(bank), query)


def scores(backend, emb, query):
  return fit_and_score(backend, bank_of(emb), np.float32(query))


@pytest.fixture
def rng():
  return np.random.default_rng(0)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("k", [1, 4])
@pytest.mark.parametrize("num", [40, 500])
def test_knn_equals_scikit_learn(rng, metric, k, num):
  emb = rng.normal(3.0, 1.0, (num, 6)).astype(np.float32)
  query = rng.normal(3.0, 1.0, (9, 6)).astype(np.float32)
  name, change = METRICS[metric]
  ref = sklearn.neighbors.NearestNeighbors(
    n_neighbors=k, metric=name, algorithm="brute"
  ).fit(emb.astype(np.float64))
  want = change(ref.kneighbors(query.astype(np.float64))[0]).mean(1)
  got = scores(knn.knn(k=k, metric=metric), emb, query)
  np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("metric", METRICS)
def test_distances_of_near_copies_are_exact(rng, metric):
  emb = rng.normal(0.0, 1.0, (300, 2000)).astype(np.float32) + 5.0
  step = rng.normal(0.0, 1e-4, (9, 2000)).astype(np.float32)
  query = emb[:9] + step
  wide = [x.astype(np.float64) for x in (query, emb[:9])]
  if "euclidean" not in metric:
    wide = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in wide]
  squared = np.square(wide[0] - wide[1]).sum(1)
  want = {
    "euclidean": squared**0.5,
    "sqeuclidean": squared,
    "cosine": squared / 2,
    "half_cosine": squared / 4,
    "half_chord": squared**0.5 / 2,
  }[metric]
  backend = knn.knn(metric=metric)
  got = scores(backend, emb, query)
  np.testing.assert_allclose(got, want, rtol=1e-2)
  copies = scores(backend, emb, emb[:9])
  np.testing.assert_allclose(copies, 0.0, atol=1e-6)


def test_a_zero_vector_is_at_right_angles_to_everything(rng):
  emb = rng.normal(size=(50, 5)).astype(np.float32)
  emb[3] = 0.0
  query = np.stack([np.zeros(5, np.float32), emb[7]])
  np.testing.assert_allclose(
    scores(knn.knn(metric="cosine"), emb, query), [1.0, 0.0], atol=1e-6
  )
  np.testing.assert_allclose(
    scores(knn.knn(metric="half_cosine"), emb, query), [0.5, 0.0], atol=1e-6
  )
  only = scores(knn.knn(metric="cosine"), emb[3:4], query)
  np.testing.assert_allclose(only, [1.0, 1.0], atol=1e-6)


def test_k_larger_than_the_bank_is_cut(rng):
  emb, query = rng.normal(size=(10, 6)), rng.normal(size=(3, 6))
  query = query.astype(np.float32)
  np.testing.assert_allclose(
    scores(knn.knn(k=99), emb, query), scores(knn.knn(k=10), emb, query)
  )
  two = scores(knn.knn(k=3, weights=(1.0, -0.35, -0.05)), emb[:2], query)
  gaps = np.linalg.norm(query[:, None] - emb[None, :2], axis=2)
  gaps.sort(axis=1)
  np.testing.assert_allclose(two, gaps[:, 0] - 0.35 * gaps[:, 1], rtol=1e-4)


def test_negative_weights_may_give_negative_scores():
  emb = np.array([[0.0, 0.0], [1.0, 0.0]])
  got = scores(knn.knn(k=2, weights=(1.0, -2.0)), emb, jnp.zeros((1, 2)))
  np.testing.assert_allclose(got, [-2.0])


@pytest.mark.parametrize(
  "backend",
  [
    knn.knn(),
    knn.knn(k=2, weights=(1.0, -0.5)),
    density.local_density(),
    density.local_density(mode="difference"),
    density.variance_minimised(),
  ],
)
def test_without_a_usable_row_the_score_is_infinite(backend, rng):
  bank = bank_of(rng.normal(size=(6, 4))).replace(valid=np.zeros(6, bool))
  assert fit_and_score(backend, bank, np.ones((1, 4), np.float32)) == np.inf
  own = lambda bank: backend.self_score(backend.fit(bank), bank.emb[0], 0)
  assert jax.jit(own)(bank_of(rng.normal(size=(1, 4)))) == np.inf


@pytest.mark.parametrize("metric", ["euclidean", "half_cosine"])
def test_a_bank_of_one_row_is_not_rescaled(rng, metric):
  emb, query = rng.normal(size=(1, 4)), rng.normal(size=(5, 4))
  query = jnp.asarray(query, jnp.float32)
  want = scores(knn.knn(metric=metric), emb, query)
  for backend in (
    density.local_density(metric=metric),
    density.local_density(metric=metric, mode="difference"),
    density.variance_minimised(metric=metric),
  ):
    np.testing.assert_allclose(scores(backend, emb, query), want, rtol=1e-5)


def test_exact_copies_in_the_bank_stay_neighbours(rng):
  emb = np.repeat(rng.normal(size=(5, 4)), 6, axis=0)
  state = fitted(density.local_density(metric="euclidean"), emb)
  np.testing.assert_array_equal(state.density, np.float32(1e-12))
  backend = density.variance_minimised()
  state = fitted(backend, emb)
  np.testing.assert_array_equal(state.scale, 0.0)
  got = scores(knn.knn(k=3), emb, emb[:4])
  np.testing.assert_array_equal(got, 0.0)


def test_constant_dimensions_do_not_matter(rng):
  emb, query = rng.normal(size=(30, 4)), rng.normal(size=(5, 4))
  wider = lambda x: np.concatenate([x, np.full((len(x), 3), 100.0)], 1)
  query = query.astype(np.float32)
  np.testing.assert_allclose(
    scores(knn.knn(k=2), wider(emb), wider(query).astype(np.float32)),
    scores(knn.knn(k=2), emb, query),
    rtol=1e-4,
  )


def test_the_density_is_the_mean_over_other_rows(rng):
  emb = rng.normal(size=(30, 4))
  gaps = np.linalg.norm(emb[:, None] - emb[None], axis=2)
  others = np.sort(gaps, axis=1)[:, 1:]
  state = fitted(density.local_density(k=4, metric="euclidean"), emb)
  np.testing.assert_allclose(state.density, others[:, :4].mean(1), rtol=1e-5)
  ranked = density.local_density(metric="euclidean", decay=0.5)
  weight = 0.5 ** np.arange(29)
  np.testing.assert_allclose(
    fitted(ranked, emb).density, others @ weight / weight.sum(), rtol=1e-5
  )


def test_the_multiple_of_the_density_gives_the_least_variance(rng):
  emb = rng.normal(size=(60, 5)) * rng.uniform(0.2, 2.0, (60, 1))
  gaps = np.linalg.norm(emb[:, None] - emb[None], axis=2)
  np.fill_diagonal(gaps, np.inf)
  near = gaps.argmin(1)
  dense = np.sort(gaps, axis=1)[:, :4].mean(1)
  backend = density.variance_minimised(metric="euclidean")
  got = float(fitted(backend, emb).scale)
  spread = lambda a: np.var(gaps.min(1) - a * dense[near])
  assert got != 0.0
  assert spread(got) < min(spread(got + 1e-2), spread(got - 1e-2))


def test_bad_settings_are_refused():
  with pytest.raises(ValueError, match="knn: k must be at least 1, got 0"):
    knn.knn(k=0)
  with pytest.raises(ValueError, match="manhattan.*euclidean, sqeuclidean"):
    knn.knn(metric="manhattan")
  with pytest.raises(ValueError, match="found 3 weights, expected none or k=2"):
    knn.knn(k=2, weights=(1.0, -0.35, -0.05))
  for make in (density.local_density, density.variance_minimised):
    with pytest.raises(ValueError, match="k must be at least 1, got -1"):
      make(k=-1)
    with pytest.raises(ValueError, match="metric 'l1'"):
      make(metric="l1")
  with pytest.raises(ValueError, match="mode 'sum'"):
    density.local_density(mode="sum")
  with pytest.raises(ValueError, match="decay"):
    density.local_density(decay=1.5)
