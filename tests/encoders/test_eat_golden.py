"""EAT and SSLAM against the official code, every intermediate."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from asd_jax.encoders import eat, family, transformer
from asd_jax.frontends import kaldi
from asd_jax.ops import filterbank, pooling
from asd_jax.weights import rules
from tests import quick

pytestmark = pytest.mark.golden

FRONTEND, TOKENS, WHOLE = 2e-4, 5e-5, 1e-4
FAMILIES = {f.name: f for f in (eat.FAMILY, eat.SSLAM)}


class Case:
  """The golden arrays of a family and its encoder with their weights."""

  def __init__(self, name, z):
    self.z, self.name = z, name
    self.config = json.loads(str(z["config_json"]))
    weights = {
      k.removeprefix("param/"): z[k] for k in z.files if k.startswith("param/")
    }
    known = FAMILIES[name]
    found = rules.official(weights, known.names, title=known.title)
    beside = {"cfg": {"model": self.config}}
    self.params, self.settings = family.port(known, found, beside)
    self.encoder = family.make(known, self.settings)
    self.module = eat.Eat(**self.settings)
    self.last = f"layer_{self.module.depth}"

  def frontends(self, wave, *fronts):
    """`[B, T, M]` of one waveform by several front ends."""
    found = [front.apply({}, wave) for front in fronts]
    for front, out in zip(fronts, found, strict=True):
      assert out.shape[1] == front.num_frames(wave.shape[1])
    return found

  def tokens(self, fbank, layers=("output",)):
    """Grid `[B, T, F, D]` and CLS `[B, D]` by layer; clips as channels."""
    return self.encoder.apply(self.params, fbank, layers)

  def close(self, found, name, atol, *, index=...):
    want = self.z[name][index]
    np.testing.assert_allclose(found, want, rtol=0, atol=atol, err_msg=name)


def whole(encoded, layer="output"):
  """`[B, 1 + L, D]` with CLS first."""
  grid, cls, _ = encoded[layer]
  rest = np.reshape(grid, (len(grid), -1, grid.shape[-1]))
  return np.concatenate([cls[:, None], rest], axis=1)


def pooled(encoded, layer="output"):
  out = jax.vmap(pooling.mean_time)(encoded[layer].grid)
  return out.reshape(len(out), -1)


@pytest.fixture(scope="module", params=FAMILIES)
def case(request, golden):
  return Case(request.param, golden(f"encoders/{request.param}"))


@pytest.fixture(scope="module")
def main(case):
  """Of the main clips: our front end, and tokens of both front ends."""
  front = kaldi.eat_fbank(num_frames=case.config["target_length"])
  layers = case.encoder.about.layers

  @jax.jit
  def run(wave, fbank):
    (own,) = case.frontends(wave, front)
    found = case.tokens(fbank, layers)
    return own, found, pooled(found), case.tokens(own)

  return run(case.z["waveform"], case.z["frontend"])


@pytest.fixture(scope="module")
def odd(case):
  """Of the clip of another length: front ends, the last of any frames."""
  fronts = (
    kaldi.eat_fbank(num_frames=case.config["target_length"]),
    kaldi.eat_fbank(),
    kaldi.eat_fbank(multiple=32),
    kaldi.eat_fbank(multiple=1),
  )
  return quick.jit(lambda w: case.frontends(w, *fronts))(case.z["waveform_odd"])


def test_window_and_filters(case):
  case.close(filterbank.kaldi_window(400, window="hanning"), "window", 1e-6)
  bank = filterbank.kaldi_filters(128, fft_samples=512, sample_rate=16_000)
  case.close(bank.T, "mel_filterbank", 1.2e-5)


def test_the_front_end(case, main, odd):
  case.close(main[0], "frontend", FRONTEND)
  case.close(odd[0], "frontend_odd", FRONTEND)
  frames = odd[-1].shape[1]
  assert frames == case.z["n_frames_odd"]
  count = np.prod(case.encoder.about.num_patches(frames))
  assert 1 + count == case.z["output_odd_valid_tokens"]


def test_every_layer_from_the_golden_front_end(case, main):
  run = jax.vmap(lambda x: case.module.apply({"params": case.params}, x))
  out = quick.jit(run)(case.z["frontend"])
  case.close(out["patch_embed"], "patch_embed", TOKENS)
  case.close(out["layer_0"], "pre_norm", TOKENS)
  for i in range(case.module.depth):
    case.close(out[f"layer_{i + 1}"], f"layer_{i}", TOKENS)
  _, found, pool, _ = main
  for i in range(case.module.depth):
    case.close(whole(found, f"layer_{i + 1}"), f"layer_{i}", TOKENS)
  case.close(whole(found), "output", TOKENS)
  case.close(whole(found, case.last), "output", TOKENS)
  case.close(whole(found, "layer_0"), "pre_norm", TOKENS)
  case.close(found["output"].cls, "cls", TOKENS)
  case.close(pool, "pooled_time", TOKENS)


def test_tokens_from_the_waveform(case, main):
  case.close(whole(main[-1]), "output", WHOLE)


def test_other_lengths(case, odd):
  run = quick.jit(lambda x: [case.tokens(fbank) for fbank in x])
  as_main, by_16, by_32 = run(odd[:3])
  case.close(whole(as_main), "output_odd", WHOLE)
  case.close(whole(by_16), "output_odd_pad16", WHOLE)
  case.close(by_32["output"].cls, "output_odd_pad32_cls", WHOLE)
  case.close(quick.jit(pooled)(by_32), "output_odd_pad32_pooled", WHOLE)


def test_ten_seconds_of_every_layer(case):
  layers = [f"layer_{i + 1}" for i in range(case.module.depth)]
  fronts = (
    kaldi.eat_fbank(num_frames=1024),
    kaldi.eat_fbank(num_samples=160_000, num_frames=1024),
  )

  @quick.jit
  def run(wave):
    both = jnp.concatenate(case.frontends(wave, *fronts))
    found = case.tokens(both, (*layers, "output"))
    cls = [found[n].cls for n in layers]
    return pooled(found), [pooled(found, n) for n in layers], cls

  wave = case.z["waveform"]
  output, each, cls = run(wave)
  num = len(wave)
  case.close(output[:num], "pooled1024", WHOLE)
  for i in range(len(layers)):
    case.close(each[i][num:], "pooled10s_layers", WHOLE, index=i)
    case.close(cls[i][num:], "cls10s_layers", WHOLE, index=i)


def test_the_table_of_positions(case):
  want = case.z["sincos_positions"]
  # The reference computes the angles in float32.
  found = transformer.sincos_positions(*want.shape, eat.Eat.columns)
  case.close(found, "sincos_positions", 2e-5)


def test_bfloat16_is_near(case):
  fast = FAMILIES[case.name](size=case.settings, dtype="bfloat16")
  one = lambda x: fast.apply(case.params, x, ("output",))  # clips as channels
  found = whole(quick.jit(one)(case.z["frontend"]))
  gap = np.abs(found - case.z["output"])
  assert TOKENS < gap.mean() < 0.05


def test_lengths_are_checked_on_the_host(case):
  most = case.module.num_positions * 2
  num_patches = case.encoder.about.num_patches
  assert num_patches(16) == (1, 8)
  assert num_patches(most + 15) == (most // 16, 8)
  title = case.name.upper()
  with pytest.raises(ValueError, match=f"{title}: found 15 frames, .*16"):
    num_patches(15)
  with pytest.raises(ValueError, match=f"{title}: .* at most {most}"):
    num_patches(most + 16)
  with pytest.raises(ValueError, match=f"{title}: found layers"):
    case.tokens(case.z["frontend"], ("layer_x",))
  assert case.encoder.about.shapes() == {
    path: leaf.shape
    for path, leaf in traverse_util.flatten_dict(case.params, sep="/").items()
  }
