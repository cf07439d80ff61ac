"""Rows that a bank gets, and prototypes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asd_jax.backends import base, density, knn, mahalanobis, prototypes, rows


@pytest.fixture
def bank(key):
  emb = jax.random.normal(key, (70, 6)) * 2.0 + 1.0
  emb = emb.at[-7:].add(3.0)
  return base.bank_of(emb, jnp.arange(70) >= 63)


@pytest.fixture
def query():
  return jax.random.normal(jax.random.key(1), (40, 6)) * 2.0 + 3.0


NEAREST = knn.knn()


@functools.partial(jax.jit, static_argnums=0)
def scores(backend, bank, query):
  return jax.vmap(backend.score, (None, 0))(backend.fit(bank), query)


@functools.partial(jax.jit, static_argnums=(0, 2))
def self_scores(backend, bank, num):
  one = jax.vmap(backend.self_score, (None, 0, 0))
  return one(backend.fit(bank), bank.emb[:num], bank.group[:num])


@pytest.mark.parametrize("k", [1, 4])
@pytest.mark.parametrize("wrap", [lambda b: b, base.per_domain])
def test_mixed_rows_count_without_being_made(bank, query, k, wrap):
  backend = wrap(knn.knn(k=k))

  @jax.jit
  def both(bank, lam):
    out = []
    for stage in (rows.memmixup, rows.memmixup_rows):
      state = backend.fit(stage(bank, lam=lam))
      own = jax.vmap(backend.self_score, (None, 0, 0))
      out.append(jax.vmap(backend.score, (None, 0))(state, query))
      out.append(own(state, bank.emb, bank.group))
    return out

  assert rows.memmixup_rows(bank).emb.shape == (70 + 7 * 63, 6)
  for lam in (0.9, 0.5, 0.0, 1.0):
    score, own, want, want_own = both(bank, lam)
    np.testing.assert_allclose(score, want, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(own, want_own, rtol=1e-5, atol=1e-5)


def test_the_distance_to_a_mixed_row_is_exact_near_zero(key):
  emb = jax.random.normal(key, (60, 3000)) + 2.0
  bank = base.bank_of(emb, jnp.arange(60) >= 55)
  near = 0.8 * emb[55:] + 0.2 * emb[:5]
  noise = 1e-4 * jax.random.normal(jax.random.key(1), near.shape)
  got = scores(NEAREST, rows.memmixup(bank, lam=0.8), near + noise)
  np.testing.assert_allclose(got, jnp.linalg.norm(noise, axis=1), rtol=1e-2)


def test_the_share_of_the_target_row_rides_on_vmap(bank, query):
  @jax.jit
  def of(lam):
    return scores(NEAREST, rows.memmixup(bank, lam=lam), query)

  lams = np.float32([0.3, 0.9])
  np.testing.assert_allclose(
    jax.jit(jax.vmap(of))(lams), np.stack([of(x) for x in lams]), rtol=1e-5
  )
  slope = jax.jit(jax.grad(lambda lam: jnp.sum(of(lam))))(0.6)
  step = 1e-2
  up, down = (np.asarray(of(0.6 + x)) for x in (step, -step))
  rise = np.sum(up - down) / (2 * step)
  np.testing.assert_allclose(slope, rise, rtol=0.05)


@pytest.mark.parametrize("stage", rows.BANKS.values())
@pytest.mark.parametrize("only", ["source", "target"])
def test_a_bank_of_one_domain_stays_as_it_is(bank, query, stage, only):
  one = bank.replace(
    is_target=jnp.full(70, only == "target"), num_target=70 * (only == "target")
  )
  backends = (knn.knn(k=2), base.per_domain(knn.knn(k=2)))

  @jax.jit
  def both(bank, query):
    return [
      [scores(b, x, query) for b in backends] for x in (stage(bank), bank)
    ]

  np.testing.assert_allclose(*both(one, query), rtol=1e-6)


@pytest.mark.parametrize("stage", rows.BANKS.values())
def test_frequencies_have_rows_of_their_own(key, stage):
  emb = jax.random.normal(key, (40, 3, 5))
  bank = base.bank_of(emb, jnp.arange(40) >= 34)
  query = jax.random.normal(jax.random.key(1), (3, 5))
  backend = knn.knn(k=2)
  lifted = base.per_frequency(backend)
  score = lambda b, bank, emb: b.score(b.fit(stage(bank)), emb)
  got = jax.jit(lambda bank: score(lifted, bank, query))(bank)
  one = jax.jit(lambda bank, emb: score(backend, bank, emb))
  apart = [one(bank.replace(emb=emb[:, f]), query[f]) for f in range(3)]
  np.testing.assert_allclose(got, np.mean(apart), rtol=1e-5)


def test_mixed_rows_stay_when_their_target_row_leaves(bank):
  mixed = rows.memmixup(bank, lam=0.9)
  own = self_scores(NEAREST, mixed, 70)
  plain = self_scores(NEAREST, bank, 70)
  emb = np.asarray(bank.emb)
  source = np.linalg.norm(emb[:63][None] - emb[63:][:, None], axis=2)
  # The nearest row mixed from a target row lies a tenth of the way.
  assert np.all(own[63:] <= 0.1 * source.min(1) + 1e-4)
  assert np.all(own[63:] < plain[63:])


def test_mixed_rows_come_in_the_order_of_targets_and_distance(bank):
  made = jax.jit(lambda b: rows.memmixup_rows(b, lam=0.9, num_support=3))(bank)
  new = np.asarray(made.emb[70:]).reshape(7, 3, 6)
  for i, target in enumerate(np.asarray(bank.emb[63:])):
    gaps = np.linalg.norm(np.asarray(bank.emb[:63]) - target, axis=1)
    near = np.asarray(bank.emb)[np.argsort(gaps, kind="stable")[:3]]
    np.testing.assert_allclose(new[i], 0.9 * target + 0.1 * near, rtol=1e-5)
  assert made.is_target[70:].all()
  assert (made.group[70:] == -1).all()


def test_rows_appended_later_are_not_mixed(bank, query):
  mixed = rows.memmixup(bank)
  more = dict(is_target=jnp.ones(2, bool), group=jnp.zeros(2), num_target=2)
  later = base.append(mixed, bank.emb[:2] + 90.0, **more)
  np.testing.assert_allclose(
    scores(NEAREST, later, query), scores(NEAREST, mixed, query), rtol=1e-5
  )


def test_backends_that_cannot_mix_say_so(bank):
  assert knn.knn().mixes
  assert base.per_frequency(base.per_domain(knn.knn())).mixes
  assert prototypes.prototypes(knn.knn()).mixes
  for backend in (
    knn.knn(metric="cosine"),
    mahalanobis.mahalanobis(),
    density.variance_minimised(),
    base.per_domain(density.local_density()),
  ):
    assert not backend.mixes
  with pytest.raises(ValueError, match="memmixup_rows"):
    knn.knn(metric="cosine").fit(rows.memmixup(bank))


def test_smote_fills_up_the_target_rows(key):
  emb = jax.random.normal(key, (1000, 4))
  bank = base.bank_of(emb, jnp.arange(1000) >= 990)
  more = jax.jit(lambda b: rows.smote(b))(bank)
  assert more.emb.shape == (1188, 4)
  assert more.num_target == 198
  target = np.asarray(emb[990:])
  # Every new row lies between a target row and one of its two nearest.
  for row in np.asarray(more.emb[1000:]):
    found = False
    for i, start in enumerate(target):
      gaps = np.linalg.norm(target - start, axis=1)
      gaps[i] = np.inf
      for end in target[np.argsort(gaps)[:2]]:
        share = (row - start) @ (end - start) / ((end - start) @ (end - start))
        off = np.linalg.norm(row - start - share * (end - start))
        found |= off < 1e-4 and -1e-4 < share < 1.0001
    assert found
  other = jax.jit(lambda b: rows.smote(b, seed=1))(bank)
  assert not np.allclose(other.emb[1000:], more.emb[1000:])


@pytest.mark.parametrize("num_target", [0, 1, 2, 30])
def test_smote_adds_nothing_where_it_cannot(key, num_target):
  emb = jax.random.normal(key, (100, 4))
  bank = base.bank_of(emb, jnp.arange(100) >= 100 - num_target)
  more = jax.jit(rows.smote)(bank)
  want = {0: 0, 1: 0, 2: 17, 30: 0}[num_target]
  assert int(more.valid.sum()) == 100 + want
  if want:
    start, end = np.asarray(emb[98:])
    share = (np.asarray(more.emb[100:]) - start) @ (end - start)
    share /= (end - start) @ (end - start)
    assert share.min() >= -1e-4
    assert share.max() <= 1.0001
    assert share.std() > 0.1


def test_smote_makes_unit_rows_where_a_metric_compares_directions(bank):
  more = jax.jit(lambda b: rows.smote(b, ratio=0.5))(bank.replace(unit=True))
  assert len(more.emb) == 70 + 24
  np.testing.assert_allclose(
    np.linalg.norm(np.asarray(more.emb)[70:], axis=1), 1.0, rtol=1e-5
  )
  np.testing.assert_array_equal(np.asarray(more.emb)[:70], bank.emb)
  assert density.variance_minimised().unit
  assert base.per_frequency(knn.knn(metric="cosine")).unit
  assert not knn.knn().unit


def test_later_neighbours_weigh_what_a_sweep_says(bank, query):
  @jax.jit
  def swept(second):
    backend = knn.three_neighbours(second=second, third=0.25)
    state = backend.fit(bank)
    return jax.vmap(lambda x: backend.score(state, x))(query)

  rows_, x = np.asarray(bank.emb), np.asarray(query)
  near = np.sort(np.linalg.norm(x[:, None] - rows_[None], axis=2), axis=1)
  for second in (-0.35, 0.5):
    want = near[:, 0] + second * near[:, 1] + 0.25 * near[:, 2]
    np.testing.assert_allclose(swept(second), want, rtol=1e-4)


def test_a_clip_leaves_with_its_pseudo_target_row(bank):
  more = jax.jit(rows.pseudo_target)(bank)
  emb = np.asarray(bank.emb)
  shift = emb[63:].mean(0) - emb[:63].mean(0)
  np.testing.assert_allclose(
    np.asarray(more.emb)[70:133], emb[:63] + shift, rtol=1e-5
  )
  assert int(more.valid.sum()) == 70 + 63
  own = self_scores(NEAREST, more, 63)
  gaps = np.linalg.norm(
    np.asarray(bank.emb[:63])[:, None]
    - np.asarray(more.emb)[np.asarray(more.valid)][None],
    axis=2,
  )
  group = np.asarray(more.group)[np.asarray(more.valid)]
  gaps[np.arange(63)[:, None] == group[None]] = np.inf
  np.testing.assert_allclose(own, gaps.min(1), rtol=1e-5)


def test_prototypes_blend_two_scores(bank, query):
  keyed = bank.replace(key=bank.emb[:, ::-1])
  blended = lambda w: prototypes.prototypes(NEAREST, num=5, weight=w)

  @jax.jit
  def score(w):
    return scores(blended(w), keyed, query)

  alone = [np.asarray(score(w)) for w in (0.0, 1.0, 0.25)]
  np.testing.assert_allclose(alone[0], scores(NEAREST, bank, query), rtol=1e-6)
  np.testing.assert_allclose(
    alone[2], 0.75 * alone[0] + 0.25 * alone[1], rtol=1e-5
  )
  assert np.all(alone[1] >= alone[0] - 1e-5)
  everything = prototypes.prototypes(NEAREST, num=500, weight=1.0)
  np.testing.assert_allclose(
    scores(everything, keyed, query), alone[0], rtol=1e-5
  )


def test_prototypes_are_not_among_added_rows(bank):
  keyed = jax.jit(rows.memmixup_rows)(bank.replace(key=bank.emb))
  chosen = jax.jit(lambda b: prototypes.chosen_rows(b, None, num=300))(keyed)
  assert len(chosen.emb) == 70
  assert sorted(chosen.group.tolist()) == list(range(70))
  state = jax.eval_shape(prototypes.prototypes(NEAREST, num=9).fit, keyed)
  assert state["chosen"].rows.emb.shape == (9, 6)


def test_bad_settings_are_refused(bank):
  with pytest.raises(ValueError, match="num_support"):
    rows.memmixup_rows(bank, num_support=0)
  with pytest.raises(ValueError, match="smote: found ratio=-1"):
    rows.smote(bank, ratio=-1.0)
  with pytest.raises(ValueError, match="k=0"):
    rows.smote(bank, k=0)
  for more in (dict(num=0), dict(projection_dim=-1)):
    with pytest.raises(ValueError, match="prototypes"):
      prototypes.prototypes(knn.knn(), **more)
  with pytest.raises(ValueError, match="without keys"):
    prototypes.prototypes(knn.knn()).fit(bank)
