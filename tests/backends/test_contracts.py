"""Every backend, wrapped or not, obeys the same contract."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.covariance
import sklearn.neighbors

from asd_jax.backends import base, knn, mahalanobis, transform

CASES = {
  "knn-1": knn.knn(),
  "knn-3-cosine": knn.knn(k=3, metric="cosine"),
  "mahalanobis": mahalanobis.mahalanobis(),
  "per-domain": base.per_domain(knn.knn()),
  "per-frequency": base.per_frequency(knn.knn(metric="cosine")),
  "per-frequency-domain": base.per_frequency(base.per_domain(knn.knn(k=2))),
}
PLAIN = {k: v for k, v in CASES.items() if k.startswith("knn")}


def make(name, key, num=40):
  shape = (3, 6) if "frequency" in name else (6,)
  emb = jax.random.normal(key, (num, *shape)) + 1.0
  return base.bank_of(emb, jnp.arange(num) >= num - 8), jnp.ones(shape)


def self_scores(backend, bank):
  state = backend.fit(bank)
  one = lambda emb, group: backend.self_score(state, emb, group)
  return jax.vmap(one)(bank.emb, bank.group)


@pytest.mark.parametrize("name", CASES)
def test_backend_contract(name, key):
  backend = CASES[name]
  bank, emb = make(name, key)
  state = jax.jit(backend.fit)(bank)
  score = backend.score(state, emb)
  assert score.shape == ()
  assert np.isfinite(score)
  traces = []

  @jax.jit
  def scored(state, emb):
    traces.append(1)
    return backend.score(state, emb)

  np.testing.assert_allclose(scored(state, emb), score, rtol=1e-5)
  scored(state, 2.0 * emb)
  assert len(traces) == 1
  batch = jax.vmap(lambda e: backend.score(state, e))(bank.emb)
  np.testing.assert_allclose(
    batch[3], backend.score(state, bank.emb[3]), rtol=1e-5, atol=1e-6
  )
  perm = jax.random.permutation(key, len(bank.emb))
  shuffled = backend.fit(jax.tree.map(lambda x: x[perm], bank))
  np.testing.assert_allclose(
    backend.score(shuffled, emb), score, rtol=1e-4, atol=1e-5
  )
  grad = jax.grad(lambda e: backend.score(state, e))(emb)
  assert np.isfinite(grad).all()


@pytest.mark.parametrize("name", CASES)
def test_rows_that_are_not_valid_do_not_count(name, key):
  backend = CASES[name]
  bank, emb = make(name, key)
  keep = jnp.arange(len(bank.emb)) % 3 > 0
  masked = backend.fit(bank.replace(valid=keep))
  fewer = backend.fit(jax.tree.map(lambda x: x[keep], bank))
  np.testing.assert_allclose(
    backend.score(masked, emb), backend.score(fewer, emb), rtol=1e-4
  )


@pytest.mark.parametrize("name", PLAIN)
def test_self_score_equals_a_refit_without_the_row(name, key):
  backend = CASES[name]
  bank, _ = make(name, key)
  own = self_scores(backend, bank)
  others = jnp.arange(len(bank.emb)) != 7
  refit = backend.fit(jax.tree.map(lambda x: x[others], bank))
  np.testing.assert_allclose(
    own[7], backend.score(refit, bank.emb[7]), rtol=1e-5
  )


def test_self_score_leaves_out_the_whole_group(key):
  bank, _ = make("knn", key)
  twin = bank.replace(
    emb=bank.emb.at[1].set(bank.emb[0]), group=bank.group.at[1].set(0)
  )
  own = self_scores(CASES["knn-1"], twin)
  assert own[0] > 0.1
  np.testing.assert_allclose(own[0], own[1])


@pytest.mark.parametrize("k", [1, 3])
def test_knn_equals_scikit_learn(key, k):
  bank, _ = make("knn", key)
  query = jax.random.normal(jax.random.key(1), (9, 6))
  ref = sklearn.neighbors.NearestNeighbors(n_neighbors=k).fit(bank.emb)
  want = ref.kneighbors(query)[0].mean(1)
  backend = knn.knn(k=k)
  state = backend.fit(bank)
  got = jax.vmap(lambda e: backend.score(state, e))(query)
  np.testing.assert_allclose(got, want, rtol=1e-5)


def test_k_larger_than_the_bank_is_cut(key):
  bank, emb = make("knn", key, num=10)
  np.testing.assert_allclose(
    knn.knn(k=99).score(knn.knn(k=99).fit(bank), emb),
    knn.knn(k=10).score(knn.knn(k=10).fit(bank), emb),
  )


def test_per_domain_skips_an_empty_domain(key):
  bank, emb = make("knn", key)
  bank = bank.replace(is_target=jnp.zeros(len(bank.emb), bool))
  wrapped = base.per_domain(knn.knn())
  state = wrapped.fit(bank)
  plain = knn.knn().fit(bank)
  np.testing.assert_allclose(
    wrapped.score(state, emb), knn.knn().score(plain, emb)
  )


@pytest.mark.parametrize("num", [8, 40])
def test_mahalanobis_equals_scikit_learn(key, num):
  emb = np.asarray(jax.random.normal(key, (num, 12)), np.float64)
  ref = sklearn.covariance.LedoitWolf().fit(emb)
  backend = mahalanobis.mahalanobis()
  state = backend.fit(base.bank_of(jnp.asarray(emb), jnp.zeros(num, bool)))
  got = jax.vmap(lambda e: backend.score(state, e))(jnp.asarray(emb + 0.5))
  np.testing.assert_allclose(got, ref.mahalanobis(emb + 0.5) ** 0.5, rtol=1e-4)


def test_selective_mahalanobis_takes_the_nearer_domain():
  cov = jnp.stack([jnp.eye(2), 4.0 * jnp.eye(2)])
  bank = base.bank_of(jnp.zeros((1, 2)), jnp.zeros(1, bool), covariance=cov)
  backend = mahalanobis.selective_mahalanobis()
  assert backend.score(backend.fit(bank), jnp.array([2.0, 0.0])) == 1.0
  with pytest.raises(ValueError, match="autoencoder"):
    backend.fit(bank.replace(covariance=None))


def test_standardise_only_centres_a_constant_dimension():
  emb = jnp.array([[1.0, 5.0], [3.0, 5.0]])
  change = transform.standardise()
  state = change.fit(emb, jnp.zeros(2, bool))
  np.testing.assert_allclose(change.apply(state, jnp.array([3.0, 7.0])), [1, 2])


def test_bad_settings_are_refused():
  with pytest.raises(ValueError, match="at least 1"):
    knn.knn(k=0)
  with pytest.raises(ValueError, match="cosine, euclidean"):
    knn.knn(metric="manhattan")
