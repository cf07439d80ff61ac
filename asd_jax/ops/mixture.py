"""Nearest rows of a bank with mixed rows that are never made.

A row between two others, `m = w t + (1 - w) s`, is as far from `x` as
`|x-m|^2 = w |x-t|^2 + (1-w) |x-s|^2 - w (1-w) |t-s|^2` (Stewart's theorem): the
distances to the plain rows give those to all mixed ones.
"""

import flax.struct
import jax
import jax.numpy as jnp

from asd_jax.ops import distance
from asd_jax.typing import Array

_BLOCK = 32


class Mixtures(flax.struct.PyTreeNode):
  """Rows between pairs of rows.

  Attributes:
    weight: `[]` weight of the first row of a pair.
    first: `[T]` int32 numbers of the rows that come first.
    penalty: `[T, N']` what the identity subtracts, its sign turned; infinite
      for pairs that do not count. N' is the number of rows, rounded up.
  """

  weight: Array
  first: Array
  penalty: Array


def prepare(
  rows: distance.Rows,
  first: Array,
  second: Array,
  *,
  weight: Array,
  num_first: int,
) -> Mixtures:
  """Pairs every first row with every second row.

  Args:
    rows: the rows.
    first: `[N]` True for rows that come first in a pair.
    second: `[N]` True for rows that come second.
    weight: `[]` weight of the first.
    num_first: how many rows come first at most.

  Returns:
    The mixtures.
  """
  num = rows.emb.shape[0]
  place = jnp.nonzero(first, size=num_first, fill_value=num)[0]
  counts = place < num
  place = jnp.where(counts, place, 0).astype(jnp.int32)
  picked = rows.emb[place]
  cross = jnp.matmul(picked, rows.emb.T, precision=jax.lax.Precision.HIGHEST)
  gap = rows.squares[place][:, None] + rows.squares[None] - 2.0 * cross
  penalty = -weight * (1.0 - weight) * jnp.maximum(gap, 0.0)
  penalty = jnp.where(counts[:, None] & second[None], penalty, jnp.inf)
  pad = ((0, 0), (0, -num % _BLOCK))
  penalty = jnp.pad(penalty, pad, constant_values=jnp.inf)
  return Mixtures(jnp.asarray(weight, picked.dtype), place, penalty)


def _propose(
  plain: Array, usable: Array, mixtures: Mixtures, num: int
) -> tuple[Array, Array]:
  """Layers and columns of the lowest costs; layer 0 is the plain rows."""
  pad = (0, -len(plain) % _BLOCK)
  plain, usable = jnp.pad(plain, pad), jnp.pad(usable, pad)
  weight = mixtures.weight
  base = weight * plain[mixtures.first]

  def minima(x: Array) -> Array:  # [..., N'] -> [..., N' / _BLOCK]
    shape = (*x.shape[:-1], x.shape[-1] // _BLOCK, _BLOCK)
    return jnp.min(x.reshape(shape), axis=-1)

  # Fused: mixed costs are written by blocks of _BLOCK, never one by one.
  share = ((1.0 - weight) * plain)[None]
  mixed = minima(base[:, None] + share + mixtures.penalty)
  own = jnp.where(usable, 0.0, jnp.inf).astype(plain.dtype)
  low = jnp.concatenate([minima(plain + own)[None], mixed])  # [1 + T, blocks]
  block = jax.lax.top_k(-low.reshape(-1), min(num, low.size))[1]
  layer = jnp.repeat(block // low.shape[1], _BLOCK)
  start = (block % low.shape[1]) * _BLOCK
  inside = jnp.arange(_BLOCK, dtype=jnp.int32)
  column = (start[:, None] + inside[None]).reshape(-1)
  if not len(mixtures.first):
    cost = plain[column] + own[column]
  else:
    row = jnp.maximum(layer - 1, 0)
    pair = base[row] + share[0, column] + mixtures.penalty[row, column]
    cost = jnp.where(layer > 0, pair, plain[column] + own[column])
  found = jax.lax.top_k(-cost, num)[1]
  return layer[found], column[found]


def nearest(
  x: Array, rows: distance.Rows, usable: Array, mixtures: Mixtures, *, k: int
) -> Array:
  """Squared distances to the k nearest of the plain and the mixed rows.

  A batch of Q queries (`vmap`) holds `[Q, N]` numbers, and T / 32 times as
  many minima of blocks of mixed rows.

  Args:
    x: `[D]` query, centred as the rows are.
    rows: the N plain rows, without an offset.
    usable: `[N]` plain rows that count.
    mixtures: the mixed rows.
    k: how many neighbours.

  Returns:
    `[min(k, N + N T)]`, ascending, infinite where no usable row is left.
  """
  total = len(usable) * (1 + len(mixtures.first))
  cost = distance.products(x, rows.emb, rows.squares)
  num = distance.candidates(k, total)
  parts = jax.lax.stop_gradient((cost, usable, mixtures))
  layer, column = _propose(*parts, num)
  inside = column < len(usable)  # columns were rounded up
  column = jnp.minimum(column, len(usable) - 1)
  if not len(mixtures.first):
    exact = distance.in_turn(lambda i: rows.emb[i], x, column)
    counts = inside & usable[column]
    return jnp.sort(jnp.where(counts, exact, jnp.inf))[:k]
  row = jnp.maximum(layer - 1, 0)
  weight = jnp.where(layer > 0, mixtures.weight, 0.0)

  def made(place: tuple[Array, Array, Array]) -> Array:
    share, first, second = place
    return share * rows.emb[first] + (1.0 - share) * rows.emb[second]

  exact = distance.in_turn(made, x, (weight, mixtures.first[row], column))
  pair = jnp.isfinite(mixtures.penalty[row, column])
  counts = inside & jnp.where(layer > 0, pair, usable[column])
  return jnp.sort(jnp.where(counts, exact, jnp.inf))[:k]
