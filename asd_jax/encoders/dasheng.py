"""DaSheng: one token for all bands of four frames, 25 tokens a second."""

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from asd_jax import errors
from asd_jax.encoders import family, transformer
from asd_jax.typing import Array
from asd_jax.weights.rules import Rule

KIND = family.Family(
  "dasheng", "DaSheng", num_mels=64, patch=(4, 64), num_extra=0
)
_POSITIONS = dict(num_positions=252, target_frames=1008)
SIZES = {
  "base": dict(width=768, depth=12, num_heads=12, hidden=3072, **_POSITIONS),
  "0.6B": dict(width=1280, depth=32, num_heads=16, hidden=5120, **_POSITIONS),
  "1.2B": dict(width=1536, depth=40, num_heads=24, hidden=6144, **_POSITIONS),
}
RULES = (
  Rule(r"time_pos_embed", "time_positions"),
  Rule(r"freq_pos_embed", "band_position"),
  Rule(r"init_bn\.1\.weight", "input_norm/scale"),
  Rule(r"init_bn\.1\.bias", "input_norm/bias"),
  Rule(r"init_bn\.1\.running_(mean|var)", r"input_norm/\1"),
  Rule(r"patch_embed\.proj\.weight", "patch_embed/kernel", "conv_2d"),
  Rule(r"patch_embed\.proj\.bias", "patch_embed/bias"),
  *transformer.BLOCK_RULES,
  *transformer.norm_rules("norm", "norm"),
)


class BandNorm(nn.Module):
  """Batch norm of each band with the statistics of the pre-training data."""

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Maps `[T, M]` to `[T, M]`."""
    shape = (x.shape[-1],)
    ones, zeros = nn.initializers.ones, nn.initializers.zeros
    scale = self.param("scale", ones, shape)
    shift = self.param("bias", zeros, shape)
    mean = self.param("mean", zeros, shape)
    var = self.param("var", ones, shape)
    gain = scale * jax.lax.rsqrt(var + 1e-5)
    return (x - mean[None]) * gain[None] + shift[None]


class Dasheng(nn.Module):
  """Patches through pre-norm blocks; long clips in groups of tokens.

  Attributes:
    width: D.
    depth: blocks.
    num_heads: heads.
    hidden: width of the MLPs.
    num_positions: columns of the position table.
    target_frames: frames of a group; each group starts at the first position
      and sees itself only. The table is cut to it.
    dtype: of the matrix products.

  Source: [DaSheng24].
  """

  width: int
  depth: int
  num_heads: int
  hidden: int
  num_positions: int = 252
  target_frames: int = 1008
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self, mel: Array, *, keep: Array | None = None
  ) -> dict[str, Array]:
    """Maps `[frames, 64]` dB to `[L, D]` by layer name.

    `keep` `[L]` is False for tokens that no query sees. Beside the layers
    there are `normalised` `[frames, 64]` and `patch_embed` `[L, D]`. The last
    layer comes before the final norm, `output` after it.
    """
    x = BandNorm(name="input_norm")(mel)
    out = {"normalised": x}
    patch = KIND.patch[::-1]  # the official kernel has bands first
    embed = transformer.PatchEmbed(
      self.width, patch, dtype=self.dtype, name="patch_embed"
    )
    x = out["patch_embed"] = embed(x.T)[0]  # [L, D]
    x = out["layer_0"] = x + self._positions(len(x))
    blocks = [
      transformer.PreNormBlock(
        self.num_heads, self.hidden, self.dtype, name=f"blocks_{i}"
      )
      for i in range(self.depth)
    ]
    size = self.target_frames // KIND.patch[0]
    for i, block in enumerate(blocks):
      groups = []
      for start in range(0, len(x), size):
        part = slice(start, start + size)
        mask = None if keep is None else keep[part]
        groups.append(block(x[part], keep=mask))
      x = out[f"layer_{i + 1}"] = jnp.concatenate(groups)
    out["output"] = transformer.layer_norm(1e-6, "norm")(x)
    return out

  def _positions(self, length: int) -> Array:
    """Positions of all tokens, `[L, D]`."""
    small = nn.initializers.normal(0.02)
    table = (1, self.width, 1, self.num_positions)
    time = self.param("time_positions", small, table)[0, :, 0].T
    band = self.param("band_position", small, (1, self.width, 1, 1))
    size = self.target_frames // KIND.patch[0]
    place = np.arange(length) % size
    return time[place] + band[0, :, 0].T


def settings_of(
  tensors: Mapping[str, np.ndarray], beside: Mapping[str, Any]
) -> dict[str, Any]:
  """Reads the size of a network from its weights and its `config`.

  Args:
    tensors: arrays by official name.
    beside: the other entries of the file.

  Returns:
    Settings of `Dasheng`; `num_heads` is None if nothing tells it.

  Raises:
    InputError: for a configuration that makes no sense.
  """
  base = SIZES["base"]
  config = beside.get("config")
  config = config if isinstance(config, Mapping) else {}
  shape = lambda name, *other: family.shape_of(tensors, name, default=other)
  width = shape("patch_embed.proj.bias", base["width"])[0]
  table = (1, width, 1, _POSITIONS["num_positions"])
  num = shape("time_pos_embed", *table)[-1]
  count = lambda key, value: family.count_in(config, key, default=value)
  return {
    "width": width,
    "depth": family.count_blocks(
      tensors, r"blocks\.(\d+)\.", default=base["depth"]
    ),
    "num_heads": count("num_heads", family.heads_of(SIZES, width)),
    "hidden": shape("blocks.0.mlp.fc1.bias", base["hidden"])[0],
    "num_positions": num,
    "target_frames": count("target_length", num * KIND.patch[0]),
  }


def port(
  tensors: Mapping[str, np.ndarray], beside: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
  """Makes parameters of official weights.

  Args:
    tensors: arrays by official name, see `weight_map.official`.
    beside: the other entries of the file.

  Returns:
    The parameters, and the settings of `Dasheng`.

  Raises:
    InputError: for missing or extra weights, or other shapes.
  """
  settings = settings_of(tensors, beside)
  return family.port(Dasheng, KIND, settings, tensors, RULES), settings


def of_settings(
  settings: Mapping[str, Any], *, dtype: str = "float32"
) -> family.Encoder:
  """Makes the encoder of converted weights.

  Args:
    settings: as `port` returns them.
    dtype: `"float32"`, or `"bfloat16"` for faster matrix products.

  Returns:
    The encoder.

  Raises:
    InputError: for settings that are missing, unknown or do not fit, and for
      groups longer than the position table.
  """
  module = family.module_of(Dasheng, KIND.title, settings, dtype=dtype)
  size = module.target_frames // KIND.patch[0]
  if not 0 < size <= module.num_positions:
    raise errors.InputError(
      f"DaSheng: found target_frames {module.target_frames}, expected"
      f" {KIND.patch[0]} to {module.num_positions * KIND.patch[0]} (the"
      " position table)."
    )
  return family.of_module(module, KIND, settings, dtype=dtype)


def dasheng(
  *, size: str | Mapping[str, Any] = "base", dtype: str = "float32"
) -> family.Encoder:
  """A published DaSheng: a token for 64 bands of 4 frames, no CLS.

  Args:
    size: `"base"`, `"0.6B"` or `"1.2B"`; or the settings
      of another network.
    dtype: `"float32"`, or `"bfloat16"` for faster matrix products.

  Returns:
    The encoder; clips of any length, in groups of 252 tokens (10.08 s).

  Raises:
    InputError: for another size or dtype, or settings that do not fit.

  Source: [DaSheng24].
  """
  settings = family.settings_of_size(SIZES, KIND.title, size)
  return of_settings(settings, dtype=dtype)


ENCODERS: dict[str, Callable] = {"dasheng": dasheng}
