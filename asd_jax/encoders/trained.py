"""Encoders whose weights come from the training clips of one machine."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp

from asd_jax.encoders import family
from asd_jax.ops import signal
from asd_jax.typing import Array, Key

Tree = Any
# Deviations below this count as this, in dB: a constant dimension stays small.
MIN_STD = 1e-6


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
  layers: family.Layers = ("output",)


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


def of_network(
  make: Callable[[int], nn.Module], *, num_context: int, standardise: bool
) -> family.Encoder:
  """Wraps a network that maps windows to (reconstruction, code).

  Its tokens are the errors of all windows, one frequency patch each.

  Args:
    make: width D to the module; it has parameters and `batch_stats`.
    num_context: frames in a window.
    standardise: whether windows are brought to zero mean and unit deviation,
      dimension by dimension, with the training windows' statistics.

  Returns:
    The encoder.
  """

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

  def errors(params: Tree, extra: Tree, x: Array) -> Array:
    x = _standardised(extra, x)
    variables = {"params": params, "batch_stats": extra["batch_stats"]}
    return make(x.shape[-1]).apply(variables, x, train=False)[0] - x

  def apply(
    variables: Mapping[str, Tree], frames: Array, layers: family.Layers
  ) -> dict[str, family.Tokens]:
    x = signal.context_windows(frames, num_context=num_context)
    error = errors(variables["params"], variables["extra"], x)
    return {n: family.Tokens(error[:, None]) for n in layers}  # [T', 1, D]

  about = Reconstruction(num_context, loss, errors, patch_frames=num_context)
  return family.Encoder(init, family.per_channel(apply), "machine", about)
