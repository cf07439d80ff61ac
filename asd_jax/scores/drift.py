"""Tells when scores stop looking like the earlier ones."""

import bisect
import collections
import math
import random
from collections.abc import Sequence

# Bets on the rank of a score; positive ones on high scores.
BETS = (-2.0, -1.0, 1.0, 2.0)
CLIPS_PER_FALSE_NOTE = 100_000
# Clips that must look normal before an episode of drift is over.
QUIET = 50
# A score, or what orders clips first and a score where that is equal.
Value = float | tuple[float, float]
# Scores that new ones are compared with; of so many, one more says nothing new,
# and a stream has no end.
MOST_PAST = 100_000


def p_value(past: Sequence[Value], new: Value, tie: float) -> float:
  """Rank of a score among earlier ones, from the top, in (0, 1).

  Args:
    past: `[N]` earlier scores, sorted.
    new: the score.
    tie: uniform in (0, 1); its place among equal scores, itself included.

  Returns:
    (number above + tie * number equal) / (N + 1). Successive p-values, each
    score joining `past`, are independent and uniform for exchangeable scores.

  Source: [Vovk05], smoothed conformal p-values.
  """
  above = len(past) - bisect.bisect_right(past, new)
  equal = len(past) - above - bisect.bisect_left(past, new) + 1
  return (above + tie * equal) / (len(past) + 1)


def bet(evidence: Sequence[float], p: float) -> tuple[float, ...]:
  """Shiryaev-Roberts statistic of each bet after one more clip.

  R <- (R + 1)(1 + e(1/2 - p)) for each bet e: the gains, summed over all clips
  at which drift may have begun. For uniform p each R minus the number of
  clips is a martingale, so a first crossing of c by their mean takes at least
  c clips in the mean, and happens within n clips with probability at most n/c.

  Args:
    evidence: R of each of `BETS`.
    p: p-value of the clip.

  Returns:
    The new R.

  Source: [Vovk21], conformal Shiryaev-Roberts procedure.
  """
  return tuple(
    (r + 1.0) * (1.0 + e * (0.5 - p))
    for r, e in zip(evidence, BETS, strict=True)
  )


class Drift:
  """Tells when scores stop looking like the earlier ones.

  While scores look alike, each joins those that the next is compared with, of
  which there are at most `MOST_PAST`. A note opens an episode, in which nothing
  joins. It is over when the mean p-value of the last `QUIET` clips, all after
  the note, is within two standard errors of one half; the evidence then starts
  at nothing.

  Args:
    past: `[N]` scores to compare with; empty (or few, below about 50)
      compares the stream mostly with itself.
    clips_per_false_note: c of `bet`.
  """

  def __init__(
    self,
    past: Sequence[Value],
    *,
    clips_per_false_note: float = CLIPS_PER_FALSE_NOTE,
  ) -> None:
    self._past = sorted(past)
    self._limit = clips_per_false_note
    self._evidence = (0.0,) * len(BETS)
    self._recent: collections.deque[float] = collections.deque(maxlen=QUIET)
    self._ties = random.Random(0)
    self.in_episode = False

  def add(self, new: Value) -> str | None:
    """Takes one score.

    Args:
      new: the next score of the stream.

    Returns:
      "above" or "below" where an episode begins, else None.
    """
    p = p_value(self._past, new, self._ties.random())
    self._recent.append(p)
    if self.in_episode:
      off = abs(sum(self._recent) / len(self._recent) - 0.5)
      if len(self._recent) == QUIET and off <= 2.0 / math.sqrt(12 * QUIET):
        self.in_episode = False
        self._evidence = (0.0,) * len(BETS)
      return None
    if len(self._past) < MOST_PAST:
      bisect.insort(self._past, new)
    self._evidence = bet(self._evidence, p)
    if sum(self._evidence) < self._limit * len(BETS):
      return None
    self.in_episode = True
    self._recent.clear()
    best = max(range(len(BETS)), key=self._evidence.__getitem__)
    return "above" if BETS[best] > 0 else "below"
