"""Layers with PyTorch's arithmetic and initial values, as published code has.

They are trained from scratch: autoencoders, and heads of adapted encoders.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from asd_jax import errors
from asd_jax.typing import Array, Key


def torch_uniform(key: Key, shape: tuple[int, ...], fan_in: int) -> Array:
  """PyTorch's default for linear layers: uniform in +-1/sqrt(fan_in).

  Args:
    key: consumed.
    shape: shape of the parameter.
    fan_in: number of inputs of the layer.

  Returns:
    `[*shape]` float32.
  """
  bound = fan_in**-0.5
  return jax.random.uniform(key, shape, jnp.float32, -bound, bound)


class Dense(nn.Module):
  """A linear layer with PyTorch's default initialisation.

  Attributes:
    features: output width.
    use_bias: whether it has one.
  """

  features: int
  use_bias: bool = True

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Maps `[..., D]` to `[..., features]`."""
    fan_in = x.shape[-1]
    init = lambda key, shape: torch_uniform(key, shape, fan_in)
    kernel = self.param("kernel", init, (fan_in, self.features))
    if not self.use_bias:
      return x @ kernel
    bias = self.param("bias", init, (self.features,))
    return x @ kernel + bias.reshape((1,) * (x.ndim - 1) + (-1,))


class BatchNorm(nn.Module):
  """Batch normalisation over all axes but the last.

  All normalise with the biased variance; PyTorch stores the unbiased one
  (correction 1), flax the biased one (0).

  Attributes:
    momentum: weight of the new batch in the running statistics (PyTorch's
      meaning; flax calls one minus this number momentum).
    epsilon: added to the variance.
    correction: subtracted from the count for the stored variance.
  """

  momentum: float = 0.1
  epsilon: float = 1e-5
  correction: int = 1

  @nn.compact
  def __call__(self, x: Array, *, train: bool) -> Array:
    """Normalises `[..., D]`; `train` uses and records the batch's statistics.

    Raises:
      InputError: for a single row in training, which has no variance.
    """
    shape, width = x.shape, x.shape[-1]
    x = x.reshape(-1, width)
    num = len(x)
    scale = self.param("scale", nn.initializers.ones, (width,))
    shift = self.param("bias", nn.initializers.zeros, (width,))
    mean = self.variable("batch_stats", "mean", jnp.zeros, (width,))
    var = self.variable("batch_stats", "var", jnp.ones, (width,))
    # One product a value: the statistics are folded into gain and shift.
    if not train:
      gain = scale * jax.lax.rsqrt(var.value + self.epsilon)
      out = x * gain[None] + (shift - mean.value * gain)[None]
      return out.reshape(shape)
    if num <= self.correction:
      raise errors.InputError(
        f"batch normalisation in training: found a batch of {num}, expected 2"
        " or more."
      )
    batch_mean = jnp.mean(x, axis=0)
    centred = x - batch_mean[None]
    batch_var = jnp.mean(jnp.square(centred), axis=0)
    # The blank input of `init` must leave no trace in the statistics.
    if not self.is_initializing():
      keep = 1.0 - self.momentum
      stored = batch_var * (num / (num - self.correction))
      mean.value = keep * mean.value + self.momentum * batch_mean
      var.value = keep * var.value + self.momentum * stored
    gain = scale * jax.lax.rsqrt(batch_var + self.epsilon)
    return (centred * gain[None] + shift[None]).reshape(shape)
