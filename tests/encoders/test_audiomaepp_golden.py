"""AudioMAE++ against the official code, every intermediate and mistake."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from asd_jax.encoders import audiomaepp, convert, family
from asd_jax.frontends import htk_mel
from asd_jax.ops import filterbank, pooling
from asd_jax.weights import rules
from tests import quick
from tests.encoders.test_audiomae_golden import change, weights_of

pytestmark = pytest.mark.golden

FRONTEND, TOKENS, SCENE = 5e-4, 5e-4, 5e-5
FAMILY = audiomaepp.FAMILY
ODD = ("", "_odd", "_odd2")


class Case:
  """The golden arrays and the encoder with their weights."""

  def __init__(self, z):
    self.z = z
    self.config = json.loads(str(z["config_json"]))
    weights = weights_of(z)
    found = rules.official(weights, FAMILY.names, title=FAMILY.title)
    self.unused = {n: x for n, x in weights.items() if n not in found}
    self.params, settings = family.port(FAMILY, found, {})
    heads = self.config["num_heads"]
    assert settings["num_heads"] in (None, heads)
    self.settings = {**settings, "num_heads": heads}
    self.encoder = family.make(FAMILY, self.settings)
    module = audiomaepp.AudioMaePP(**self.settings)
    run = lambda params, x: module.apply({"params": params}, x)
    # One program for most tests: `[B, frames, 80]` to every array.
    self.run = jax.jit(jax.vmap(run, in_axes=(None, 0)))
    # Frames and time patches of a chunk.
    self.size = self.config["img_size"][0]
    self.rows = self.size // self.config["patch_size"][0]

  def frontend(self, wave):
    front = htk_mel.audiomaepp_mel()
    run = quick.jit(lambda w: front.apply({}, w))
    out = run(self.z[wave])
    assert out.shape[1] == front.num_frames(self.z[wave].shape[1])
    return out

  def close(self, found, name, atol):
    want = self.z[name]
    assert np.shape(found) == want.shape, name
    np.testing.assert_allclose(found, want, rtol=0, atol=atol, err_msg=name)

  def gap(self, found, name="output"):
    rows = np.asarray(found).reshape(self.z[name].shape)
    return np.abs(rows - self.z[name]).max()


@pytest.fixture(scope="module")
def case(golden):
  return Case(golden("encoders/audiomaepp"))


@pytest.fixture(scope="module")
def mels(case):
  """Our front end of all clips, by the end of their names."""
  return {odd: case.frontend(f"waveform{odd}") for odd in ODD}


@pytest.fixture(scope="module")
def mel(case):
  """The golden front end, filled as the encoder wants it."""
  mel = case.z["frontend"]
  return np.pad(mel, [(0, 0), (0, -mel.shape[1] % 4), (0, 0)])


@pytest.fixture(scope="module")
def found(case, mel):
  return case.run(case.params, mel)


def test_the_front_end(case, mels):
  for odd, found in mels.items():
    want = case.z[f"frontend{odd}"]
    case.close(found[:, : want.shape[1]], f"frontend{odd}", FRONTEND)
    assert not np.asarray(found[:, want.shape[1] :]).any()
    front = htk_mel.audiomaepp_mel(multiple=1)
    samples = case.z[f"waveform{odd}"].shape[1]
    assert front.num_frames(samples) == want.shape[1]


def test_every_layer(case, found):
  case.close(found["patches"][:, 0], "patch_embed", TOKENS)
  case.close(found["chunks_0"][:, 0], "block_input", TOKENS)
  for i in range(case.settings["depth"]):
    case.close(found[f"chunks_{i + 1}"][:, 0], f"layer_{i}", TOKENS)
  case.close(found["chunks_output"], "tokens_normed", TOKENS)
  assert found["chunks_output"].shape[1] == case.z["num_chunks"]
  rows = found["output"].reshape(case.z["output"].shape)
  case.close(rows, "output", TOKENS)
  case.close(rows.mean(1), "output_scene", SCENE)


def test_bfloat16_is_near(case, mel):
  fast = family.make(FAMILY, case.settings, dtype="bfloat16")
  run = lambda x: fast.apply(case.params, x, ("output",))["output"].grid
  grid = quick.jit(run)(mel)
  want = case.z["output"]
  gap = np.abs(np.asarray(grid).reshape(want.shape) - want).mean()
  assert TOKENS < gap / want.std() < 0.05


def test_a_scene_from_the_waveform(case, mel, mels):
  own = mels[""]
  assert own.shape == mel.shape
  grid = np.asarray(case.run(case.params, own)["output"])
  case.close(grid.reshape(case.z["output"].shape), "output", TOKENS)


def test_scenes_of_one_chunk_and_of_less(case, mels):
  """By the encoder, with the pooling of the systems."""
  mels = [mels[odd] for odd in ODD[1:]]
  frames = [mel.shape[1] for mel in mels]
  whole = -(-max(frames) // case.size) * case.size
  # Both in one program: the shorter ones end where the encoder would fill.
  mels = [np.pad(x, [(0, 0), (0, whole - x.shape[1]), (0, 0)]) for x in mels]
  run = lambda x: case.encoder.apply(case.params, x, ("output",))["output"].grid
  grids = quick.jit(run)(np.concatenate(mels))
  grids = np.split(np.asarray(grids), [len(mels[0])])
  for odd, grid, num in zip(ODD[1:], grids, frames, strict=True):
    rows, bands = case.encoder.about.num_patches(num)
    grid, want = grid[:, :rows], case.z[f"output{odd}"]
    assert grid.shape == (len(want), rows, bands, case.settings["width"])
    case.close(grid.reshape(want.shape), f"output{odd}", TOKENS)
    scene = np.stack([pooling.mean_time(x).reshape(-1) for x in grid])
    case.close(scene, f"output_scene{odd}", SCENE)


def test_rows_kept_of_other_lengths():
  """Spec'd lengths; what is cut at the end is rounded down."""
  front = htk_mel.audiomaepp_mel()
  for seconds, rows in ((6, 151), (10, 251), (16, 401)):
    frames = front.num_frames(16_000 * seconds)
    assert FAMILY(size="tiny").about.num_patches(frames) == (rows, 5)


def test_rows_are_no_time_patches(case, found):
  """The published grouping, and the tokens where they belong."""
  _, chunks, _, width = case.z["tokens_normed"].shape
  tokens = case.z["tokens_normed"][:, :, 1:]
  kept = case.z["output"].shape[1]
  by_band = np.asarray(found["output_by_band"])
  assert case.gap(by_band) > 1000 * TOKENS
  want = tokens.reshape(len(tokens), -1, width)[:, : 5 * kept]
  np.testing.assert_allclose(by_band, want, rtol=0, atol=TOKENS)
  rows = np.asarray(found["output"]).reshape(len(tokens), kept, 5, width)
  last = min(case.rows, kept) - 1
  for row, group in ((0, 0), (1, 3), (last, 4), (kept - 1, 2)):
    chunk, inside = divmod(row, case.rows)
    token = case.rows * group + inside
    assert chunk < chunks
    np.testing.assert_allclose(
      rows[:, row, group], tokens[:, chunk, token], rtol=0, atol=TOKENS
    )


def test_layers_are_in_the_order_of_time(case, found):
  """What no frame of the clip touches is what fills the last chunk."""
  layer = np.asarray(found["layer_1"])
  grid = layer.reshape(len(layer), -1, 5, case.settings["width"])
  whole = np.asarray(found["chunks_1"])[:, 0, 1:]
  want = whole.reshape(len(grid), case.rows, 5, -1)
  np.testing.assert_array_equal(grid[:, : case.rows], want)


def test_chunks_do_not_see_each_other(case, mel, found):
  other = mel.copy()
  other[:, case.size :] = 1.0
  changed = case.run(case.params, other)["layer_1"]
  num = case.rows * 5
  np.testing.assert_array_equal(changed[:, :num], found["layer_1"][:, :num])
  assert np.abs(changed - found["layer_1"]).max() > 0.1


def test_a_change_of_a_patch_moves_one_token(case, mel, found):
  """Time patch 7, band 3 is token 38."""
  other = mel.copy()
  other[:, 28:32, 48:64] += 1
  moved = case.run(case.params, other)["patches"] - found["patches"]
  (token,) = np.flatnonzero(np.abs(moved[0, 0]).max(1))
  assert token == 38


def test_a_third_norm_that_was_trained_is_said(case, tmp_path):
  """Those of the reference file are random; else they stay as they start."""
  z, norm = case.z, "norm3"
  start = lambda n, x: np.full_like(x, n.endswith("weight"))
  weights = {
    n: start(n, x) if norm in n else x for n, x in weights_of(z).items()
  }
  for name, tensors in (("trained", weights_of(z)), ("fresh", weights)):
    save_file(tensors, tmp_path / f"{name}.safetensors")
  read = lambda name: convert.read_official(
    tmp_path / f"{name}.safetensors", FAMILY
  )
  assert read("fresh").notes == ()
  (note,) = read("trained").notes
  assert note.startswith(f"{len(case.unused)} weights that AudioMAE++ never")
  # They change nothing.
  same = lambda a, b: np.testing.assert_array_equal(a, b)
  jax.tree.map(same, read("fresh").params, read("trained").params)


def test_the_third_norm_of_a_block_is_never_used(case):
  """Its numbers are not there to be used: random in the reference file."""
  patterns = {n.split(".")[3] for n in case.unused}
  assert patterns == {"norm3"}
  assert len(case.unused) == 2 * case.settings["depth"]
  assert not any("norm3" in path for path in case.encoder.about.shapes())
  ones = [x for n, x in case.unused.items() if n.endswith("weight")]
  assert np.abs(np.stack(ones) - 1).max() > 0.01


def test_positions_start_from_a_grid_of_bands_and_time(case):
  want = case.z["pos_embed_sincos_init"]
  made = audiomaepp.sincos_positions(*want.shape[1:])
  # The reference computes the angles in float32.
  np.testing.assert_allclose(made[None], want, rtol=0, atol=2e-5)


def swapped(tree):
  return {**tree, "linear1": tree["linear2"], "linear2": tree["linear1"]}


def mistakes(case, mel):
  """By name: the parameters and the bands of a port that has it."""
  params, z = case.params, case.z
  first = lambda path, how: change(params, f"blocks_0/{path}", how)
  num = z["frontend"].shape[1]
  count = num * mel.shape[2]
  real = mel[:, :num]
  biased = np.array(mel)
  biased[:, :num] = real * np.sqrt(count / (count - 1))
  bands = np.array(mel)
  mean, spread = real.mean(1, keepdims=True), real.std(1, keepdims=True)
  bands[:, :num] = (real - mean) / spread
  chunk = np.array(mel)
  head = chunk[:, : case.size]
  head -= head.mean((1, 2), keepdims=True)
  head /= head.std((1, 2), keepdims=True)
  double, half = (lambda k: k * 2), (lambda k: k / 2)
  no_cls = change(params, "cls", lambda k: 0 * k)
  init = case.z["pos_embed_sincos_init"]
  return {
    "ffn1 in full": (first("ffn1/fc2/kernel", double), mel),
    "half of ffn2": (first("ffn2/project/kernel", half), mel),
    "gate and value swapped": (first("ffn2", swapped), mel),
    "another CLS": (no_cls, mel),
    "positions made anew": ({**params, "positions": init}, mel),
    "the biased deviation": (params, biased),
    "a mean by band": (params, bands),
    "a mean by chunk": (params, chunk),
  }


def test_mistakes_show(case, mel, found):
  for name, (params, bands) in mistakes(case, mel).items():
    rows = np.asarray(case.run(params, np.float32(bands))["output"])
    # The biased deviation of a long clip is nearly the other.
    small = name == "the biased deviation"
    least = 10 * case.gap(found["output"]) if small else 20 * TOKENS
    assert case.gap(rows) > least, name


def test_mistakes_of_the_front_end_show(case):
  wave = jnp.asarray(case.z["waveform"])
  power = lambda **k: htk_mel.mel_power(
    wave, **{"num_mels": 80, "fft_samples": 400, "low_hz": 50.0, **k}
  )
  eps = filterbank.KALDI_FLOOR

  def variants(name):
    logs = {
      "right": jnp.log(power() + eps),
      "lowest edge at 0": jnp.log(power(low_hz=0.0) + eps),
      "a floor": jnp.log(jnp.maximum(power(), eps)),
      "another floor": jnp.log(power() + 1e-10),
      "full scale of 16 bits": jnp.log(power() * 2.0**30 + eps),
    }
    return htk_mel.standardised(logs[name])

  names = ("lowest edge at 0", "a floor", "another floor")
  names = (*names, "full scale of 16 bits", "right")
  run = quick.jit(lambda: [variants(n) for n in names])
  *wrong, right = (case.gap(x, "frontend") for x in run())
  assert right < FRONTEND
  for name, gap in zip(names, wrong, strict=False):
    assert gap > 2 * FRONTEND, (name, gap)


def test_tables_that_are_no_whole_time_patches_are_refused():
  for num in (5, 250, 252):
    settings = {**FAMILY.sizes["smoke"], "num_positions": num}
    with pytest.raises(ValueError, match=f"num_positions {num}, expected"):
      FAMILY(size=settings)
