"""Every backend, wrapped or not, on every bank, obeys the same contract."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.covariance

from asd_jax.backends import (
  base,
  density,
  knn,
  mahalanobis,
  prototypes,
  rows,
  transform,
)

NUM_TARGET = 8
prototyped = lambda inner: prototypes.prototypes(inner, num=9, projection_dim=4)
smote = lambda bank: rows.smote(bank, ratio=0.5)
mixed = lambda bank: rows.memmixup(bank, lam=0.7)
made = lambda bank: rows.memmixup_rows(bank, lam=0.7, num_support=5)
VARMIN = density.variance_minimised()

# Name -> bank stage and backend; "frequency" in a name means `[F, D]`.
CASES = {
  "knn-1": (rows.plain, knn.knn()),
  "knn-3-cosine": (rows.plain, knn.knn(k=3, metric="cosine")),
  "knn-weighted": (
    rows.plain,
    knn.three_neighbours(second=-0.35, third=-0.05),
  ),
  "knn-half-chord": (rows.plain, knn.knn(k=2, metric="half_chord")),
  "knn-squared": (rows.plain, knn.knn(k=2, metric="sqeuclidean")),
  "mahalanobis": (rows.plain, mahalanobis.mahalanobis()),
  "ratio": (rows.plain, density.local_density()),
  "difference": (rows.plain, density.local_density(mode="difference")),
  "ranked": (rows.plain, density.local_density(decay=0.9)),
  "variance": (rows.plain, VARMIN),
  "prototypes": (rows.plain, prototyped(knn.knn())),
  "prototypes-variance": (rows.plain, prototyped(VARMIN)),
  "per-domain": (rows.plain, base.per_domain(knn.knn())),
  "per-domain-variance": (rows.plain, base.per_domain(VARMIN)),
  "per-domain-prototypes": (
    rows.plain,
    base.per_domain(prototyped(knn.knn())),
  ),
  "prototypes-per-domain": (
    rows.plain,
    prototyped(base.per_domain(knn.knn())),
  ),
  "per-frequency": (
    rows.plain,
    base.per_frequency(knn.knn(metric="half_cosine")),
  ),
  "per-frequency-domain": (
    rows.plain,
    base.per_frequency(base.per_domain(knn.knn(k=2))),
  ),
  "per-frequency-variance": (rows.plain, base.per_frequency(VARMIN)),
  "per-frequency-prototypes": (
    rows.plain,
    base.per_frequency(prototyped(knn.knn())),
  ),
  "mixed": (mixed, knn.knn(k=2)),
  "mixed-per-domain": (mixed, base.per_domain(knn.knn(k=3))),
  "mixed-prototypes": (mixed, prototyped(knn.knn())),
  "mixed-per-frequency": (mixed, base.per_frequency(knn.knn())),
  "made-per-domain": (made, base.per_domain(knn.knn(k=3))),
  "made-per-frequency": (made, base.per_frequency(knn.knn(metric="cosine"))),
  "pseudo": (rows.pseudo_target, knn.knn(k=2)),
  "pseudo-per-frequency": (
    rows.pseudo_target,
    base.per_frequency(base.per_domain(knn.knn())),
  ),
  "smote": (smote, base.per_domain(knn.knn(k=2))),
  "smote-per-frequency": (smote, base.per_frequency(VARMIN)),
}
PLAIN = [k for k in CASES if k.startswith("knn")]
# Draws name rows by their place, so another order makes other rows.
ORDERLESS = [k for k in CASES if not k.startswith("smote")]


def make(name, key, num=40):
  shape = (3, 6) if "frequency" in name else (6,)
  emb = jax.random.normal(key, (num, *shape)) + 1.0
  keys = jax.random.normal(jax.random.fold_in(key, 1), (num, 5))
  is_target = jnp.arange(num) >= num - NUM_TARGET
  bank = base.bank_of(emb, is_target, key=keys)
  return bank, jnp.ones(shape) + 0.1 * jnp.arange(6.0).reshape(
    (1,) * (len(shape) - 1) + (6,)
  )


def keep_rows(bank, keep):
  fewer = jax.tree.map(lambda x: x[keep], bank)
  return fewer.replace(num_target=int(jnp.sum(fewer.is_target)))


@functools.cache
def compiled(name):
  stage, backend = CASES[name]
  own = backend.self_score and jax.jit(
    jax.vmap(backend.self_score, (None, 0, 0))
  )
  return (
    jax.jit(lambda bank: backend.fit(stage(bank))),
    jax.jit(jax.vmap(backend.score, (None, 0))),
    own,
  )


def fitted(name, bank):
  return compiled(name)[0](bank)


def scores(name, state, emb):
  return compiled(name)[1](state, emb)


def self_scores(name, state, bank):
  return compiled(name)[2](state, bank.emb, bank.group)


@pytest.mark.parametrize("name", CASES)
def test_backend_contract(name, key):
  backend = CASES[name][1]
  bank, emb = make(name, key)
  state = fitted(name, bank)
  traces = []

  @jax.jit
  def scored(state, emb):
    traces.append(1)
    return jax.value_and_grad(backend.score, argnums=1)(state, emb)

  alone, grad = scored(state, emb)
  assert alone.shape == ()
  assert np.isfinite(alone)
  assert np.isfinite(grad).all()
  assert np.any(grad)
  own, grad = scored(state, bank.emb[3])
  assert np.isfinite(grad).all()
  assert len(traces) == 1
  batch = scores(name, state, bank.emb)
  np.testing.assert_allclose(batch[3], own, rtol=1e-5, atol=1e-6)
  if backend.self_score:
    left_out = self_scores(name, state, bank)
    assert np.isfinite(left_out).all()
    if "weighted" not in name:
      assert np.all(left_out >= batch - 1e-5)
    assert np.any(left_out > batch + 1e-4)


@pytest.mark.parametrize("name", ORDERLESS)
def test_neither_order_nor_masked_rows_matter(name, key):
  bank, emb = make(name, key)
  query = bank.emb + 0.1 * emb[None]
  perm = jax.random.permutation(key, len(bank.emb))
  shuffled = jax.tree.map(lambda x: x[perm], bank)
  near = dict(rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(
    scores(name, fitted(name, shuffled), query),
    scores(name, fitted(name, bank), query),
    **near,
  )
  keep = np.arange(len(bank.emb)) % 3 > 0
  far = jnp.where(keep.reshape(-1, *[1] * emb.ndim), bank.emb, 50.0)
  masked = bank.replace(valid=jnp.asarray(keep), emb=far)
  np.testing.assert_allclose(
    scores(name, fitted(name, masked), query),
    scores(name, fitted(name, keep_rows(bank, keep)), query),
    **near,
  )


@pytest.mark.parametrize("name", CASES)
def test_the_form_of_a_state_does_not_depend_on_the_clips(name, key):
  stage, backend = CASES[name]
  fit = lambda bank: backend.fit(stage(bank))
  bank, _ = make(name, key)
  last = jnp.array([False, True])
  small = base.bank_of(bank.emb[-2:], last, key=bank.key[:2])
  state, template = jax.eval_shape(fit, bank), jax.eval_shape(fit, small)
  assert jax.tree.structure(state) == jax.tree.structure(template)
  for leaf, other in zip(
    jax.tree.leaves(state), jax.tree.leaves(template), strict=True
  ):
    assert leaf.dtype == other.dtype
    assert len(leaf.shape) == len(other.shape)


@pytest.mark.parametrize("name", PLAIN)
def test_self_score_equals_a_refit_without_the_row(name, key):
  bank, _ = make(name, key)
  own = self_scores(name, fitted(name, bank), bank)
  others = np.arange(len(bank.emb)) != 7
  refit = fitted(name, keep_rows(bank, others))
  np.testing.assert_allclose(
    own[7], scores(name, refit, bank.emb[7:8])[0], rtol=1e-5
  )


def test_self_score_leaves_out_the_whole_group(key):
  bank, _ = make("knn", key)
  twin = bank.replace(
    emb=bank.emb.at[1].set(bank.emb[0]), group=bank.group.at[1].set(0)
  )
  own = self_scores("knn-1", fitted("knn-1", twin), twin)
  assert own[0] > 0.1
  np.testing.assert_allclose(own[0], own[1])


def test_per_domain_skips_an_empty_domain(key):
  bank, emb = make("knn", key)
  bank = bank.replace(is_target=jnp.zeros(len(bank.emb), bool))
  wrapped = base.per_domain(knn.knn())
  state = wrapped.fit(bank)
  plain = knn.knn().fit(bank)
  np.testing.assert_allclose(
    wrapped.score(state, emb), knn.knn().score(plain, emb), rtol=1e-6
  )


@pytest.mark.parametrize("num", [8, 40])
def test_mahalanobis_equals_scikit_learn(key, num):
  emb = np.asarray(jax.random.normal(key, (num, 12)), np.float64)
  ref = sklearn.covariance.LedoitWolf().fit(emb)
  backend = mahalanobis.mahalanobis()
  state = backend.fit(base.bank_of(jnp.asarray(emb), jnp.zeros(num, bool)))
  got = jax.vmap(lambda e: backend.score(state, e))(jnp.asarray(emb + 0.5))
  np.testing.assert_allclose(got, ref.mahalanobis(emb + 0.5) ** 0.5, rtol=1e-4)


@pytest.mark.parametrize("num", [3, 5, 11, 1000])
def test_a_domain_of_equal_rows_is_skipped(key, num):
  emb = jax.random.normal(key, (40, 6))
  equal = jnp.tile(0.1 + emb[:1], (num, 1))  # whose mean is not exact
  backend = base.per_domain(mahalanobis.mahalanobis())
  is_target = jnp.arange(40 + num) >= 40
  both = base.bank_of(jnp.concatenate([emb, equal]), is_target)
  source = base.bank_of(emb, jnp.zeros(40, bool))
  got, want = (backend.score(backend.fit(b), emb[1]) for b in (both, source))
  np.testing.assert_allclose(got, want, rtol=1e-6)


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
  state = change.fit(emb, jnp.zeros(2, bool), None)
  np.testing.assert_allclose(change.apply(state, jnp.array([3.0, 7.0])), [1, 2])
