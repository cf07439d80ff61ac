"""Distances between embeddings, exact where they are small.

`|x|^2 + |y|^2 - 2xy` is one matrix product for many queries, and loses small
distances to rounding. It only proposes here: the few rows that may be nearest
are measured again by difference. Of a large bank, chunks of rows pass by, and
a query keeps the best so far.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp

from asd_jax import errors
from asd_jax.typing import Array

# Candidates beside those asked for: rounding may swap close ones.
_SPARE = 2
_BLOCK = 32
# From so many rows on, no query holds its distances to all of them at once.
# Chunks stay in the processor's caches and are faster from about here on;
# below 16,384 rows they are slower (docs/large_banks.md).
LARGE = 65_536
CHUNK = 2048
# Share of an embedding's length that float32 does not know.
_ROUNDING = 1e-6


def root(x: Array) -> Array:
  """Square root whose gradient at zero is zero, and not infinite.

  Args:
    x: `[...]` at least zero.

  Returns:
    `[...]`.
  """
  positive = x > 0.0
  return jnp.where(positive, jnp.sqrt(jnp.where(positive, x, 1.0)), 0.0)


def unit(x: Array) -> Array:
  """Scales rows to length one; a zero row stays zero.

  Args:
    x: `[..., D]` rows.

  Returns:
    `[..., D]` unit rows; gradients are finite, those of a zero row too.
  """
  norm = root(jnp.sum(jnp.square(x), axis=-1, keepdims=True))
  return x / jnp.maximum(norm, 1e-12)


class Metric(NamedTuple):
  """A distance as a function of the squared Euclidean one.

  Attributes:
    of_squared: squared distance to distance, elementwise and increasing.
    unit: rows are scaled to length one first.
    zero: what a row of zeros adds to its squared distances.
  """

  of_squared: Callable[[Array], Array]
  unit: bool = False
  zero: float = 0.0


# One minus the cosine is half the squared chord of unit rows. A row of zeros
# is at right angles to every row, which its chord of length one is not.
METRICS = {
  "euclidean": Metric(root),
  "sqeuclidean": Metric(lambda x: x),
  "cosine": Metric(lambda x: 0.5 * x, unit=True, zero=1.0),
  "half_cosine": Metric(lambda x: 0.25 * x, unit=True, zero=1.0),
  "half_chord": Metric(lambda x: 0.5 * root(x), unit=True),
}


def find_metric(name: str, *, where: str) -> Metric:
  """Looks up a metric.

  Args:
    name: a key of `METRICS`.
    where: what it is a setting of, for the message.

  Returns:
    The metric.

  Raises:
    InputError: if the name is not known.
  """
  if name not in METRICS:
    known = ", ".join(METRICS)
    raise errors.InputError(
      f"{where}: found metric {name!r}, expected one of {known}."
    )
  return METRICS[name]


class Rows(flax.struct.PyTreeNode):
  """Rows made ready for a metric.

  Attributes:
    emb: `[N, D]` rows (of unit length, if the metric asks for it) less
      `centre`. Distances stay the same; products lose less to rounding.
    centre: `[D]` mean of the rows that count, roughly.
    squares: `[N]` squared lengths of `emb`.
    offset: `[N]` is added to squared distances.
  """

  emb: Array
  centre: Array
  squares: Array
  offset: Array


def _scaled(x: Array, metric: Metric) -> tuple[Array, Array]:
  if not metric.unit:
    return x, jnp.zeros(x.shape[:-1], x.dtype)
  empty = jnp.all(x == 0.0, axis=-1)
  return unit(x), jnp.where(empty, metric.zero, 0.0).astype(x.dtype)


def prepare(emb: Array, usable: Array, metric: Metric) -> Rows:
  """Makes rows ready.

  Args:
    emb: `[N, D]` rows.
    usable: `[N]` rows that count.
    metric: the distance.

  Returns:
    The rows.
  """
  emb, offset = _scaled(emb, metric)
  total = jnp.sum(jnp.where(usable[:, None], emb, 0.0), axis=0)
  centre = total / jnp.maximum(jnp.sum(usable), 1)
  # In few bits, a program cannot fold the division into the subtraction and
  # round otherwise than the program that centres the queries.
  centre = jax.lax.reduce_precision(centre, exponent_bits=8, mantissa_bits=7)
  emb = emb - centre[None]
  return Rows(emb, centre, jnp.sum(jnp.square(emb), axis=1), offset)


def prepare_query(
  emb: Array, rows: Rows, metric: Metric
) -> tuple[Array, Array]:
  """Makes a query ready for prepared rows.

  Args:
    emb: `[D]` query.
    rows: the rows.
    metric: the distance.

  Returns:
    `[D]` query, and `[]` what is added to its squared distances.

  Raises:
    InputError: if the widths differ.
  """
  if emb.shape != rows.emb.shape[1:]:
    raise ValueError(
      f"found an embedding of shape {emb.shape}, expected one as those of the"
      f" bank, {rows.emb.shape[1:]}."
    )
  x, offset = _scaled(emb, metric)
  return x - rows.centre, offset


def without_rounding(squared: Array, x: Array, rows: Rows) -> Array:
  """Squared distances, zero where rounding alone keeps two copies apart.

  One clip's embedding is computed by two programs, of the fit and of scores,
  and may differ in its last digits. Copies are at distance zero in either.

  Args:
    squared: `[...]` squared distances to rows.
    x: `[D]` query, as `prepare_query` returns it.
    rows: the rows.

  Returns:
    `[...]`.
  """
  whole = x + rows.centre
  least = _ROUNDING * _ROUNDING * jnp.sum(whole * whole)
  return jnp.where(squared <= least, 0.0, squared)


def products(x: Array, rows: Array, squares: Array) -> Array:
  """Squared distances less `|x|^2`, by product: cheap, rounded, in order.

  Args:
    x: `[D]` query.
    rows: `[N, D]` rows.
    squares: `[N]` their squared lengths.

  Returns:
    `[N]`.
  """
  # Contracted in this order, a batch of queries is one product [Q, N].
  cross = jnp.einsum("d,nd->n", x, rows, precision=jax.lax.Precision.HIGHEST)
  return squares - 2.0 * cross


def by_difference(x: Array, rows: Array) -> Array:
  """Squared distances by difference: exact also for near-copies.

  Args:
    x: `[D]` query.
    rows: `[c, D]` a few rows.

  Returns:
    `[c]`.
  """
  return jnp.sum(jnp.square(rows - x[None]), axis=1)


def in_turn(row_of: Callable[[Any], Array], x: Array, places: Any) -> Array:
  """Squared distances by difference to a few rows, one after the other.

  A batch of queries then never holds the rows of all candidates at once, which
  takes longer to write than they take to measure.

  Args:
    row_of: a place to its row `[D]`.
    x: `[D]` query.
    places: c of them; a tree with leading axis c.

  Returns:
    `[c]`.
  """
  one = lambda place: jnp.sum(jnp.square(row_of(place) - x))
  return jax.lax.map(one, places)


def lowest(cost: Array, k: int) -> Array:
  """Places of the k lowest values, ascending; ties go to the lowest place.

  The k lowest values lie in the k blocks with the lowest minima, so all but a
  few blocks are read once and never sorted.

  Args:
    cost: `[N]` values.
    k: how many, at most N.

  Returns:
    `[k]` int32 places.
  """
  num = cost.shape[0]
  blocks = num // _BLOCK
  if blocks < 2 * k:
    return jax.lax.top_k(-cost, k)[1]
  end = blocks * _BLOCK
  minima = jnp.min(cost[:end].reshape(blocks, _BLOCK), axis=1)
  found = jnp.sort(jax.lax.top_k(-minima, k)[1])
  inside = jnp.arange(_BLOCK, dtype=jnp.int32)
  places = (found[:, None] * _BLOCK + inside[None]).reshape(-1)
  places = jnp.concatenate([places, jnp.arange(end, num, dtype=jnp.int32)])
  return places[jax.lax.top_k(-cost[places], k)[1]]


def lowest_in_chunks(
  cost_of: Callable[[Array, int], Array],
  num_rows: int,
  num: int,
  *,
  chunk: int = CHUNK,
) -> Array:
  """Places of the lowest of costs that are never all there at once.

  Args:
    cost_of: (first row, how many) to the `[n]` costs of these rows.
    num_rows: rows N.
    num: how many places, at most N.
    chunk: rows at a time; more where `num` is larger.

  Returns:
    `[num]` int32 places, ascending in cost; ties go to the lowest place.
  """
  size = min(max(chunk, num), num_rows)
  count = jnp.arange(size, dtype=jnp.int32)

  def step(
    best: tuple[Array, Array], start: Array
  ) -> tuple[tuple[Array, Array], None]:
    # The last chunk begins early to be whole; rows seen before do not count.
    first = jnp.minimum(start, num_rows - size)
    cost = cost_of(first, size)
    cost = jnp.where(first + count >= start, cost, jnp.inf)
    place = lowest(cost, num)
    # What is kept comes first, so that equal costs leave it where it is.
    both = jnp.concatenate([best[0], cost[place]])
    places = jnp.concatenate([best[1], first + place])
    low, kept = jax.lax.top_k(-both, num)
    return (-low, places[kept]), None

  # The first chunk fills every place, so that none is ever taken twice.
  cost = cost_of(jnp.zeros((), jnp.int32), size)
  place = lowest(cost, num)
  starts = jnp.arange(size, num_rows, size, dtype=jnp.int32)
  return jax.lax.scan(step, (cost[place], place), starts)[0][1]


def candidates(k: int, num: int) -> int:
  """How many rows to measure by difference to find k.

  Args:
    k: neighbours asked for.
    num: rows there are.

  Returns:
    At most `num`.
  """
  return min(k + _SPARE, num)


def nearest(
  x: Array,
  rows: Array,
  squares: Array,
  usable: Array,
  *,
  k: int,
  offset: Array | None = None,
) -> tuple[Array, Array]:
  """The k nearest rows.

  A batch of queries (`vmap`) holds `[Q, N]` numbers and its candidates; of
  `LARGE` rows or more, `[Q, CHUNK]` numbers at a time.

  Args:
    x: `[D]` query, centred as the rows are.
    rows: `[N, D]` rows, with a mean near zero.
    squares: `[N]` their squared lengths.
    usable: `[N]` rows that count.
    k: how many neighbours.
    offset: `[N]` is added to squared distances; None is zero.

  Returns:
    `[min(k, N)]` squared distances, ascending, infinite where no usable row is
    left, and the row numbers. Rows at the same distance come in order of their
    numbers.
  """
  total = len(rows)

  def cost_of(first: Any, size: int) -> Array:
    whole = size == total
    part = lambda a: (
      a if whole else jax.lax.dynamic_slice_in_dim(a, first, size)
    )
    cost = products(x, part(rows), part(squares))
    cost = cost if offset is None else cost + part(offset)
    cost = jnp.where(part(usable), cost, jnp.inf)
    return jax.lax.stop_gradient(cost)

  num = candidates(k, total)
  if total < LARGE:
    place = lowest(cost_of(0, total), num)
  else:
    place = lowest_in_chunks(cost_of, total, num)
  exact = in_turn(lambda i: rows[i], x, place)
  exact = exact if offset is None else exact + offset[place]
  exact = jnp.where(usable[place], exact, jnp.inf)
  num = min(k, total)
  exact, place = jax.lax.sort((exact, place), num_keys=2)
  return exact[:num], place[:num]
