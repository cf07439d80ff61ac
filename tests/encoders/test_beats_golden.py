"""BEATs against the official code, every intermediate."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asd_jax.encoders import beats, family
from asd_jax.frontends import kaldi
from asd_jax.weights import rules
from tests import quick

pytestmark = pytest.mark.golden

FAMILY = beats.FAMILY

FRONTEND, TOKENS = 5e-4, 3e-4
FRONT = kaldi.beats_fbank()


class Case:
  """The golden arrays and the encoder with their weights."""

  def __init__(self, z):
    self.z = z
    self.config = json.loads(str(z["config_json"]))
    weights = {
      k.removeprefix("param/"): z[k] for k in z.files if k.startswith("param/")
    }
    found = rules.official(weights, FAMILY.names, title=FAMILY.title)
    self.params, self.settings = family.port(
      FAMILY, found, {"cfg": self.config}
    )
    self.encoder = family.make(FAMILY, self.settings)
    self.module = beats.Beats(**self.settings)

  def all(self, fbank, padding=None):
    """Every array of the network, `[B, ...]`."""

    def one(x, pad):
      return self.module.apply({"params": self.params}, x, padding=pad)

    axes = (0, None if padding is None else 0)
    return jax.vmap(one, in_axes=axes)(fbank, padding)

  def tokens(self, fbank):
    """`[B, L, D]`; the encoder takes clips as channels."""
    found = self.encoder.apply(self.params, fbank, ("output",))
    grid = found["output"].grid
    return grid.reshape(len(grid), -1, grid.shape[-1])

  def close(self, found, name, atol=TOKENS, *, index=...):
    want = self.z[name][index]
    np.testing.assert_allclose(found, want, rtol=0, atol=atol, err_msg=name)


@pytest.fixture(scope="module")
def case(golden):
  return Case(golden("encoders/beats"))


@pytest.fixture(scope="module")
def main(case):
  """Our front end, tokens from it, every array from the golden front end."""

  @jax.jit
  def run(wave, fbank):
    own = FRONT.apply({}, wave)
    return own, case.tokens(own), case.all(fbank)

  return run(case.z["waveform"], case.z["frontend"])


@pytest.fixture(scope="module")
def odd(case):
  """Front end and tokens of another length."""

  @quick.jit
  def run(wave):
    own = FRONT.apply({}, wave)
    return own, case.tokens(own)

  return run(case.z["waveform_odd"])


def test_the_settings_are_those_of_the_file(case):
  c, s = case.config, case.settings
  assert s["num_heads"] == c["encoder_attention_heads"]
  assert s["depth"] == c["encoder_layers"]
  assert s["hidden"] == c["encoder_ffn_embed_dim"]
  assert (s["width"], s["embed_width"]) == (
    c["encoder_embed_dim"],
    c["embed_dim"],
  )
  assert (s["num_taps"], s["num_groups"]) == (
    c["conv_pos"],
    c["conv_pos_groups"],
  )
  assert (s["num_buckets"], s["max_distance"]) == (
    c["num_buckets"],
    c["max_distance"],
  )


def test_the_front_end(case, main, odd):
  for name, found in (("", main[0]), ("_odd", odd[0])):
    case.close(found, f"frontend{name}", FRONTEND)
    num = case.z[f"waveform{name}"].shape[1]
    assert found.shape[1] == FRONT.num_frames(num)


def test_every_layer_from_the_golden_front_end(case, main):
  out = main[-1]
  case.close(out["patch_embed_conv"], "patch_embed_conv")
  case.close(out["patch_embed"], "patch_embed")
  case.close(out["pos_conv"], "pos_conv_out")
  case.close(out["layer_0"], "layer_input")
  for i in range(case.module.depth):
    case.close(out[f"layer_{i + 1}"], f"layer_{i}")
  case.close(out["output"], "output")
  case.close(out["position_bias"][0], "position_bias", 1e-6)
  grid = case.encoder.about.num_patches(case.z["frontend"].shape[1])
  assert grid == tuple(case.z["patch_grid"])


def test_tokens_from_the_waveform(case, main, odd):
  case.close(main[1], "output")
  case.close(odd[1], "output_odd")


@pytest.mark.parametrize("name", ["rel_bucket_by_offset", "rel_bucket_320_800"])
def test_buckets_of_relative_positions(case, name):
  want = case.z[name]
  most = len(want) // 2
  settings = {k: case.settings[k] for k in ("num_buckets", "max_distance")}
  if name == "rel_bucket_320_800":
    settings = {}
  found = beats.relative_buckets(np.arange(-most, most + 1), **settings)
  np.testing.assert_array_equal(found, want)


def groups_all(mask, num):
  """Cuts `[N]` into `num` equal groups, True where all of a group is."""
  size = mask.shape[0] // num
  return jnp.all(mask[: size * num].reshape(num, size), axis=1)


def token_padding(padding, num_frames, num_tokens):
  """Brings a mask of samples to frames and tokens, as the published code does.

  A token takes those of neighbouring frames, whatever its time and band.
  """
  frames = groups_all(padding, num_frames)
  return frames, groups_all(frames, num_tokens)


def class_probabilities(tokens, weight, bias, padding=None):
  """Sigmoids of the mean logits of the tokens that count, `[K]`."""
  logits = tokens @ weight + bias[None]
  if padding is None:
    return jax.nn.sigmoid(jnp.mean(logits, axis=0))
  total = jnp.sum(jnp.where(padding[:, None], 0.0, logits), axis=0)
  return jax.nn.sigmoid(total / jnp.sum(~padding))


@pytest.fixture(scope="module")
def padded(case):
  """Masks of frames and of tokens, and the output under the latter.

  The last is of the golden front end, of which everything counts.
  """
  frames = case.z["frontend"].shape[1]
  tokens = int(np.prod(case.encoder.about.num_patches(frames)))

  @quick.jit
  def run(wave, padding, fbank):
    masks = jax.vmap(lambda p: token_padding(p, frames, tokens))(padding)
    mels = jnp.concatenate([FRONT.apply({}, wave), fbank])
    none = jnp.zeros((len(fbank), tokens), bool)
    out = case.all(mels, jnp.concatenate([masks[1], none]))["output"]
    return *masks, out[: len(wave)], out[len(wave) :]

  z = case.z
  return run(z["waveform_padded"], z["padding_mask"], z["frontend"])


def test_masks_of_samples_reach_the_tokens(case, padded):
  frames, tokens, out, _ = padded
  np.testing.assert_array_equal(frames, case.z["padding_mask_frames"])
  np.testing.assert_array_equal(tokens, case.z["padding_mask_tokens"])
  case.close(out, "output_padded")


def test_an_empty_mask_changes_nothing(case, padded):
  case.close(padded[-1], "output")


def test_the_classes_of_a_fine_tuned_file(case, main, padded):
  weight = case.z["param_finetuned/predictor.weight"].T
  bias = case.z["param_finetuned/predictor.bias"]
  head = lambda x, pad: class_probabilities(x, weight, bias, pad)

  @quick.jit
  def run(plain, masked, mask):
    return jax.vmap(lambda x: head(x, None))(plain), jax.vmap(head)(
      masked, mask
    )

  _, mask, out, _ = padded
  plain, masked = run(main[-1]["output"], out, mask)
  case.close(plain, "probs_finetuned")
  case.close(masked, "probs_finetuned_padded")


def test_bfloat16_is_near(case):
  fast = family.make(FAMILY, case.settings, dtype="bfloat16")
  one = lambda x: fast.apply(case.params, x[None], ("output",))["output"]
  found = quick.jit(jax.vmap(one))(case.z["frontend"]).grid
  gap = np.abs(found.reshape(case.z["output"].shape) - case.z["output"])
  assert TOKENS < gap.mean() < 0.05


@pytest.mark.parametrize(
  ("key", "value"),
  [("deep_norm", False), ("layer_norm_first", True), ("gru_rel_pos", False)],
)
def test_other_networks_are_refused(case, key, value):
  with pytest.raises(ValueError, match=f"{key}={value}"):
    beats.sizes_from({}, {"cfg": {**case.config, key: value}})


def test_a_clip_shorter_than_a_patch_is_refused(case):
  with pytest.raises(ValueError, match="BEATs: found 15 frames"):
    case.encoder.about.num_patches(15)
