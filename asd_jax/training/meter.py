"""How fast a training goes, and how long it will take."""

import math
import time
from collections.abc import Callable
from typing import NamedTuple


class Seen(NamedTuple):
  """What there is to be told of a step.

  Attributes:
    step: steps done.
    num_steps: steps at which this call ends.
    metrics: of the step, as the job tells them, means over stacked seeds; and
      `criterion` where a validation followed.
    clips_per_second: rows of batches; of this call without its first step,
      which is compiled meanwhile. NaN until there is a second.
    waiting: share of that time in which the devices waited for data.
    seconds_left: at that rate.
  """

  step: int
  num_steps: int
  metrics: dict[str, float]
  clips_per_second: float
  waiting: float
  seconds_left: float

  def speed(self) -> dict[str, float]:
    """Rate and share of waiting by name, empty until they are known."""
    if math.isnan(self.clips_per_second):
      return {}
    return {"clips_per_second": self.clips_per_second, "waiting": self.waiting}


class Meter:
  """Measures the steps of one call.

  Args:
    batch_size: rows of a batch.
    num_steps: steps at which the call ends.
    done: steps that were done before it.
    waited: tells the seconds of waiting so far.
  """

  def __init__(
    self,
    batch_size: int,
    num_steps: int,
    done: int,
    waited: Callable[[], float],
  ) -> None:
    self._batch_size, self._num_steps = batch_size, num_steps
    self._first, self._waited = done + 1, waited
    self._start, self._before = 0.0, 0.0

  def seen(self, step: int, metrics: dict[str, float]) -> Seen:
    """Takes the time of a step.

    Args:
      step: steps done.
      metrics: of the step.

    Returns:
      What there is to be told of it.
    """
    now, waited = time.perf_counter(), self._waited()
    if step <= self._first:
      self._start, self._before = now, waited
      rate = waiting = left = math.nan
    else:
      seconds = now - self._start
      each = seconds / (step - self._first)
      rate = self._batch_size / each
      waiting = (waited - self._before) / seconds
      left = each * (self._num_steps - step)
    return Seen(step, self._num_steps, metrics, rate, waiting, left)
