"""DaSheng against the published package, every intermediate."""

import json

import jax
import numpy as np
import pytest

from asd_jax.encoders import dasheng, family
from asd_jax.frontends import htk_mel
from asd_jax.ops import filterbank
from asd_jax.weights import rules
from tests import quick

pytestmark = pytest.mark.golden

FAMILY = dasheng.FAMILY

TOLERANCE = 1e-4  # of the standard deviation of the reference
DECIBEL = 0.05
HOP, PATCH = 160, 4
FRONT = htk_mel.dasheng_mel()


class Case:
  """The golden arrays and the encoder with their weights."""

  def __init__(self, z):
    self.z = z
    self.config = json.loads(str(z["config_json"]))
    weights = {
      k.removeprefix("param/"): z[k] for k in z.files if k.startswith("param/")
    }
    found = rules.official(weights, FAMILY.names, title=FAMILY.title)
    beside = {"config": self.config["model"]}
    self.params, self.settings = family.port(FAMILY, found, beside)
    self.encoder = family.make(FAMILY, self.settings)

  def all(self, mel, keep=None, **changed):
    """Every array of the network, `[B, ...]`."""
    module = dasheng.Dasheng(**{**self.settings, **changed})

    def one(x, mask):
      return module.apply({"params": self.params}, x, keep=mask)

    axes = (0, None if keep is None else 0)
    return jax.vmap(one, in_axes=axes)(mel, keep)

  def grid(self, mel):
    """What the encoder returns; clips as channels do not see each other."""
    found = self.encoder.apply(self.params, mel, ("output",))["output"]
    assert found.cls is None
    return found.grid  # [B, T, 1, D]

  def close(self, found, name):
    want = np.float64(self.z[name])
    gap = np.abs(found - want).max() / want.std()
    assert np.shape(found) == want.shape, name
    assert gap < TOLERANCE, (name, gap)


@pytest.fixture(scope="module")
def case(golden):
  return Case(golden("encoders/dasheng"))


@pytest.fixture(scope="module")
def main(case):
  """Of the main clips: our front end, every array, and the encoder's grid."""

  @jax.jit
  def run(wave):
    mel = FRONT.apply({}, wave)
    return mel, case.all(mel), case.grid(mel)

  return run(case.z["waveform"])


@pytest.fixture(scope="module")
def mel(main):
  return main[0]


@pytest.fixture(scope="module")
def odd(case):
  """The same of clips of another length."""

  @quick.jit
  def run(wave):
    mel = FRONT.apply({}, wave)
    return mel, case.all(mel)["normalised"], case.grid(mel)

  return run(case.z["waveform_odd"])


def picture(x):
  """`[B, T, M]` as the reference has it, `[B, M, T]`."""
  return np.swapaxes(x, 1, 2)


def test_the_front_end(case, main, odd):
  mel, out, _ = main
  case.close(picture(mel), "frontend_db")
  case.close(picture(out["normalised"])[:, None], "frontend")
  case.close(picture(odd[1])[:, None], "frontend_odd")
  for name, found in (("waveform", mel), ("waveform_odd", odd[0])):
    assert found.shape[1] == FRONT.num_frames(case.z[name].shape[1])


def test_the_range_of_decibels_is_the_clips_own(case):
  @quick.jit
  def run(wave):
    power = htk_mel.mel_power(wave)
    # The package's: one range for the batch.
    joined = filterbank.decibel_in_range(power.reshape(-1, power.shape[-1]))
    return FRONT.apply({}, wave), joined.reshape(power.shape)

  found = run(case.z["waveform_topdb"])
  for kind, one in zip(("single", "batch"), found, strict=True):
    want = case.z[f"frontend_db_topdb_{kind}"]
    np.testing.assert_allclose(picture(one), want, rtol=0, atol=DECIBEL)


def test_every_layer(case, main):
  out = main[1]
  case.close(picture(out["patch_embed"])[:, :, None], "patch_embed")
  for i in range(case.settings["depth"]):
    case.close(out[f"layer_{i + 1}"], f"layer_{i}")
  case.close(out["output"], "output")


def test_tokens_by_the_encoder(case, main, odd):
  mel, _, grid = main
  assert grid.shape[1:3] == case.encoder.about.num_patches(mel.shape[1])
  case.close(grid[:, :, 0], "output")
  case.close(np.mean(grid, (1, 2)), "embedding")
  case.close(odd[-1][:, :, 0], "output_odd")


def test_tokens_beyond_a_clip_are_masked(case, mel):
  valid = case.z["x_length"] // (HOP * PATCH)
  keep = np.arange(case.z["output"].shape[1])[None] < valid[:, None]
  assert not keep.all()
  case.close(quick.jit(case.all)(mel, keep)["output"], "output_masked")


def test_long_clips_go_in_groups(case, mel):
  """The repository fills the last one after the norm and cuts the tokens."""
  size = case.config["chunk_case"]["target_length"]
  rest = mel.shape[1] % size
  norm = case.params["input_norm"]
  # dB that the norm brings to zero.
  zero = norm["mean"] - norm["bias"] / norm["scale"] * np.sqrt(
    norm["var"] + 1e-5
  )
  fill = np.broadcast_to(zero, (len(mel), size - rest, mel.shape[-1]))
  both = (mel, np.concatenate([mel, fill], 1))
  run = lambda mels: [case.all(m, target_frames=size)["output"] for m in mels]
  found, filled = quick.jit(run)(both)
  case.close(found, "output_chunk")
  # A rest of less than a patch is not cut off: a whole group of zeros stays.
  last = rest // PATCH or (size // PATCH if rest else 0)
  num = (mel.shape[1] - rest) // PATCH + last
  case.close(filled[:, :num], "output_chunk_github")


def formula_clips(c):
  """The 10 s clips that the golden file describes instead of storing."""
  n = np.arange(c["samples"], dtype=np.uint64)
  t = n / 16_000.0
  h = n * 2654435761 % 2**32
  h = (h ^ (h >> 15)) * 2246822519 % 2**32
  noise = (h ^ (h >> 13)) / 2**32 - 0.5
  chirp = np.sin(2 * np.pi * (c["f0"] * t + c["k"] * t**2))
  bursts = np.sin(2 * np.pi * c["f1"] * t) * (np.floor(c["g"] * t) % 2)
  first = c["a0"] * chirp + c["a1"] * bursts + c["nz"] * noise
  second = np.where(n < 96_000, 0.5 * first, 0.0)
  return np.stack([first, second]).astype(np.float32)


def test_ten_seconds(case):
  waves = formula_clips(case.config["rv10"])
  run = quick.jit(lambda w: case.all(FRONT.apply({}, w))["output"].mean(1))
  case.close(run(waves), "rv10_pooled")


def test_bfloat16_is_near(case, mel):
  fast = family.make(FAMILY, case.settings, dtype="bfloat16")
  one = lambda x: fast.apply(case.params, x, ("output",))["output"].grid
  gap = np.abs(quick.jit(one)(mel)[:, :, 0] - case.z["output"])
  assert TOLERANCE < gap.mean() / case.z["output"].std() < 0.05


def test_groups_beyond_the_table_are_refused(case):
  most = case.settings["num_positions"] * PATCH
  told = f"target_frames {most + PATCH}, expected {PATCH} to {most} "
  with pytest.raises(ValueError, match=told):
    family.make(FAMILY, {**case.settings, "target_frames": most + PATCH})
  with pytest.raises(ValueError, match="DaSheng: found 3 frames, expected 4"):
    case.encoder.about.num_patches(3)
