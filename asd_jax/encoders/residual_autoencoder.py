"""The autoencoder with residual blocks of [KATECH26]."""

import flax.linen as nn
import jax

from asd_jax.encoders import family, layers, trained
from asd_jax.typing import Array


class ResidualAutoencoder(nn.Module):
  """Projection and residual blocks to a code, and mirrored back.

  Nothing follows the linear layers that make the code and the output.

  Attributes:
    num_inputs: width D of a vector.
    num_hidden: width of the blocks.
    num_bottleneck: width of the code.
    num_blocks: residual blocks on either side of the code.

  Source: [KATECH26] Sec. 3.1; the inside of a block is our choice.
  """

  num_inputs: int = 640
  num_hidden: int = 512
  num_bottleneck: int = 16
  num_blocks: int = 4

  @nn.compact
  def __call__(self, x: Array, *, train: bool) -> tuple[Array, Array]:
    """Maps `[B, num_inputs]` to its reconstruction and code."""
    code = self._half("enc", x, self.num_bottleneck, train)
    return self._half("dec", code, self.num_inputs, train), code

  def _half(self, part: str, x: Array, width: int, train: bool) -> Array:
    def dense(name: str, x: Array, features: int) -> Array:
      return layers.Dense(features, name=f"{part}_{name}")(x)

    def norm(name: str, x: Array) -> Array:
      layer = layers.BatchNorm(correction=0, name=f"{part}_{name}")
      return layer(x, train=train)

    gelu = lambda x: jax.nn.gelu(x, approximate=False)
    h = gelu(norm("proj_bn", dense("proj", x, self.num_hidden)))
    for i in range(self.num_blocks):
      r = norm(f"block{i}_bn1", dense(f"block{i}_fc1", h, self.num_hidden))
      r = dense(f"block{i}_fc2", gelu(r), self.num_hidden)
      h = gelu(h + norm(f"block{i}_bn2", r))
    return dense("out", h, width)


def residual_autoencoder(
  *,
  num_context: int = 5,
  num_hidden: int = 512,
  num_bottleneck: int = 16,
  num_blocks: int = 4,
) -> family.Encoder:
  """The improved autoencoder of standardised context windows.

  Args:
    num_context: frames in a window.
    num_hidden: width of the blocks.
    num_bottleneck: width of the code.
    num_blocks: residual blocks on either side of the code.

  Returns:
    An encoder to train.

  Source: [KATECH26] Sec. 3.1.
  """
  make = lambda width: ResidualAutoencoder(
    width, num_hidden, num_bottleneck, num_blocks
  )
  return trained.of_network(make, num_context=num_context, standardise=True)


ENCODERS = {"residual_autoencoder": residual_autoencoder}
