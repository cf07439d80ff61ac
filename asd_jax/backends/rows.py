"""Rows that a bank gets beside those of the training clips.

Bank stages map a bank to a bank. Means and neighbours are those of the rows
that the bank holds and that count. Embeddings may be `[D]` or `[F, D]`: then
every frequency has neighbours of its own, and all have the same draws.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from asd_jax import errors
from asd_jax.backends import base
from asd_jax.ops import distance
from asd_jax.typing import Array, Scalar


def plain(bank: base.Bank) -> base.Bank:
  """Leaves the bank as it is.

  Args:
    bank: the bank.

  Returns:
    The same.
  """
  return bank


def _domains(bank: base.Bank) -> tuple[Array, Array]:
  """Source and target rows that count, `[N]` each."""
  return bank.valid & ~bank.is_target, bank.valid & bank.is_target


def _by_frequency(fn: Callable[[Array], Array], emb: Array) -> Array:
  """Maps a function of `[N, D]` rows over the axis of `[N, F, D]`, if any."""
  return fn(emb) if emb.ndim == 2 else jax.vmap(fn, 1, 1)(emb)


def _places(mask: Array, num: int) -> tuple[Array, Array]:
  """Rows of a mask in order, `[num]`, and which of them are there."""
  # Inside `jit` their number is fixed; row 0 stands in for missing ones.
  place = jnp.nonzero(mask, size=num, fill_value=len(mask))[0]
  found = place < len(mask)
  return jnp.where(found, place, 0).astype(jnp.int32), found


def memmixup(bank: base.Bank, *, lam: Scalar = 0.9) -> base.Bank:
  """Mixes every target row with every source row, without making the rows.

  `lam target + (1 - lam) source`; see `Bank.mix`.

  Args:
    bank: the bank.
    lam: weight of the target row.

  Returns:
    The bank with mixed rows.

  Source: [GenRep24], [LUDO26].
  """
  source, target = _domains(bank)
  weight = jnp.asarray(lam, bank.emb.dtype)
  return bank.replace(mix=base.Mix(weight, target, source))


def mixing_order(
  emb: Array, target: Array, source: Array, *, num_target: int, num: int
) -> Array:
  """Source rows that each target row is mixed with, nearest first.

  Args:
    emb: `[N, D]` rows.
    target: `[N]` target rows.
    source: `[N]` source rows.
    num_target: how many target rows there are at most, T.
    num: how many source rows to take.

  Returns:
    `[T, num]` int32 row numbers; of equally near rows, the first comes first.
  """
  place, _ = _places(target, num_target)

  def of_target(row: Array) -> Array:
    # By difference, since rounding would swap rows of almost equal distance.
    gap = jnp.where(source, distance.by_difference(row, emb), jnp.inf)
    return jnp.argsort(gap, stable=True)[:num].astype(jnp.int32)

  # One target row at a time: differences of all pairs would be [T, N, D].
  return jax.lax.map(of_target, emb[place])


def memmixup_rows(
  bank: base.Bank, *, lam: Scalar = 0.9, num_support: int = 990
) -> base.Bank:
  """Mixes every target row with its nearest source rows, and keeps the rows.

  The plain way, for any backend. Row `i M + j` of the new ones mixes the i-th
  target row with its j-th nearest source row.

  Args:
    bank: the bank.
    lam: weight of the target row.
    num_support: how many source rows, at most; M is what there is.

  Returns:
    The bank with `M num_target` more target rows.

  Raises:
    InputError: if `num_support` is below 1.

  Source: [GenRep24].
  """
  if num_support < 1:
    raise errors.InputError(
      f"memmixup_rows: num_support must be at least 1, got {num_support}."
    )
  source, target = _domains(bank)
  most = bank.num_target
  # Shapes must not depend on which rows count: M is what there can be, and
  # `there` below masks what there is.
  num = min(num_support, len(source) - most)
  place, found = _places(target, most)

  def mix(emb: Array) -> Array:
    order = mixing_order(emb, target, source, num_target=most, num=num)
    mixed = lam * emb[place][:, None] + (1.0 - lam) * emb[order]
    return mixed.reshape(-1, emb.shape[1])  # [T M, D]

  if num < 1 or most < 1:
    return bank
  there = jnp.arange(num) < jnp.sum(source)
  made = most * num
  return base.append(
    bank,
    _by_frequency(mix, bank.emb),
    is_target=jnp.ones(made, bool),
    group=jnp.full(made, -1),
    num_target=made,
    valid=(found[:, None] & there[None]).reshape(-1),
  )


def num_synthetic(num_source: int, num_target: int, *, ratio: float) -> int:
  """How many target rows are missing.

  Args:
    num_source: source rows.
    num_target: target rows.
    ratio: wanted target rows by source rows.

  Returns:
    At least zero.
  """
  # The ratio is that of all target rows afterwards, not of the new ones.
  return max(0, int(ratio * num_source) - num_target)


def interpolate(
  target: Array,
  usable: Array,
  flat_index: Array,
  step: Array,
  *,
  k: int,
) -> Array:
  """Makes rows between target rows and their nearest other target rows.

  Args:
    target: `[T, D]` rows, those that count first.
    usable: `[T]` rows that count.
    flat_index: `[M]` below the number of usable rows times K, where K is k,
      or the number of other usable rows if that is smaller: row
      `flat_index // K` and its neighbour `flat_index % K`.
    step: `[M]` share of the way to the neighbour.
    k: neighbours of each row.

  Returns:
    `[M, D]` new rows.

  Source: [Chawla02].
  """
  # Euclidean whatever the bank's metric is, as SMOTE was published; for cosine
  # metrics the rows come in with length one.
  rows = distance.prepare(target, usable, distance.METRICS["euclidean"])
  own = jnp.arange(len(target))

  def others(row: Array, number: Array) -> Array:
    rest = usable & (own != number)
    return distance.nearest(row, rows.emb, rows.squares, rest, k=k)[1]

  neighbour = jax.vmap(others)(rows.emb, own)  # [T, k]
  # With fewer neighbours than k, a draw must not reach the empty columns.
  num = jnp.clip(jnp.sum(usable) - 1, 1, k)
  # One draw picks row and neighbour, as in imbalanced-learn: with its draws
  # the rows are the same.
  start = flat_index // num
  end = target[neighbour[start, flat_index % num]]
  return target[start] + step[:, None] * (end - target[start])


def smote(
  bank: base.Bank,
  *,
  ratio: float = 0.2,
  k: int = 2,
  seed: int = 0,
  normalise: bool | None = None,
) -> base.Bank:
  """Adds synthetic target rows until there are `ratio` times the source rows.

  With fewer than two target rows there is nothing to interpolate, and nothing
  is added.

  Args:
    bank: the bank.
    ratio: wanted target rows by source rows; decides a shape.
    k: neighbours that a row is interpolated with.
    seed: of the random draws.
    normalise: rows have length one before and after; if None, where the
      backend's metric compares directions (`Bank.unit`).

  Returns:
    The bank with more target rows, which never leave it.

  Raises:
    InputError: if `ratio` is negative or `k` below 1.

  Source: [Chawla02], [MERL26].
  """
  if ratio < 0.0 or k < 1:
    raise errors.InputError(
      f"smote: found ratio={ratio} and k={k}, expected ratio >= 0 and k >= 1."
    )
  most = bank.num_target
  # By the rows that there are, masked or not: this is a shape.
  num = num_synthetic(len(bank.valid) - most, most, ratio=ratio)
  if num < 1 or most < 2:
    return bank
  source, target = _domains(bank)
  count = jnp.sum(target)
  index_key, step_key = jax.random.split(jax.random.key(seed))
  # `count` may be zero, and an empty range has no draw. Nothing that comes of
  # it counts, see `add_interpolated`.
  high = jnp.maximum(count * jnp.clip(count - 1, 1, k), 1)
  flat_index = jax.random.randint(index_key, (num,), 0, high, jnp.int32)
  step = jax.random.uniform(step_key, (num,), bank.emb.dtype)
  if normalise is None:
    normalise = bank.unit
  # As many as the rows that count lack. From a table: a product of traced
  # floats may be rounded to the next integer.
  missing = [int(ratio * n) for n in range(len(source) + 1)]
  wanted = jnp.asarray(missing, count.dtype)[jnp.sum(source)] - count
  return add_interpolated(
    bank, flat_index, step, wanted=wanted, k=k, normalise=normalise
  )


def add_interpolated(
  bank: base.Bank,
  flat_index: Array,
  step: Array,
  *,
  wanted: Array | int,
  k: int,
  normalise: bool,
) -> base.Bank:
  """Adds synthetic target rows by given draws.

  Args:
    bank: the bank.
    flat_index: `[M]` see `interpolate`.
    step: `[M]` see `interpolate`.
    wanted: how many of the new rows count, the first ones.
    k: neighbours that a row is interpolated with.
    normalise: rows have length one before and after.

  Returns:
    The bank with M more rows.
  """
  _, target = _domains(bank)
  # Rows that count come first, as the draws expect.
  place, found = _places(target, bank.num_target)
  scale = distance.unit if normalise else (lambda x: x)

  def make(emb: Array) -> Array:
    rows = scale(emb[place])
    # A point between two rows of length one is shorter than they are.
    return scale(interpolate(rows, found, flat_index, step, k=k))

  # The same draws for every frequency: a synthetic row stays one clip.
  num = len(step)
  return base.append(
    bank,
    _by_frequency(make, bank.emb),
    is_target=jnp.ones(num, bool),
    group=jnp.full(num, -1),
    num_target=num,
    valid=(jnp.sum(target) > 1) & (jnp.arange(num) < wanted),
  )


def pseudo_target(bank: base.Bank) -> base.Bank:
  """Adds every source row once more, moved to the target domain.

  The move is from the mean of the source rows to that of the target rows. A
  moved row leaves the bank together with its source row.

  Args:
    bank: the bank of N rows.

  Returns:
    The bank with N more rows, of which those made from source rows count.

  Source: [KonicaMinolta26].
  """
  source, target = _domains(bank)

  def mean(rows: Array, emb: Array) -> Array:
    total = jnp.sum(jnp.where(rows[:, None], emb, 0.0), axis=0)
    return total / jnp.maximum(jnp.sum(rows), 1)

  def move(emb: Array) -> Array:
    return emb + (mean(target, emb) - mean(source, emb))[None]

  return base.append(
    bank,
    _by_frequency(move, bank.emb),
    is_target=jnp.ones(len(source), bool),
    # Made from a clip, hence too near to it to judge it by.
    group=bank.group,
    num_target=len(source),
    # Without target rows their mean is zero, and the move a wrong one.
    valid=source & jnp.any(target),
  )


# Those that make rows of source and target rows together.
OF_BOTH_DOMAINS = ("memmixup", "memmixup_rows", "smote", "pseudo_target")
BANKS = {
  "plain": plain,
  "memmixup": memmixup,
  "memmixup_rows": memmixup_rows,
  "smote": smote,
  "pseudo_target": pseudo_target,
}
