"""CED against the published code, every intermediate."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asd_jax.encoders import ced, family
from asd_jax.frontends import htk_mel
from asd_jax.ops import filterbank, pooling, signal
from asd_jax.weights import rules
from tests import quick
from tests.encoders.test_dasheng_golden import formula_clips

pytestmark = pytest.mark.golden

FAMILY = ced.FAMILY
TOLERANCE = 1e-4  # of the standard deviation of the reference
DECIBEL = 0.05
FRONT = htk_mel.dasheng_mel()


class Case:
  """The golden arrays and the encoder with their weights."""

  def __init__(self, z):
    self.z = z
    self.config = json.loads(str(z["config_json"]))
    self.weights = {
      k.removeprefix("param/"): z[k] for k in z.files if k.startswith("param/")
    }
    found = rules.official(self.weights, FAMILY.names, title=FAMILY.title)
    beside = {"config": self.config["model"]}
    self.params, self.settings = family.port(FAMILY, found, beside)
    self.encoder = family.make(FAMILY, self.settings)

  def all(self, mel, **changed):
    """Every array of the network, `[B, ...]`; a clip is a row."""
    module = ced.Ced(**{**self.settings, **changed})
    one = lambda x: module.apply({"params": self.params}, x)
    return jax.vmap(one)(mel)

  def close(self, found, name, index=...):
    want = np.float64(self.z[name])
    gap = np.abs(found - want[index]).max() / want.std()
    assert np.shape(found) == want[index].shape, name
    assert gap < TOLERANCE, (name, gap)

  def head(self, mean):
    """Logits of the published classifier, which is no part of the encoder."""
    weight = lambda name: np.float64(self.weights[f"outputlayer.{name}"])
    x = mean - mean.mean(-1, keepdims=True)
    x /= np.sqrt(np.square(x).mean(-1, keepdims=True) + 1e-5)
    x = x * weight("0.weight") + weight("0.bias")
    return x @ weight("1.weight").T + weight("1.bias")


@pytest.fixture(scope="module")
def case(golden):
  return Case(golden("encoders/ced"))


@pytest.fixture(scope="module")
def main(case):
  """All arrays of the main clips, and tokens as the encoder returns them."""

  @jax.jit
  def run(wave):
    mel = FRONT.apply({}, wave)
    out = {n: case.all(mel)[n] for n in ("normalised", "patch_embed")}
    # The clips of the batch as channels, which do not see each other.
    layers = case.encoder.about.layers
    return mel, out, case.encoder.apply(case.params, mel, layers)

  return run(case.z["waveform"])


@pytest.fixture(scope="module")
def chunks(case, main):
  """Tokens of the main clips in groups of fewer frames."""
  frames = case.config["chunk_case"]["target_length"]
  run = quick.jit(lambda mel: case.all(mel, target_frames=frames)["output"])
  return run(main[0])


def picture(x):
  """`[B, T, M]` as the reference has it, `[B, M, T]`."""
  return np.swapaxes(x, 1, 2)


def bands_first(grid):
  """`[B, T, F, D]` as the reference has it, `[B, F * T, D]`."""
  grid = np.swapaxes(grid, 1, 2)
  return grid.reshape(len(grid), -1, grid.shape[-1])


def grid_of(rows, num_bands=4):
  return rows.reshape(len(rows), -1, num_bands, rows.shape[-1])


def sigmoid(x):
  return 1 / (1 + np.exp(-x))


def test_the_front_end(case, main):
  mel, out, _ = main
  case.close(picture(mel), "frontend_db")
  case.close(picture(out["normalised"])[:, None], "frontend")
  assert mel.shape[1] == FRONT.num_frames(case.z["waveform"].shape[1])
  window = case.weights["front_end.0.spectrogram.window"]
  np.testing.assert_allclose(signal.periodic_hann(512), window, atol=1e-6)
  bank = filterbank.mel_filters("htk", 64, fft_samples=512, sample_rate=16_000)
  want = case.weights["front_end.0.mel_scale.fb"]
  np.testing.assert_allclose(bank, want, atol=1e-5)


def test_the_range_of_decibels_is_the_clips_own(case):
  @quick.jit
  def run(wave):
    power = htk_mel.mel_power(wave)
    # The published code's: one range for the batch.
    joined = filterbank.decibel_in_range(power.reshape(-1, power.shape[-1]))
    return FRONT.apply({}, wave), joined.reshape(power.shape)

  found = run(case.z["waveform_topdb"])
  for mel, kind in zip(found, ("single", "batch"), strict=True):
    want = case.z[f"frontend_db_topdb_{kind}"]
    np.testing.assert_allclose(picture(mel), want, rtol=0, atol=DECIBEL)
  assert np.abs(found[0] - found[1]).max() > 100 * DECIBEL


def test_every_layer(case, main):
  _, out, tokens = main
  grid = grid_of(out["patch_embed"])
  case.close(grid.transpose(0, 3, 2, 1), "patch_embed")
  for i in range(case.settings["depth"]):
    case.close(bands_first(tokens[f"layer_{i + 1}"].grid), f"layer_{i}")
  last = tokens["output"]
  case.close(bands_first(last.grid), "output")
  case.close(last.grid.mean((1, 2)), "embedding")
  assert last.cls is None
  frames = main[0].shape[1]
  assert last.grid.shape[1:3] == case.encoder.about.num_patches(frames)
  depth = case.settings["depth"]
  np.testing.assert_array_equal(tokens[f"normed_{depth}"].grid, last.grid)


def test_bfloat16_is_near(case, main):
  fast = family.make(FAMILY, case.settings, dtype="bfloat16")
  run = quick.jit(
    lambda mel: fast.apply(case.params, mel, ("output",))["output"]
  )
  gap = np.abs(bands_first(run(main[0]).grid) - case.z["output"])
  assert TOLERANCE < gap.mean() / case.z["output"].std() < 0.05


def test_the_published_classifier_agrees(case, main):
  logits = case.head(np.float64(main[2]["output"].grid.mean((1, 2))))
  case.close(logits, "logits")
  case.close(sigmoid(logits), "probs")


def test_frames_beyond_whole_patches_are_dropped(case):
  wave = case.z["waveform_odd"]
  out = quick.jit(lambda w: case.all(FRONT.apply({}, w)))(wave)
  case.close(picture(out["normalised"])[:, None], "frontend_odd")
  grid = grid_of(out["output"])
  frames = FRONT.num_frames(wave.shape[1])
  assert case.encoder.about.num_patches(frames) == grid.shape[1:3]
  case.close(bands_first(grid), "output_odd")
  probs = sigmoid(case.head(np.float64(grid.mean((1, 2)))))
  case.close(probs, "probs_odd")


def test_long_clips_go_in_filled_groups(case, main, chunks):
  want = case.z["tokens_chunk"]
  frames = case.config["chunk_case"]["target_length"]
  size, num = frames // 16, len(main[0])
  grid = grid_of(chunks)
  encoder = family.make(FAMILY, {**case.settings, "target_frames": frames})
  assert encoder.about.num_patches(main[0].shape[1]) == grid.shape[1:3]
  # Of the last group the reference keeps what was filled in, too.
  for i in range(len(want) // num):
    part = grid[:, i * size : (i + 1) * size]
    rows = want[i * num : (i + 1) * num].reshape(num, 4, size, -1)
    kept = rows[:, :, : part.shape[1]].reshape(num, -1, rows.shape[-1])
    # Fewer frames than a patch are none of ours.
    gap = np.abs(bands_first(part) - kept).max(initial=0) / want.std()
    assert gap < TOLERANCE, i


def test_no_group_of_an_exact_multiple_is_left_out(case, chunks):
  """The published code leaves out the last; that holds for probabilities."""
  frames = case.config["chunk_case"]["target_length"]
  samples = case.config["chunk_case"]["exact_samples"]
  size, num = frames // 16, FRONT.num_frames(samples)
  assert num % frames == 0
  first = np.float64(grid_of(chunks)[:, :size].mean((1, 2)))
  case.close(sigmoid(case.head(first)), "probs_chunk_exact")
  encoder = family.make(FAMILY, {**case.settings, "target_frames": frames})
  assert encoder.about.num_patches(num) == (num // frames * size, 4)


def test_ten_seconds_of_every_layer(case):
  layers = [f"normed_{i + 1}" for i in range(case.settings["depth"])]
  pool = jax.vmap(pooling.mean_parts_flat)

  @quick.jit
  def run(wave):
    out = case.encoder.apply(case.params, FRONT.apply({}, wave), (*layers,))
    return jnp.stack([pool(out[n].grid) for n in layers])

  case.close(run(formula_clips(case.config["rv10"])), "rv10_pooled")
  assert case.encoder.about.num_patches(FRONT.num_frames(160_000)) == (62, 4)


def test_parts_of_time_are_as_equal_as_patches_allow():
  grid = np.arange(5.0)[:, None, None] * np.ones((1, 2, 1))
  found = pooling.mean_parts_flat(grid)
  np.testing.assert_array_equal(found, [0.5, 3.0, 0.5, 3.0])
  with pytest.raises(ValueError, match="found 6 parts of 5 time patches"):
    pooling.mean_parts_flat(grid, num_parts=6)


def test_groups_beyond_the_table_are_refused(case):
  most = case.settings["num_positions"] * 16
  told = f"CED: found target_frames {most + 16}, expected 16 to {most} "
  with pytest.raises(ValueError, match=told):
    family.make(FAMILY, {**case.settings, "target_frames": most + 16})
  with pytest.raises(ValueError, match="CED: found 15 frames, expected 16"):
    case.encoder.about.num_patches(15)
  # 16 s: a whole group and a part of the next.
  assert FAMILY(size="tiny").about.num_patches(1601) == (63 + 36, 4)
