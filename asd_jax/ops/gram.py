"""Distances of residual embeddings at any mixture of near and far.

With the near difference n and the far difference f of two clips, the squared
distance of their residuals at alpha is |n|^2 - 2 alpha n.f + alpha^2 |f|^2:
three numbers a pair of clips serve every alpha. Distances to rows that mix a
target and a source row follow from plain ones (Stewart's identity), so no row
is ever made. Everything here is about ONE clip against the rows of a bank.
"""

import flax.struct
import jax
import jax.numpy as jnp

from asd_jax.ops import distance
from asd_jax.typing import Array, Scalar

# Pairs a clip whose products are recomputed from differences.
_REFINED = 4


class Blocks(flax.struct.PyTreeNode):
  """Inner products of the differences between a clip and the bank rows.

  Attributes:
    near: `[N]` squared length of the near difference.
    cross: `[N]` product of the near and the far difference; None without a
      far embedding.
    far: `[N]` squared length of the far difference, or None.
  """

  near: Array
  cross: Array | None = None
  far: Array | None = None


def difference_blocks(emb: Array, rows: Array) -> Blocks:
  """The three products of near and far differences.

  By matrix products; the closest pairs, whose products would drown in
  rounding, are recomputed from their differences. Subtract the mean row from
  both arguments first: differences stay, rounding shrinks.

  Args:
    emb: `[2, D]` near and far embedding of a clip, or `[1, D]` the near one.
    rows: `[N, 2, D]` those of the bank rows, or `[N, 1, D]`.

  Returns:
    Blocks of `[N]`.

  Source: [LUDO26] Sec. 2.1, written as a quadratic in its alpha.
  """
  high = jax.lax.Precision.HIGHEST
  num_parts = emb.shape[0]
  own = jnp.matmul(emb, emb.T, precision=high)  # [2, 2]
  theirs = jnp.einsum("nid,njd->nij", rows, rows, precision=high)
  flat = rows.reshape(-1, rows.shape[-1])  # [2 N, D]
  both = jnp.einsum("id,md->mi", emb, flat, precision=high)
  both = both.reshape(-1, num_parts, num_parts)
  mixed = both + both.transpose(0, 2, 1)
  products = own[None] + theirs - mixed  # [N, 2, 2]
  num = min(_REFINED, rows.shape[0])
  length = jnp.trace(products, axis1=1, axis2=2)
  closest = distance.lowest(length, num)
  difference = emb[None] - rows[closest]  # [n, 2, D]
  exact = jnp.einsum("nid,njd->nij", difference, difference, precision=high)
  products = products.at[closest].set(exact)
  if num_parts == 1:
    return Blocks(products[:, 0, 0])
  return Blocks(products[:, 0, 0], products[:, 0, 1], products[:, 1, 1])


def squared_distances(blocks: Blocks, alpha: Scalar) -> Array:
  """Squared distances of the residuals `near - alpha * far`.

  Args:
    blocks: of a clip and N rows.
    alpha: far coefficient.

  Returns:
    `[N]`, at least 0.

  Source: [LUDO26] Sec. 2.1.
  """
  square = blocks.near
  if blocks.cross is not None and blocks.far is not None:
    square = square - 2.0 * alpha * blocks.cross + alpha**2 * blocks.far
  return jnp.maximum(square, 0.0)


def smallest(values: Array, num: int) -> Array:
  """The smallest values, ascending.

  Args:
    values: `[N]`; +inf for those that do not count.
    num: how many, at most N.

  Returns:
    `[num]`.
  """
  if num == 1:
    return jnp.min(values, keepdims=True)
  return values[distance.lowest(values, num)]


def smallest_mixed(
  to_source: Array, to_target: Array, between: Array, lam: Scalar, num: int
) -> Array:
  """Smallest squared distances to rows that mix each target and source row.

  Args:
    to_source: `[N]` squared distances to the source rows; +inf elsewhere.
    to_target: `[T]` those to the target rows; +inf for rows that are none.
    between: `[T, N]` squared distances of target and source rows, finite.
    lam: share of the target row in a mixed one, in [0, 1].
    num: how many; fewer where there are fewer mixed rows.

  Returns:
    `[min(num, T N)]`, ascending, +inf for missing ones.

  Source: [GenRep24], [LUDO26]; Stewart's identity.
  """
  if not to_target.shape[0]:
    return jnp.full(0, jnp.inf)
  reduced = to_source[None] - lam * between  # [T, N]
  if num == 1:  # one pass, nothing of [T, N] is kept
    per_target = jnp.min(reduced, axis=1)
  else:
    keep = min(num, to_source.shape[0])
    per_target = jax.vmap(lambda row: smallest(row, keep))(reduced)
    to_target = to_target[:, None]
  # An infinite distance stays one at lam = 0 and 1.
  known = jnp.isfinite(per_target) & jnp.isfinite(to_target)
  square = (1.0 - lam) * jnp.where(known, per_target, 0.0)
  square += lam * jnp.where(jnp.isfinite(to_target), to_target, 0.0)
  square = jnp.where(known, jnp.maximum(square, 0.0), jnp.inf).reshape(-1)
  return smallest(square, min(num, square.shape[0]))
