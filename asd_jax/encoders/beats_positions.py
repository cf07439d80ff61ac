"""How BEATs tells positions: relative buckets, and a convolution."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from asd_jax.encoders import transformer
from asd_jax.typing import Array


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
  exact = half // 2
  distance = np.abs(offsets)
  far = np.log(np.maximum(distance, exact) / exact)
  far = exact + np.trunc(far / np.log(max_distance / exact) * (half - exact))
  near = np.where(distance < exact, distance, np.minimum(far, half - 1))
  return (near + half * (offsets > 0)).astype(np.int32)


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
    norm = jnp.sqrt(jnp.sum(jnp.square(direction), (0, 1), keepdims=True))
    out = jax.lax.conv_general_dilated(
      x[None].astype(self.dtype),
      (gain / norm * direction).astype(self.dtype),
      (1,),
      # An even kernel sees one token more before than after.
      [(taps // 2, (taps - 1) // 2)],
      dimension_numbers=("NWC", "OIW", "NWC"),
      feature_group_count=self.num_groups,
    )
    return transformer.gelu(out[0].astype(x.dtype) + bias[None])
