"""DaSheng: one token for all bands of four frames, 25 tokens a second."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

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
    remat: see `transformer.recomputed`.
    patch: frames and bands of a patch.
    fills: whether groups are of `target_frames` exactly, the last one filled
      after the norm with zeros that its patches see; else of whole patches,
      the last one as long as it is.

  Source: [DaSheng24].
  """

  width: int
  depth: int
  num_heads: int
  hidden: int
  num_positions: int
  target_frames: int
  dtype: Any = jnp.float32
  remat: bool = False
  patch: ClassVar[tuple[int, int]] = _PATCH
  fills: ClassVar[bool] = False

  @nn.compact
  def __call__(
    self, mel: Array, *, keep: Array | None = None
  ) -> dict[str, Array]:
    """Maps `[frames, 64]` dB to `[L, D]` by layer name.

    `keep` `[L]` is False for tokens that no query sees. Beside the layers
    there are `normalised` `[frames, 64]` and `patch_embed` `[L, D]`. The last
    layer comes before the final norm, `output` after it; `normed_i` is the
    final norm of what leaves the i-th block. Token `F t + f` is time patch
    `t`, band `f`.
    """
    x = transformer.BandNorm(name="input_norm")(mel)
    out = {"normalised": x}
    embed = transformer.PatchEmbed(
      self.width, self.patch[::-1], dtype=self.dtype, name="patch_embed"
    )
    parts, counts = self._parts(x)
    # The official kernel has bands first.
    groups = [embed(part.T).swapaxes(0, 1) for part in parts]  # [T, F, D]
    out["patch_embed"] = _joined(groups, counts)
    positions = self._positions()
    groups = [x + positions[: len(x)] for x in groups]
    out["layer_0"] = _joined(groups, counts)
    groups = [x.reshape(-1, self.width) for x in groups]  # [T * F, D]
    num_bands = mel.shape[1] // self.patch[1]
    counts = [num * num_bands for num in counts]
    norm = transformer.layer_norm(1e-6, "norm")
    kind = transformer.recomputed(transformer.PreNormBlock, self.remat)
    for i in range(self.depth):
      block = kind(self.num_heads, self.hidden, self.dtype, name=f"blocks_{i}")
      start, after = 0, []
      for x, num in zip(groups, counts, strict=True):
        mask = None if keep is None else keep[start : start + num]
        after.append(block(x, keep=mask))
        start += num
      groups = after
      x = out[f"layer_{i + 1}"] = _joined(groups, counts)
      out[f"normed_{i + 1}"] = norm(x)
    out["output"] = out[f"normed_{self.depth}"]
    return out

  def _parts(self, x: Array) -> tuple[list[Array], list[int]]:
    """Groups of frames, and the time patches of the clip in each.

    The network was trained on ten seconds: what is longer goes through in
    groups that start at the first position and do not see each other.
    """
    rows, size = self.patch[0], self.target_frames
    step = size if self.fills else size // rows * rows
    starts = [i for i in range(0, len(x), step) if len(x) - i >= rows]
    parts = [x[i : i + step] for i in starts]
    counts = [len(part) // rows for part in parts]
    if self.fills and len(parts) > 1:
      fill = step - len(parts[-1])
      parts[-1] = jnp.pad(parts[-1], [(0, fill), (0, 0)])
    return parts, counts

  def _positions(self) -> Array:
    """Positions of time patches and bands, `[T, F, D]`."""
    small = nn.initializers.normal(0.02)
    table = (1, self.width, 1, self.num_positions)
    time = self.param("time_positions", small, table)[0, :, 0].T
    num_bands = _NUM_MELS // self.patch[1]
    bands = (1, self.width, num_bands, 1)
    band = self.param("band_position", small, bands)[0, :, :, 0].T
    return time[:, None] + band[None]


def _joined(groups: Sequence[Array], counts: Sequence[int]) -> Array:
  """The first rows of each group, one after the other, `[..., D]` each."""
  kept = [x[:num] for x, num in zip(groups, counts, strict=True)]
  return jnp.concatenate(kept).reshape(-1, kept[0].shape[-1])


def read_sizes(
  tensors: Mapping[str, np.ndarray],
  beside: Mapping[str, Any],
  *,
  title: str,
  known: Mapping[str, Mapping[str, Any]],
  patch: tuple[int, int],
) -> dict[str, Any]:
  """Reads the size of a network from its weights and its `config`.

  Args:
    tensors: arrays by official name.
    beside: the other entries of the file.
    title: of the family, for messages.
    known: settings of its sizes.
    patch: frames and bands of its patches.

  Returns:
    Settings of `Dasheng`; `num_heads` is None if nothing tells it.

  Raises:
    InputError: for other patches, or a configuration that makes no sense.
  """
  base = known["base"]
  config = beside.get("config")
  config = config if isinstance(config, Mapping) else {}
  shape = lambda name, *other: sizes.shape_of(tensors, name, default=other)
  found = shape("patch_embed.proj.weight", 0, 0, *patch[::-1])[:1:-1]
  if found != patch:
    raise errors.InputError(
      f"found patches of {found[0]} frames and {found[1]} bands, expected"
      f" {patch[0]} and {patch[1]} of {title} (DaSheng and CED name their"
      " weights alike)."
    )
  told = sizes.of_vit(tensors, known)
  table = (1, told["width"], 1, base["num_positions"])
  num = shape("time_pos_embed", *table)[-1]
  count = lambda key, value: sizes.count_in(config, key, default=value)
  same = num == base["num_positions"]
  frames = base["target_frames"] if same else num * patch[0]
  return {
    **told,
    "num_heads": count("num_heads", told["num_heads"]),
    "num_positions": num,
    "target_frames": count("target_length", frames),
  }


def check_groups(
  settings: Mapping[str, Any], *, title: str, patch: tuple[int, int]
) -> None:
  """Refuses groups longer than the position table.

  Args:
    settings: of the network.
    title: of the family, for messages.
    patch: frames and bands of its patches.

  Raises:
    InputError: for longer ones, or shorter ones than a patch.
  """
  rows, num = patch[0], settings["num_positions"]
  frames = settings["target_frames"]
  if not 0 < frames // rows <= num:
    raise errors.InputError(
      f"{title}: found target_frames {frames}, expected {rows} to"
      f" {num * rows} in whole patches (the position table)."
    )


sizes_from = functools.partial(
  read_sizes, title="DaSheng", known=SIZES, patch=_PATCH
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
  check=functools.partial(check_groups, title="DaSheng", patch=_PATCH),
  fixed=(r"input_norm/(mean|var)",),
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
