"""Criteria: who has a label, who has a margin, what scales follow."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asd_jax import errors
from asd_jax.training import adacos, criteria, domain, margins

CLASSES, D = 4, 6
# Those that choose their scale, at their least.
SCALED = {
  "adacos": {},
  "subcluster_adacos": dict(num_centres=2),
  "adaproj": dict(num_directions=2),
}
MADE = {
  name: make(**SCALED[name], dynamic=True) if name in SCALED else make()
  for name, make in criteria.CRITERIA.items()
}


def draw(*shape, seed=0):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def one_hot(*labels):
  return np.eye(CLASSES, dtype=np.float32)[list(labels)]


X = draw(6, D)
Y = one_hot(0, 2, 1, 3, 2, 1)


def batches():
  """`[6, D]` clips and `[6, C]` labels; every name is used by a test."""
  half = np.concatenate([X[:3], X[:3]])
  labels = np.concatenate([Y[:3], Y[:3]])
  some = np.where(np.arange(6)[:, None] < 3, labels, 0.0)
  return {
    "twice": (half, labels),
    "some": (np.concatenate([X[:3], 2.0 * X[:3]]), some),
    "none": (half, 0.0 * labels),
    "mixed": (X, 0.3 * Y + 0.7 * Y[::-1]),
    "silent": (0.0 * X, Y),
  }


@pytest.fixture(scope="module")
def results():
  """Loss, state and gradients of each criterion, on each batch."""
  every = zip(*batches().values(), strict=True)
  x, y = (np.stack(a).astype(np.float32) for a in every)

  def run(key):
    found = {}
    for name, made in MADE.items():
      params, extra = made.init(key, CLASSES, D)

      def loss(x, params, y, made=made, extra=extra):
        return made.apply(params, extra, x, y, jax.random.key(1), 0.5)

      value = jax.value_and_grad(loss, (0, 1), has_aux=True)
      found[name] = extra, jax.vmap(value, (0, None, 0))(x, params, y)
    return found

  out = {}
  for name, (extra, found) in jax.jit(run)(jax.random.key(0)).items():
    one = lambda i: jax.tree.map(lambda a: np.asarray(a)[i], found)  # noqa: B023
    out[name] = {batch: one(i) for i, batch in enumerate(batches())}
    out[name]["before"] = extra
  return out


# Margins of a clip that comes twice are drawn twice.
DRAWN = {"elasticface_arc", "elasticface_cos"}


def close(found, want):
  return np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", sorted(MADE.keys() - DRAWN))
def test_a_clip_without_a_label_has_no_part(results, name):
  # The mean over three clips is that over the same three twice.
  want, (wanted_x, wanted) = results[name]["twice"]
  found, (found_x, gradients) = results[name]["some"]
  jax.tree.map(close, (found, gradients), (want, wanted))
  close(found_x[:3], 2.0 * wanted_x[:3])
  assert not np.any(found_x[3:])


@pytest.mark.parametrize("name", MADE)
def test_a_batch_without_any_label_costs_and_changes_nothing(results, name):
  (loss, after), gradients = results[name]["none"]
  assert loss == 0.0
  assert not any(map(np.any, jax.tree.leaves(gradients)))
  before = results[name]["before"]
  jax.tree.map(np.testing.assert_array_equal, after, before)


@pytest.mark.parametrize("name", MADE)
def test_mixed_labels_and_silence_have_finite_gradients(results, name):
  for batch in ("mixed", "silent"):
    found = jax.tree.leaves(results[name][batch])
    assert all(np.isfinite(x).all() for x in found)
  assert results[name]["mixed"][0][0] > 0.0


def test_only_the_labelled_class_has_a_margin():
  cos = np.array([[0.3, -0.2, 0.6, 0.1]], np.float32)
  y = one_hot(2)
  settings = dict(scale=10.0, margin=0.2)
  both = lambda cos: [
    logits(cos, y, **settings)[0] / 10.0
    for logits in (margins.arcface, margins.cosface)
  ]
  arc, plain = jax.jit(both)(cos)
  others = np.array([0, 1, 3])
  for found in (arc, plain):
    np.testing.assert_allclose(found[others], cos[0, others], rtol=1e-6)
  np.testing.assert_allclose(arc[2], np.cos(np.arccos(0.6) + 0.2), rtol=1e-6)
  np.testing.assert_allclose(plain[2], 0.4, rtol=1e-6)


def test_a_mixed_label_has_margins_by_its_shares():
  cos = np.array([[0.3, -0.2, 0.6, 0.1]], np.float32)
  y = np.array([[0.25, 0.0, 0.75, 0.0]], np.float32)
  found = jax.jit(lambda cos: margins.cosface(cos, y, scale=1.0, margin=0.2))(
    cos
  )
  np.testing.assert_allclose(found[0], [0.25, -0.2, 0.45, 0.1], rtol=1e-5)


def test_beyond_pi_only_the_monotone_logit_goes_on_falling():
  angle = np.linspace(np.pi - 0.15, np.pi - 0.01, 5)
  cos = np.cos(angle)[:, None].astype(np.float32)
  y = np.ones_like(cos)
  both = lambda cos: [
    margins.arcface(cos, y, scale=1.0, margin=0.2, monotone=monotone)[:, 0]
    for monotone in (True, False)
  ]
  monotone, plain = map(np.diff, jax.jit(both)(cos))
  assert np.all(monotone < 0.0)
  assert np.all(plain > 0.0)


def reference_scale(cos, y, previous):
  """Of sub-clusters, in NumPy."""
  log_mean = np.log(np.exp(previous * cos).sum((1, 2)).mean())
  angle = (y * np.arccos(cos).sum(2)).sum(1)
  median = np.sort(angle)[(len(angle) - 1) // 2]
  return log_mean / np.cos(min(np.pi / 4, median))


@pytest.mark.parametrize("num", [4, 5])
def test_a_scale_by_the_lower_median_of_the_own_centres(num):
  # Own angles below pi / 4, so that the order of centres and the middle of an
  # even number both show.
  rng = np.random.default_rng(num)
  y = one_hot(*rng.permutation(np.arange(num) % CLASSES))
  own = np.cos(rng.uniform(0.05, 0.35, (num, CLASSES, 2)))
  cos = np.where(y[:, :, None] > 0, own, rng.uniform(-0.4, 0.4, own.shape))
  run = jax.jit(adacos.subcluster_scale)
  found = run(cos.astype(np.float32), y, np.float32(3.0))
  np.testing.assert_allclose(found, reference_scale(cos, y, 3.0), rtol=1e-5)


def test_a_dynamic_scale_is_capped_and_kept():
  made = criteria.subcluster_adacos(
    num_centres=2, dynamic=True, scale=50.0, max_scale=20.0
  )

  def run(key):
    params, extra = made.init(key, CLASSES, D)
    x = 3.0 * params["centres"][:, 0]
    return made.apply(params, extra, x, one_hot(0, 1, 2, 3), None, 0.0)[1]

  assert jax.jit(run)(jax.random.key(0))["scale"] == 20.0


def test_centres_are_drawn_as_one_matrix_class_by_class(key):
  init = criteria.subcluster_adacos().init
  params, extra = jax.jit(lambda key: init(key, CLASSES, 50))(key)
  centres = params["centres"]
  assert centres.shape == (CLASSES, 16, 50)
  assert extra == {}
  bound = np.sqrt(6.0 / (16 * CLASSES + 50))
  assert 0.98 * bound < np.abs(np.asarray(centres)).max() <= bound


@pytest.mark.parametrize("name", criteria.CRITERIA)
def test_one_class_is_refused(key, name):
  with pytest.raises(errors.InputError, match="found 1"):
    criteria.CRITERIA[name]().init(key, 1, D)


def test_more_classes_than_logits_are_refused_and_fewer_are_padded(key):
  made = criteria.softmax()
  with pytest.raises(errors.InputError, match="num_outputs"):
    made.init(key, 7, 6)
  loss = jax.jit(lambda x: made.apply({}, {}, x, Y, key, 0.0)[0])(X)
  logits = X - np.log(np.exp(X).sum(1, keepdims=True))
  want = -np.mean(logits[np.arange(6), Y.argmax(1)])
  np.testing.assert_allclose(loss, want, rtol=1e-5)


def test_elastic_margins_differ_by_clip_and_by_key():
  made = criteria.elasticface_cos(scale=1.0, deviation=0.1)
  x = np.repeat(X[:1], 2, axis=0)
  params = {"centres": draw(CLASSES, D, seed=1)}

  def gradient(key):
    loss = lambda x: made.apply(params, {}, x, one_hot(1, 1), key, 0.0)[0]
    return jax.grad(loss)(x)

  keys = jax.random.split(jax.random.key(0))
  first, second = np.asarray(jax.jit(jax.vmap(gradient))(keys))
  assert np.abs(first[0] - first[1]).max() > 1e-4
  assert np.abs(first - second).max() > 1e-4


def test_dann_learns_domains_and_unlearns_them_below():
  made = criteria.CRITERIA["dann"](num_hidden=7)
  init = jax.jit(lambda key: made.init(key, CLASSES, D)[0])
  params = init(jax.random.key(0))
  weight = 2.0 / (1.0 + np.exp(-10.0 * 0.3)) - 1.0

  def loss(x, params, progress):
    return made.apply(params, {}, x, Y, None, progress)[0]

  both = jax.jit(jax.grad(loss, (0, 1)))
  x, head = both(X, params, 0.3)
  plain = lambda x, p: (
    -jnp.mean(
      jnp.sum(
        Y
        * jax.nn.log_softmax(
          jax.nn.relu(x @ p["dense_0"]["kernel"] + p["dense_0"]["bias"][None])
          @ p["dense_1"]["kernel"]
          + p["dense_1"]["bias"][None]
        ),
        axis=1,
      )
    )
  )
  want_x, want_head = jax.jit(jax.grad(plain, (0, 1)))(X, params)
  np.testing.assert_allclose(
    x, -weight * np.asarray(want_x), rtol=1e-4, atol=1e-7
  )
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
    head,
    want_head,
  )
  assert not np.any(both(X, params, 0.0)[0])


def test_styles_are_mixed_for_the_whole_batch_or_left(key):
  h = draw(6, 2, 5, 3)
  mix = jax.jit(lambda *x: domain.mix_styles(*x[:2], probability=x[2]))
  np.testing.assert_array_equal(mix(key, h, 0.0), h)
  mixed = np.asarray(mix(key, h, 1.0))
  assert np.abs(mixed - h).max() > 0.1
  # What is left of a clip is its shape: the same in both.
  shape = lambda x: (x - x.mean(2, keepdims=True)) / x.std(2, keepdims=True)
  np.testing.assert_allclose(shape(mixed), shape(h), atol=1e-3)
  # Equal channels stay equal: they share the draws.
  twice = np.stack([h[:, 0]] * 2, 1)
  both = mix(key, twice, 1.0)
  np.testing.assert_array_equal(*np.moveaxis(np.asarray(both), 1, 0))


def test_a_clip_that_keeps_its_own_style_stays():
  h = draw(3, 5, 4)
  mix = jax.jit(domain.mix_style)
  found = mix(h, np.ones(3, np.float32), np.array([2, 0, 1]))
  np.testing.assert_allclose(found, h, rtol=1e-4, atol=1e-5)
