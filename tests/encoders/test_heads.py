"""Heads: what they take, what they keep, what they leave alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asd_jax import errors
from asd_jax.encoders import heads

SMALL = {
  "attentive_projection": dict(num_attention=3, num_hidden=4, num_outputs=5),
  "gated_projection": dict(num_outputs=5),
  "context_projection": dict(num_hidden=3, num_outputs=5),
}
D = 6


def draw(*shape, seed=0):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def small(name, **settings):
  return heads.HEADS[name](**{**SMALL[name], **settings})


@pytest.fixture(scope="module")
def results():
  """Each head trained one step on a batch, then used on it and on one clip."""
  made = {name: small(name) for name in heads.HEADS}

  def run(key):
    found = {}
    for name, head in made.items():
      params, stats = head.init(key, D)
      h = draw(4, head.num_channels, 7, D)
      z, after = head.apply(params, stats, h, True)
      use = lambda h, head=head, params=params, after=after: head.apply(
        params, after, h, False
      )
      found[name] = dict(z=z, stats=stats, after=after, batch=use(h))
      found[name] |= dict(one=use(h[1:2]), emb=head.embed(z))
    return found

  return jax.jit(run)(jax.random.key(1))


def test_every_head_is_tried():
  assert SMALL.keys() == heads.HEADS.keys()


@pytest.mark.parametrize("name", SMALL)
def test_in_use_a_clip_is_embedded_by_itself(results, name):
  found = results[name]
  assert found["z"].shape == (4, small(name).width)
  np.testing.assert_allclose(
    found["batch"][0][1:2], found["one"][0], rtol=1e-5, atol=1e-6
  )
  jax.tree.map(np.testing.assert_array_equal, found["batch"][1], found["after"])


@pytest.mark.parametrize("name", SMALL)
def test_training_moves_running_statistics_a_tenth_of_the_way(results, name):
  found = results[name]
  before, after = map(jax.tree.leaves, (found["stats"], found["after"]))
  normalised = name in ("attentive_projection", "context_projection")
  assert normalised == bool(before)
  assert all(np.any(a != b) for a, b in zip(before, after, strict=True))


def test_only_the_embedding_of_the_projection_head_has_length_one(results):
  length = {n: np.linalg.norm(r["emb"], axis=1) for n, r in results.items()}
  np.testing.assert_allclose(length["attentive_projection"], 1.0, rtol=1e-5)
  for name in SMALL.keys() - {"attentive_projection"}:
    np.testing.assert_array_equal(results[name]["emb"], results[name]["z"])


def test_near_in_both_channels_comes_out_as_it_is():
  h = draw(2, 3, D)

  def gated(h, by_dimension):
    width = D if by_dimension else 1
    params = {"kernel": draw(2 * D, width, seed=1), "bias": draw(width, seed=2)}
    return heads.Gate(by_dimension).apply({"params": params}, h, h)

  for found in jax.jit(lambda h: [gated(h, yes) for yes in (False, True)])(h):
    np.testing.assert_array_equal(found, h)


def test_a_gate_starts_with_more_of_the_near_channel():
  head = small("gated_projection")
  h = draw(3, 2, 4, D)
  share = jax.jit(lambda key: head.share(head.init(key, D)[0], h))
  share = share(jax.random.key(0))
  np.testing.assert_allclose(share, np.full(3, 1 / (1 + np.exp(-1))), rtol=1e-6)
  assert small("context_projection").share is None


def test_running_statistics_of_the_projection_are_unbiased():
  x = draw(3, D)
  projection = heads.Projection(4, 2)

  @jax.jit
  def run(key):
    variables = projection.init(key, x, train=False)
    new = projection.apply(variables, x, train=True, mutable=["batch_stats"])[1]
    return variables["params"]["dense_0"], new

  layer, new = jax.device_get(run(jax.random.key(0)))
  hidden = x @ layer["kernel"] + layer["bias"]
  found = new["batch_stats"]["norm"]
  np.testing.assert_allclose(
    found["mean"], 0.1 * hidden.mean(0), rtol=1e-4, atol=1e-6
  )
  np.testing.assert_allclose(
    found["var"], 0.9 + 0.1 * hidden.var(0, ddof=1), rtol=1e-5
  )


@pytest.mark.parametrize(
  ("name", "shape", "train", "words"),
  [
    ("context_projection", (2, 1, 1, D), True, "found 1 token"),
    ("gated_projection", (2, 1, 7, D), True, "found 1 channels, expected 2"),
    ("attentive_projection", (2, 2, 7, D), False, "expected 1"),
    ("attentive_projection", (1, 1, 7, D), True, "found a batch of 1"),
  ],
)
def test_wrong_tokens_are_refused_before_anything_runs(
  name, shape, train, words
):
  head = small(name)

  def run(key, h):
    return head.apply(*head.init(key, D), h, train)

  with pytest.raises(errors.InputError, match=words):
    jax.eval_shape(run, jax.random.key(0), jnp.zeros(shape))
