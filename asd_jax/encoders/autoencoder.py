"""Autoencoders of context windows, trained on the clips of one machine.

The official baseline's, and the one with residual blocks of [KATECH26]. Both
are published as PyTorch programs whose results we follow, hence `torch_layers`.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from asd_jax import errors
from asd_jax.encoders import family, tokens, torch_layers
from asd_jax.ops import signal
from asd_jax.ops.masks import Ragged
from asd_jax.typing import Array, Key

Tree = Any
# Deviations below this count as this, in dB: a constant dimension stays small.
MIN_STD = 1e-6


class Autoencoder(nn.Module):
  """Linear, batch norm, ReLU; the last layer is linear only.

  Attributes:
    num_inputs: width of a vector.
    num_hidden: width of the hidden layers.
    num_bottleneck: width of the code, which is normalised and rectified too.
    num_layers: hidden layers on either side of the code.

  Source: [DCASE26base].
  """

  num_inputs: int = 640
  num_hidden: int = 128
  num_bottleneck: int = 8
  num_layers: int = 4

  @nn.compact
  def __call__(self, x: Array, *, train: bool) -> tuple[Array, Array]:
    """Maps `[B, num_inputs]` to its reconstruction and code."""
    hidden = (self.num_hidden,) * self.num_layers
    parts = {"encoder": (*hidden, self.num_bottleneck), "decoder": hidden}
    code = x
    for part, widths in parts.items():
      for i, width in enumerate(widths):
        x = torch_layers.Dense(width, name=f"{part}_{i}")(x)
        norm = torch_layers.BatchNorm(0.01, 1e-3, name=f"{part}_{i}_norm")
        x = nn.relu(norm(x, train=train))
      # The bottleneck is normalised and rectified like any other layer.
      if part == "encoder":
        code = x
    out = torch_layers.Dense(self.num_inputs, name=f"decoder_{self.num_layers}")
    return out(x), code


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
      return torch_layers.Dense(features, name=f"{part}_{name}")(x)

    def norm(name: str, x: Array) -> Array:
      layer = torch_layers.BatchNorm(correction=0, name=f"{part}_{name}")
      return layer(x, train=train)

    gelu = lambda x: jax.nn.gelu(x, approximate=False)
    h = gelu(norm("proj_bn", dense("proj", x, self.num_hidden)))
    for i in range(self.num_blocks):
      r = norm(f"block{i}_bn1", dense(f"block{i}_fc1", h, self.num_hidden))
      r = dense(f"block{i}_fc2", gelu(r), self.num_hidden)
      h = gelu(h + norm(f"block{i}_bn2", r))
    return dense("out", h, width)


class Reconstruction(NamedTuple):
  """Facts of a reconstruction network of context windows.

  Attributes:
    num_context: frames that one input window joins.
    loss: `(params, extra, x [B, D]) -> (loss, extra)`, training mode.
    errors: `(params, extra, x [B, D]) -> [B, D]` reconstruction minus input
      in the units of the network, evaluation mode.
    patch_frames: the fewest frames that it takes.
    layers: names of what it returns.
  """

  num_context: int
  loss: Callable[[Tree, Tree, Array], tuple[Array, Tree]]
  errors: Callable[[Tree, Tree, Array], Array]
  patch_frames: int
  layers: tokens.Layers = ("output",)


def reconstruction_loss(recon: Array, x: Array) -> Array:
  """Mean squared error over all elements.

  Args:
    recon: `[B, D]` reconstruction.
    x: `[B, D]` input.

  Returns:
    `[]` loss.
  """
  return jnp.mean(jnp.square(recon - x))


def _standardised(extra: Tree, x: Array) -> Array:
  if "mean" not in extra:
    return x
  return (x - extra["mean"][None]) / extra["std"][None]


# What tokens may be of a window, its reconstruction and its code.
_OUTPUTS = {
  "errors": lambda x, recon, code: recon - x,
  "code": lambda x, recon, code: code,
}


def _of_network(
  make: Callable[[int], nn.Module],
  *,
  num_context: int,
  output: str,
  standardise: bool,
) -> family.Encoder:
  """Wraps a network that maps windows to (reconstruction, code).

  Its tokens are the errors or codes of all windows, one frequency patch each.

  Args:
    make: width D to the module; it has parameters and `batch_stats`.
    num_context: frames in a window.
    output: a key of `_OUTPUTS`.
    standardise: whether windows are brought to zero mean and unit deviation,
      dimension by dimension, with the training windows' statistics.

  Returns:
    The encoder.

  Raises:
    InputError: for another output.
  """
  if output not in _OUTPUTS:
    raise errors.InputError(
      f"autoencoder: output: found {output!r}, expected one of {[*_OUTPUTS]}."
    )

  def init(key: Key, mean: Array, std: Array) -> tuple[Tree, Tree]:
    width = mean.shape[0]
    variables = make(width).init(key, jnp.zeros((2, width)), train=True)
    extra = {"batch_stats": variables["batch_stats"]}
    if standardise:
      extra |= {"mean": mean, "std": jnp.maximum(std, MIN_STD)}
    return variables["params"], extra

  def loss(params: Tree, extra: Tree, x: Array) -> tuple[Array, Tree]:
    x = _standardised(extra, x)
    (recon, _), new = make(x.shape[-1]).apply(
      {"params": params, "batch_stats": extra["batch_stats"]},
      x,
      train=True,
      mutable=["batch_stats"],
    )
    return reconstruction_loss(recon, x), {**extra, **new}

  def shown(params: Tree, extra: Tree, x: Array, *, output: str) -> Array:
    x = _standardised(extra, x)
    variables = {"params": params, "batch_stats": extra["batch_stats"]}
    recon, code = make(x.shape[-1]).apply(variables, x, train=False)
    return _OUTPUTS[output](x, recon, code)

  def apply(
    variables: Mapping[str, Tree],
    frames: Array,
    layers: tokens.Layers,
    num: Array | None = None,
  ) -> dict[str, tokens.Tokens]:
    x = signal.context_windows(frames, num_context=num_context)
    rows = shown(variables["params"], variables["extra"], x, output=output)
    num = None if num is None else num - num_context + 1
    found = tokens.Tokens(rows[:, None], num=num)  # [T', 1, D]
    return dict.fromkeys(layers, found)

  def apply_part(
    variables: Mapping[str, Tree], x: Ragged, layers: tokens.Layers
  ) -> dict[str, tokens.Tokens]:
    one = tokens.per_channel(functools.partial(apply, num=x.num))
    return one(variables, x.rows, layers)

  about = Reconstruction(
    num_context,
    loss,
    errors=functools.partial(shown, output="errors"),
    patch_frames=num_context,
  )
  return family.Encoder(
    init, tokens.per_channel(apply), "machine", about, apply_part
  )


def autoencoder(
  *,
  num_context: int = 5,
  num_hidden: int = 128,
  num_bottleneck: int = 8,
  num_layers: int = 4,
  output: str = "errors",
) -> family.Encoder:
  """The official baseline's autoencoder of context windows.

  Args:
    num_context: frames in a window.
    num_hidden: width of the hidden layers.
    num_bottleneck: width of the code.
    num_layers: hidden layers on either side of the code.
    output: what tokens are, `"errors"` of reconstruction or `"code"`.

  Returns:
    An encoder to train.

  Source: [DCASE26base].
  """
  make = lambda width: Autoencoder(
    width, num_hidden, num_bottleneck, num_layers
  )
  return _of_network(
    make, num_context=num_context, output=output, standardise=False
  )


def residual_autoencoder(
  *,
  num_context: int = 5,
  num_hidden: int = 512,
  num_bottleneck: int = 16,
  num_blocks: int = 4,
  output: str = "errors",
) -> family.Encoder:
  """The improved autoencoder of standardised context windows.

  Args:
    num_context: frames in a window.
    num_hidden: width of the blocks.
    num_bottleneck: width of the code.
    num_blocks: residual blocks on either side of the code.
    output: what tokens are, `"errors"` of reconstruction or `"code"`.

  Returns:
    An encoder to train.

  Source: [KATECH26] Sec. 3.1.
  """
  make = lambda width: ResidualAutoencoder(
    width, num_hidden, num_bottleneck, num_blocks
  )
  return _of_network(
    make, num_context=num_context, output=output, standardise=True
  )


ENCODERS = {
  "autoencoder": autoencoder,
  "residual_autoencoder": residual_autoencoder,
}
