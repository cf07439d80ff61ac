"""Whether two systems differ by more than their seeds do.

Differences are B - A throughout. Every test here is about seeds: it says what
training again would do, on the same test clips, and nothing about other clips
(`paired_clips` is about those).
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from asd_jax import errors
from asd_jax.metrics.uncertainty import Interval

LEVEL = 0.95
POWER = 0.8
# Beyond this many differences the signed-rank test takes its normal limit.
MAX_EXACT = 200
# Differences of fractions that agree to this many digits are equal.
_DIGITS = 12

_WORDS = "no one two three four five six seven eight nine ten eleven twelve"
_TESTS = {
  "paired": "paired t test",
  "one sample": "one-sample t test against a single value",
  "welch": "Welch's t test of unpaired seeds",
  "clips": "paired bootstrap over clips",
}

Values = Sequence[float | None] | np.ndarray


class Comparison(NamedTuple):
  """System B against system A over seeds; None where there is no value.

  Attributes:
    kind: "paired" (same seeds), "one sample" (one side is a single value),
      "welch" (other seeds), "none" (no test over seeds) or "clips" (over test
      clips).
    num_a: values of A that are known, or clips; `num_b` those of B.
    difference: mean of B - mean of A.
    std: of the differences, with ddof 1; None for "welch".
    standard_error: of `difference`.
    interval: t interval at 95 %, over clips that of the bootstrap.
    p_t: two-sided p of the t test or of the bootstrap.
    p_wilcoxon: two-sided p of the signed-rank test.
    wins: pairs in which B is better; `ties` pairs of equal value.
    effect: Cohen's d_z, `difference` over `std`.
    detectable: difference that as many seeds find with 80 % power.
    note: what a reader must know, or "".
  """

  kind: str
  num_a: int
  num_b: int
  difference: float
  std: float | None = None
  standard_error: float | None = None
  interval: Interval | None = None
  p_t: float | None = None
  p_wilcoxon: float | None = None
  wins: int | None = None
  ties: int | None = None
  effect: float | None = None
  detectable: float | None = None
  note: str = ""


def _array(name: str, values: Values) -> np.ndarray:
  """`[K]` float64 with NaN where a value is missing."""
  array = np.array([math.nan if v is None else v for v in values], np.float64)
  if array.ndim != 1 or np.isinf(array).any():
    raise errors.InputError(
      f"{name} is {values}, expected one finite value a seed"
    )
  return array


def _known(name: str, values: Values) -> np.ndarray:
  array = _array(name, values)
  kept = array[~np.isnan(array)]
  if not len(kept):
    raise errors.InputError(f"{name} holds no value, expected one a seed")
  return kept


def signed_rank_p(differences: Values) -> float | None:
  """Two-sided p of Wilcoxon's signed-rank test.

  Zeros are dropped and ties share their mean rank. The chance of each sum of
  ranks is counted exactly for up to 200 differences.

  Args:
    differences: `[K]`.

  Returns:
    p, or None when every difference is zero.
  """
  diff = np.round(_known("differences", differences), _DIGITS)
  diff = diff[diff != 0]
  if not len(diff):
    return None
  _, place, counts = np.unique(
    np.abs(diff), return_inverse=True, return_counts=True
  )
  ranks = (2 * np.cumsum(counts) - counts + 1)[place]  # twice the mean rank
  found, total = int(ranks[diff > 0].sum()), int(ranks.sum())
  if len(diff) > MAX_EXACT:
    z = (found - total / 2) / np.sqrt(np.sum(ranks.astype(float) ** 2) / 4)
    return math.erfc(abs(z) / math.sqrt(2))
  chance = np.zeros(total + 1)  # of each sum of the positive ranks
  chance[0] = 1
  for rank in ranks:
    added = np.zeros_like(chance)
    added[rank:] = chance[:-rank]
    chance = (chance + added) / 2
  tail = min(chance[: found + 1].sum(), chance[found:].sum())
  return float(min(1, 2 * tail))


def _t_test(record: Comparison, error: float, freedom: float) -> Comparison:
  """Adds what follows from the standard error and its degrees of freedom."""
  from scipy import special

  t = float(special.stdtrit(freedom, (1 + LEVEL) / 2))
  middle = record.difference
  return record._replace(
    standard_error=error,
    interval=Interval(middle - t * error, middle + t * error),
    p_t=float(2 * special.stdtr(freedom, -abs(middle) / error)),
    detectable=(t + float(special.stdtrit(freedom, POWER))) * error,
  )


def _of_differences(record: Comparison, diff: np.ndarray) -> Comparison:
  """Fills a record from `[K]` differences."""
  num, rounded = len(diff), np.round(diff, _DIGITS)
  record = record._replace(
    wins=int(np.sum(rounded > 0)), ties=int(np.sum(rounded == 0))
  )
  if num < 2:
    note = "one seed: no test over seeds is possible"
    return record._replace(kind="none", note=_join(record.note, note))
  record = record._replace(p_wilcoxon=signed_rank_p(diff))
  if np.ptp(rounded) <= 10.0**-_DIGITS:
    note = "every seed differs by the same amount: no spread to test against"
    if not rounded.any():
      note = "the two are equal in every seed"
    return record._replace(std=0.0, standard_error=0.0,
                           note=_join(record.note, note))  # fmt: skip
  std = float(np.std(diff, ddof=1))
  record = record._replace(std=std, effect=record.difference / std)
  return _t_test(record, std / math.sqrt(num), num - 1)


def _join(*notes: str) -> str:
  return "; ".join(n for n in notes if n)


def paired_seeds(a: Values, b: Values) -> Comparison:
  """Compares two systems run with the same seeds.

  The smallest detectable difference is approximate:
  `(t(0.975) + t(0.8)) std / sqrt(K)`, quantiles of Student's t with K - 1
  degrees of freedom.

  Args:
    a: `[K]` one value a seed; None or NaN where it is missing.
    b: `[K]` values of the other system, in the same order of seeds.

  Returns:
    The record; pairs of which a value is missing are left out, with a note.

  Raises:
    InputError: unequal lengths, infinite values, or no complete pair.
  """
  first, second = _array("a", a), _array("b", b)
  if len(first) != len(second):
    raise errors.InputError(
      f"found {len(first)} and {len(second)} values, expected pairs"
    )
  diff = second - first
  kept = ~np.isnan(diff)
  num, missing = int(kept.sum()), int((~kept).sum())
  if not num:
    raise errors.InputError(
      "found no seed with a value on both sides, expected one"
    )
  noun = "seed" if missing == 1 else "seeds"
  note = f"{missing} {noun} left out: a value is missing" if missing else ""
  record = Comparison("paired", num, num, float(np.mean(diff[kept])), note=note)
  return _of_differences(record, diff[kept])


def against_value(a: Values, value: float) -> Comparison:
  """Compares a system with seeds with one value, as of one that draws nothing.

  Args:
    a: `[K]` one value a seed; missing ones (None or NaN) are left out.
    value: stands for B.

  Returns:
    The record of a one-sample t test: the differences are `value - a`.

  Raises:
    InputError: no value, or infinite ones.
  """
  known = _known("a", a)
  (single,) = _known("value", [value])
  diff = single - known
  note = (
    "one side is a single value: if it came from a random seed, its own spread"
    " is not in the interval"
  )
  note = note if len(known) > 1 else ""
  mean = float(np.mean(diff))
  record = Comparison("one sample", len(known), 1, mean, note=note)
  return _of_differences(record, diff)


def unpaired_seeds(a: Values, b: Values) -> Comparison:
  """Compares two systems run with different seeds, by Welch's t test.

  Args:
    a: `[K]` one value a seed, at least two known (None or NaN is missing).
    b: `[L]` values of the other system.

  Returns:
    The record; `std`, `wins` and `effect` need pairs and are None.

  Raises:
    InputError: fewer than two values on a side, or infinite ones.
  """
  first, second = _known("a", a), _known("b", b)
  if min(len(first), len(second)) < 2:
    raise errors.InputError("found one value on a side, expected two or more")
  note = "the seeds are not the same: Welch's t test of unpaired seeds"
  difference = float(np.mean(second) - np.mean(first))
  record = Comparison("welch", len(first), len(second), difference, note=note)
  if max(np.ptp(first), np.ptp(second)) <= 10.0**-_DIGITS:
    note = _join(note, "no side varies: no spread to test against")
    return record._replace(standard_error=0.0, note=note)
  parts = [np.var(v, ddof=1) / len(v) for v in (first, second)]
  freedom = sum(parts) ** 2 / sum(
    p**2 / (len(v) - 1) for p, v in zip(parts, (first, second), strict=True)
  )
  return _t_test(record, math.sqrt(sum(parts)), float(freedom))


def swapped(record: Comparison) -> Comparison:
  """The record with A and B exchanged.

  Args:
    record: B against A.

  Returns:
    A against B.
  """
  wins, ends = record.wins, record.interval
  if wins is not None and record.ties is not None:
    wins = max(record.num_a, record.num_b) - wins - record.ties
  return record._replace(
    num_a=record.num_b,
    num_b=record.num_a,
    difference=-record.difference,
    interval=None if ends is None else Interval(-ends.high, -ends.low),
    wins=wins,
    effect=None if record.effect is None else -record.effect,
  )


def by_seed(
  a: Mapping[Any, float | None], b: Mapping[Any, float | None]
) -> Comparison:
  """Compares two systems with the test that their seeds allow.

  Args:
    a: seed to value, None where it is missing.
    b: those of the other system.

  Returns:
    `paired_seeds` for two or more equal seeds, in any order; `against_value`
    where one side has a single value; else `unpaired_seeds`.

  Raises:
    InputError: a side holds no value.
  """
  if len(a) > 1 and set(a) == set(b):
    return paired_seeds(list(a.values()), [b[seed] for seed in a])
  first, second = _known("a", list(a.values())), _known("b", list(b.values()))
  if len(second) == 1:
    return against_value(first, float(second[0]))
  if len(first) == 1:
    return swapped(against_value(second, float(first[0])))
  record = unpaired_seeds(first, second)
  shared = len(set(a) & set(b))
  hint = f"{shared} of them are shared" if shared else ""
  return record._replace(note=_join(record.note, hint))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
  """Holm's correction for several tests.

  Args:
    p_values: one a test, None where there was none.

  Returns:
    Corrected values in the same order; below 0.05 they keep the chance of any
    false finding among all tests below 0.05.
  """
  tested = [i for i, p in enumerate(p_values) if p is not None]
  order = sorted(tested, key=lambda i: p_values[i] or 0.0)
  out: list[float | None] = [None] * len(p_values)
  least = 0.0
  for rank, i in enumerate(order):
    least = max(least, min(1.0, (len(order) - rank) * (p_values[i] or 0.0)))
    out[i] = least
  return out


def _count(num: int) -> str:
  words = _WORDS.split()
  noun = "seed" if num == 1 else "seeds"
  return f"{words[num] if num < len(words) else num} {noun}"


def p_value(value: float | None) -> str:
  """`0.012`, `<0.001`, or `-` where there is none."""
  if value is None:
    return "-"
  return "<0.001" if value < 0.001 else f"{value:.3f}"


def _over(record: Comparison) -> str:
  if record.kind == "clips":
    return f"{record.num_a} common test clips"
  if record.kind == "welch":
    return f"{record.num_a} seeds of A and {record.num_b} of B"
  return _count(max(record.num_a, record.num_b))


def verdict(record: Comparison, *, fused: float | None = None) -> str:
  """One plain sentence, in points (hundredths).

  Args:
    record: of fractions.
    fused: B - A of the ensembles, if known.

  Returns:
    The sentence.
  """
  end = "."
  if fused is not None:
    end = f"; the ensembles differ by {100 * fused:+.2f} points (B - A)."
  gap = 100 * record.difference
  better, worse = ("B", "A") if gap > 0 else ("A", "B")
  if record.kind == "none":
    return (
      f"B differs from A by {gap:+.2f} points with one value each: no test over"
      " seeds is possible, and one over test clips needs the per-clip scores"
      " and labels, which were not found."
    )
  if record.interval is None:
    if not round(gap, 8):
      return f"A and B are equal over {_over(record)}{end}"
    return (
      f"{better} is better than {worse} by {abs(gap):.2f} points, without any"
      f" spread over {_over(record)}: no test is possible{end}"
    )
  low, high = (100 * end for end in record.interval)
  p = "p = " + p_value(record.p_t)
  p = p.replace("= <", "< ")
  if low > 0 or high < 0:
    low, high = sorted((abs(low), abs(high)))
    return (
      f"{better} is better than {worse} by {abs(gap):.2f} points over"
      f" {_over(record)} (95 % interval {low:.2f} to {high:.2f}, {p},"
      f" {_TESTS[record.kind]}){end}"
    )
  noise = "the choice of clips" if record.kind == "clips" else "seed noise"
  return (
    f"No difference can be told from {noise}: B - A is {gap:+.2f} points"
    f" over {_over(record)} (95 % interval {low:+.2f} to {high:+.2f}, {p},"
    f" {_TESTS[record.kind]}){end}"
  )


def details(record: Comparison) -> str:
  """What the verdict leaves out, in one line or ""."""
  found = []
  if record.p_wilcoxon is not None:
    found.append(f"Wilcoxon signed-rank p {p_value(record.p_wilcoxon)}")
  if record.effect is not None:
    found.append(f"Cohen's d_z {record.effect:.2f}")
  if record.detectable is not None:
    found.append(
      "smallest difference found with 80 % power about"
      f" {100 * record.detectable:.2f} points"
    )
  return "; ".join(found)
