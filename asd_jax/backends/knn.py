"""Nearest-neighbour backends."""

from collections.abc import Sequence

import flax.struct
import jax.numpy as jnp

from asd_jax import errors
from asd_jax.backends import base
from asd_jax.ops import distance, mixture
from asd_jax.typing import Array, Scalar


class KnnState(flax.struct.PyTreeNode):
  """Reference rows.

  Attributes:
    rows: the N rows, ready for the metric.
    valid: `[N]` rows that count.
    group: `[N]` rows that leave the bank together.
    mixtures: mixed rows, which stay; None if the bank has none.
  """

  rows: distance.Rows
  valid: Array
  group: Array
  mixtures: mixture.Mixtures | None = None


def _check(k: int, weights: Sequence[Scalar]) -> None:
  if k < 1:
    raise errors.InputError(f"knn: k must be at least 1, got {k}.")
  if len(weights) not in {0, k}:
    raise errors.InputError(
      f"knn: found {len(weights)} weights, expected none or k={k} of them."
    )


def reduce_neighbours(dist: Array, weights: Sequence[Scalar]) -> Array:
  """Mean or weighted sum of the distances to the nearest rows.

  Args:
    dist: `[k]` distances, ascending, infinite where there is no row.
    weights: of the neighbours, nearest first; empty for the mean. Weights
      without a neighbour drop out, and the others stay as they are.

  Returns:
    `[]`, infinite if there is no row at all.
  """
  found = jnp.isfinite(dist)
  if weights:
    # Not scaled up for neighbours that are missing. The sum may be negative:
    # later neighbours may weigh against the first.
    weight = jnp.asarray(tuple(weights)[: len(dist)], dist.dtype)
  else:
    weight = 1.0 / jnp.maximum(jnp.sum(found), 1).astype(dist.dtype)
  total = jnp.sum(weight * jnp.where(found, dist, 0.0))
  return jnp.where(jnp.any(found), total, jnp.inf)


def knn(
  *, k: int = 1, metric: str = "euclidean", weights: Sequence[Scalar] = ()
) -> base.Backend:
  """Mean distance to the k nearest bank rows, or a weighted sum.

  With fewer than k usable rows the mean runs over those there are, and a sum
  over their weights. Rows that are mixed (`Bank.mix`) count without being
  made, where the metric is that of the embeddings as they are.

  Args:
    k: number of neighbours, static.
    metric: a key of `distance.METRICS`.
    weights: k of them, nearest first, which may be negative; none for the
      mean.

  Returns:
    A backend on `[D]` embeddings.

  Raises:
    InputError: if `k` is below 1, `metric` is not known, or the weights are
      not k.
  """
  kind = distance.find_metric(metric, where="knn")
  _check(k, weights)

  def fit(bank: base.Bank) -> KnnState:
    rows = base.prepared(bank, kind)
    if bank.mix is None:
      return KnnState(rows, bank.valid, bank.group)
    # Distances to mixed rows follow from those to the rows that are mixed
    # (Stewart's theorem), but no longer once a mixture is rescaled.
    if kind.unit:
      raise errors.InputError(
        f"knn: metric {metric} scales rows to length one, which mixed rows"
        " that are not made cannot be; make them (memmixup_rows)."
      )
    mixtures = mixture.prepare(
      rows,
      bank.mix.target,
      bank.mix.source,
      weight=bank.mix.weight,
      num_first=bank.num_target,
    )
    return KnnState(rows, bank.valid, bank.group, mixtures)

  def score_among(state: KnnState, emb: Array, usable: Array) -> Array:
    rows = state.rows
    x, offset = distance.prepare_query(emb, rows, kind)
    if state.mixtures is not None:
      squared = mixture.nearest(x, rows, usable, state.mixtures, k=k)
    else:
      squared, _ = distance.nearest(
        x, rows.emb, rows.squares, usable, k=k, offset=rows.offset
      )
    squared = distance.without_rounding(squared + offset, x, rows)
    return reduce_neighbours(kind.of_squared(squared), weights)

  def score(state: KnnState, emb: Array) -> Array:
    return score_among(state, emb, state.valid)

  def self_score(state: KnnState, emb: Array, group: Array) -> Array:
    # Rows mixed from those that leave stay in the bank, as in the published
    # code of [LUDO26].
    return score_among(state, emb, state.valid & (state.group != group))

  return base.Backend(
    fit, score, self_score, mixes=not kind.unit, unit=kind.unit
  )


def three_neighbours(
  *,
  metric: str = "euclidean",
  second: Scalar = -0.35,
  third: Scalar = -0.05,
) -> base.Backend:
  """Distance to the nearest bank row, plus shares of those to the next two.

  `knn` with three weights, of which the first is one and the others may be
  swept. With fewer rows, what is missing drops out.

  Args:
    metric: a key of `distance.METRICS`.
    second: weight of the second nearest row; negative lowers the score where
      the bank is sparse.
    third: weight of the third nearest row.

  Returns:
    A backend on `[D]` embeddings.

  Raises:
    InputError: if `metric` is not known.

  Source: [KonicaMinolta26].
  """
  return knn(k=3, metric=metric, weights=(1.0, second, third))


BACKENDS = {"knn": knn, "three_neighbours": three_neighbours}
