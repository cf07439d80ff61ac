"""How sure a metric is: over seeds and over the choice of test clips."""

import functools
import math
from typing import NamedTuple, TypedDict

import jax
import numpy as np
from numpy.typing import ArrayLike

from asd_jax import errors
from asd_jax.metrics import device, official
from asd_jax.typing import Array

# Of 0.975 of the standard normal distribution.
_NORMAL_975 = 1.959963984540054


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


def wilson(count: int, num: int) -> Interval | None:
  """Wilson's score interval of a share, at 95 %.

  Args:
    count: clips of a kind.
    num: clips in all.

  Returns:
    The interval; None of no clips.

  Source: [Wilson27].
  """
  if not num:
    return None
  share, wide = count / num, 2 * (num + _NORMAL_975**2)
  middle = (2 * num * share + _NORMAL_975**2) / wide
  spread = 4 * num * share * (1 - share) + _NORMAL_975**2
  half = _NORMAL_975 / wide * math.sqrt(spread)
  # Where rounding would leave the ends by a hair.
  low = middle - half if count else 0.0
  high = middle + half if count < num else 1.0
  return Interval(max(low, 0.0), min(high, 1.0))


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
  # Within (domain, label), or a set could lose a class.
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
  # A value that some sets lack has no distribution.
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
  array = array.reshape(len(array), -1)  # [R, 3 M]
  return interval(official.harmonic_mean(array), level=level)


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
