"""FISHER against the published code, every intermediate."""

import json

import jax
import numpy as np
import pytest

from asd_jax.encoders import family, fisher, transformer
from asd_jax.frontends import linear
from asd_jax.weights import rules
from tests import quick

pytestmark = pytest.mark.golden

FAMILY = fisher.FAMILY
FRONTEND, TOKENS, MIDDLE, WHOLE = 5e-3, 5e-5, 1e-3, 1e-4
RATE = 16_000


class Case:
  """The golden arrays and the encoder with their weights."""

  def __init__(self, z):
    self.z = z
    self.config = json.loads(str(z["config_json"]))
    weights = {
      k.removeprefix("param/"): z[k] for k in z.files if k.startswith("param/")
    }
    found = rules.official(weights, FAMILY.names, title=FAMILY.title)
    image = {k: self.config[k] for k in ("band_width", "flatten")}
    model = {**self.config, "modalities": {"image": image}}
    beside = {"cfg": {"model": model}}
    self.params, self.settings = family.port(FAMILY, found, beside)
    self.encoder = family.make(FAMILY, self.settings)
    self.last = f"layer_{self.settings['depth']}"

  def tokens(self, spectrum, layers):
    """Tokens by layer; the clips of the batch as channels."""
    return self.encoder.apply(self.params, spectrum, layers)

  def embedding(self, wave, rate=RATE, **settings):
    """`[B, P * D]` of waveforms, and the shape of the spectra."""
    front = linear.fisher_spectrum(sample_rate=rate, **settings)
    run = quick.jit(
      lambda w: self.tokens(front.apply({}, w), ("output",))["output"].cls
    )
    shape = jax.eval_shape(lambda w: front.apply({}, w), wave).shape
    assert shape[1] == front.num_frames(wave.shape[1])
    return run(wave), shape[1:]

  def close(self, found, name, atol):
    want = self.z[name]
    np.testing.assert_allclose(found, want, rtol=0, atol=atol, err_msg=name)


def rows_of(tokens, num_parts):
  """`[B * P, 1 + L, D]` with CLS first, as the reference has them."""
  grid, cls, _ = tokens
  num, time, bands, width = grid.shape
  grid = grid.reshape(num, time, num_parts, bands // num_parts, width)
  grid = grid.transpose(0, 2, 1, 3, 4).reshape(num * num_parts, -1, width)
  return np.concatenate([cls.reshape(-1, 1, width), grid], axis=1)


@pytest.fixture(scope="module")
def case(golden):
  return Case(golden("encoders/fisher"))


@pytest.fixture(scope="module")
def main(case):
  """Spectra of the main clips; what the network makes of golden ones and ours.

  The two are clips of one batch, so that there is one program.
  """
  front = linear.fisher_spectrum()
  module = fisher.Fisher(**case.settings)
  width = FAMILY.input.num_mels

  @jax.jit
  def run(spectra):
    flat = spectra.reshape(-1, *spectra.shape[2:])
    part = lambda x: module.apply({"params": case.params}, x)["patch_embed"]
    some = [
      flat[..., i : i + width] for i in range(0, flat.shape[2] - 1, width)
    ]
    out = case.tokens(flat, case.encoder.about.layers)
    return out, [jax.vmap(part)(x) for x in some if x.shape[2] == width]

  found = jax.jit(lambda w: front.apply({}, w))(case.z["waveform"])
  out, patches = run(np.stack([case.z["frontend"], found]))
  half = len(found)
  golden, ours = (
    jax.tree.map(lambda x, s=s: np.asarray(x[s]), out)
    for s in (slice(half), slice(half, None))
  )
  return found, golden, ours, [p[:half] for p in patches]


def test_the_front_end(case, main):
  case.close(main[0], "frontend", FRONTEND)


def test_every_layer_from_the_golden_front_end(case, main):
  _, out, _, patches = main
  parts = len(patches)
  stacked = np.stack(patches, axis=1)  # [B, P, L, D]
  case.close(stacked.reshape(-1, *stacked.shape[2:]), "patch_embed", TOKENS)
  case.close(rows_of(out["layer_0"], parts), "pre_norm", TOKENS)
  for i in range(case.settings["depth"]):
    case.close(rows_of(out[f"layer_{i + 1}"], parts), f"layer_{i}", TOKENS)
  case.close(out["output"].cls, "output", TOKENS)
  time, bands = case.encoder.about.num_patches(main[0].shape[1])
  assert out["output"].grid.shape[1:3] == (time, parts * bands)


def test_every_layer_from_the_waveform(case, main):
  _, _, out, patches = main
  case.close(rows_of(out["layer_0"], len(patches)), "pre_norm", MIDDLE)
  for i in range(case.settings["depth"]):
    found = rows_of(out[f"layer_{i + 1}"], len(patches))
    case.close(found, f"layer_{i}", MIDDLE)
  case.close(out[case.last].cls, "output", WHOLE)


def test_bfloat16_is_near(case, main):
  fast = family.make(FAMILY, case.settings, dtype="bfloat16")
  run = quick.jit(lambda x: fast.apply(case.params, x, (case.last,))[case.last])
  rows = rows_of(run(case.z["frontend"]), len(main[3]))
  want = case.z[f"layer_{case.settings['depth'] - 1}"]
  assert TOKENS < np.abs(rows - want).mean() / want.std() < 0.05


@pytest.mark.parametrize(
  ("name", "rate"), [("odd", RATE), ("22050", 22_050), ("4000", 4000)]
)
def test_other_lengths_and_rates(case, name, rate):
  found, shape = case.embedding(case.z[f"waveform_{name}"], rate)
  case.close(found, f"output_{name}", WHOLE)
  stored = f"frontend_{name}_frames_bins"
  if stored in case.z.files:
    frames, bins = case.z[stored]
    # Longer clips are cut, and fewer bins than a part are filled up.
    assert shape == (min(frames, 1024), max(bins, FAMILY.input.num_mels))
  if f"tokens_{name}" in case.z.files:
    count = np.prod(case.encoder.about.num_patches(shape[0]))
    assert 1 + count == case.z[f"tokens_{name}"]


def test_ten_seconds(case):
  wave = case.z["waveform"]
  long = np.stack([np.resize(row, 10 * RATE) for row in wave])
  front = linear.fisher_spectrum(seconds=10.0)
  run = quick.jit(
    lambda w: case.tokens(front.apply({}, w), ("output",))["output"].cls
  )
  case.close(run(long), "embedding10s", WHOLE)
  # What follows the end of a clip is rounding noise, see the front end.
  filled = np.pad(wave, [(0, 0), (0, 10 * RATE - wave.shape[1])])
  case.close(run(filled), "embedding10s_zeropad", 0.3)


def test_frames_filled_as_in_the_authors_benchmark(case):
  found, _ = case.embedding(case.z["waveform"], num_frames=1024)
  case.close(found, "output_pad1024", WHOLE)


def test_the_table_of_positions(case):
  want = case.z["sincos_positions"]
  found = transformer.sincos_positions(*want.shape, case.config["max_freq"])
  # The reference computes the angles in float32.
  case.close(found, "sincos_positions", 2e-5)


def test_lengths_are_checked_on_the_host(case):
  most = case.settings["num_positions"] // 6 * 16
  num_patches = case.encoder.about.num_patches
  assert num_patches(most + 15) == (most // 16, 6)
  with pytest.raises(ValueError, match=f"FISHER: .* at most {most}"):
    num_patches(most + 16)
  with pytest.raises(ValueError, match="FISHER: found 99 bands, expected 100"):
    case.tokens(np.zeros((1, 32, 99), np.float32), ("output",))
