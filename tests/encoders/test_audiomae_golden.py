"""AudioMAE against the official code, every intermediate and every mistake."""

import json

import jax
import numpy as np
import pytest

from asd_jax.encoders import audiomae, family, transformer
from asd_jax.frontends import kaldi
from asd_jax.weights import rules
from tests import quick

pytestmark = pytest.mark.golden

FRONTEND, TOKENS = 5e-4, 3e-4
DEVIATION = 4.5689974


def ported(known, weights, heads):
  """Parameters and settings; no file tells the number of heads."""
  found = rules.official(weights, known.names, title=known.title)
  params, settings = family.port(known, found, {})
  assert settings["num_heads"] in (None, heads)
  return params, {**settings, "num_heads": heads}


def weights_of(z, head="param/"):
  return {k.removeprefix(head): z[k] for k in z.files if k.startswith(head)}


class Case:
  """The golden arrays and the encoder with their weights."""

  def __init__(self, z):
    self.z = z
    self.config = json.loads(str(z["config_json"]))
    self.heads = self.config["num_heads"]
    weights = weights_of(z)
    self.params, self.settings = ported(audiomae.FAMILY, weights, self.heads)
    self.encoder = family.make(audiomae.FAMILY, self.settings)
    last = self.settings["depth"] - 1 - self.config["contextual_depth"]
    module = audiomae.AudioMae(**self.settings, num_contextual=last)
    run = lambda params, x: module.apply({"params": params}, x)
    # One program for all tests: `[B, frames, 128]` to every array.
    self.run = jax.jit(jax.vmap(run, in_axes=(None, 0)))

  def frontend(self, wave):
    front = kaldi.audiomae_fbank(num_frames=self.config["target_length"])
    options = quick.OPTIONS if wave.endswith("odd") else {}
    run = jax.jit(lambda w: front.apply({}, w), compiler_options=options)
    out = run(self.z[wave])
    assert out.shape[1] == front.num_frames(self.z[wave].shape[1])
    return out

  def gap(self, found, name):
    want = self.z[name]
    assert np.shape(found) == want.shape, name
    return np.abs(np.asarray(found) - want).max()


@pytest.fixture(scope="module")
def case(golden):
  return Case(golden("encoders/audiomae"))


@pytest.fixture(scope="module")
def found(case):
  return case.run(case.params, case.z["frontend"])


def test_the_front_end_fills_and_cuts(case):
  for name in ("", "_odd"):
    out = case.frontend(f"waveform{name}")
    assert case.gap(out, f"frontend{name}") < FRONTEND


def test_every_layer(case, found):
  names = {"patch_embed": "patch_embed", "layer_0": "block_input"}
  for i in range(case.settings["depth"]):
    names[f"layer_{i + 1}"] = f"layer_{i}"
  names |= {"output": "output", "contextual": "output_contextual"}
  for layer, name in names.items():
    assert case.gap(found[layer], name) < TOKENS, name


def test_tokens_from_the_waveform(case):
  assert case.encoder.about.num_patches(case.config["target_length"]) == tuple(
    case.z["patch_grid"]
  )
  for name in ("", "_odd"):
    out = case.run(case.params, case.frontend(f"waveform{name}"))["output"]
    assert case.gap(out, f"output{name}") < TOKENS


def test_bfloat16_is_near(case):
  fast = family.make(audiomae.FAMILY, case.settings, dtype="bfloat16")
  run = lambda x: fast.apply(case.params, x, ("output",))["output"]
  found = quick.jit(run)(case.z["frontend"])
  want = case.z["output"]
  grid = np.reshape(found.grid, (len(want), -1, want.shape[2]))
  rows = np.concatenate([found.cls.reshape(len(want), 1, -1), grid], axis=1)
  assert TOKENS < np.abs(rows - want).mean() / want.std() < 0.05


def swapped_heads(kernel, heads):
  """What is taken for q, k, v if heads were the outer axis."""
  parts = kernel.reshape(*kernel.shape[:-1], heads, 3, -1)
  return np.swapaxes(parts, -3, -2).reshape(kernel.shape)


def change(params, path, how):
  """A copy of the parameters with one changed."""
  name, _, rest = path.partition("/")
  inner = params[name]
  return {**params, name: change(inner, rest, how) if rest else how(inner)}


def mistakes(case):
  """By name: the parameters and the bands of a port that has it."""
  params, fbank = case.params, case.z["frontend"]
  s, table = case.settings, case.settings["num_positions"]
  columns = case.config["target_length"] // 16
  regular = transformer.sincos_positions(table - 1, s["width"], 8)
  generated = audiomae.sincos_positions(table, s["width"])
  assert columns == (table - 1) // 8
  qkv = lambda how: change(params, "blocks_0/attn/qkv/kernel", how)
  scale = np.ones(3 * s["width"], np.float32)
  scale[: s["width"]] = case.heads**-0.5
  missing = np.isclose(fbank, 4.2677393 / (2 * DEVIATION), atol=1e-6)
  missing = missing.all(2, keepdims=True)
  silent = (np.log(np.finfo(np.float32).eps) + 4.2677393) / (2 * DEVIATION)
  positions = lambda rows: {**params, "positions": rows[None]}
  first = params["positions"][0].copy()
  first[0] = 0
  filled = {
    "frames filled after the normalisation": (
      params,
      np.where(missing, 0, fbank),
    ),
    "the waveform filled": (params, np.where(missing, silent, fbank)),
  }
  return (filled if missing.any() else {}) | {
    "positions made anew": (positions(generated), fbank),
    "positions of time and band": (
      positions(np.concatenate([first[:1], regular])),
      fbank,
    ),
    "CLS without its position": (positions(first), fbank),
    "heads outside q, k, v": (
      qkv(lambda kernel: swapped_heads(kernel, case.heads)),
      fbank,
    ),
    "attention scaled by the width": (qkv(lambda k: k * scale), fbank),
    "full scale of 16 bits": (params, fbank + 15 * np.log(2) / DEVIATION),
    "the deviation once": (params, 2 * fbank),
    "bands for time": (params, fbank[:, ::-1]),
  }


def test_mistakes_show(case, found):
  for name, (params, fbank) in mistakes(case).items():
    out = case.run(params, np.float32(fbank))["output"]
    assert case.gap(out, "output") > 100 * TOKENS, name


def test_the_generated_table_is_that_of_the_other_grid(case):
  want = case.z["pos_embed_sincos_init"]
  _, rows, width = want.shape
  made = audiomae.sincos_positions(rows, width)
  # The reference computes the angles in float32.
  assert case.gap(made[None], "pos_embed_sincos_init") < 2e-5
  regular = transformer.sincos_positions(rows - 1, width, 8)
  # Of 128 frames both grids are 8 x 8.
  assert np.abs(made[1:] - regular).max() > 1 or rows == 1 + 8 * 8


def test_the_fine_tuned_network(case):
  known, z = audiomae.FINETUNED, case.z
  extra = weights_of(z, "param_finetuned/")
  weights = {n: x for n, x in weights_of(z).items() if n[:5] != "norm."}
  params, settings = ported(known, {**weights, **extra}, case.heads)
  encoder = family.make(known, settings)
  layers = (f"layer_{settings['depth']}", "output", "pooled")
  run = lambda x: encoder.apply(params, x, layers)
  out = quick.jit(run)(z["frontend"])
  pooled = np.asarray(out["pooled"].grid[:, 0, 0])  # [B, D]
  assert out["pooled"].cls is None
  assert case.gap(pooled, "output_pooled_finetuned") < TOKENS
  logits = pooled @ extra["head.weight"].T + extra["head.bias"]
  assert case.gap(logits, "logits_finetuned") < TOKENS
  # Its tokens have no norm, and are those of the pre-trained network here.
  want = z[f"layer_{settings['depth'] - 1}"]
  tokens, (rows, bands) = out["output"], z["patch_grid"]
  np.testing.assert_allclose(tokens.cls, want[:, 0], rtol=0, atol=TOKENS)
  assert tokens.grid.shape[1:3] == (rows, bands)
  # Token 8 t + f is time patch t, band f.
  grid = want[:, 1:].reshape(tokens.grid.shape)
  np.testing.assert_allclose(tokens.grid, grid, rtol=0, atol=TOKENS)
  np.testing.assert_array_equal(tokens.grid, out[layers[0]].grid)
  # With the norm of pre-training before the mean it is another vector.
  norm = extra["fc_norm.weight"], extra["fc_norm.bias"]
  mean = z["output"][:, 1:].mean(1)
  centred = mean - mean.mean(1, keepdims=True)
  wrong = centred / np.sqrt(centred.var(1, keepdims=True) + 1e-6)
  assert case.gap(wrong * norm[0] + norm[1], "output_pooled_finetuned") > 0.01


def test_pre_trained_and_fine_tuned_files_are_told_apart(case):
  extra = weights_of(case.z, "param_finetuned/")
  weights = weights_of(case.z)
  with pytest.raises(ValueError, match="without a norm, which .*finetuned"):
    ported(audiomae.FAMILY, {**weights, **extra}, case.heads)
  with pytest.raises(ValueError, match=r"expected AudioMAE fine-tuned"):
    ported(audiomae.FINETUNED, weights, case.heads)
  del weights["norm.weight"]
  with pytest.raises(ValueError, match="found no weights for norm/scale"):
    ported(audiomae.FAMILY, weights, case.heads)


def test_longer_clips_than_the_table_are_refused(case):
  most = case.config["target_length"]
  num_patches = case.encoder.about.num_patches
  assert num_patches(most + 15) == tuple(case.z["patch_grid"])
  with pytest.raises(ValueError, match=f"AudioMAE: .* at most {most}"):
    num_patches(most + 16)
