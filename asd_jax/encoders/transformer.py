"""Transformer parts that several audio encoders share.

Every module takes one clip; a batch is its `vmap`, which XLA turns into one
matrix product a layer.
"""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from asd_jax.typing import Array
from asd_jax.weights.rules import Rule

DType = Any


def gelu(x: Array) -> Array:
  """GELU in its exact form, with the error function.

  Args:
    x: `[...]` input.

  Returns:
    `[...]` output.
  """
  return x * (0.5 + 0.5 * jax.lax.erf(x * 2.0**-0.5))


def exact(dtype: Any) -> Any:
  """The type that sums of numbers of a type are made in: float32, or its own.

  Args:
    dtype: of the numbers.

  Returns:
    float32 for numbers of fewer digits.
  """
  return jnp.promote_types(dtype, jnp.float32)


def layer_norm(epsilon: float, name: str) -> nn.LayerNorm:
  """Makes a layer norm that computes in float32, by the two-pass variance.

  It is float32, of whatever input, because its parameters are; in float64
  where all are.

  Args:
    epsilon: added to the variance.
    name: of the submodule.

  Returns:
    The module.
  """
  return nn.LayerNorm(epsilon, use_fast_variance=False, name=name)


def _one_head(
  query: Array,
  key_rows: Array,
  value: Array,
  bias: Array | None,
  gate: Array | None,
) -> Array:
  """Attends with one head: `[L, D]` three times, `[L, L]` and `[L]`."""
  logits = jnp.matmul(
    query * query.shape[-1] ** -0.5,
    key_rows.T,
    preferred_element_type=exact(query.dtype),
  )
  if bias is not None:
    logits += bias if gate is None else gate[:, None] * bias
  # Logits and softmax stay in float32: bfloat16 has three digits.
  weights = jax.nn.softmax(logits, axis=-1).astype(value.dtype)
  return weights @ value


def attend(
  query: Array,
  key_rows: Array,
  value: Array,
  *,
  bias: Array | None = None,
  gate: Array | None = None,
  keep: Array | None = None,
) -> Array:
  """Scaled dot-product attention; the softmax is in float32.

  The platform that a program is compiled for decides how: head after head on a
  CPU, by cuDNN's flash attention on a CUDA device where that fits (see
  `_fits_cudnn`; no bias and no hidden keys), all heads at once elsewhere.

  Args:
    query: `[L, H, D]` of H heads, not scaled.
    key_rows: `[L, H, D]` keys.
    value: `[L, H, D]` values.
    bias: `[H, L, L]` added to the scaled logits (head, query, key).
    gate: `[H, L]` factor of the bias of each query.
    keep: `[L]` False for keys that no query sees.

  Returns:
    `[L, H * D]` attended values, heads side by side.
  """
  length, num_heads, width = query.shape
  if keep is not None:
    # Not -inf: a row of nothing but hidden keys would become NaN.
    out_of_sight = jnp.where(keep, 0.0, jnp.finfo(jnp.float32).min)[None, None]
    hidden = jnp.broadcast_to(out_of_sight, (num_heads, length, length))
    bias = hidden if bias is None else _gated(bias, gate) + hidden
    gate = None
  heads = (query, key_rows, value, bias, gate)

  # A head's logits fit a processor's cache, those of all heads do not.
  def in_turn(heads: tuple[Any, ...]) -> Array:
    *rows, bias, gate = heads
    rows = [x.transpose(1, 0, 2) for x in rows]
    out = jax.lax.map(lambda x: _one_head(*x), (*rows, bias, gate))
    return out.transpose(1, 0, 2)

  def at_once(heads: tuple[Any, ...]) -> Array:
    return jax.vmap(_one_head, in_axes=(1, 1, 1, 0, 0), out_axes=1)(*heads)

  def fused(heads: tuple[Any, ...]) -> Array:
    return jax.nn.dot_product_attention(*heads[:3], implementation="cudnn")

  ways = {"cpu": in_turn, "default": at_once}
  if bias is None and _fits_cudnn(query):
    ways["cuda"] = fused
  out = jax.lax.platform_dependent(heads, **ways)
  return out.reshape(length, num_heads * width)


def _fits_cudnn(query: Array) -> bool:
  """Whether cuDNN takes such heads, on a device that is here.

  Its arithmetic is that of bfloat16 with a softmax in float32. Where there is
  no such device, jax refuses to trace it for any platform.
  """
  width = query.shape[-1]
  few = query.dtype == jnp.bfloat16 and width % 8 == 0 and width <= 128
  return few and has_cudnn()


@functools.cache
def has_cudnn() -> bool:
  """Whether all CUDA devices of this process run cuDNN's flash attention."""
  try:
    devices = jax.devices("cuda")
  except RuntimeError:  # jax's word for none
    return False
  digits = [str(d.compute_capability).split(".") for d in devices]
  return all(int(major) >= 8 for major, *_ in digits)


def _gated(bias: Array, gate: Array | None) -> Array:
  return bias if gate is None else gate[:, :, None] * bias


class BandNorm(nn.Module):
  """Batch norm of each band with the statistics of the pre-training data.

  It takes the place of a mean and deviation of the whole data set in DaSheng
  and CED, and never looks at the clips that come.
  """

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


def sincos_positions(num_rows: int, width: int, columns: int) -> np.ndarray:
  """Position table of a grid that is gone through row by row.

  Args:
    num_rows: positions, of which `columns` are a row of the grid.
    width: D, a multiple of 4.
    columns: of the grid.

  Returns:
    `[num_rows, D]` float32: sine and cosine of the column, then of the row.
  """
  row, column = np.divmod(np.arange(num_rows), columns)
  rate = 1.0 / 10000.0 ** (np.arange(width // 4) / (width / 4.0))
  angles = [np.outer(place, rate) for place in (column, row)]
  waves = [f(a) for a in angles for f in (np.sin, np.cos)]
  return np.concatenate(waves, axis=1).astype(np.float32)


def recomputed(block: type[nn.Module], yes: bool) -> type[nn.Module]:
  """Makes a block keep its input alone for gradients, if asked to.

  Args:
    block: class of the block.
    yes: whether what is inside is computed again on the way back: a third more
      work, and memory for one block instead of all.

  Returns:
    The class, or one with the same parameters.
  """
  return nn.remat(block) if yes else block


class PatchEmbed(nn.Module):
  """Convolution whose stride is its kernel, as one matrix product.

  Attributes:
    width: output width D.
    patch: rows and columns of a patch.
    use_bias: whether a bias is added.
    dtype: of the computation.
  """

  width: int
  patch: tuple[int, int]
  use_bias: bool = True
  dtype: DType = jnp.float32

  @nn.compact
  def __call__(self, picture: Array) -> Array:
    """Maps `[R, C]` to `[R // rows, C // columns, D]`; the rest is dropped."""
    rows, columns = self.patch
    init = nn.initializers.lecun_normal()
    kernel = self.param("kernel", init, (rows, columns, 1, self.width))
    down, across = picture.shape[0] // rows, picture.shape[1] // columns
    # Strides equal kernels, so the patches do not overlap and the convolution
    # is one matrix product.
    x = picture[: down * rows, : across * columns]
    x = x.reshape(down, rows, across, columns)
    x = x.transpose(0, 2, 1, 3).reshape(down, across, rows * columns)
    x = x.astype(self.dtype)
    x @= kernel.reshape(rows * columns, self.width).astype(self.dtype)
    if self.use_bias:
      bias = self.param("bias", nn.initializers.zeros, (self.width,))
      x += bias.astype(self.dtype)[None, None]
    return x


class Attention(nn.Module):
  """Multi-head self-attention with one projection for all three inputs.

  Attributes:
    num_heads: heads H.
    dtype: of the computation.
  """

  num_heads: int
  dtype: DType = jnp.float32

  @nn.compact
  def __call__(self, x: Array, *, keep: Array | None = None) -> Array:
    """Maps `[L, D]` or `[N, L, D]`, N sequences each by itself, to the same.

    `keep` `[L]` is False for masked keys.
    """
    *several, length, width = x.shape
    qkv = nn.Dense(3 * width, dtype=self.dtype, name="qkv")(x)
    per_head = (self.num_heads, width // self.num_heads)
    qkv = qkv.reshape(*several, length, 3, *per_head)
    if several:
      # Sequences that do not see each other are more heads of one.
      qkv = jnp.moveaxis(qkv, 0, 2).reshape(length, 3, -1, per_head[1])
    out = attend(qkv[:, 0], qkv[:, 1], qkv[:, 2], keep=keep)
    if several:
      out = out.reshape(length, -1, width).swapaxes(0, 1)
    return nn.Dense(width, dtype=self.dtype, name="proj")(out)


class Mlp(nn.Module):
  """Two linear layers with an activation between them.

  Attributes:
    hidden: width between them.
    dtype: of the computation.
    activation: between them.
  """

  hidden: int
  dtype: DType = jnp.float32
  activation: Callable[[Array], Array] = gelu

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Maps `[L, D]` to `[L, D]`."""
    h = nn.Dense(self.hidden, dtype=self.dtype, name="fc1")(x)
    h = self.activation(h)
    return nn.Dense(x.shape[-1], dtype=self.dtype, name="fc2")(h)


class PostNormBlock(nn.Module):
  """Attention and MLP, each normalised after its residual sum.

  Attributes:
    num_heads: heads.
    hidden: width of the MLP.
    dtype: of the matrix products; the residual stream is float32.
    epsilon: of the norms.
  """

  num_heads: int
  hidden: int
  dtype: DType = jnp.float32
  epsilon: float = 1e-6

  @nn.compact
  def __call__(self, x: Array, *, keep: Array | None = None) -> Array:
    """Maps `[L, D]` to `[L, D]`; `keep` `[L]` is False for masked keys."""
    x += Attention(self.num_heads, self.dtype, name="attn")(x, keep=keep)
    x = layer_norm(self.epsilon, "norm1")(x)
    x += Mlp(self.hidden, self.dtype, name="mlp")(x)
    return layer_norm(self.epsilon, "norm2")(x)


class PreNormBlock(nn.Module):
  """Attention and MLP, each of a normalised copy, added to the stream.

  Attributes:
    num_heads: heads.
    hidden: width of the MLP.
    dtype: of the matrix products; the residual stream is float32.
    epsilon: of the norms.
  """

  num_heads: int
  hidden: int
  dtype: DType = jnp.float32
  epsilon: float = 1e-6

  @nn.compact
  def __call__(self, x: Array, *, keep: Array | None = None) -> Array:
    """Maps `[L, D]` to `[L, D]`; `keep` `[L]` is False for masked keys."""
    attention = Attention(self.num_heads, self.dtype, name="attn")
    x += attention(layer_norm(self.epsilon, "norm1")(x), keep=keep)
    mlp = Mlp(self.hidden, self.dtype, name="mlp")
    return x + mlp(layer_norm(self.epsilon, "norm2")(x))


def linear_rules(name: str, path: str) -> tuple[Rule, Rule]:
  """Rules of a linear layer.

  Args:
    name: pattern of its official name.
    path: its place.

  Returns:
    Rules of weight and bias.
  """
  return (
    Rule(name + r"\.weight", path + "/kernel", "linear"),
    Rule(name + r"\.bias", path + "/bias"),
  )


def norm_rules(name: str, path: str) -> tuple[Rule, Rule]:
  """Rules of a norm.

  Args:
    name: pattern of its official name.
    path: its place.

  Returns:
    Rules of weight and bias.
  """
  return (
    Rule(name + r"\.weight", path + "/scale"),
    Rule(name + r"\.bias", path + "/bias"),
  )


# Blocks as `timm` names them; DaSheng and EAT do so too.
BLOCK_RULES = (
  *linear_rules(r"blocks\.(\d+)\.(attn|mlp)\.(\w+)", r"blocks_\1/\2/\3"),
  *norm_rules(r"blocks\.(\d+)\.(norm\d)", r"blocks_\1/\2"),
)
