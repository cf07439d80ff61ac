"""Training that makes domains look alike: DANN and MixStyle."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from asd_jax.training import losses
from asd_jax.typing import Array, Key, Scalar

Tree = Any


@jax.custom_vjp
def reverse_gradient(x: Array, weight: Array) -> Array:
  """Passes values on, and gradients back with the opposite sign.

  Args:
    x: `[...]` any values.
    weight: `[]` of the gradient.

  Returns:
    `[...]` the same values.

  Source: [DANN16].
  """
  del weight
  return x


def _forward(x: Array, weight: Array) -> tuple[Array, Array]:
  return x, weight


def _backward(weight: Array, gradient: Array) -> tuple[Array, Array]:
  return -weight * gradient, jnp.zeros_like(weight)


reverse_gradient.defvjp(_forward, _backward)


def reversal_weight(progress: Scalar, *, gain: float = 10.0) -> Array:
  """Weight of the reversed gradient, from zero towards one.

  Args:
    progress: done share of the training, 0 to 1.
    gain: how soon it rises.

  Returns:
    `[]`.

  Source: [DANN16].
  """
  return jnp.tanh(0.5 * gain * progress)


def mix_style(h: Array, share: Array, partner: Array) -> Array:
  """Gives each clip's tokens mean and deviation of two clips.

  Args:
    h: `[B, L, D]` tokens, two or more of a clip.
    share: `[B]` share of the clip's own statistics.
    partner: `[B]` row of the other clip.

  Returns:
    `[B, L, D]`; no gradient through the statistics.

  Source: [MixStyle21].
  """
  mean = jnp.mean(h, axis=1, keepdims=True)
  std = jnp.sqrt(jnp.var(h, axis=1, ddof=1, keepdims=True) + 1e-6)
  mean, std = jax.lax.stop_gradient((mean, std))
  own = share[:, None, None].astype(h.dtype)
  blend = lambda x: own * x + (1.0 - own) * x[partner]
  return (h - mean) / std * blend(std) + blend(mean)


def mix_styles(
  key: Key, h: Array, *, probability: Scalar = 0.5, beta: float = 0.1
) -> Array:
  """Draws for a batch whether, with what and how far its styles are mixed.

  Args:
    key: consumed.
    h: `[B, C, L, D]` tokens; the channels of a clip share the draws.
    probability: of mixing; the whole batch is mixed or left.
    beta: of the Beta distribution of the clips' own shares.

  Returns:
    `[B, C, L, D]`.

  Source: [MixStyle21].
  """
  ks = jax.random.split(key, 3)
  share = jax.random.beta(ks[0], beta, beta, (len(h),), jnp.float32)
  partner = jax.random.permutation(ks[1], len(h))
  mix = functools.partial(mix_style, share=share, partner=partner)
  mixed = jax.vmap(mix, in_axes=1, out_axes=1)(h)
  yes = jax.random.bernoulli(ks[2], jnp.float32(probability))
  return jnp.where(yes, mixed, h)


def dann(*, num_hidden: int = 256, gain: float = 10.0) -> losses.Criterion:
  """A classifier whose gradient makes embeddings tell its classes less.

  Its labels are those that embeddings should not tell: the domains.

  Args:
    num_hidden: width of its hidden layer.
    gain: how soon the reversed gradient rises to its full weight.

  Returns:
    The criterion.

  Source: [DANN16]; the classifier is our choice.
  """
  uniform = jax.nn.initializers.variance_scaling(
    1 / 3, "fan_in", "uniform", dtype=jnp.float32
  )

  def init(key: Key, num_classes: int, width: int) -> tuple[Tree, Tree]:
    losses.check_classes(num_classes)
    ks = jax.random.split(key)
    sizes = ((width, num_hidden), (num_hidden, num_classes))
    layers = {
      f"dense_{i}": {
        "kernel": uniform(k, size),
        "bias": jnp.zeros(size[1]),
      }
      for i, (k, size) in enumerate(zip(ks, sizes, strict=True))
    }
    return layers, {}

  def apply(
    params: Tree, extra: Tree, x: Array, y: Array, key: Key, progress: Array
  ) -> tuple[Array, Tree]:
    del key
    weight = reversal_weight(progress, gain=gain).astype(x.dtype)
    h = reverse_gradient(x, weight)
    h = jax.nn.relu(_linear(params["dense_0"], h))
    return losses.cross_entropy(_linear(params["dense_1"], h), y), extra

  return losses.Criterion(init, apply)


def _linear(layer: Tree, x: Array) -> Array:
  return jnp.matmul(x, layer["kernel"]) + layer["bias"][None]
