"""DaSheng: one token for all bands of four frames, 25 tokens a second."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from asd_jax import errors
from asd_jax.encoders import family, transformer
from asd_jax.typing import Array
from asd_jax.weights import rules, sizes
from asd_jax.weights.rules import Rule

# A patch holds all bands, so there is one token for four frames.
_NUM_MELS, _PATCH = 64, (4, 64)
_POSITIONS = dict(num_positions=252, target_frames=1008)
SIZES = {
  "base": dict(width=768, depth=12, num_heads=12, hidden=3072, **_POSITIONS),
  "0.6B": dict(width=1280, depth=32, num_heads=16, hidden=5120, **_POSITIONS),
  "1.2B": dict(width=1536, depth=40, num_heads=24, hidden=6144, **_POSITIONS),
  "smoke": dict(width=48, depth=2, num_heads=4, hidden=96, **_POSITIONS),
}
NAMES = rules.Names(
  mark=r"time_pos_embed",
  look=r"(encoder\.)?time_pos_embed",
  layouts=(rules.Layout(r"encoder\.time_pos_embed", ((r"encoder\.", ""),)),),
  # CED has a norm without the index; else the two share their names.
  refuse=((r"init_bn\.(weight|bias)", "a CED encoder"),),
  ignore=(
    r"front_end\..*",
    r"init_bn\.1\.num_batches_tracked",
    r"decoder\..*",
    r"outputlayer\..*",
  ),
)
RULES = (
  Rule(r"time_pos_embed", "time_positions"),
  Rule(r"freq_pos_embed", "band_position"),
  *transformer.norm_rules(r"init_bn\.1", "input_norm"),
  Rule(r"init_bn\.1\.running_(mean|var)", r"input_norm/\1"),
  Rule(r"patch_embed\.proj\.weight", "patch_embed/kernel", "conv_2d"),
  Rule(r"patch_embed\.proj\.bias", "patch_embed/bias"),
  *transformer.BLOCK_RULES,
  *transformer.norm_rules("norm", "norm"),
)


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
    x = transformer.BandNorm(name="input_norm")(mel)
    out = {"normalised": x}
    patch = _PATCH[::-1]  # the official kernel has bands first
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
    # The network was trained on ten seconds: what is longer goes through in
    # groups that start at the first position and do not see each other.
    size = self.target_frames // _PATCH[0]
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
    size = self.target_frames // _PATCH[0]
    place = np.arange(length) % size
    return time[place] + band[0, :, 0].T


def sizes_from(
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
  shape = lambda name, *other: sizes.shape_of(tensors, name, default=other)
  width = shape("patch_embed.proj.bias", base["width"])[0]
  table = (1, width, 1, _POSITIONS["num_positions"])
  num = shape("time_pos_embed", *table)[-1]
  count = lambda key, value: sizes.count_in(config, key, default=value)
  return {
    "width": width,
    "depth": sizes.count_blocks(
      tensors, r"blocks\.(\d+)\.", default=base["depth"]
    ),
    "num_heads": count("num_heads", sizes.heads_of(SIZES, width)),
    "hidden": shape("blocks.0.mlp.fc1.bias", base["hidden"])[0],
    "num_positions": num,
    "target_frames": count("target_length", num * _PATCH[0]),
  }


def _check_groups(settings: Mapping[str, Any]) -> None:
  """Refuses groups longer than the position table."""
  frames, num = settings["target_frames"], settings["num_positions"]
  if not 0 < frames // _PATCH[0] <= num:
    raise errors.InputError(
      f"DaSheng: found target_frames {frames}, expected {_PATCH[0]} to"
      f" {num * _PATCH[0]} (the position table)."
    )


FAMILY = family.Family(
  name="dasheng",
  title="DaSheng",
  network=Dasheng,
  sizes=SIZES,
  input=family.Input(num_mels=_NUM_MELS, patch=_PATCH),
  names=NAMES,
  rules=RULES,
  sizes_from=sizes_from,
  check=_check_groups,
  sources=tuple(
    family.Source(
      f"DaSheng {size}",
      size,
      (family.HUB_FILE, file),
      f"mispeech/dasheng-{size}",
      "`.pt` file: Zenodo record 11511780",
      "Apache-2.0 (LICENSE file)",
    )
    for size, file in (
      ("base", "dasheng_base.pt"),
      ("0.6B", "dasheng_06b.pt"),
      ("1.2B", "dasheng_12b.pt"),
    )
  ),
)
