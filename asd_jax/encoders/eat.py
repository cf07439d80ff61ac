"""EAT, and SSLAM, which is EAT-base with other weights."""

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from asd_jax import errors
from asd_jax.encoders import family, transformer
from asd_jax.typing import Array
from asd_jax.weights.rules import Rule

KIND = family.Family("eat", "EAT", num_mels=128, patch=(16, 16), num_extra=1)
SIZES = {
  "base": dict(
    width=768, depth=12, num_heads=12, hidden=3072, num_positions=6144
  ),
  "large": dict(
    width=1024, depth=24, num_heads=16, hidden=4096, num_positions=6144
  ),
}
_BAND = r"modality_encoders\.IMAGE\."
RULES = (
  Rule(_BAND + r"extra_tokens", "cls"),
  Rule(_BAND + r"fixed_positional_encoder\.positions", "positions"),
  Rule(_BAND + r"local_encoder\.proj\.weight", "patch_embed/kernel", "conv_2d"),
  Rule(_BAND + r"local_encoder\.proj\.bias", "patch_embed/bias"),
  *transformer.norm_rules(_BAND + r"context_encoder\.norm", "input_norm"),
  *transformer.BLOCK_RULES,
)


def sincos_positions(num_rows: int, width: int) -> np.ndarray:
  """Position table of two axes: sine and cosine of band, then of time patch.

  Args:
    num_rows: rows, 8 bands a time patch.
    width: D, a multiple of 4.

  Returns:
    `[num_rows, D]` float32.

  Source: [EAT24].
  """
  time, band = np.divmod(np.arange(num_rows), KIND.num_mels // KIND.patch[1])
  rate = 1.0 / 10000.0 ** (np.arange(width // 4) / (width / 4.0))
  angles = [np.outer(place, rate) for place in (band, time)]
  waves = [f(a) for a in angles for f in (np.sin, np.cos)]
  return np.concatenate(waves, axis=1).astype(np.float32)


class Eat(nn.Module):
  """Patches with a CLS token through post-norm blocks; no final norm.

  Attributes:
    width: D.
    depth: blocks.
    num_heads: heads.
    hidden: width of the MLPs.
    num_positions: rows of the position table, 8 a time patch.
    dtype: of the matrix products.

  Source: [EAT24].
  """

  width: int
  depth: int
  num_heads: int
  hidden: int
  num_positions: int
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, fbank: Array) -> dict[str, Array]:
    """Maps `[frames, 128]` to `[1 + L, D]` by layer name, CLS first.

    `patch_embed` `[L, D]` are the patches before positions. Token `8 t + f`
    of the patches is time patch `t`, band `f`.
    """
    table = (1, self.num_positions, self.width)
    init = lambda key: sincos_positions(*table[1:])[None]
    positions = self.param("positions", init)
    small = nn.initializers.normal(0.02)
    cls = self.param("cls", small, (1, 1, self.width))
    embed = transformer.PatchEmbed(
      self.width, KIND.patch, dtype=self.dtype, name="patch_embed"
    )
    x = embed(fbank).reshape(-1, self.width)  # [L, D]
    out = {"patch_embed": x}
    x = jnp.concatenate([cls[0], x + positions[0, : len(x)]])
    x = out["layer_0"] = transformer.layer_norm(1e-6, "input_norm")(x)
    for i in range(self.depth):
      block = transformer.PostNormBlock(
        self.num_heads, self.hidden, self.dtype, name=f"blocks_{i}"
      )
      x = out[f"layer_{i + 1}"] = block(x)
    out["output"] = x
    return out


def _heads(beside: Mapping[str, Any], width: int) -> int | None:
  """Heads by the training settings of a file, or by the width."""
  cfg = beside.get("cfg")
  model = cfg.get("model") if isinstance(cfg, Mapping) else None
  if not isinstance(model, Mapping):
    return family.heads_of(SIZES, width)
  if "band_width" in model:
    raise errors.InputError(
      "found a FISHER encoder, expected EAT or SSLAM weights."
    )
  if model.get("layer_norm_first"):
    raise errors.InputError(
      "found a network with layer_norm_first, expected norms after the sums."
    )
  heads = family.heads_of(SIZES, width)
  return family.count_in(model, "num_heads", default=heads)


def settings_of(
  tensors: Mapping[str, np.ndarray], beside: Mapping[str, Any]
) -> dict[str, Any]:
  """Reads the size of a network from its weights.

  Args:
    tensors: arrays by official name.
    beside: the other entries of the file.

  Returns:
    Settings of `Eat`; `num_heads` is None if nothing tells it.

  Raises:
    InputError: for a network of another kind.
  """
  base = SIZES["base"]
  width, hidden, num = (base[k] for k in ("width", "hidden", "num_positions"))
  band = _BAND.replace("\\", "")
  shape = lambda name, *other: family.shape_of(tensors, name, default=other)
  width = shape(f"{band}local_encoder.proj.bias", width)[0]
  name = f"{band}fixed_positional_encoder.positions"
  return {
    "width": width,
    "depth": family.count_blocks(
      tensors, r"blocks\.(\d+)\.", default=base["depth"]
    ),
    "num_heads": _heads(beside, width),
    "hidden": shape("blocks.0.mlp.fc1.bias", hidden)[0],
    "num_positions": shape(name, 1, num, width)[1],
  }


def port(
  tensors: Mapping[str, np.ndarray], beside: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
  """Makes parameters of official weights.

  Args:
    tensors: arrays by official name, see `weight_map.official`.
    beside: the other entries of the file.

  Returns:
    The parameters, and the settings of `Eat`.

  Raises:
    InputError: for missing or extra weights, or other shapes.
  """
  settings = settings_of(tensors, beside)
  return family.port(Eat, KIND, settings, tensors, RULES), settings


def of_settings(
  settings: Mapping[str, Any],
  *,
  dtype: str = "float32",
  kind: family.Family = KIND,
) -> family.Encoder:
  """Makes the encoder of converted weights.

  Args:
    settings: as `port` returns them.
    dtype: `"float32"`, or `"bfloat16"` for faster matrix products.
    kind: the family.

  Returns:
    The encoder.

  Raises:
    InputError: for settings that are missing, unknown or do not fit.
  """
  module = family.module_of(Eat, kind.title, settings, dtype=dtype)
  rows, columns = kind.patch
  return family.of_module(
    module,
    kind,
    settings,
    dtype=dtype,
    max_frames=module.num_positions * columns // kind.num_mels * rows,
  )


def eat(
  *, size: str | Mapping[str, Any] = "base", dtype: str = "float32"
) -> family.Encoder:
  """A published EAT: 16 x 16 patches of 128 bands, CLS first.

  Args:
    size: `"base"` (epoch 30) or `"large"` (epoch 20); or the settings
      of another network.
    dtype: `"float32"`, or `"bfloat16"` for faster matrix products.

  Returns:
    The encoder; at most 768 time patches (122.9 s).

  Raises:
    InputError: for another size or dtype, or settings that do not fit.

  Source: [EAT24].
  """
  settings = family.settings_of_size(SIZES, KIND.title, size)
  return of_settings(settings, dtype=dtype)


ENCODERS: dict[str, Callable] = {"eat": eat}
