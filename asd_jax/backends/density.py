"""Nearest-neighbour distances corrected by how dense the bank is there."""

from collections.abc import Callable

import flax.struct
import jax
import jax.numpy as jnp

from asd_jax import errors
from asd_jax.backends import base
from asd_jax.ops import distance
from asd_jax.typing import Array

# A row with k exact copies has a density of zero, which is divided by.
_TINY = 1e-12
# Rows of the bank that look for their neighbours at a time.
_CHUNK = 256


class DensityState(flax.struct.PyTreeNode):
  """Reference rows with their densities.

  Attributes:
    rows: the N rows, ready for the metric.
    valid: `[N]` rows that count.
    group: `[N]` rows that leave the bank together.
    density: `[N]` mean distance to the nearest other rows.
    scale: `[]` weight of the densities.
  """

  rows: distance.Rows
  valid: Array
  group: Array
  density: Array
  scale: Array


def local_densities(
  rows: distance.Rows, usable: Array, metric: distance.Metric, *, k: int
) -> tuple[Array, Array, Array]:
  """Mean distance of each row to its k nearest other rows.

  Args:
    rows: the N rows.
    usable: `[N]` rows that count.
    metric: the distance.
    k: neighbours, or as many as there are.

  Returns:
    `[N]` mean distances, zero where there is no other row; `[N]` distances to
    the nearest other row; `[N]` its number.
  """
  own = jnp.arange(len(usable))

  def of_row(row: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
    x, offset, number = row
    others = usable & (own != number)
    # The row itself is left out by its number, never for being at distance
    # zero: exact copies of it are ordinary neighbours.
    squared, place = distance.nearest(
      x, rows.emb, rows.squares, others, k=k, offset=rows.offset
    )
    # A row of zeros has an offset of its own, beside those of its neighbours.
    dist = metric.of_squared(squared + offset)
    found = jnp.isfinite(dist)
    total = jnp.sum(jnp.where(found, dist, 0.0))
    return total / jnp.maximum(jnp.sum(found), 1), dist[0], place[0]

  each = (rows.emb, rows.offset, own)
  return jax.lax.map(of_row, each, batch_size=min(_CHUNK, len(own)))


def ranked_densities(
  rows: distance.Rows,
  usable: Array,
  metric: distance.Metric,
  *,
  decay: float,
) -> Array:
  """Weighted mean distance of each row to all other rows, nearest first.

  Args:
    rows: the N rows.
    usable: `[N]` rows that count.
    metric: the distance.
    decay: each weight is the last one times this; 0 keeps the nearest only.

  Returns:
    `[N]`, zero where there is no other row.

  Source: [LDN25].
  """
  own = jnp.arange(len(usable))
  # Enough for all N rows; the last one is never needed, as a row is not its
  # own neighbour.
  weight = jnp.power(decay, own.astype(rows.emb.dtype))

  def of_row(row: tuple[Array, Array, Array]) -> Array:
    x, offset, number = row
    others = usable & (own != number)
    squared, place = distance.nearest(
      x, rows.emb, rows.squares, others, k=4, offset=rows.offset
    )
    # All N distances count, and by difference they would take long. Rounding
    # hurts the small ones, so only the four nearest are measured again.
    rough = distance.products(x, rows.emb, rows.squares) + jnp.sum(x * x)
    rough = jnp.maximum(rough, 0.0) + rows.offset
    rough = jnp.where(others, rough, jnp.inf).at[place].set(squared)
    dist = jnp.sort(metric.of_squared(rough + offset))
    found = jnp.isfinite(dist)
    total = jnp.sum(jnp.where(found, weight * dist, 0.0))
    return total / jnp.maximum(jnp.sum(jnp.where(found, weight, 0.0)), _TINY)

  each = (rows.emb, rows.offset, own)
  return jax.lax.map(of_row, each, batch_size=min(_CHUNK, len(own)))


def variance_minimiser(u: Array, v: Array, weight: Array) -> Array:
  """The multiple of `v` that leaves the least variance of `u`.

  Args:
    u: `[N]` values.
    v: `[N]` what is subtracted from them.
    weight: `[N]` one for rows that count, else zero.

  Returns:
    `[]`, zero where `v` hardly varies.

  Source: [Matsumoto25].
  """
  mean = lambda x: jnp.sum(weight * x) / jnp.maximum(jnp.sum(weight), 1.0)
  # A row without any other is infinitely far from its nearest one, and zero
  # times infinity is no number.
  u, v = jnp.where(weight > 0.0, u, 0.0), jnp.where(weight > 0.0, v, 0.0)
  u, v = u - mean(u), v - mean(v)
  variance = mean(v * v)
  flat = variance <= _TINY
  # The variance of `u - a v` is a parabola in `a`: the lowest point is the
  # slope of the regression of `u` on `v`, and no search is needed.
  return jnp.where(flat, 0.0, mean(u * v) / jnp.where(flat, 1.0, variance))


def _backend(
  metric: distance.Metric,
  fit: Callable[[base.Bank], DensityState],
  adjust: Callable[[Array, Array, Array], Array],
) -> base.Backend:
  """Lowest adjusted distance `(distance, density, scale) -> []` to a row."""

  def score_among(state: DensityState, emb: Array, usable: Array) -> Array:
    rows = state.rows
    x, offset = distance.prepare_query(emb, rows, metric)

    def adjusted(squared: Array, density: Array, more: Array) -> Array:
      dist = metric.of_squared(squared + more + offset)
      return adjust(dist, density, state.scale)

    rough = distance.products(x, rows.emb, rows.squares) + jnp.sum(x * x)
    # The adjustment comes before the minimum: the row that wins need not be
    # the nearest, so candidates are proposed by adjusted distances.
    rough = adjusted(jnp.maximum(rough, 0.0), state.density, rows.offset)
    cost = jax.lax.stop_gradient(jnp.where(usable, rough, jnp.inf))
    place = distance.lowest(cost, distance.candidates(1, len(usable)))
    exact = distance.by_difference(x, rows.emb[place])
    exact = adjusted(exact, state.density[place], rows.offset[place])
    return jnp.min(jnp.where(usable[place], exact, jnp.inf))

  def score(state: DensityState, emb: Array) -> Array:
    return score_among(state, emb, state.valid)

  def self_score(state: DensityState, emb: Array, group: Array) -> Array:
    # Densities stay as fitted, also those that the left-out rows are part of.
    return score_among(state, emb, state.valid & (state.group != group))

  return base.Backend(fit, score, self_score, unit=metric.unit)


MODES = ("ratio", "difference")


def _check(where: str, k: int) -> None:
  if k < 1:
    raise errors.InputError(f"{where}: k must be at least 1, got {k}.")


def local_density(
  *,
  k: int = 4,
  metric: str = "half_cosine",
  mode: str = "ratio",
  decay: float | None = None,
) -> base.Backend:
  """Lowest distance to a bank row by, or less, the density there.

  Source and target rows are one bank. A bank of one row is not normalised.

  Args:
    k: neighbours of a row whose mean distance is its density.
    metric: a key of `distance.METRICS`.
    mode: `"ratio"` divides by the density, `"difference"` subtracts it.
    decay: if set, the density is a mean over all other rows instead, each
      next one weighing this much less.

  Returns:
    A backend on `[D]` embeddings.

  Raises:
    InputError: if `k` is below 1, `decay` is not in [0, 1], or a name is not
      known.

  Source: [LDN25].
  """
  kind = distance.find_metric(metric, where="local_density")
  _check("local_density", k)
  if mode not in MODES:
    raise errors.InputError(
      f"local_density: found mode {mode!r}, expected one of {MODES}."
    )
  if decay is not None and not 0.0 <= decay <= 1.0:
    raise errors.InputError(f"local_density: decay {decay} is not in [0, 1].")

  def fit(bank: base.Bank) -> DensityState:
    rows = base.prepared(bank, kind)
    if decay is None:
      density = local_densities(rows, bank.valid, kind, k=k)[0]
    else:
      density = ranked_densities(rows, bank.valid, kind, decay=decay)
    if mode == "ratio":
      # Without another row there is no density: dividing by one leaves the
      # distance. (Subtracting zero does so in the other mode.)
      alone = jnp.sum(bank.valid) < 2
      density = jnp.where(alone, 1.0, jnp.maximum(density, _TINY))
    one = jnp.ones((), density.dtype)
    return DensityState(rows, bank.valid, bank.group, density, one)

  def adjust(dist: Array, density: Array, scale: Array) -> Array:
    return dist / density if mode == "ratio" else dist - scale * density

  return _backend(kind, fit, adjust)


def variance_minimised(
  *, k: int = 4, metric: str = "half_cosine"
) -> base.Backend:
  """Lowest distance to a bank row less a multiple of the density there.

  The multiple is the one that leaves the training rows' distances to their
  nearest other rows with the least variance. Scores may be negative.

  Args:
    k: neighbours of a row whose mean distance is its density.
    metric: a key of `distance.METRICS`.

  Returns:
    A backend on `[D]` embeddings.

  Raises:
    InputError: if `k` is below 1 or `metric` is not known.

  Source: [Matsumoto25], [MERL26].
  """
  kind = distance.find_metric(metric, where="variance_minimised")
  _check("variance_minimised", k)

  def fit(bank: base.Bank) -> DensityState:
    rows = base.prepared(bank, kind)
    density, gap, place = local_densities(rows, bank.valid, kind, k=k)
    # One row alone has no distance to fit to; without weights the multiple is
    # zero.
    weight = bank.valid & (jnp.sum(bank.valid) > 1)
    # The neighbour is the nearest before the subtraction. If it were the one
    # that wins after it, it would change with the multiple, and there would be
    # no closed form.
    scale = variance_minimiser(gap, density[place], weight.astype(gap.dtype))
    return DensityState(rows, bank.valid, bank.group, density, scale)

  return _backend(
    kind, fit, lambda dist, density, scale: dist - scale * density
  )


BACKENDS = {
  "local_density": local_density,
  "variance_minimised": variance_minimised,
}
