"""How sure a metric is: over seeds and over the choice of test clips."""

import functools
from typing import NamedTuple, TypedDict

import jax
import numpy as np
from numpy.typing import ArrayLike

from asd_jax import errors
from asd_jax.metrics import device, official
from asd_jax.typing import Array


class Interval(NamedTuple):
  """Ends of an interval."""

  low: float
  high: float


class Bootstrap(TypedDict):
  """Bootstrap intervals of one machine; None where a value has none."""

  kind: str
  level: float
  num_resamples: int
  auc_source: Interval | None
  auc_target: Interval | None
  pauc: Interval | None
  score: Interval | None


def _jackknife_halfwidth(
  score: np.ndarray, is_anomaly: np.ndarray, max_fpr: float
) -> float:
  """The evaluator's half-width of one pooled area, see `official_ci95`."""
  from scipy import special

  num = len(score)
  values, block = np.unique(-score, return_inverse=True)
  size = len(values)
  counts = np.stack(
    [np.bincount(block[is_anomaly == kind], minlength=size) for kind in (0, 1)]
  ).astype(np.float64)  # [2, V], normal and anomalous clips of each value
  estimate = np.zeros((2, size))  # without one such clip
  for kind, place in np.argwhere(counts):
    left = counts.copy()
    left[kind, place] -= 1
    through = np.cumsum(left[0]) / left[0].sum()  # false-positive rate
    width = left[0] / left[0].sum()
    room = np.maximum(max_fpr - (through - width), 0)
    cut = room**2 / np.where(width > 0, 2 * width, 1)
    area = np.where(through <= max_fpr, room - width / 2, cut)
    estimate[kind, place] = area @ left[1] / left[1].sum()
  chance = max_fpr**2 / 2
  estimate = 0.5 * (1 + (estimate - chance) / (max_fpr - chance))
  mean = np.sum(counts * estimate) / num
  spread = np.sum(counts * (estimate - mean) ** 2)
  error = np.sqrt(spread / (num * (num - 1)))
  return float(special.stdtrit(num - 1, 0.975) * error)


def official_ci95(score: ArrayLike, is_anomaly: ArrayLike) -> float:
  """The "official score ci95" as the evaluator prints it: far too small.

  It pools the clips of all machines, takes the 95 % jackknife half-widths of
  the AUC and of the pAUC and averages the two; the standard error has
  N (N - 1) below the spread where the jackknife has N / (N - 1), so it is
  too small by N - 1. Only for comparing with the evaluator's files: never
  show it as an uncertainty, use `bootstrap`.

  Args:
    score: `[N]` scores of all machines and sections in a row.
    is_anomaly: `[N]` bool.

  Returns:
    The printed value.
  """
  score = official.as_scores(score)
  anomaly = official.as_flags("is_anomaly", is_anomaly, len(score))
  if min(np.sum(anomaly), np.sum(~anomaly)) < 2:
    raise errors.InputError("the jackknife needs two clips of each class")
  halfwidths = [
    _jackknife_halfwidth(score, anomaly, p) for p in (1, official.MAX_FPR)
  ]
  return sum(halfwidths) / 2


def seed_summary(values: ArrayLike) -> dict[str, float | None]:
  """Mean and standard deviation over seeds.

  Args:
    values: `[K]` one value a seed.

  Returns:
    `mean`, and `std` with ddof = 1 (K - 1 in the denominator), None for K = 1.
  """
  array = official.as_vector("values", values).astype(np.float64)
  if not len(array) or not np.isfinite(array).all():
    raise errors.InputError(
      f"values over seeds are {array}, expected finite numbers"
    )
  std = float(np.std(array, ddof=1)) if len(array) > 1 else None
  return {"mean": float(np.mean(array)), "std": std}


@jax.jit
def _domain_metrics(score: Array, is_anomaly: Array, is_target: Array) -> Array:
  """`[R, N]` scores of the same clips' labels to `[R, 3]`."""
  one = functools.partial(
    device.domain_metrics, is_anomaly=is_anomaly, is_target=is_target
  )
  return jax.vmap(one)(score)


def resampled_metrics(
  score: ArrayLike,
  is_anomaly: ArrayLike,
  is_target: ArrayLike | None,
  *,
  seed: int = 0,
  num_resamples: int = 1000,
) -> np.ndarray:
  """The ranked values of clip sets drawn with replacement.

  Clips are drawn within (domain, label), so every set has the counts of the
  original and each clip's label stays in its place.

  Args:
    score: `[N]` finite.
    is_anomaly: `[N]` bool.
    is_target: `[N]` bool; None when there are no domains.
    seed: of the draws. Give machines different seeds to combine them.
    num_resamples: R.

  Returns:
    `[R, 3]` AUC (source), AUC (target), pAUC; NaN where a class or the domains
    are missing. Stack machines to `[R, M, 3]` for `interval_of_score`.
  """
  score = official.as_scores(score)
  num = len(score)
  anomaly = official.as_flags("is_anomaly", is_anomaly, num)
  target = np.zeros(num, bool)
  if is_target is not None:
    target = official.as_flags("is_target", is_target, num)
  rng = np.random.default_rng(seed)
  drawn = np.zeros((num_resamples, num), np.int32)
  for stratum in range(4):
    members = np.flatnonzero(2 * target + anomaly == stratum)
    if len(members):
      drawn[:, members] = rng.choice(members, (num_resamples, len(members)))
  # Ranks keep every order and tie of float64 scores in float32.
  rank = np.unique(score, return_inverse=True)[1].astype(np.float32)
  samples = np.array(_domain_metrics(rank[drawn], anomaly, target), np.float64)
  if is_target is None:
    samples[:, :2] = np.nan
  return samples


def interval(samples: ArrayLike, *, level: float = 0.95) -> Interval | None:
  """Percentile interval of resampled values.

  Args:
    samples: `[R]`.
    level: share of the samples inside.

  Returns:
    The interval; None when a sample is NaN (the value does not exist).
  """
  array = official.as_vector("samples", samples)
  if not 0 < level < 1:
    raise errors.InputError(f"level is {level}, expected 0 < level < 1")
  if np.isnan(array).any():
    return None
  low, high = np.quantile(array, ((1 - level) / 2, (1 + level) / 2))
  return Interval(float(low), float(high))


def interval_of_score(
  samples: ArrayLike, *, level: float = 0.95
) -> Interval | None:
  """Percentile interval of the official score.

  Args:
    samples: `[R, M, 3]` (or `[R, 3]`) resampled values of M machines.
    level: share of the samples inside.

  Returns:
    The interval; None when a value is missing.
  """
  array = np.asarray(samples, np.float64)
  array = np.maximum(array.reshape(len(array), -1), official.EPS)  # [R, 3 M]
  return interval(1 / np.mean(1 / array, axis=1), level=level)


def bootstrap(
  score: ArrayLike,
  is_anomaly: ArrayLike,
  is_target: ArrayLike | None,
  *,
  seed: int = 0,
  num_resamples: int = 1000,
  level: float = 0.95,
) -> Bootstrap:
  """Bootstrap intervals of one machine's ranked values and its score.

  They say how far the choice of test clips moves the numbers of one fitted
  system; they do not cover another training run (`seed_summary` does).

  Args:
    score: `[N]` finite.
    is_anomaly: `[N]` bool.
    is_target: `[N]` bool; None when there are no domains.
    seed: of the draws.
    num_resamples: sets drawn.
    level: share of the resampled values inside the interval.

  Returns:
    Intervals of `auc_source`, `auc_target`, `pauc` and `score` (their harmonic
    mean), None where missing, with `kind`, `level` and `num_resamples`.
  """
  samples = resampled_metrics(
    score, is_anomaly, is_target, seed=seed, num_resamples=num_resamples
  )
  return {
    "kind": "percentile bootstrap over test clips within (domain, label)",
    "level": level,
    "num_resamples": num_resamples,
    "auc_source": interval(samples[:, 0], level=level),
    "auc_target": interval(samples[:, 1], level=level),
    "pauc": interval(samples[:, 2], level=level),
    "score": interval_of_score(samples, level=level),
  }
