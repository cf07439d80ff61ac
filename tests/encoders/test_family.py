"""What all encoders with published weights promise, on tiny networks."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util
from jax.extend import core

from asd_jax.encoders import family, zoo

TINY = dict(width=16, depth=2, num_heads=2, hidden=24)
TABLE = dict(num_positions=32)
LAYERS = dict(layer_heads=2, layer_hidden=20, kind="cross_attention")
# Smaller than "smoke", and with the shortest tables of positions.
SETTINGS = {
  "eat": TINY | TABLE,
  "sslam": TINY | TABLE,
  "beats": TINY
  | dict(embed_width=8, num_taps=4, num_groups=2)
  | dict(num_buckets=16, max_distance=20),
  "audiomae": TINY | dict(num_positions=33),
  "audiomae_finetuned": TINY | dict(num_positions=33),
  # Two chunks, of 24 frames.
  "audiomaepp": TINY | dict(gated=20, num_positions=31),
  "dasheng": TINY | dict(num_positions=6, target_frames=24),
  "m2d_clap": TINY | dict(num_positions=2, num_frames=39, projector="none"),
  "ced": TINY | dict(num_positions=4, target_frames=64),
  "fisher": TINY | TABLE,
}
SETTINGS |= {
  f"na_{name}": SETTINGS[name] | LAYERS for name in ("beats", "eat", "dasheng")
}
SETTINGS["film_beats"] = SETTINGS["na_beats"] | dict(kind="film")
SETTINGS["d_beats"] = SETTINGS["na_beats"] | dict(kind="self_attention")
# Parts of a clip that do not see each other.
GROUPS = {"dasheng": 2, "m2d_clap": 2}
ENCODERS = {n: zoo.FAMILIES[n](size=s) for n, s in SETTINGS.items()}
FRAMES, BATCH = 50, 3
BLOCKS = 2


def own_networks():
  """Families but those whose network is another's, or made of it by a line.

  Those around another hear two channels: their goldens are of both.
  """
  found = {}
  for name in (n for n in ENCODERS if zoo.FAMILIES[n].inner is None):
    network = zoo.FAMILIES[name].network
    if not any(issubclass(network, other) for other in found.values()):
      found[name] = network
  return list(found)


@pytest.fixture(params=own_networks())
def name(request):
  return request.param


@pytest.fixture
def encoder(name):
  return ENCODERS[name]


@functools.cache
def random(name):
  return jax.jit(ENCODERS[name].init)(jax.random.key(0))


@pytest.fixture
def params(name):
  return random(name)


@functools.cache
def noise(num_mels):
  shape = (BATCH, 1, FRAMES, num_mels)
  return jax.random.normal(jax.random.key(1), shape)


@pytest.fixture
def clips(encoder):
  return noise(encoder.about.num_mels)


@functools.cache
def batch_of(name):
  """All layers of all clips, computed once."""
  encoder = ENCODERS[name]
  run = jax.jit(batched(encoder, encoder.about.layers))
  return run(random(name), noise(encoder.about.num_mels))


@functools.cache
def program_of(name):
  """`[C, T, M]` to what the network returns: one program for all tests."""
  apply, params = ENCODERS[name].apply, random(name)
  return jax.jit(lambda x: apply(params, x, ("output",))["output"])


def test_all_families_are_here():
  assert set(SETTINGS) == set(zoo.FAMILIES)


def batched(encoder, layers):
  one = lambda params, x: encoder.apply(params, x, layers)
  return jax.vmap(one, in_axes=(None, 0))


def dots(jaxpr):
  """Batch axes of every matrix product, in programs inside too."""
  for eqn in jaxpr.eqns:
    if eqn.primitive.name == "dot_general":
      yield len(eqn.params["dimension_numbers"][1][0])
    for inner in core.jaxprs_in_params(eqn.params):
      yield from dots(inner)


def test_random_parameters_have_the_promised_shapes(encoder, params):
  flat = traverse_util.flatten_dict(params, sep="/")
  assert {
    path: leaf.shape for path, leaf in flat.items()
  } == encoder.about.shapes()


@pytest.mark.parametrize("name", ENCODERS)
def test_an_encoder_tells_what_it_is(name, encoder):
  assert encoder.about.family.name == name
  assert encoder.scope == "file"
  again = zoo.ENCODERS[name](size=encoder.about.settings, dtype="bfloat16")
  assert again.about.settings == encoder.about.settings
  assert again.about.shapes() == encoder.about.shapes()


def test_every_layer_is_a_grid_of_tokens(name, encoder):
  out = batch_of(name)
  grid = encoder.about.num_patches(FRAMES)
  has_cls = bool(encoder.about.family.input.num_extra)
  assert set(out) == set(encoder.about.layers)
  usual = ("layer_0", "layer_1", "layer_2", "output")
  assert encoder.about.layers == (
    *usual,
    *encoder.about.family.more_layers(encoder.about.settings),
  )
  for layer in encoder.about.layers:
    tokens, width = out[layer], encoder.about.width
    assert tokens.grid.shape == (BATCH, 1, *grid, width)
    assert np.isfinite(tokens.grid).all()
    assert (tokens.cls is not None) == has_cls
    assert tokens.cls is None or tokens.cls.shape == (BATCH, 1, width)


def test_channels_do_not_see_each_other(name, clips):
  run = lambda x: np.asarray(program_of(name)(x).grid)
  pair = np.concatenate([clips[0], clips[1]])
  found = run(pair)
  np.testing.assert_allclose(found[0], run(clips[0])[0], atol=2e-5)
  np.testing.assert_allclose(found, run(pair[::-1])[::-1], atol=2e-5)


def test_a_clip_is_the_same_alone_and_in_a_batch(name, clips):
  out, alone = batch_of(name)["output"], program_of(name)(clips[1])
  for one, other in zip(
    jax.tree.leaves(out), jax.tree.leaves(alone), strict=True
  ):
    np.testing.assert_allclose(one[1], other, atol=2e-5)


def test_a_batch_is_one_matrix_product_a_layer(name, encoder, params, clips):
  run = batched(encoder, ("output",))
  found = list(dots(jax.make_jaxpr(run)(params, clips).jaxpr))
  groups = GROUPS.get(name, 1)
  # Only logits and weighted values have a batch, of clips, in either of the
  # two orders in which heads are gone through.
  assert sum(num > 0 for num in found) == 4 * BLOCKS * groups
  assert sum(num == 0 for num in found) >= 4 * BLOCKS * groups


def test_layers_that_nobody_reads_are_not_computed(encoder, params, clips):
  def flops(layer):
    run = jax.jit(batched(encoder, (layer,)))
    return run.lower(params, clips).compile().cost_analysis()["flops"]

  first, second, last = (flops(n) for n in ("layer_0", "layer_1", "layer_2"))
  assert second - first > 0.4 * (last - first)
  assert last - second > 0.4 * (last - first)


def test_frames_beyond_whole_patches_do_not_count(name, encoder, clips):
  run = lambda x: np.asarray(program_of(name)(x).grid)
  about = encoder.about
  if about.family.input.grid:
    pytest.skip("the last patch is filled")
  used = about.num_patches(FRAMES)[0] * about.patch_frames
  assert used < FRAMES
  clip = np.array(clips[0])
  one = run(clip)
  clip[:, used:] = 9.0
  np.testing.assert_array_equal(one, run(clip))
  clip[:, used - 1] = 9.0
  assert np.abs(one - run(clip)).max() > 1e-3


def test_blocks_may_be_computed_again(encoder, params, clips):
  """Each is then marked as such for whoever takes gradients."""
  settings = encoder.about.settings
  again = encoder.about.family(size=settings, remat=True)
  assert again.about.shapes() == encoder.about.shapes()

  def marks(encoder):
    run = lambda p: encoder.apply(p, clips[0], ("output",))["output"].grid
    text = str(jax.make_jaxpr(run)(params))
    return len(re.findall(r"(?:remat2?|checkpoint)\[", text))

  assert marks(encoder) == 0
  assert marks(again) >= BLOCKS


def test_wrong_inputs_are_refused(encoder, params, clips):
  with pytest.raises(ValueError, match="found layers"):
    encoder.apply(params, clips[0], ("layer_3",))
  with pytest.raises(ValueError, match="found 7 bands, expected"):
    encoder.apply(params, jnp.zeros((1, FRAMES, 7)), ("output",))
  few = min(3, encoder.about.patch_frames - 1)
  with pytest.raises(ValueError, match="one patch"):
    encoder.apply(
      params, jnp.zeros((1, few, encoder.about.num_mels)), ("output",)
    )


def test_the_longest_clip_of_a_position_table():
  encoder = ENCODERS["eat"]
  assert encoder.about.num_patches(79) == (4, 8)
  with pytest.raises(ValueError, match="found 80 frames, expected at most 64"):
    encoder.about.num_patches(80)
  assert ENCODERS["beats"].about.num_patches(10**6) == (62_500, 8)
  assert ENCODERS["dasheng"].about.num_patches(10**6) == (250_000, 1)


def test_no_encoder_hands_on_what_it_hears():
  x = jnp.arange(12.0).reshape(2, 3, 2)
  encoder = family.IDENTITY
  assert encoder.scope == "none"
  assert encoder.init(jax.random.key(0)) == {}
  out = encoder.apply({}, x, encoder.about.layers)["output"]
  np.testing.assert_array_equal(out.grid, x)
  assert out.cls is None
