"""AudioMAE++: macaron blocks on chunks of 2 s that do not see each other.

Fifty time patches by five bands a chunk, with a CLS token that takes part in
attention and is dropped. The rows that the published code returns are no time
patches; `output` has them so all the same, since published numbers rest on
them, and `output_by_band` has tokens where they belong.
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from asd_jax import errors
from asd_jax.encoders import family, transformer
from asd_jax.typing import Array
from asd_jax.weights import rules, sizes
from asd_jax.weights.rules import Rule

_NUM_MELS, _PATCH = 80, (4, 16)
_NUM_BANDS = _NUM_MELS // _PATCH[1]
_POSITIONS = dict(num_positions=251)  # CLS and 50 time patches by 5 bands
SIZES = {
  "tiny": dict(
    width=192, depth=12, num_heads=3, hidden=768, gated=512, **_POSITIONS
  ),
  "base": dict(
    width=768, depth=12, num_heads=12, hidden=3072, gated=2048, **_POSITIONS
  ),
  "large": dict(
    width=1024, depth=24, num_heads=16, hidden=4096, gated=2730, **_POSITIONS
  ),
  "smoke": dict(
    width=48, depth=2, num_heads=4, hidden=96, gated=64, **_POSITIONS
  ),
}
# The published forward pass has a third norm a block and never uses it.
_IDLE = r"encoder\.blocks\.\d+\.norm3\.(weight|bias)"
NAMES = rules.Names(
  mark=r"encoder\.pos_embed",
  look=r"(.*\.)?encoder\.blocks\.\d+\.ffn2\.ln\.weight",
  ignore=(r"decoder\..*", _IDLE),
  idle=(_IDLE,),
)
_BLOCK, _OURS = r"encoder\.blocks\.(\d+)\.", r"blocks_\1/"
RULES = (
  Rule(r"cls_token", "cls"),
  Rule(r"encoder\.pos_embed", "positions"),
  Rule(r"patch_embed\.proj\.weight", "patch_embed/kernel", "conv_2d"),
  Rule(r"patch_embed\.proj\.bias", "patch_embed/bias"),
  *transformer.linear_rules(_BLOCK + r"ffn1\.layer(\d)", _OURS + r"ffn1/fc\2"),
  *transformer.linear_rules(
    _BLOCK + r"ffn2\.(linear1|linear2|project)", _OURS + r"ffn2/\2"
  ),
  *transformer.norm_rules(_BLOCK + r"ffn2\.ln", _OURS + "ffn2/ln"),
  *transformer.linear_rules(
    _BLOCK + r"attn\.(qkv|proj)_layer", _OURS + r"attn/\2"
  ),
  *transformer.norm_rules(_BLOCK + r"(norm[12])", _OURS + r"\2"),
  *transformer.norm_rules(r"encoder\.encoder_norm", "norm"),
)


class GatedMlp(nn.Module):
  """SwiGLU with a norm before the last layer.

  Attributes:
    hidden: width between the layers.
    dtype: of the computation.
  """

  hidden: int
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Maps `[chunks, L, D]` to that."""
    dense = lambda name, num: nn.Dense(num, dtype=self.dtype, name=name)
    # The second layer is the gate.
    gate = jax.nn.silu(dense("linear2", self.hidden)(x))
    h = gate * dense("linear1", self.hidden)(x)
    h = transformer.layer_norm(1e-6, "ln")(h)
    return dense("project", x.shape[-1])(h)


class Block(nn.Module):
  """An MLP of half weight, attention and a gated MLP, each after a norm.

  The last two share the second norm, as in the published code, whose third
  one is never used.

  Attributes:
    num_heads: heads.
    hidden: width of the first MLP.
    gated: width of the second.
    dtype: of the matrix products; the residual stream is float32.
  """

  num_heads: int
  hidden: int
  gated: int
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Maps `[chunks, L, D]` to that."""
    first = transformer.Mlp(self.hidden, self.dtype, jax.nn.silu, name="ffn1")
    x += 0.5 * first(transformer.layer_norm(1e-6, "norm1")(x))
    norm = transformer.layer_norm(1e-6, "norm2")
    attention = transformer.Attention(self.num_heads, self.dtype, name="attn")
    x += attention(norm(x))
    return x + GatedMlp(self.gated, self.dtype, name="ffn2")(norm(x))


class AudioMaePP(nn.Module):
  """Patches through macaron blocks, chunk by chunk.

  Attributes:
    width: D.
    depth: blocks.
    num_heads: heads.
    hidden: width of the first MLPs.
    gated: width of the second, gated ones.
    num_positions: rows of the position table: CLS and the patches of a chunk.
    dtype: of the matrix products.
    remat: see `transformer.recomputed`.

  Source: [AudioMAEpp25].
  """

  width: int
  depth: int
  num_heads: int
  hidden: int
  gated: int
  num_positions: int
  dtype: Any = jnp.float32
  remat: bool = False

  @nn.compact
  def __call__(self, mel: Array) -> dict[str, Array]:
    """Maps `[frames, 80]` to `[L, D]` by layer name.

    Token `5 t + f` of a layer is time patch `t`, band `f`; see `reference_rows`
    for those of `output`. The last layer comes before the final norm, `output`
    and `output_by_band` after it. Beside the layers there are `patches`
    `[chunks, L, D]` and `chunks_0` to `chunks_output` `[chunks, 1 + L, D]`,
    with CLS first and with the zeros that fill the last chunk.
    """
    num = len(mel) // _PATCH[0]
    x = self._chunks_of(mel[: num * _PATCH[0]])  # [chunks, L, D]
    out = {"patches": x}
    table = (1, self.num_positions, self.width)
    init = lambda key: sincos_positions(*table[1:])[None]
    positions = self.param("positions", init)
    small = nn.initializers.normal(0.02)
    cls = self.param("cls", small, (1, 1, self.width))
    cls = jnp.broadcast_to(cls, (len(x), 1, self.width))
    # Positions start again in every chunk.
    x = out["chunks_0"] = jnp.concatenate([cls, x], axis=1) + positions
    kind = transformer.recomputed(Block, self.remat)
    for i in range(self.depth):
      settings = (self.num_heads, self.hidden, self.gated, self.dtype)
      x = kind(*settings, name=f"blocks_{i}")(x)
      out[f"chunks_{i + 1}"] = x
    x = out["chunks_output"] = transformer.layer_norm(1e-6, "norm")(x)
    whole = lambda x: x.reshape(-1, self.width)[: num * _NUM_BANDS]
    for i in range(self.depth + 1):
      out[f"layer_{i}"] = whole(out[f"chunks_{i}"][:, 1:])
    out["output_by_band"] = whole(x[:, 1:])
    out["output"] = whole(reference_rows(x[:, 1:]))
    return out

  def _chunks_of(self, mel: Array) -> Array:
    """Patches `[chunks, L, D]`; the last chunk is filled with zero frames."""
    length = self.num_positions - 1
    size = length // _NUM_BANDS * _PATCH[0]  # frames
    mel = jnp.pad(mel, [(0, -len(mel) % size), (0, 0)])
    embed = transformer.PatchEmbed(
      self.width, _PATCH, dtype=self.dtype, name="patch_embed"
    )
    return embed(mel).reshape(-1, length, self.width)


def reference_rows(tokens: Array) -> Array:
  """Tokens of a chunk as the published code takes them for time and band.

  It reads tokens, whose bands run fastest, as if time did: with 50 time patches
  row `r`, group `c` is token `50 c + r`, which is time patch `(50 c + r) // 5`
  of band `(50 c + r) % 5`. So a group of the mean over all rows is no band but
  0.4 s of every 2 s. Published numbers, those of [LUDO26] too, rest on it.

  Args:
    tokens: `[chunks, T * 5, D]`.

  Returns:
    `[chunks, T * 5, D]`, groups fastest.
  """
  chunks, _, width = tokens.shape
  by_group = tokens.reshape(chunks, _NUM_BANDS, -1, width)
  return by_group.swapaxes(1, 2).reshape(chunks, -1, width)


def sincos_positions(num_rows: int, width: int) -> np.ndarray:
  """Position table that the training code generates; weights bring their own.

  Args:
    num_rows: rows, the first one, of CLS, with zeros; then 5 a time patch.
    width: D, a multiple of 4.

  Returns:
    `[num_rows, D]` float32.
  """
  grid = transformer.sincos_positions(num_rows - 1, width, _NUM_BANDS)
  return np.pad(grid, [(1, 0), (0, 0)])


def sizes_from(
  tensors: Mapping[str, np.ndarray], beside: Mapping[str, Any]
) -> dict[str, Any]:
  """Reads the size of a network from its weights.

  Args:
    tensors: arrays by official name.
    beside: the other entries of the file, which tell nothing.

  Returns:
    Settings of `AudioMaePP`; `num_heads` is None for a width that is not
    published.
  """
  base = SIZES["base"]
  shape = lambda name, *other: sizes.shape_of(tensors, name, default=other)
  blocks = "encoder.blocks."
  found = sizes.of_vit(tensors, SIZES, blocks=blocks, hidden="ffn1.layer1.bias")
  table = (1, base["num_positions"], found["width"])
  return {
    **found,
    "gated": shape(f"{blocks}0.ffn2.linear1.bias", base["gated"])[0],
    "num_positions": shape("encoder.pos_embed", *table)[1],
  }


def _check_chunk(settings: Mapping[str, Any]) -> None:
  """Refuses a position table that is not CLS and whole time patches."""
  num = settings["num_positions"]
  if num < 1 + _NUM_BANDS or (num - 1) % _NUM_BANDS:
    raise errors.InputError(
      f"AudioMAE++: found num_positions {num}, expected 1 and a multiple of"
      f" {_NUM_BANDS} (CLS, and the bands of whole time patches)."
    )


FAMILY = family.Family(
  name="audiomaepp",
  title="AudioMAE++",
  network=AudioMaePP,
  sizes=SIZES,
  input=family.Input(num_mels=_NUM_MELS, patch=_PATCH),
  names=NAMES,
  rules=RULES,
  sizes_from=sizes_from,
  check=_check_chunk,
  more_layers=lambda settings: ("output_by_band",),
  fixed=("positions",),
  sources=tuple(
    family.Source(
      f"AudioMAE++ {size}",
      size,
      (f"maepp_{size}_200_16x4/checkpoints/checkpoint-*.pth",),
      "",
      "Google Drive folder that the README of"
      " `SarthakYadav/audiomae-plusplus-official` links; the latest counts",
      "MIT (repository; none stated for the weights)",
    )
    for size in ("tiny", "base", "large")
  ),
)
