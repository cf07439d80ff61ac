"""Noise-aware layers: near tokens look at the far ones after every block.

A layer is trained behind each block of a frozen encoder. It hears the far
channel at the same depth, whose stream no layer changes. The blocks themselves
are those of the encoder's own module, whatever it is: layers are set in where
a block returns.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from asd_jax.encoders import transformer
from asd_jax.typing import Array

Tree = Any
# `(number of the block, its output [L, D]) -> [L, D]`.
After = Callable[[int, Array], Array]
EPSILON = 1e-6


class RootMeanSquareNorm(nn.Module):
  """Divides by the root of the mean square; no mean is removed."""

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Maps `[L, D]` to `[L, D]`."""
    scale = self.param("scale", nn.initializers.ones, (x.shape[-1],))
    square = jnp.mean(jnp.square(x), axis=-1, keepdims=True)
    return x * jax.lax.rsqrt(square + EPSILON) * scale[None]


def _stacked_uniform(key: Array, shape: tuple[int, ...], dtype: Any) -> Array:
  """Glorot's bound for q, k and v as one matrix, as they were drawn."""
  width = shape[0]
  bound = (6.0 / (width + 3 * width)) ** 0.5
  return jax.random.uniform(key, shape, dtype, -bound, bound)


def _fan_in_uniform(key: Array, shape: tuple[int, ...], dtype: Any) -> Array:
  """Weights and biases in +-1/sqrt(D), D the first of the weight's axes."""
  bound = shape[0] ** -0.5
  return jax.random.uniform(key, shape, dtype, -bound, bound)


def _attend_in_part(
  key: Array, query: Array, key_rows: Array, value: Array, *, rate: float
) -> Array:
  """`transformer.attend` without a share of the weights, others larger."""
  length, num_heads, width = query.shape
  exact = transformer.exact(query.dtype)
  logits = jnp.einsum(
    "qhd,khd->hqk",
    query * width**-0.5,
    key_rows,
    preferred_element_type=exact,
  )
  weights = jax.nn.softmax(logits, axis=-1)
  keep = jax.random.bernoulli(key, jnp.float32(1.0 - rate), weights.shape)
  weights = jnp.where(keep, weights / (1.0 - rate), 0.0).astype(value.dtype)
  out = jnp.einsum("hqk,khd->qhd", weights, value)
  return out.reshape(length, num_heads * width)


class CrossAttention(nn.Module):
  """Queries of one sequence, keys and values of another.

  Attributes:
    num_heads: heads H.
    dtype: of the matrix products.
    dropout: share of the weights that are left out where the network is
      applied with a key named "dropout", as it is in training.
  """

  num_heads: int
  dtype: Any = jnp.float32
  dropout: float = 0.0

  @nn.compact
  def __call__(self, x: Array, other: Array) -> Array:
    """Maps `[L, D]` and `[L', D]` to `[L, D]`."""
    width = x.shape[-1]
    heads = lambda name, rows: nn.Dense(
      width, dtype=self.dtype, kernel_init=_stacked_uniform, name=f"{name}_proj"
    )(rows).reshape(len(rows), self.num_heads, -1)
    rows = heads("q", x), heads("k", other), heads("v", other)
    if self.dropout and self.has_rng("dropout"):
      key = self.make_rng("dropout")
      out = _attend_in_part(key, *rows, rate=self.dropout)
    else:
      out = transformer.attend(*rows)
    # Zeros, so that the layer starts as the identity.
    zeros = nn.initializers.zeros
    return nn.Dense(
      width, dtype=self.dtype, kernel_init=zeros, name="out_proj"
    )(out)


class SwiGlu(nn.Module):
  """Gated feed-forward part.

  Attributes:
    hidden: width of the gate.
    dtype: of the matrix products.
  """

  hidden: int
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Maps `[L, D]` to `[L, D]`."""
    width = x.shape[-1]
    bound = width**-0.5
    bias = lambda key, shape, dtype: jax.random.uniform(
      key, shape, dtype, -bound, bound
    )
    wide = lambda name: nn.Dense(
      self.hidden, dtype=self.dtype, kernel_init=_fan_in_uniform,
      bias_init=bias, name=name,
    )(x)  # fmt: skip
    gated = jax.nn.silu(wide("gate_proj")) * wide("up_proj")
    zeros = nn.initializers.zeros
    return nn.Dense(
      width, dtype=self.dtype, kernel_init=zeros, name="down_proj"
    )(gated)


class CrossLayer(nn.Module):
  """Near tokens attend to far ones, then a gated feed-forward part.

  Attributes:
    num_heads: heads of the attention.
    hidden: width of the feed-forward part.
    dtype: of the matrix products.
    dropout: of the attention, see `CrossAttention`.

  Source: [MERL26] Sec. 2.2, [NABEATs26].
  """

  num_heads: int
  hidden: int
  dtype: Any = jnp.float32
  dropout: float = 0.0

  @nn.compact
  def __call__(self, x: Array, far: Array) -> Array:
    """Maps near `[L, D]` and far `[L', D]` to `[L, D]`."""
    norm = lambda name: RootMeanSquareNorm(name=name)
    query, rows = norm("norm_q")(x), norm("norm_kv")(far)
    attention = CrossAttention(
      self.num_heads, self.dtype, self.dropout, name="attention"
    )
    x += attention(query, rows)
    ffn = SwiGlu(self.hidden, self.dtype, name="ffn")
    return x + ffn(norm("norm_ffn")(x))


class FilmLayer(nn.Module):
  """The mean of the far tokens scales and shifts the near ones.

  Attributes:
    num_heads: not used; every kind has it.
    hidden: width of the feed-forward part.
    dtype: of the matrix products.
    dropout: of the attention, see `CrossAttention`.

  Source: [NABEATs26].
  """

  num_heads: int
  hidden: int
  dtype: Any = jnp.float32
  dropout: float = 0.0

  @nn.compact
  def __call__(self, x: Array, far: Array) -> Array:
    """Maps near `[L, D]` and far `[L', D]` to `[L, D]`."""
    norm = lambda name: RootMeanSquareNorm(name=name)
    mean = jnp.mean(norm("norm_n_ref")(far), axis=0)
    zeros = nn.initializers.zeros
    film = nn.Dense(
      2 * x.shape[-1], dtype=self.dtype, kernel_init=zeros, name="film"
    )
    gamma, beta = jnp.split(film(mean), 2)
    x += gamma[None] * norm("norm_x")(x) + beta[None]
    ffn = SwiGlu(self.hidden, self.dtype, name="ffn")
    return x + ffn(norm("norm_ffn")(x))


class SelfLayer(nn.Module):
  """Near tokens attend to themselves: a denoiser of one channel.

  Attributes:
    num_heads: heads of the attention.
    hidden: width of the feed-forward part.
    dtype: of the matrix products.
    dropout: of the attention, see `CrossAttention`.

  Source: [NABEATs26].
  """

  num_heads: int
  hidden: int
  dtype: Any = jnp.float32
  dropout: float = 0.0

  @nn.compact
  def __call__(self, x: Array, far: Array | None = None) -> Array:
    """Maps `[L, D]` to `[L, D]`."""
    del far
    norm = lambda name: RootMeanSquareNorm(name=name)
    rows = norm("norm")(x)
    attention = CrossAttention(
      self.num_heads, self.dtype, self.dropout, name="attention"
    )
    x += attention(rows, rows)
    ffn = SwiGlu(self.hidden, self.dtype, name="ffn")
    return x + ffn(norm("norm_ffn")(x))


LAYERS: dict[str, type[nn.Module]] = {
  "cross_attention": CrossLayer,
  "film": FilmLayer,
  "self_attention": SelfLayer,
}


class Layers(nn.Module):
  """The layers of an encoder, one behind each block.

  Attributes:
    depth: blocks.
    kind: key of `LAYERS`.
    num_heads: heads of the attention; no weight tells them.
    hidden: width of the feed-forward parts.
    dtype: of the matrix products.
    dropout: of the attention, see `CrossAttention`.
  """

  depth: int
  kind: str
  num_heads: int
  hidden: int
  dtype: Any = jnp.float32
  dropout: float = 0.0

  def setup(self) -> None:
    """Makes the layers."""
    kind = LAYERS[self.kind]
    self.layers = [
      kind(self.num_heads, self.hidden, self.dtype, self.dropout)
      for _ in range(self.depth)
    ]

  def __call__(self, x: Array, far: Array) -> Array:
    """All layers in turn, which makes their parameters."""
    for layer in self.layers:
      x = layer(x, far)
    return x

  def one(self, i: int, x: Array, far: Array | None) -> Array:
    """The i-th layer: near `[L, D]` and far `[L', D]` to `[L, D]`."""
    return self.layers[i](x, far)


@jax.custom_vjp
def decayed(x: Array, ratio: float) -> Array:
  """The same array, whose gradient is multiplied on the way back.

  Args:
    x: `[...]` any array.
    ratio: factor of its gradient.

  Returns:
    `x`.
  """
  del ratio
  return x


decayed.defvjp(
  lambda x, ratio: (x, ratio), lambda ratio, grad: (grad * ratio, None)
)


@contextmanager
def after_blocks(after: After) -> Iterator[None]:
  """Hands on what each block of an encoder returns.

  Args:
    after: replaces the output of a block.

  Yields:
    Nothing; it holds for networks that are applied inside.
  """

  def intercept(
    next_fun: Callable, args: tuple, kwargs: Mapping, context: Any
  ) -> Any:
    name, *below = context.module.path or ("",)
    is_block = name.startswith("blocks_") and not below
    out = next_fun(*args, **kwargs)
    if not is_block or context.method_name != "__call__":
      return out
    return after(int(name.removeprefix("blocks_")), out)

  with nn.intercept_methods(intercept):
    yield


def two_streams(
  hear_far: Callable[[Array], Tree],
  hear_near: Callable[[Array], Tree],
  one: Callable[[int, Array, Array], Array],
  near: Array,
  far: Array,
) -> tuple[Tree, Tree]:
  """Runs an encoder on both channels, with a layer behind each block.

  Args:
    hear_far: the encoder, of one channel; its blocks are not computed again
      for gradients, since what they return leaves them here.
    hear_near: the same, whose blocks may be.
    one: `(number of the block, near [L, D], far [L', D]) -> [L, D]`.
    near: `[frames, M]` input of the near channel.
    far: `[frames, M]` of the far channel.

  Returns:
    What the encoder returns of the near and of the far channel; the far one is
    as it would be without layers.
  """
  # A block is called for each group of a long clip; near groups look at far
  # groups in the same order.
  heard: dict[int, list[Array]] = {}

  def keep(i: int, x: Array) -> Array:
    heard.setdefault(i, []).append(x)
    return x

  with after_blocks(keep):
    of_far = hear_far(far)
  turn = {i: iter(groups) for i, groups in heard.items()}
  with after_blocks(lambda i, x: one(i, x, next(turn[i]))):
    return hear_near(near), of_far
