"""Choosing rows that stand for many."""

import jax
import jax.numpy as jnp

from asd_jax.typing import Array


def k_centre(keys: Array, num: int) -> Array:
  """Greedy farthest-point selection.

  The first is the row nearest to the mean, each next one the row farthest
  from all chosen; ties go to the lowest row number.

  Args:
    keys: `[N, D]` rows.
    num: rows to choose; all, if there are fewer.

  Returns:
    `[min(num, N)]` int32 row numbers in the order of choice.

  Source: [LUDO26], selection of prototypes.
  """
  to = lambda point: jnp.sum(jnp.square(keys - point[None]), axis=1)
  first = jnp.argmin(to(jnp.mean(keys, axis=0))).astype(jnp.int32)

  def step(carry: tuple[Array, Array], _: None) -> tuple:
    nearest, last = carry
    nearest = jnp.minimum(nearest, to(keys[last]))
    # A chosen row stays chosen, also where others are exact copies of it.
    nearest = nearest.at[last].set(-1.0)
    new = jnp.argmax(nearest).astype(jnp.int32)
    return (nearest, new), last

  start = (jnp.full(keys.shape[0], jnp.inf, keys.dtype), first)
  return jax.lax.scan(step, start, length=min(num, keys.shape[0]))[1]
