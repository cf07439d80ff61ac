"""How far features move between domains, and which of them stay put."""

import jax
import jax.numpy as jnp

from asd_jax.typing import Array

# Smallest standard deviation of a feature over the source clips.
_SMALLEST = 1e-8


def wasserstein(source: Array, target: Array) -> Array:
  """First Wasserstein distance between two samples of one number.

  The area between the two empirical distribution functions.

  Args:
    source: `[N]` values.
    target: `[K]` values.

  Returns:
    `[]` distance, in the unit of the values.
  """
  values = jnp.concatenate([source, target])
  order = jnp.argsort(values)
  values = values[order]
  is_target = order >= source.shape[0]
  # Counts are exact where sums of shares would drift.
  num_target = jnp.cumsum(is_target, dtype=jnp.int32)
  num_source = jnp.arange(1, values.shape[0] + 1, dtype=jnp.int32) - num_target
  gap = num_source / source.shape[0] - num_target / target.shape[0]
  return jnp.sum(jnp.abs(gap[:-1]) * jnp.diff(values))


def domain_shift(source: Array, target: Array) -> Array:
  """Distance of each feature between the domains of one machine.

  Both domains are standardised with the source clips' mean and standard
  deviation (ddof 0).

  Args:
    source: `[N, D]` features of the source clips.
    target: `[K, D]` features of the target clips.

  Returns:
    `[D]` Wasserstein distances in standard deviations.

  Source: [KonicaMinolta26] Sec. 2.1.2; the standardisation is our choice.
  """
  mean = jnp.mean(source, axis=0, keepdims=True)
  centred = source - mean
  std = jnp.sqrt(jnp.mean(jnp.square(centred), axis=0, keepdims=True))
  std = jnp.maximum(std, _SMALLEST)
  return jax.vmap(wasserstein, in_axes=1)(centred / std, (target - mean) / std)


def drop_largest(distance: Array, num: int) -> tuple[Array, Array]:
  """Keeps all features but those that move farthest.

  Args:
    distance: `[D]` distances.
    num: how many to drop, 0 to D; of equal ones those that come first.

  Returns:
    `[D]` True for what is kept, and `[]` the threshold midway between the
    smallest dropped and the largest kept distance; infinite where nothing is
    dropped, minus infinity where nothing is kept.
  """
  order = jnp.argsort(-distance, stable=True)
  rank = jnp.argsort(order)
  ends = (jnp.full(1, jnp.inf), distance[order], jnp.full(1, -jnp.inf))
  ranked = jnp.concatenate(ends)
  return rank >= num, 0.5 * (ranked[num] + ranked[num + 1])


def drop_above(distance: Array, limit: float) -> Array:
  """Keeps the features that move no farther than a limit.

  Args:
    distance: `[D]` distances.
    limit: largest distance that is kept.

  Returns:
    `[D]` True for what is kept.
  """
  return distance <= limit
