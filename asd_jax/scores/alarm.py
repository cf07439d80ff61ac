"""Alarms: several decisions in a row, on the windows of a recording.

One window in ten of a normal recording is called anomalous at a rate of 0.1;
three in a row hardly ever are.
"""

import numpy as np

from asd_jax.scores import threshold

# Windows in a row that make an alarm where a config says nothing else.
AFTER = 3
_HOUR = 3600.0


def runs(decision: np.ndarray) -> np.ndarray:
  """Runs of windows that are called anomalous.

  Args:
    decision: `[W]` of consecutive windows, see `threshold`.

  Returns:
    `[R, 2]` first window of each run, and the first one behind it.
  """
  flagged = np.asarray(decision) == threshold.ANOMALOUS
  edges = np.diff(np.concatenate([[False], flagged, [False]]).astype(np.int8))
  return np.stack([np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)], 1)


def alarms(decision: np.ndarray, after: int) -> np.ndarray:
  """Alarms: runs of so many windows or more, each run one alarm.

  Args:
    decision: `[W]` of consecutive windows.
    after: windows in a row that make an alarm; all of them where there are
      fewer.

  Returns:
    `[A, 2]` first window of each alarm, and the first one behind it.
  """
  found = runs(decision)
  return found[found[:, 1] - found[:, 0] >= min(after, len(decision))]


def weakest(
  score: np.ndarray, p_value: np.ndarray, after: int, *, by_score: bool
) -> int:
  """The window that speaks for a recording.

  Of all runs of `after` consecutive windows the most suspicious one is that
  whose least suspicious window is the most suspicious; that window is it. It
  is flagged where there is an alarm, and only there.

  Args:
    score: `[W]` of consecutive windows.
    p_value: `[W]`, NaN where none is known.
    after: windows in a row that make an alarm.
    by_score: whether a threshold on the score decides; else the p-value does,
      and the score where p-values are equal.

  Returns:
    Its number.
  """
  by_p = np.zeros(len(score))
  if not by_score and not np.isnan(p_value).any():
    by_p = -np.asarray(p_value)
  # The least suspicious window has rank 0, and no two have one rank.
  order = np.lexsort((score, by_p))
  rank = np.empty(len(order), np.int64)
  rank[order] = np.arange(len(order))
  length = min(after, len(rank))
  least = np.lib.stride_tricks.sliding_window_view(rank, length).min(axis=1)
  return int(order[least.max()])


def share(rate: float, after: int) -> float:
  """Alarms a window, or a clip, where decisions are independent.

  A run begins behind a window that is not flagged, and goes on for `after`
  windows at least.

  Args:
    rate: share of normal windows that are flagged.
    after: windows in a row that make an alarm.

  Returns:
    Expected number.
  """
  return (1.0 - rate) * rate**after


def by_chance(rate: float, after: int, hop_seconds: float) -> float:
  """Alarms an hour of a normal recording whose windows are independent.

  Args:
    rate: share of normal windows that are flagged.
    after: windows in a row that make an alarm.
    hop_seconds: from the start of one window to that of the next.

  Returns:
    Expected number an hour. Neighbouring windows of a machine are alike, so
    that there may be more; windows that overlap are never independent.
  """
  return share(rate, after) * _HOUR / hop_seconds
