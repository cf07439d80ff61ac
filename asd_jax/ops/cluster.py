"""Choosing rows that stand for many, and groups of rows."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from asd_jax import errors
from asd_jax.ops import distance
from asd_jax.typing import Array, Key


def k_centre(keys: Array, num: int, *, usable: Array | None = None) -> Array:
  """Greedy farthest-point selection.

  The first is the row nearest to the mean, each next one the row farthest
  from all chosen; ties go to the lowest row number.

  Args:
    keys: `[N, D]` rows.
    num: rows to choose; all, if there are fewer.
    usable: `[N]` rows that may be chosen; None if all.

  Returns:
    `[min(num, N)]` int32 row numbers in the order of choice. Where there are
    fewer usable rows, what follows those is of no meaning.

  Source: [LUDO26], selection of prototypes; [Gonzalez85].
  """
  usable = jnp.ones(len(keys), bool) if usable is None else usable
  to = lambda point: jnp.sum(jnp.square(keys - point[None]), axis=1)
  total = jnp.sum(jnp.where(usable[:, None], keys, 0.0), axis=0)
  mean = total / jnp.maximum(jnp.sum(usable), 1)
  start = jnp.where(usable, to(mean), jnp.inf)
  first = jnp.argmin(start).astype(jnp.int32)

  def step(carry: tuple[Array, Array], _: None) -> tuple:
    nearest, last = carry
    nearest = jnp.minimum(nearest, to(keys[last]))
    # A chosen row stays chosen, also where others are exact copies of it.
    nearest = nearest.at[last].set(-1.0)
    new = jnp.argmax(nearest).astype(jnp.int32)
    return (nearest, new), last

  far = jnp.where(usable, jnp.inf, -1.0).astype(keys.dtype)
  return jax.lax.scan(step, (far, first), length=min(num, len(keys)))[1]


class Clusters(NamedTuple):
  """Groups of rows.

  Attributes:
    label: `[N]` int32 group of each row.
    centre: `[K, D]` means of the groups.
    inertia: `[]` sum of squared distances to the own centre.
  """

  label: Array
  centre: Array
  inertia: Array


def _gaps(x: Array, centre: Array) -> Array:
  """Squared distances, `[N, K]`."""
  cross = jnp.matmul(x, centre.T, precision=jax.lax.Precision.HIGHEST)
  own = jnp.sum(jnp.square(x), axis=1)[:, None]
  gap = own + jnp.sum(jnp.square(centre), axis=1)[None] - 2.0 * cross
  return jnp.maximum(gap, 0.0)


def spread_centres(key: Key, x: Array, num: int) -> Array:
  """Draws first centres among the rows, far ones more often (k-means++).

  Args:
    key: PRNG key.
    x: `[N, D]` rows.
    num: centres to draw, K.

  Returns:
    `[K, D]`. Once every row is a centre, rows come again.

  Source: [Arthur07].
  """

  def step(nearest: Array, key: Key) -> tuple[Array, Array]:
    # All distances are zero when no row is left: then any row will do.
    none = ~jnp.any(nearest > 0.0)
    odds = jnp.where(none, 0.0, jnp.log(nearest))
    new = x[jax.random.categorical(key, odds)]
    return jnp.minimum(nearest, distance.by_difference(new, x)), new

  start = jnp.ones(len(x), x.dtype) * jnp.finfo(x.dtype).max
  return jax.lax.scan(step, start, jax.random.split(key, num))[1]


def _centres(x: Array, label: Array, centre: Array) -> Array:
  """Means of the groups; an empty one keeps its centre."""
  member = jax.nn.one_hot(label, len(centre), dtype=x.dtype)  # [N, K]
  size = jnp.sum(member, axis=0)[:, None]
  total = jnp.matmul(member.T, x, precision=jax.lax.Precision.HIGHEST)
  return jnp.where(size > 0, total / jnp.maximum(size, 1.0), centre)


def lloyd(x: Array, centre: Array, *, num_steps: int = 100) -> Clusters:
  """Groups rows by Lloyd's algorithm, from centres that are given.

  A group that loses its last row keeps its centre.

  Args:
    x: `[N, D]` rows.
    centre: `[K, D]` where the groups start.
    num_steps: steps at most; it ends earlier when no row changes its group.

  Returns:
    The groups. Rows as near to two centres belong to the first.

  Source: [Arthur07].
  """
  # Short vectors have exact distances.
  shift = jnp.mean(x, axis=0)
  x, centre = x - shift[None], centre - shift[None]

  def assign(centre: Array) -> Array:
    return jnp.argmin(_gaps(x, centre), axis=1).astype(jnp.int32)

  def more(carry: tuple) -> Array:
    step, changed, _, _ = carry
    return changed & (step < num_steps)

  def step(carry: tuple) -> tuple:
    count, _, label, centre = carry
    centre = _centres(x, label, centre)
    new = assign(centre)
    return count + 1, jnp.any(new != label), new, centre

  start = (jnp.zeros((), jnp.int32), jnp.ones((), bool), assign(centre), centre)
  _, _, label, centre = jax.lax.while_loop(more, step, start)
  inertia = jnp.sum(jnp.square(x - centre[label]))
  return Clusters(label, centre + shift[None], inertia)


def k_means(
  key: Key, x: Array, num: int, *, num_steps: int = 100, num_starts: int = 1
) -> Clusters:
  """Groups rows by Lloyd's algorithm, the best of several k-means++ starts.

  Args:
    key: PRNG key.
    x: `[N, D]` rows.
    num: groups, K; at most N of them can have rows.
    num_steps: of each start, as of `lloyd`.
    num_starts: starts, of which the one with the least inertia is taken.

  Returns:
    The groups.

  Raises:
    InputError: if `num` or `num_starts` is below 1.

  Source: [Arthur07].
  """
  if min(num, num_starts) < 1:
    raise errors.InputError(
      "k_means: num and num_starts must be at least 1, got"
      f" {num} and {num_starts}."
    )
  # Draws too see short vectors; the means of `lloyd` are moved back.
  shift = jnp.mean(x, axis=0)[None]

  def one(key: Key) -> Clusters:
    centre = spread_centres(key, x - shift, num) + shift
    return lloyd(x, centre, num_steps=num_steps)

  found = jax.vmap(one)(jax.random.split(key, num_starts))
  best = jnp.argmin(found.inertia)
  return jax.tree.map(lambda a: a[best], found)
