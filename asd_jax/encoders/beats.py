"""BEATs: gated relative positions, deep-norm residuals, no CLS token."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from asd_jax import errors
from asd_jax.encoders import family, position_conv, transformer
from asd_jax.typing import Array
from asd_jax.weights import rules, sizes
from asd_jax.weights.rules import Rule

# As published; no file tells any of these.
_NUM_MELS, _PATCH = 128, (16, 16)
SIZES = {
  "base": dict(
    width=768,
    depth=12,
    num_heads=12,
    hidden=3072,
    embed_width=512,
    num_taps=128,
    num_groups=16,
    num_buckets=320,
    max_distance=800,
  ),
  "smoke": dict(
    width=48,
    depth=2,
    num_heads=4,
    hidden=96,
    embed_width=32,
    num_taps=16,
    num_groups=4,
    num_buckets=32,
    max_distance=64,
  ),
}
_GATE = r"encoder\.layers\.0\.self_attn\.grep_linear\.weight"
NAMES = rules.Names(
  mark=_GATE,
  look=_GATE,
  ignore=(r"predictor\.(weight|bias)",),
  refuse=((r"quantize.*", "a BEATs tokenizer, not an encoder"),),
  # Every block of a file holds the table that all share.
  tied=(
    (
      r"encoder\.layers\.\d+\.self_attn\.relative_attention_bias\.weight",
      "encoder.layers.0.self_attn.relative_attention_bias.weight",
    ),
  ),
)
_LAYER, _ATTENTION = r"encoder\.layers\.(\d+)\.", r"blocks_\1/attn/"
RULES = (
  Rule(r"patch_embedding\.weight", "patch_embed/kernel", "conv_2d"),
  *transformer.norm_rules(r"layer_norm", "patch_norm"),
  *transformer.linear_rules(r"post_extract_proj", "patch_proj"),
  Rule(r"encoder\.pos_conv\.0\.(\w+)", r"pos_conv/\1"),
  *transformer.norm_rules(r"encoder\.layer_norm", "input_norm"),
  Rule(
    r"encoder\.layers\.0\.self_attn\.relative_attention_bias\.weight",
    "position_bias",
  ),
  Rule(_LAYER + r"self_attn\.grep_a", _ATTENTION + "grep_a"),
  *transformer.linear_rules(
    _LAYER + r"self_attn\.((?:[qkv]|out)_proj|grep_linear)",
    _ATTENTION + r"\2",
  ),
  *transformer.norm_rules(_LAYER + r"self_attn_layer_norm", r"blocks_\1/norm1"),
  *transformer.linear_rules(_LAYER + r"(fc\d)", r"blocks_\1/mlp/\2"),
  *transformer.norm_rules(_LAYER + r"final_layer_norm", r"blocks_\1/norm2"),
)
# What the network here is, with the defaults of the published code.
_BUILT = {
  "layer_norm_first": (False, False),
  "deep_norm": (True, False),
  "relative_position_embedding": (True, False),
  "gru_rel_pos": (True, False),
  "activation_fn": ("gelu", "gelu"),
}
_GATE_PARTS = 4


def relative_buckets(
  offsets: np.ndarray, *, num_buckets: int = 320, max_distance: int = 800
) -> np.ndarray:
  """Buckets of relative positions: fine when near, logarithmic beyond.

  Args:
    offsets: `[...]` key position minus query position.
    num_buckets: half for keys up to the query, half for later ones.
    max_distance: from here on all fall in the last bucket.

  Returns:
    `[...]` int32.

  Source: [BEATs23].
  """
  half = num_buckets // 2
  exact = half // 2  # so many nearest offsets have a bucket of their own
  distance = np.abs(offsets)
  far = np.log(np.maximum(distance, exact) / exact)
  far = exact + np.trunc(far / np.log(max_distance / exact) * (half - exact))
  near = np.where(distance < exact, distance, np.minimum(far, half - 1))
  return (near + half * (offsets > 0)).astype(np.int32)


class GatedAttention(nn.Module):
  """Self-attention with a bias that each query weighs by a gate.

  Attributes:
    num_heads: heads H.
    dtype: of the matrix products.
  """

  num_heads: int
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: Array, bias: Array, keep: Array | None) -> Array:
    """Maps `[L, D]` to `[L, D]`; `bias` `[H, L, L]`, `keep` `[L]` or None."""
    length, width = x.shape
    heads = (length, self.num_heads, width // self.num_heads)
    inner = x.astype(self.dtype)
    query, key_rows, value = (
      nn.Dense(width, dtype=self.dtype, name=f"{n}_proj")(inner).reshape(heads)
      for n in "qkv"
    )
    # The bias is one for all clips; only its gate depends on the query.
    gate = self._gate(query)  # [H, L]
    out = transformer.attend(
      query, key_rows, value, bias=bias, gate=gate, keep=keep
    )
    return nn.Dense(width, dtype=self.dtype, name="out_proj")(out)

  def _gate(self, query: Array) -> Array:
    """Gate of each head and query, of the query before it is scaled."""
    # In the digits of its parameters, whatever those of the query.
    linear = nn.Dense(2 * _GATE_PARTS, name="grep_linear")
    parts = linear(query).reshape(*query.shape[:2], 2, _GATE_PARTS)
    parts = jax.nn.sigmoid(jnp.sum(parts, axis=-1)).transpose(2, 1, 0)
    ones = nn.initializers.ones
    scale = self.param("grep_a", ones, (1, self.num_heads, 1, 1))
    return parts[0] * (parts[1] * scale[0, :, 0] - 1.0) + 2.0


class Block(nn.Module):
  """Attention and MLP, each normalised after a sum with a larger residual.

  Attributes:
    num_heads: heads.
    hidden: width of the MLP.
    gain: factor of both residuals.
    dtype: of the matrix products.
  """

  num_heads: int
  hidden: int
  gain: float
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: Array, bias: Array, keep: Array | None) -> Array:
    """Maps `[L, D]` to `[L, D]`; see `GatedAttention`."""
    attention = GatedAttention(self.num_heads, self.dtype, name="attn")
    x = self.gain * x + attention(x, bias, keep)
    x = transformer.layer_norm(1e-5, "norm1")(x)
    x = self.gain * x + transformer.Mlp(self.hidden, self.dtype, name="mlp")(x)
    return transformer.layer_norm(1e-5, "norm2")(x)


class Beats(nn.Module):
  """Patches with a convolution for positions through gated blocks.

  Attributes:
    width: D.
    depth: blocks.
    num_heads: heads.
    hidden: width of the MLPs.
    embed_width: width of the patch embedding.
    num_taps: kernel length of the position convolution.
    num_groups: its groups.
    num_buckets: buckets of relative positions.
    max_distance: see `relative_buckets`.
    dtype: of the matrix products.
    remat: see `transformer.recomputed`.

  Source: [BEATs23].
  """

  width: int
  depth: int
  num_heads: int
  hidden: int
  embed_width: int
  num_taps: int
  num_groups: int
  num_buckets: int
  max_distance: int
  dtype: Any = jnp.float32
  remat: bool = False

  @nn.compact
  def __call__(
    self, fbank: Array, *, padding: Array | None = None
  ) -> dict[str, Array]:
    """Maps `[frames, 128]` to `[L, D]` by layer name.

    Token `8 t + f` is time patch `t`, band `f`. `padding` `[L]` is True for
    tokens that no query sees. Beside the layers there are `patch_embed_conv`
    `[L, embed_width]`, `patch_embed` and `pos_conv` `[L, D]`, and
    `position_bias` `[H, L, L]`.
    """
    embed = transformer.PatchEmbed(
      self.embed_width, _PATCH, False, self.dtype, name="patch_embed"
    )
    x = embed(fbank).reshape(-1, self.embed_width)
    out = {"patch_embed_conv": x}
    x = transformer.layer_norm(1e-5, "patch_norm")(x)
    x = nn.Dense(self.width, dtype=self.dtype, name="patch_proj")(x)
    x = out["patch_embed"] = x.astype(transformer.exact(x.dtype))
    keep = None
    if padding is not None:
      keep = ~padding
      x = jnp.where(keep[:, None], x, 0.0)
    convolution = position_conv.PositionConv(
      self.num_taps, self.num_groups, self.dtype, name="pos_conv"
    )
    out["pos_conv"] = convolution(x)
    x += out["pos_conv"]
    x = out["layer_0"] = transformer.layer_norm(1e-5, "input_norm")(x)
    bias = out["position_bias"] = self._position_bias(len(x))
    # Deep norm: the residual outweighs what a block adds, more so in depth.
    gain = (2 * self.depth) ** 0.25
    kind = transformer.recomputed(Block, self.remat)
    for i in range(self.depth):
      settings = (self.num_heads, self.hidden, gain, self.dtype)
      block = kind(*settings, name=f"blocks_{i}")
      x = out[f"layer_{i + 1}"] = block(x, bias, keep)
    out["output"] = x
    return out

  def _position_bias(self, length: int) -> Array:
    """Bias of every head, query and key, `[H, L, L]`, before the gates."""
    init = nn.initializers.normal(0.02)
    shape = (self.num_buckets, self.num_heads)
    table = self.param("position_bias", init, shape)
    bucket = relative_buckets(
      np.arange(1 - length, length),
      num_buckets=self.num_buckets,
      max_distance=self.max_distance,
    )
    # By offset first: the buckets of all pairs would be looked up L times.
    by_offset = jnp.asarray(table)[bucket].T  # [H, 2 L - 1]
    place = jnp.arange(length)
    return by_offset[:, place[None] - place[:, None] + length - 1]


def sizes_from(
  tensors: Mapping[str, np.ndarray], beside: Mapping[str, Any]
) -> dict[str, Any]:
  """Reads the size of a network from its weights and its `cfg`.

  Args:
    tensors: arrays by official name.
    beside: the other entries of the file; without `cfg`, the network is taken
      to be built as the published ones are.

  Returns:
    Settings of `Beats`.

  Raises:
    InputError: for a network of another kind.
  """
  base = SIZES["base"]
  cfg = beside.get("cfg")
  if isinstance(cfg, Mapping):
    for key, (want, default) in _BUILT.items():
      if cfg.get(key, default) != want:
        raise errors.InputError(
          f"found {key}={cfg.get(key, default)!r} in cfg, expected {want!r}."
        )
  else:
    cfg = {}
  shape = lambda name, *other: sizes.shape_of(tensors, name, default=other)
  layer = "encoder.layers.0."
  table = layer + "self_attn.relative_attention_bias.weight"
  width = shape("encoder.layer_norm.bias", base["width"])[0]
  wide = (width, width // base["num_groups"], base["num_taps"])
  # The kernel of a grouped convolution has the channels of one group.
  _, group, num_taps = shape("encoder.pos_conv.0.weight_v", *wide)
  if not group or width % group:
    raise errors.InputError(
      f"found {group} channels a group in encoder.pos_conv, expected a divisor"
      f" of {width}."
    )
  buckets, heads = shape(table, base["num_buckets"], base["num_heads"])
  return {
    "width": width,
    "depth": sizes.count_blocks(
      tensors, r"encoder\.layers\.(\d+)\.", default=base["depth"]
    ),
    "num_heads": heads,
    "hidden": shape(layer + "fc1.bias", base["hidden"])[0],
    "embed_width": shape("layer_norm.bias", base["embed_width"])[0],
    "num_taps": num_taps,
    "num_groups": width // group,
    "num_buckets": buckets,
    "max_distance": sizes.count_in(
      cfg, "max_distance", default=base["max_distance"]
    ),
  }


_LICENCE = "MIT (repository; none stated for the weights)"
FAMILY = family.Family(
  name="beats",
  title="BEATs",
  network=Beats,
  sizes=SIZES,
  input=family.Input(num_mels=_NUM_MELS, patch=_PATCH),
  names=NAMES,
  rules=RULES,
  sizes_from=sizes_from,
  tells_heads=True,
  sources=(
    family.Source(
      "BEATs iter3",
      "base",
      ("BEATs_iter3.pt",),
      "",
      "links in the README of `microsoft/unilm`, folder `beats` (they break at"
      " times; no stable hub copy known)",
      _LICENCE,
    ),
    family.Source(
      "BEATs iter3+ AS2M",
      "base",
      ("BEATs_iter3_plus_AS2M.pt",),
      "",
      "the same links; copies on the hub: model `lpepino/beats_ckpts`, dataset"
      " `Bencr/beats-checkpoints`",
      _LICENCE,
    ),
    family.Source(
      "BEATs fine-tuned on AudioSet",
      "base",
      tuple(
        f"BEATs_iter3{plus}_finetuned_on_AS2M_cpt{i}.pt"
        for plus in ("", "_plus_AS2M")
        for i in (1, 2)
      ),
      "",
      "the same links; the classifier head is left out",
      _LICENCE,
    ),
  ),
)
