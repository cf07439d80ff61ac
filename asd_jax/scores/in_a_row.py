"""Alarms of decisions that come one after another, as a watch makes them."""

from asd_jax.scores import alarm


def clips_between(rate: float, after: int) -> float:
  """Mean number of normal clips from one false alarm to the next.

  Where each flagged clip is an alarm, they are the rate, not `alarm.share`: a
  watch tells of every one.

  Args:
    rate: share of normal clips that are flagged, in (0, 1).
    after: flagged clips in a row that make an alarm.

  Returns:
    Clips, if decisions are independent: those of neighbours are alike, so that
    false alarms come more often.
  """
  return 1.0 / (rate if after == 1 else alarm.share(rate, after))


class InARow:
  """Tells at which clip an alarm begins.

  Args:
    after: flagged clips in a row that make an alarm: it begins at the last of
      them, and is over at the next clip that is not flagged. With 1 each
      flagged clip is an alarm.
  """

  def __init__(self, after: int) -> None:
    self._after = after
    self._length = 0

  def add(self, flagged: bool) -> bool:
    """Takes one decision.

    Args:
      flagged: whether the next clip is called anomalous.

    Returns:
      Whether an alarm begins with it.
    """
    self._length = self._length + 1 if flagged else 0
    return flagged and (self._after == 1 or self._length == self._after)
