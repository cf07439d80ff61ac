"""Nearest rows of banks that outgrow a device: from a file, over a mesh.

The search itself, chunks of rows that pass by, is that of `distance`, which
takes it on its own where the bank of a detector is large.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from asd_jax import errors
from asd_jax.ops import distance
from asd_jax.typing import Array

# Rows that are proposed beyond k, for their product distances are rounded.
_MARGIN = 16


class Nearest(NamedTuple):
  """The nearest rows of each query, ascending.

  Attributes:
    distance: `[Q, k]`, infinite where there are fewer than k usable rows.
    index: `[Q, k]` int32 row numbers, -1 there. Of rows at the same distance
      the lowest come first (of more than 16 beyond k, some of the lowest).
  """

  distance: Array
  index: Array


class Placed(NamedTuple):
  """A bank that lies on the devices of a mesh, a block of rows on each.

  Attributes:
    emb: `[N', D]` rows; N' is N raised to a multiple of the devices.
    valid: `[N']` bool, False for the rows that were added.
  """

  emb: Array
  valid: Array


def place(
  rows: np.ndarray, mesh: Mesh, *, valid: np.ndarray | None = None
) -> Placed:
  """Copies a bank to the devices of a mesh, shard by shard.

  Of a memory-mapped file (`numpy.load(..., mmap_mode="r")`), the host reads
  one shard at a time.

  Args:
    rows: `[N, D]` array or memory map.
    mesh: the rows are split over its first axis.
    valid: `[N]` bool, rows that count; None for all.

  Returns:
    The bank, for `nearest_rows(..., mesh=mesh)`.
  """
  num, width = rows.shape
  axis = mesh.axis_names[0]
  padded = num + -num % mesh.shape[axis]
  counts = np.ones(num, bool) if valid is None else np.asarray(valid)

  def block(source: np.ndarray, where: tuple[slice, ...]) -> np.ndarray:
    start, stop, _ = where[0].indices(padded)
    part = np.asarray(source[start : min(stop, num)])
    missing = stop - start - len(part)
    if not missing:
      return part
    return np.pad(part, [(0, missing)] + [(0, 0)] * (part.ndim - 1))

  def put(source: np.ndarray, shape: tuple[int, ...]) -> Array:
    sharding = NamedSharding(mesh, PartitionSpec(axis))
    return jax.make_array_from_callback(
      shape, sharding, functools.partial(block, source)
    )

  return Placed(put(rows, (padded, width)), put(counts, (padded,)))


class Chunks(NamedTuple):
  """How much is looked at at a time.

  Attributes:
    queries: at a time.
    rows: at a time.
  """

  queries: int = 256
  rows: int = 2048


_CHUNKS = Chunks()


class _Bank(NamedTuple):
  """What is split over devices: `[N, D]`, `[N]`, and `[N]` or None."""

  emb: Array
  valid: Array
  offset: Array | None


class _Search(NamedTuple):
  """What does not change in a search."""

  k: int
  metric: distance.Metric
  chunks: Chunks
  recall: float | None


def _squared(query: Array, bank: _Bank, metric: distance.Metric) -> Array:
  """`[n]` squared distances to a few rows, by product."""
  rows = distance.prepare(bank.emb, bank.valid, metric)
  x, offset = distance.prepare_query(query, rows, metric)
  out = distance.products(x, rows.emb, rows.squares)
  out = out + rows.offset + (jnp.sum(jnp.square(x)) + offset)
  out = out if bank.offset is None else out + bank.offset
  return jnp.where(bank.valid, out, jnp.inf)


def _exact(
  query: Array, bank: _Bank, place: Array, metric: distance.Metric
) -> Array:  # [D], [N, ...], [C] -> [C]
  """The same by difference; infinite for rows that do not count."""
  near = jax.tree.map(lambda x: x[place], bank)
  # The centre stays zero, or equal rows of two devices would differ a little.
  rows = distance.prepare(near.emb, jnp.zeros_like(near.valid), metric)
  x, offset = distance.prepare_query(query, rows, metric)
  out = distance.by_difference(x, rows.emb) + rows.offset + offset
  out = out if near.offset is None else out + near.offset
  return jnp.where(near.valid, out, jnp.inf)


def _lowest(cost: Array, num: int, recall: float | None) -> Array:
  """`[num]` places of the smallest of `[n]` values."""
  if recall is None:
    return distance.lowest(cost, num)
  exact = lambda x: distance.lowest(x, num)
  near = lambda x: jax.lax.approx_min_k(x, num, recall_target=recall)[1]
  # XLA has no approximate search on CPUs and would sort.
  return jax.lax.platform_dependent(cost, cpu=exact, default=near)


def _candidates(query: Array, bank: _Bank, search: _Search) -> Array:
  """`[C]` places of about the nearest rows, through chunks of rows."""

  def cost_of(first: Array, size: int) -> Array:
    cut = lambda x: jax.lax.dynamic_slice_in_dim(x, first, size)
    # Made ready chunk by chunk, so that there is no second bank in memory; the
    # query has no part in it, and a batch of them does it once.
    return _squared(query, jax.tree.map(cut, bank), search.metric)

  size = bank.emb.shape[0]
  return distance.lowest_in_chunks(
    cost_of,
    size,
    min(search.k + _MARGIN, size),
    chunk=search.chunks.rows,
    pick=lambda cost, num: _lowest(cost, num, search.recall),
  )


def _ordered(dist: Array, index: Array, k: int) -> Nearest:
  """The k smallest of `[Q, C]` candidates, the lowest index first of equals."""
  dist, index = jax.lax.sort((dist, index), num_keys=2)
  dist, index = dist[:, :k], index[:, :k]
  short = ((0, 0), (0, k - dist.shape[1]))  # a bank of less than k rows
  dist = jnp.pad(dist, short, constant_values=jnp.inf)
  index = jnp.pad(index, short, constant_values=-1)
  return Nearest(dist, jnp.where(jnp.isfinite(dist), index, -1))


def _local(queries: Array, bank: _Bank, search: _Search) -> Nearest:
  """Squared distances on one device."""

  def one(query: Array) -> tuple[Array, Array]:  # [D] -> [C], [C]
    place = _candidates(query, bank, search)
    return _exact(query, bank, place, search.metric), place

  def some(part: Array) -> Nearest:  # [q, D] -> [q, k]
    return _ordered(*jax.vmap(one)(part), search.k)

  count = queries.shape[0]
  size = min(search.chunks.queries, count)
  whole = jnp.pad(queries, ((0, -count % size), (0, 0)))
  parts = whole.reshape(-1, size, whole.shape[1])  # [Q / q, q, D]
  found = jax.lax.map(some, parts)
  return jax.tree.map(lambda x: x.reshape(-1, search.k)[:count], found)


def _sharded(
  queries: Array, bank: _Bank, search: _Search, mesh: Mesh
) -> Nearest:
  """Squared distances over the first axis of a mesh."""
  axis = mesh.axis_names[0]
  more = -bank.emb.shape[0] % mesh.shape[axis]
  if more:
    pad = lambda x: jnp.pad(x, [(0, more)] + [(0, 0)] * (x.ndim - 1))
    bank = jax.tree.map(pad, bank)

  def shard(queries: Array, bank: _Bank) -> Nearest:
    found = _local(queries, bank, search)
    first = jax.lax.axis_index(axis).astype(jnp.int32) * bank.emb.shape[0]
    own = Nearest(found.distance, found.index + first)
    gather = lambda x: jax.lax.all_gather(x, axis, axis=1, tiled=True)
    every = jax.tree.map(gather, own)  # [Q, devices * k]
    return _ordered(every.distance, every.index, search.k)

  split, whole = PartitionSpec(axis), PartitionSpec()
  put = lambda x, spec: jax.device_put(x, NamedSharding(mesh, spec))
  # The gathered result is the same everywhere, which the check cannot see.
  run = jax.shard_map(
    shard,
    mesh=mesh,
    in_specs=(whole, split),
    out_specs=whole,
    check_vma=False,
  )
  return run(put(queries, whole), jax.tree.map(lambda x: put(x, split), bank))


def _find(
  queries: Array, bank: _Bank, search: _Search, mesh: Mesh | None
) -> Nearest:
  """Squared distances, after a look at what is asked for."""
  rows, recall = bank.emb, search.recall
  if search.k < 1:
    raise errors.InputError(
      f"large bank: k must be at least 1, got {search.k}."
    )
  if min(search.chunks) < 1:
    raise errors.InputError(f"large bank: {search.chunks}, expected 1 or more.")
  if recall is not None and not 0 < recall < 1:
    raise errors.InputError(
      f"large bank: recall {recall}, expected 0 < recall < 1."
    )
  if queries.ndim != 2 or queries.shape[1:] != rows.shape[1:]:
    raise ValueError(
      f"large bank: queries {queries.shape} and rows {rows.shape}, expected"
      " [Q, D] and [N, D]."
    )
  if not queries.shape[0] or not rows.shape[0]:
    raise ValueError(
      f"large bank: found {queries.shape[0]} queries and {rows.shape[0]} rows,"
      " expected one or more of each."
    )
  if mesh is None:
    return _local(queries, bank, search)
  return _sharded(queries, bank, search, mesh)


def nearest_rows(
  queries: Array,
  rows: Array | distance.Rows,
  *,
  k: int,
  metric: str = "euclidean",
  valid: Array | None = None,
  mesh: Mesh | None = None,
  chunks: Chunks = _CHUNKS,
  recall: float | None = None,
) -> Nearest:
  """Finds the k nearest rows of a bank too large for all distances at once.

  Products of chunks propose `k + 16` rows a query, measured again by
  difference. Besides the bank, a device holds about `q * r + r * D +
  q * (k + 16) * D` floats, q queries and r rows at a time. Call it in `jit`.

  Args:
    queries: `[Q, D]` embeddings.
    rows: `[N, D]` bank, not copied; with a mesh, best what `place` returns. Or
      the rows that a backend has made ready for the same metric.
    k: neighbours, static.
    metric: a key of `distance.METRICS`.
    valid: `[N]` bool, rows that count; None for all.
    mesh: the rows are split over its first axis, and every device looks among
      its own; only k candidates a device are exchanged. One device if None.
    chunks: how much is looked at at a time.
    recall: share of the nearest rows that the approximate search of an
      accelerator is to find on average; exact if None, and on CPUs.

  Returns:
    Distances and row numbers.

  Raises:
    InputError: if `k`, a chunk or `recall` is out of range, the widths differ,
      there are no rows or queries, or the metric is not known.
  """
  kind = distance.find_metric(metric, where="large bank")
  search = _Search(k, kind, chunks, recall)
  if isinstance(rows, distance.Rows):
    ready = lambda x: distance.prepare_query(x, rows, kind)
    queries, more = jax.vmap(ready)(queries)
    emb, offset = rows.emb, rows.offset
    search = search._replace(metric=distance.METRICS["sqeuclidean"])
  else:
    emb, offset, more = rows, None, jnp.zeros(1)
  valid = jnp.ones(emb.shape[0], bool) if valid is None else valid
  found = _find(queries, _Bank(emb, valid, offset), search, mesh)
  squared = found.distance + more[:, None]
  return found._replace(distance=kind.of_squared(squared))
