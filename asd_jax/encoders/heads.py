"""Heads: from the tokens of an encoder to one embedding of a clip.

They are trained with the encoder and stay in use with it, unlike criteria.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from asd_jax import errors
from asd_jax.encoders import torch_layers
from asd_jax.ops import distance
from asd_jax.typing import Array, Key

Tree = Any
# Where a head leaves what is only looked at.
SEEN = "intermediates"
# Least variance under a root: its gradient stays finite.
FLOOR = 1e-4


class Head(NamedTuple):
  """Tokens of all channels to an embedding.

  Attributes:
    init: `(key, D) -> (params, stats)` for tokens of width D; `stats` are
      running statistics.
    apply: `(params, stats, h [B, C, L, D], train) -> (z [B, width], stats)`,
      patch tokens without CLS to what a criterion sees. One clip in use is a
      batch of one with `train=False`, which leaves `stats` as they are.
    embed: `(z [..., width]) -> [..., width]`, what a bank holds.
    num_channels: C.
    width: of the embedding.
    share: `(params, h [B, C, L, D]) -> [B]`, mean share of the near channel in
      what is pooled; None where channels are not blended.
  """

  init: Callable[[Key, int], tuple[Tree, Tree]]
  apply: Callable[[Tree, Tree, Array, bool], tuple[Array, Tree]]
  embed: Callable[[Array], Array]
  num_channels: int
  width: int
  share: Callable[[Tree, Array], Array] | None = None


def rows_of(head: Head, grid: Array) -> Array:
  """Patch tokens of one clip, of the channels that a head takes.

  Encoders that take near and far together return both: a head of one channel
  hears near, which has far in it.

  Args:
    head: takes the first C of them.
    grid: `[C', T, F, D]` tokens of an encoder.

  Returns:
    `[C, T * F, D]`.
  """
  heard = grid[: head.num_channels]
  return heard.reshape(len(heard), -1, grid.shape[-1])


def weighted_statistics(h: Array, weight: Array) -> Array:
  """Weighted mean and standard deviation over tokens.

  Args:
    h: `[B, L, D]` tokens.
    weight: `[B, L, D]` weights that sum to one over the tokens, or `[B, L, 1]`.

  Returns:
    `[B, 2 D]`; a deviation is at least the root of `FLOOR`.

  Source: [Okabe18].
  """
  mean = jnp.sum(weight * h, axis=1, keepdims=True)
  # About the mean, which loses fewer digits than the mean of the squares.
  var = jnp.sum(weight * jnp.square(h - mean), axis=1)
  std = jnp.sqrt(jnp.maximum(var, FLOOR))
  return jnp.concatenate([mean[:, 0], std], axis=1)


class AttentiveStatistics(nn.Module):
  """Weighted mean and deviation of tokens; one learned weight a token.

  Attributes:
    num_hidden: width of the layer that the weights come from.

  Source: [Okabe18]; [KonicaMinolta26]. The width is our choice.
  """

  num_hidden: int = 128

  @nn.compact
  def __call__(self, h: Array) -> Array:
    """Maps `[B, L, D]` to `[B, 2 D]`."""
    hidden = jnp.tanh(torch_layers.Dense(self.num_hidden, name="dense")(h))
    # A bias would be the same for all tokens, which the softmax removes.
    score = torch_layers.Dense(1, use_bias=False, name="score")(hidden)
    return weighted_statistics(h, jax.nn.softmax(score, axis=1))


class ContextStatistics(nn.Module):
  """Weighted mean and deviation of tokens; a weight a token and dimension.

  Each token is seen beside mean and deviation of all tokens.

  Attributes:
    num_hidden: width of the layer that the weights come from; None is a
      sixteenth of the tokens'.

  Source: [ASDKit25]; that [MERL26] means this one is our choice.
  """

  num_hidden: int | None = None

  @nn.compact
  def __call__(self, h: Array, *, train: bool) -> Array:
    """Maps `[B, L, D]` to `[B, D]`; L is two or more."""
    width = h.shape[-1]
    hidden = self.num_hidden or max(width // 16, 1)
    x = jnp.concatenate([h, *self._context(h)], axis=-1)  # [B, L, 3 D]
    x = nn.relu(torch_layers.Dense(hidden, name="dense_0")(x))
    x = jnp.tanh(torch_layers.BatchNorm(name="norm_0")(x, train=train))
    x = torch_layers.Dense(width, name="dense_1")(x)
    x = weighted_statistics(h, jax.nn.softmax(x, axis=1))  # [B, 2 D]
    x = torch_layers.BatchNorm(name="norm_1")(x, train=train)
    x = torch_layers.Dense(width, name="dense_2")(x)
    return torch_layers.BatchNorm(name="norm_2")(x, train=train)

  def _context(self, h: Array) -> tuple[Array, Array]:
    """Mean and standard deviation (ddof 1) of all tokens, beside each."""
    mean = jnp.mean(h, axis=1, keepdims=True)
    var = jnp.var(h, axis=1, ddof=1, keepdims=True)
    std = jnp.sqrt(jnp.maximum(var, FLOOR))
    return jnp.broadcast_to(mean, h.shape), jnp.broadcast_to(std, h.shape)


class Projection(nn.Module):
  """Linear, batch norm, ReLU, linear.

  Attributes:
    num_hidden: width in between.
    num_outputs: width of the embedding.

  Source: [KonicaMinolta26].
  """

  num_hidden: int = 512
  num_outputs: int = 256

  @nn.compact
  def __call__(self, x: Array, *, train: bool) -> Array:
    """Maps `[B, D]` to `[B, num_outputs]`, of any length."""
    x = torch_layers.Dense(self.num_hidden, name="dense_0")(x)
    x = nn.relu(torch_layers.BatchNorm(name="norm")(x, train=train))
    return torch_layers.Dense(self.num_outputs, name="dense_1")(x)


class Gate(nn.Module):
  """Share of the near token in a blend of near and far.

  Attributes:
    by_dimension: a gate a dimension; else one a token.

  Source: [Dongyuan26]; one a token, and that it starts the same for all, are
  our choice.
  """

  by_dimension: bool = False

  @nn.compact
  def __call__(self, near: Array, far: Array) -> Array:
    """Maps two times `[B, L, D]` to `[B, L, D]`."""
    both = jnp.concatenate([near, far], axis=-1)
    num = near.shape[-1] if self.by_dimension else 1
    kernel = self.param("kernel", nn.initializers.zeros, (both.shape[-1], num))
    bias = self.param("bias", nn.initializers.ones, (num,))
    share = nn.sigmoid(both @ kernel + bias[None, None])
    self.sow(SEEN, "share", share)
    # Written so, near in both channels comes out as it is, whatever the gate.
    return far + share * (near - far)


class _AttentiveProjection(nn.Module):
  num_attention: int
  num_hidden: int
  num_outputs: int

  @nn.compact
  def __call__(self, h: Array, *, train: bool) -> Array:
    x = AttentiveStatistics(self.num_attention, name="pool")(h[:, 0])
    head = Projection(self.num_hidden, self.num_outputs, name="head")
    return head(x, train=train)


class _GatedProjection(nn.Module):
  by_dimension: bool
  num_outputs: int

  @nn.compact
  def __call__(self, h: Array, *, train: bool) -> Array:
    del train
    x = Gate(self.by_dimension, name="gate")(h[:, 0], h[:, 1])
    x = jnp.mean(x, axis=1)
    return torch_layers.Dense(self.num_outputs, name="proj")(x)


class _ContextProjection(nn.Module):
  num_hidden: int | None
  num_outputs: int

  @nn.compact
  def __call__(self, h: Array, *, train: bool) -> Array:
    if h.shape[2] < 2:
      raise errors.InputError(
        f"head context_projection: found {h.shape[2]} token a clip, expected 2"
        " or more, which have a deviation."
      )
    pool = ContextStatistics(self.num_hidden, name="pool")
    x = pool(h[:, 0], train=train)
    return torch_layers.Dense(self.num_outputs, name="proj")(x)


def _of_module(
  name: str,
  module: nn.Module,
  *,
  num_channels: int,
  width: int,
  embed: Callable[[Array], Array] = lambda z: z,
) -> Head:
  """A head from a module of `[B, C, L, D]` tokens."""

  def init(key: Key, num_inputs: int) -> tuple[Tree, Tree]:
    blank = jnp.zeros((2, num_channels, 2, num_inputs))
    variables = module.init(key, blank, train=False)
    return variables["params"], variables.get("batch_stats", {})

  def apply(
    params: Tree, stats: Tree, h: Array, train: bool
  ) -> tuple[Array, Tree]:
    if h.shape[1] != num_channels:
      raise errors.InputError(
        f"head {name}: found {h.shape[1]} channels, expected {num_channels}."
      )
    # Statistics of tokens that come in few bits are made in more.
    h = h.astype(jnp.promote_types(h.dtype, jnp.float32))
    variables = {"params": params, "batch_stats": stats}
    if not train:
      z: Any = module.apply(variables, h, train=False)
      return z, stats
    z, new = module.apply(variables, h, train=True, mutable=["batch_stats"])
    return z, new.get("batch_stats", stats)

  return Head(init, apply, embed, num_channels, width)


def attentive_projection(
  *, num_attention: int = 128, num_hidden: int = 512, num_outputs: int = 256
) -> Head:
  """Attentive statistics of one channel's tokens, and a projection.

  The embedding has length one.

  Args:
    num_attention: width of the layer that the weights of tokens come from.
    num_hidden: width of the projection's hidden layer.
    num_outputs: width of the embedding.

  Returns:
    The head.

  Source: [KonicaMinolta26] Sec. 2.2.
  """
  module = _AttentiveProjection(num_attention, num_hidden, num_outputs)
  return _of_module(
    "attentive_projection",
    module,
    num_channels=1,
    width=num_outputs,
    embed=distance.unit,
  )


def gated_projection(
  *, by_dimension: bool = False, num_outputs: int = 256
) -> Head:
  """A gate between near and far tokens, their mean, and a linear layer.

  Args:
    by_dimension: a gate a dimension; else one a token.
    num_outputs: width of the embedding.

  Returns:
    The head.

  Source: [Dongyuan26] Sec. 3.4; the mean and the layer are our choice.
  """
  module = _GatedProjection(by_dimension, num_outputs)

  def share(params: Tree, h: Array) -> Array:
    _, seen = module.apply({"params": params}, h, train=False, mutable=[SEEN])
    (found,) = seen[SEEN]["gate"]["share"]  # [B, L, 1], or of each dimension
    return jnp.mean(found, axis=(1, 2))

  head = _of_module(
    "gated_projection", module, num_channels=2, width=num_outputs
  )
  return head._replace(share=share)


def context_projection(
  *, num_hidden: int | None = None, num_outputs: int = 256
) -> Head:
  """Attentive statistics with context of one channel's tokens, and a layer.

  Args:
    num_hidden: width of the layer that the weights of tokens come from; None
      is a sixteenth of the tokens'.
    num_outputs: width of the embedding.

  Returns:
    The head.

  Source: [MERL26] Sec. 4.1; [ASDKit25].
  """
  module = _ContextProjection(num_hidden, num_outputs)
  return _of_module(
    "context_projection", module, num_channels=1, width=num_outputs
  )


HEADS = {
  "attentive_projection": attentive_projection,
  "gated_projection": gated_projection,
  "context_projection": context_projection,
}
