"""The grouped convolution along tokens that tells BEATs their places."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from asd_jax.encoders import transformer
from asd_jax.typing import Array


def _conv(x: Array, kernel: Array, num_groups: int) -> Array:
  taps = kernel.shape[2]
  out = jax.lax.conv_general_dilated(
    x[None],
    kernel,
    (1,),
    # Sixteen rows more, read by nobody, since a CPU sums the last rows of a
    # batch in another order.
    [(taps // 2, (taps - 1) // 2 + 16)],
    dimension_numbers=("NWC", "OIW", "NWC"),
    feature_group_count=num_groups,
  )
  return out[0, : len(x)]


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def grouped_conv(x: Array, kernel: Array, num_groups: int) -> Array:
  """Convolution along a sequence, of each group of channels by itself.

  Args:
    x: `[L, D]`.
    kernel: `[D, D / num_groups, taps]`. An even one sees one row more before
      than after.
    num_groups: groups of channels.

  Returns:
    `[L, D]`; rows outside count as zeros.
  """
  return _conv(x, kernel, num_groups)


def _forward(
  x: Array, kernel: Array, num_groups: int
) -> tuple[Array, tuple[Array, Array]]:
  return _conv(x, kernel, num_groups), (x, kernel)


def _backward(
  num_groups: int, kept: tuple[Array, Array], grad: Array
) -> tuple[Array, Array]:
  """Gradients of both; that of the kernel tap by tap, as matrix products.

  XLA's own is a convolution whose kernel is as long as the sequence: of 128
  taps, a CPU takes 27 times as long for it as for these products.
  """
  x, kernel = kept
  length, taps = len(x), kernel.shape[2]
  (grad_x,) = jax.vjp(lambda x: _conv(x, kernel, num_groups), x)[1](grad)
  groups = lambda a: a.reshape(len(a), num_groups, -1).transpose(1, 0, 2)
  padded = groups(jnp.pad(x, ((taps // 2, (taps - 1) // 2), (0, 0))))
  rows = groups(grad)

  def one(tap: Array) -> Array:
    seen = jax.lax.dynamic_slice_in_dim(padded, tap, length, axis=1)
    exact = transformer.exact(x.dtype)
    return jnp.einsum("gld,glc->gdc", rows, seen, preferred_element_type=exact)

  by_tap = jax.lax.map(one, jnp.arange(taps))
  grad_kernel = by_tap.transpose(1, 2, 3, 0).reshape(kernel.shape)
  return grad_x, grad_kernel.astype(kernel.dtype)


grouped_conv.defvjp(_forward, _backward)


class PositionConv(nn.Module):
  """Grouped convolution along the token sequence, normalised tap by tap.

  Attributes:
    num_taps: kernel length.
    num_groups: groups of channels.
    dtype: of the convolution.
  """

  num_taps: int
  num_groups: int
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Maps `[L, D]` to `[L, D]`."""
    width, taps = x.shape[-1], self.num_taps
    shape = (width, width // self.num_groups, taps)
    ones = nn.initializers.ones
    gain = self.param("weight_g", ones, (1, 1, taps))
    init = nn.initializers.normal(0.02)
    direction = self.param("weight_v", init, shape)
    bias = self.param("bias", nn.initializers.zeros, (width,))
    # Weight norm over all but the taps, kept as the files have it so that a
    # converted file can be compared with the official one.
    norm = jnp.sqrt(jnp.sum(jnp.square(direction), (0, 1), keepdims=True))
    kernel = (gain / norm * direction).astype(self.dtype)
    out = grouped_conv(x.astype(self.dtype), kernel, self.num_groups)
    return transformer.gelu(out.astype(x.dtype) + bias[None])
