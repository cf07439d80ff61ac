"""ROC curves and the area under them, in float64 on the host.

As scikit-learn has them, to the last bit; importing that takes longer than a
small run.
"""

import numpy as np


def curve(
  score: np.ndarray, is_positive: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """False- and true-positive rates from the strictest threshold to the laxest.

  Args:
    score: `[N]`, higher is more positive.
    is_positive: `[N]` bool, of both kinds.

  Returns:
    `[P]` rates of false positives and `[P]` of true ones, (0, 0) first; points
    within a straight piece are left out.
  """
  order = np.argsort(score, kind="stable")[::-1]
  # A threshold lies behind each run of equal scores.
  last = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)
  hits = np.cumsum(is_positive[order], dtype=np.float64)[last]
  false = 1.0 + last - hits
  corner = (np.diff(false, 2) != 0) | (np.diff(hits, 2) != 0)
  kept = np.concatenate([[True], corner, [True]])[: len(last)]
  rate = lambda count: np.append(0.0, count[kept]) / count[-1]
  return rate(false), rate(hits)


def area(
  score: np.ndarray, is_positive: np.ndarray, *, max_fpr: float | None = None
) -> float:
  """Area under the ROC curve, all of it or its first part.

  Args:
    score: `[N]`, higher is more positive.
    is_positive: `[N]` bool, of both kinds.
    max_fpr: largest rate of false positives that counts, below 1.

  Returns:
    A fraction. Of a part it is so scaled that chance has 0.5.

  Source: [McClish89] for a part of the curve.
  """
  false, true = curve(score, is_positive)
  if max_fpr is None:
    return float(np.trapezoid(true, false))
  stop = np.searchsorted(false, max_fpr, side="right")
  ends = slice(stop - 1, stop + 1)
  there = np.interp(max_fpr, false[ends], true[ends])
  part = np.trapezoid(
    np.append(true[:stop], there), np.append(false[:stop], max_fpr)
  )
  chance = 0.5 * max_fpr**2
  return float(0.5 * (1.0 + (part - chance) / (max_fpr - chance)))
