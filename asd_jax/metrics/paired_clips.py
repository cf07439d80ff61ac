"""Whether two systems differ by more than the choice of test clips."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from asd_jax import errors
from asd_jax.metrics import official, paired, uncertainty

NUM_RESAMPLES = 2000


class Section(NamedTuple):
  """One section of a machine, its test clips scored by both systems.

  Attributes:
    a: `[N]` scores of A.
    b: `[N]` scores of B, of the same clips in the same order.
    is_anomaly: `[N]` bool.
    is_target: `[N]` bool, None when there are no domains.
  """

  a: np.ndarray
  b: np.ndarray
  is_anomaly: np.ndarray
  is_target: np.ndarray | None


def _points(section: Section) -> np.ndarray:
  """`[2, 3]` ranked values of A and B, NaN where there is none."""
  flags = section.is_anomaly, section.is_target
  entries = [official.clip_metrics(s, *flags) for s in section[:2]]
  values = [[e[k] for k in official.RANKED] for e in entries]
  return np.array(values, np.float64)


def _record(
  points: np.ndarray, drawn: np.ndarray, num: int
) -> paired.Comparison:
  """A record of `[2, V]` values and `[R, 2, V]` resampled ones."""
  kept = ~np.isnan(points).any(axis=0)
  if not kept.any():
    raise errors.InputError(
      "found no metric of both systems, expected one or more"
    )
  first, second = official.harmonic_mean(points[:, kept])
  scores = official.harmonic_mean(drawn[:, :, kept])  # [R, 2]
  diff = scores[:, 1] - scores[:, 0]
  gap = float(second - first)
  record = paired.Comparison("clips", num, num, gap)
  if np.ptp(diff) <= 10.0**-12:
    note = "no set of test clips changes the difference"
    return record._replace(std=0.0, standard_error=0.0, note=note)
  # Zero is as likely as the rarer side says; one more keeps p above zero.
  tail = 1 + min(np.sum(diff <= 0), np.sum(diff >= 0))
  std = float(np.std(diff, ddof=1))
  return record._replace(
    std=std,
    standard_error=std,
    interval=uncertainty.interval(diff, level=paired.LEVEL),
    p_t=float(min(1.0, 2 * tail / (len(diff) + 1))),
  )


def _drawn(section: Section, seed: int, num_resamples: int) -> np.ndarray:
  """`[R, 2, 3]` ranked values of A and B on drawn sets of clips."""
  flags = section.is_anomaly, section.is_target
  # The same seed and labels draw the same clips for both.
  both = [
    uncertainty.resampled_metrics(
      scores, *flags, seed=seed, num_resamples=num_resamples
    )
    for scores in (section.a, section.b)
  ]
  return np.stack(both, axis=1)


def by_clip(
  machines: Sequence[Sequence[Section]],
  *,
  seed: int = 0,
  num_resamples: int = NUM_RESAMPLES,
) -> tuple[paired.Comparison, list[paired.Comparison]]:
  """Compares two systems by a paired bootstrap over test clips.

  Sets of clips are drawn with replacement within (machine, section, domain,
  label), the same for both systems; what varies is the difference of their
  scores.

  Args:
    machines: the sections of each machine.
    seed: of the draws.
    num_resamples: sets drawn.

  Returns:
    The record of the official score, and one a machine; of kind "clips", whose
    `interval` is the percentile interval and `p_t` the two-sided bootstrap p.

  Raises:
    InputError: no machine, or one without both classes.
  """
  points, drawn, counts = [], [], []
  for sections in machines:
    values, samples = [], []
    for section in sections:
      seed += 1
      samples.append(_drawn(section, seed, num_resamples))
      values.append(_points(section))
    points.append(np.concatenate(values, axis=1))
    drawn.append(np.concatenate(samples, axis=2))
    counts.append(sum(len(s.a) for s in sections))
  if not points:
    raise errors.InputError("found no machine, expected one or more")
  every = np.concatenate(points, axis=1), np.concatenate(drawn, axis=2)
  total = _record(*every, sum(counts))
  rows = zip(points, drawn, counts, strict=True)
  return total, [_record(*row) for row in rows]
