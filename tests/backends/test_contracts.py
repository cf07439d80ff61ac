"""Every backend, wrapped or not, on every bank, obeys the same contract."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.covariance

from asd_jax.backends import (
  base,
  classes,
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
  "own-class": (rows.plain, classes.own_class()),
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
  fewer = jax.tree.map(lambda x: np.asarray(x)[keep], bank)
  return fewer.replace(num_target=int(np.sum(fewer.is_target)))


@functools.cache
def compiled(name):
  """State, scores, their gradients and the bank's own scores: one program."""
  stage, backend = CASES[name]

  def everything(bank, queries):
    state = backend.fit(stage(bank))
    score = jax.value_and_grad(backend.score, argnums=1)
    own = None
    if backend.self_score:
      one = jax.vmap(backend.self_score, (None, 0, 0))
      own = one(state, bank.emb, bank.group)
    return state, *jax.vmap(score, (None, 0))(state, queries), own

  return jax.jit(everything)


def scores(name, bank, queries):
  return compiled(name)(bank, queries)[1]


@functools.cache
def only_scores(name):
  """For banks of other sizes, each of which is a program."""
  stage, backend = CASES[name]
  score = jax.vmap(backend.score, (None, 0))
  return jax.jit(lambda bank, q: score(backend.fit(stage(bank)), q))


@pytest.mark.parametrize("name", CASES)
def test_backend_contract(name, key):
  backend = CASES[name][1]
  bank, emb = make(name, key)
  queries = np.array(bank.emb)
  queries[1] = emb
  traces = []

  @jax.jit
  def scored(state, emb):
    traces.append(1)
    return backend.score(state, emb)

  state, batch, grad, left_out = compiled(name)(bank, queries)
  assert np.isfinite(batch).all()
  assert np.isfinite(grad).all()
  assert np.any(grad[1])
  for i in (1, 3):
    alone = scored(state, queries[i])
    assert alone.shape == ()
    np.testing.assert_allclose(batch[i], alone, rtol=1e-5, atol=1e-6)
  assert len(traces) == 1
  if backend.self_score:
    batch, left_out = (np.delete(x, 1) for x in (batch, left_out))
    assert np.isfinite(left_out).all()
    if "weighted" not in name:
      assert np.all(left_out >= batch - 1e-5)
    assert np.any(left_out > batch + 1e-4)


@pytest.mark.parametrize("name", ORDERLESS)
def test_neither_order_nor_masked_rows_matter(name, key):
  bank, emb = make(name, key)
  query = np.asarray(bank.emb) + 0.1 * np.asarray(emb)
  perm = np.random.default_rng(0).permutation(len(bank.emb))
  shuffled = jax.tree.map(lambda x: np.asarray(x)[perm], bank)
  near = dict(rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(
    scores(name, shuffled, query), scores(name, bank, query), **near
  )
  keep = np.arange(len(bank.emb)) % 3 > 0
  far = np.where(keep.reshape(-1, *[1] * emb.ndim), bank.emb, np.float32(50.0))
  masked = bank.replace(valid=keep, emb=far)
  np.testing.assert_allclose(
    scores(name, masked, query),
    only_scores(name)(keep_rows(bank, keep), query),
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
  *_, own = compiled(name)(bank, bank.emb)
  others = np.arange(len(bank.emb)) != 7
  refit = only_scores(name)(keep_rows(bank, others), bank.emb)
  np.testing.assert_allclose(own[7], refit[7], rtol=1e-5)


@pytest.mark.parametrize("name", ["knn-1", "knn-half-chord", "knn-squared"])
def test_copies_are_at_distance_zero_whether_left_out_or_new(name, key):
  """Rounded as by two programs; the second neighbour is a copy, too."""
  bank, _ = make(name, key)
  emb = 30 * np.array(bank.emb) - 50
  emb[8] = np.nextafter(emb[7], np.float32(0))
  emb[9] = np.nextafter(emb[7], np.float32(-200))
  bank = bank.replace(emb=emb)
  _, new, _, own = compiled(name)(bank, np.nextafter(emb, np.float32(0)))
  assert [*own[7:10], *new[7:10]] == [0.0] * 6
  rest = np.delete(own, [7, 8, 9])
  assert (rest > 1e-4).all()


def test_self_score_leaves_out_the_whole_group(key):
  bank, _ = make("knn", key)
  twin = bank.replace(
    emb=bank.emb.at[1].set(bank.emb[0]), group=bank.group.at[1].set(0)
  )
  *_, own = compiled("knn-1")(twin, twin.emb)
  assert own[0] > 0.1
  np.testing.assert_allclose(own[0], own[1])


def test_per_domain_skips_an_empty_domain(key):
  bank, emb = make("knn", key)
  bank = bank.replace(is_target=jnp.zeros(len(bank.emb), bool))
  wrapped, plain = base.per_domain(knn.knn()), knn.knn()
  both = jax.jit(
    lambda bank: [b.score(b.fit(bank), emb) for b in (wrapped, plain)]
  )
  found, want = both(bank)
  np.testing.assert_allclose(found, want, rtol=1e-6)


@pytest.mark.parametrize("num", [8, 40])
def test_mahalanobis_equals_scikit_learn(key, num):
  emb = np.asarray(jax.random.normal(key, (num, 12)), np.float64)
  ref = sklearn.covariance.LedoitWolf().fit(emb)
  backend = mahalanobis.mahalanobis()
  bank = base.bank_of(np.float32(emb), np.zeros(num, bool), num_target=0)
  run = lambda bank, queries: jax.vmap(backend.score, (None, 0))(
    backend.fit(bank), queries
  )
  got = jax.jit(run)(bank, np.float32(emb + 0.5))
  np.testing.assert_allclose(got, ref.mahalanobis(emb + 0.5) ** 0.5, rtol=1e-4)


@pytest.mark.parametrize("num", [3, 5, 11, 1000])
def test_a_domain_of_equal_rows_is_skipped(key, num):
  emb = np.asarray(jax.random.normal(key, (40, 6)))
  equal = np.tile(0.1 + emb[:1], (num, 1))  # whose mean is not exact
  backend = base.per_domain(mahalanobis.mahalanobis())
  both = base.bank_of(
    np.concatenate([emb, equal]), np.arange(40 + num) >= 40, num_target=num
  )
  source = base.bank_of(emb, np.zeros(40, bool), num_target=0)
  run = jax.jit(lambda bank: backend.score(backend.fit(bank), emb[1]))
  got, want = run(both), run(source)
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


def test_own_class_is_the_one_that_training_clips_are_of():
  logits = np.array([[2.0, 0.0, 5.0], [9.0, 0.0, 5.0], [0.0, 9.0, 9.5]])
  valid = np.array([True, False, True])
  backend = classes.own_class()
  bank = base.bank_of(jnp.asarray(logits), jnp.zeros(3, bool), valid=valid)
  got = backend.score(backend.fit(bank), jnp.array([1.0, 2.0, 0.5]))
  np.testing.assert_allclose(
    got, -np.log(np.exp(0.5) / np.exp([1, 2, 0.5]).sum()), rtol=1e-6
  )
