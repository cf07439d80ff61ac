"""Encoders that were adapted over machines: a seed axis from clip to score."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asd_jax.encoders import adapted, family, heads
from asd_jax.encoders.tokens import Tokens
from asd_jax.engine import encode, sources
from asd_jax.engine import system as system_lib
from asd_jax.engine.branch import Source
from asd_jax.engine.normals import Augmented, Normals
from asd_jax.training import reconstruction
from configs import common

MELS, WIDTH, NUM = 8, 6, 9
SEEDS = (3, 4)


class Head(NamedTuple):
  """Mean over tokens and channels, and a matrix."""

  init: callable
  apply: callable
  embed: callable
  num_channels: int = 1
  share: None = None


def _head_apply(params, stats, h, train):
  assert not train
  return h.mean((1, 2)) @ params["w"], stats


HEAD = Head(
  lambda key, width: ({"w": jax.random.normal(key, (width, 5))}, {}),
  _head_apply,
  lambda z: z / jnp.linalg.norm(z, axis=-1, keepdims=True),
)


def linear():
  """One matrix, as a network with published weights."""

  def apply(params, x, layers):
    grid = jnp.tanh(x @ params["w"])[:, :, None]  # [C, T, 1, D]
    return {n: Tokens(grid, grid.mean((1, 2))) for n in layers}

  eat = family.make(
    system_lib.stages.zoo.FAMILIES["eat"],
    dict(width=48, depth=2, num_heads=4, hidden=96, num_positions=6144),
  ).about
  about = eat._replace(
    settings={"width": WIDTH},
    width=WIDTH,
    patch_frames=1,
    num_patches=lambda num: (num, 1),
    shapes=lambda: {"w": (MELS, WIDTH)},
  )
  init = lambda key: {"w": jax.random.normal(key, (MELS, WIDTH))}
  return family.Encoder(init, apply, "file", about)


def branch(**stages):
  return common.branch(
    frontend=dict(name="log_mel", num_mels=MELS),
    pooling=dict(name="mean_patches"),
    **{
      "backend": dict(name="knn", k=2, metric="cosine"),
      "calibration": dict(name="zscore"),
      **stages,
    },
  )


def system_of(spec, encoder, layer, seeds):
  """A system of one branch whose encoder is put in by hand."""
  config = dict(
    branches=dict(one=spec), fusion=dict(name="weighted_mean"), seeds=seeds
  )
  system = system_lib.build(config)
  run = encoder.scope == "run"
  source = Source("", layer, "one", reconstruction.Recipe(), seeds * run)
  made = system.branches["one"]._replace(encoder=encoder, source=source)
  return system._replace(
    branches={"one": made}, seeds={"one": seeds if run else seeds[:1]}
  )


def fitted(system, params, waves, augmented=False):
  """State, training scores and the scores of one more clip."""
  branches = system.branches
  front = encode.unfitted(branches)
  compute = functools.partial(encode.clip_features, branches)
  feats = jax.jit(jax.vmap(compute, in_axes=(None, None, 0)))(
    front, {"one": params}, waves
  )
  train = tuple(
    jax.tree.map(lambda x, s=s: x[s], feats) for s in (slice(4), slice(4, NUM))
  )
  more = {}
  if augmented:
    more["one"] = Augmented(feats["one"][:3] * 1.5, jnp.array([6, 7, 8]))
  rows = jnp.arange(NUM)
  normals = Normals(
    front, train, rows, rows >= 6, {}, augmented=more, num_target=3
  )
  state, own = system_lib.compiled_fit(system)(system.hypers, normals)
  clip = {"one": feats["one"][NUM]}
  scored = jax.jit(functools.partial(system_lib.scores, system))
  return state, own, scored(system.hypers, state, clip)


@pytest.fixture(scope="module")
def waves():
  rng = np.random.default_rng(0)
  return jnp.asarray(rng.normal(size=(NUM + 1, 1, 3000)), jnp.float32)


@pytest.fixture(scope="module")
def network():
  made = functools.partial(
    adapted.make, linear(), HEAD, layer="output", about={"name": "mean"}
  )
  return made, made(num_seeds=len(SEEDS)).init(jax.random.key(1))


def test_parameters_have_the_shapes_that_are_told(network):
  made, params = network
  flat = {
    "/".join(k.key for k in path): x.shape
    for path, x in jax.tree_util.tree_leaves_with_path(params)
  }
  assert flat == made(num_seeds=len(SEEDS)).about.shapes()


def test_each_seed_scores_as_a_network_of_its_own(network, waves):
  layer = adapted.EMBEDDING
  made, params = network
  joint = system_of(branch(), made(num_seeds=len(SEEDS)), layer, SEEDS)
  assert system_lib.draws(joint)
  _, own, scores = fitted(joint, params, waves, augmented=True)
  assert scores.seeds.shape == (len(SEEDS),)
  each = []
  for k in range(len(SEEDS)):
    # The network of one seed, as if its weights were published.
    encoder = made(num_seeds=1)._replace(scope="file")
    alone = system_of(branch(), encoder, layer, SEEDS)
    single = jax.tree.map(lambda x, k=k: x[k], params)
    each.append(fitted(alone, single, waves, augmented=True))
  # Each seed by its own leave-one-out scores, then the mean of the seeds.
  np.testing.assert_allclose(
    scores.seeds, [s.fused for _, _, s in each], rtol=2e-5
  )
  np.testing.assert_allclose(
    scores.fused, np.mean([s.fused for _, _, s in each]), rtol=2e-5
  )
  np.testing.assert_allclose(
    own, np.mean([o for _, o, _ in each], axis=0), rtol=2e-4, atol=2e-5
  )
  assert abs(each[0][2].fused - each[1][2].fused) > 1e-3


def test_the_embedding_is_what_the_head_makes_of_all_tokens(network):
  made, params = network
  encoder = made(num_seeds=1)
  first = jax.tree.map(lambda x: x[0], params)
  x = jax.random.normal(jax.random.key(2), (1, 7, MELS))
  layers = (adapted.EMBEDDING, "output")
  out = encoder.apply(first, x, layers)
  assert tuple(out) == layers
  assert out[adapted.EMBEDDING].grid.shape == (1, 1, 1, 5)
  rows = out["output"].grid.reshape(-1, WIDTH)
  want = rows.mean(0) @ first["head"]["params"]["w"]
  np.testing.assert_allclose(
    out[adapted.EMBEDDING].grid.ravel(),
    want / jnp.linalg.norm(want),
    rtol=1e-5,
  )


def test_branches_with_other_seeds_have_other_weights(network):
  made, _ = network
  encoder = made(num_seeds=1)
  system = system_of(branch(), encoder, "output", SEEDS)
  one = system.branches["one"]
  other = one._replace(source=one.source._replace(seeds=(5, 6)))
  found = sources.of({"a": one, "b": other, "c": one})
  assert found == {"a": "a", "b": "b", "c": "a"}


def test_a_gate_tells_how_much_of_near_it_takes():
  base = linear()
  head = heads.gated_projection(num_outputs=5)
  gated = adapted.make(base, head, layer="output", num_seeds=1, about={})
  assert gated.about.layers[-2:] == ("embedding", "share")
  both = jnp.asarray(np.random.default_rng(0).normal(size=(2, 4, MELS)))

  def run(key):
    params = jax.tree.map(lambda x: x[0], gated.init(key))
    return gated.apply(params, both, ("embedding", "share"))

  found = jax.jit(run)(jax.random.key(0))
  assert found["embedding"].grid.shape == (1, 1, 1, 5)
  np.testing.assert_allclose(found["share"].grid, [[[[0.7310586]]]], rtol=1e-5)


def test_a_head_gets_near_alone_of_an_encoder_of_both_channels():
  encoder = linear()
  assert adapted.near_alone(encoder) is encoder
  about = encoder.about
  joint = about.family._replace(input=about.family.input._replace(joint=True))
  both = encoder._replace(about=about._replace(family=joint))
  params = both.init(jax.random.key(0))
  x = jax.random.normal(jax.random.key(1), (2, 4, MELS))
  want = both.apply(params, x, ("output",))["output"]
  found = adapted.near_alone(both).apply(params, x, ("output",))["output"]
  np.testing.assert_array_equal(found.grid, want.grid[:1])
  np.testing.assert_array_equal(found.cls, want.cls[:1])


@pytest.mark.parametrize(
  ("stages", "told"),
  [
    (dict(channels=(0,)), "found 1 channels behind the front end"),
    (
      dict(
        channels=(0, 1),
        denoise=dict(name="spectral", denoiser=dict(name="coherence_mask")),
      ),
      "found 1 channels behind the front end",
    ),
    (dict(channels=(0, 1), encoder=dict(name="eat", base="FILE")), "base: fou"),
    (dict(channels=(0, 1), encoder=dict(name="na_eat", base=3)), "base: found"),
  ],
)
def test_an_encoder_of_both_channels_needs_both(stages, told):
  spec = common.branch(
    frontend=dict(name="eat_fbank"), encoder=dict(name="na_eat", size="smoke")
  )
  spec |= stages
  spec["encoder"] = {"size": "smoke", **spec["encoder"]}
  with pytest.raises(ValueError, match=told):
    system_lib.build_branch("one", spec)
