"""Nearest-neighbour backends."""

import flax.struct
import jax
import jax.numpy as jnp

from asd_jax.backends import base
from asd_jax.ops import distance
from asd_jax.typing import Array


class KnnState(flax.struct.PyTreeNode):
  """Reference rows.

  Attributes:
    emb: `[N, D]` rows, unit length if the metric is cosine.
    valid: `[N]` rows that count.
    group: `[N]` rows that leave the bank together.
  """

  emb: Array
  valid: Array
  group: Array


def knn(*, k: int = 1, metric: str = "euclidean") -> base.Backend:
  """Mean distance to the k nearest bank rows.

  With fewer than k usable rows the mean runs over those there are.

  Args:
    k: number of neighbours, static.
    metric: `"cosine"` (one minus the cosine) or `"euclidean"`.

  Returns:
    A backend on `[D]` embeddings.

  Raises:
    ValueError: if `k` is below 1 or `metric` is not known.
  """
  if k < 1:
    raise ValueError(f"knn: k must be at least 1, got {k}.")
  if metric not in ("cosine", "euclidean"):
    raise ValueError(f"knn: metric {metric!r}; known: cosine, euclidean.")
  prepare = distance.unit if metric == "cosine" else lambda x: x
  distances = distance.cosine if metric == "cosine" else distance.euclidean

  def fit(bank: base.Bank) -> KnnState:
    return KnnState(prepare(bank.emb), bank.valid, bank.group)

  def nearest_mean(dist: Array, usable: Array) -> Array:  # [N], [N] -> []
    num = min(k, dist.shape[0])
    near = -jax.lax.top_k(-jnp.where(usable, dist, jnp.inf), num)[0]
    count = jnp.sum(jnp.isfinite(near))
    total = jnp.sum(jnp.where(jnp.isfinite(near), near, 0.0))
    return jnp.where(count > 0, total / jnp.maximum(count, 1), jnp.inf)

  def score(state: KnnState, emb: Array) -> Array:
    return nearest_mean(distances(prepare(emb), state.emb), state.valid)

  def self_score(state: KnnState, emb: Array, group: Array) -> Array:
    others = state.valid & (state.group != group)
    return nearest_mean(distances(prepare(emb), state.emb), others)

  return base.Backend(fit, score, self_score)


BACKENDS = {"knn": knn}
