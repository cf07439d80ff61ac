"""Whether two systems differ by more than their seeds do.

Differences are B - A throughout. Every test here is about seeds: it says what
training again would do, on the same test clips, and nothing about other clips
(`paired_clips` is about those).
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from asd_jax import errors
from asd_jax.metrics.uncertainty import Interval

LEVEL = 0.95
POWER = 0.8
# Differences of fractions that agree to this many digits are equal.
_DIGITS = 12

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

  Exact for up to 50 differences of different size, by all their signs for up
  to 13 with ties; the normal limit beyond.

  Args:
    differences: `[K]`; zeros are dropped.

  Returns:
    p, or None when every difference is zero.
  """
  from scipy import stats  # seconds to import, and few commands test anything

  # Differences of fractions: what is equal on paper must be a tie here too.
  diff = np.round(_known("differences", differences), _DIGITS)
  diff = diff[diff != 0]
  return float(stats.wilcoxon(diff).pvalue) if len(diff) else None


def _t_test(record: Comparison, error: float, test: Any) -> Comparison:
  """Adds what a t test of scipy's found, and what it could have found."""
  from scipy import stats

  ends = test.confidence_interval(LEVEL)
  # A difference this large is significant with a chance of `POWER`.
  quantiles = stats.t.ppf([(1 + LEVEL) / 2, POWER], test.df)
  return record._replace(
    standard_error=error,
    interval=Interval(float(ends.low), float(ends.high)),
    p_t=float(test.pvalue),
    detectable=float(np.sum(quantiles)) * error,
  )


def _of_differences(record: Comparison, diff: np.ndarray) -> Comparison:
  """Fills a record from `[K]` differences."""
  from scipy import stats

  num, rounded = len(diff), np.round(diff, _DIGITS)
  record = record._replace(
    wins=int(np.sum(rounded > 0)), ties=int(np.sum(rounded == 0))
  )
  if num < 2:
    note = "one seed: no test over seeds is possible"
    return record._replace(kind="none", note=_join(record.note, note))
  record = record._replace(p_wilcoxon=signed_rank_p(diff))
  # Rounding alone must not pass for a spread: t would be in the billions.
  if np.ptp(rounded) <= 10.0**-_DIGITS:
    note = "every seed differs by the same amount: no spread to test against"
    if not rounded.any():
      note = "the two are equal in every seed"
    return record._replace(std=0.0, standard_error=0.0,
                           note=_join(record.note, note))  # fmt: skip
  std = float(np.std(diff, ddof=1))
  record = record._replace(std=std, effect=record.difference / std)
  return _t_test(record, std / math.sqrt(num), stats.ttest_1samp(diff, 0.0))


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
  from scipy import stats

  first, second = _known("a", a), _known("b", b)
  if min(len(first), len(second)) < 2:
    raise errors.InputError("found one value on a side, expected two or more")
  note = "the seeds are not the same: Welch's t test of unpaired seeds"
  difference = float(np.mean(second) - np.mean(first))
  record = Comparison("welch", len(first), len(second), difference, note=note)
  if max(np.ptp(first), np.ptp(second)) <= 10.0**-_DIGITS:
    note = _join(note, "no side varies: no spread to test against")
    return record._replace(standard_error=0.0, note=note)
  error = math.hypot(*(float(stats.sem(v)) for v in (first, second)))
  with warnings.catch_warnings():
    # One side may be constant: the spread of the other carries the test.
    warnings.filterwarnings("ignore", message="Precision loss")
    test = stats.ttest_ind(second, first, equal_var=False)
  return _t_test(record, error, test)


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
