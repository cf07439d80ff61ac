"""A trace of a few steps of a training, for TensorBoard and Perfetto."""

from pathlib import Path
from typing import Any

import jax

from asd_jax import errors, files

# Counted from the first step of a call, which is slower; a call of fewer steps
# has its last one traced.
_STEPS = (2, 7)


class Profile:
  """A trace of a few whole steps.

  Args:
    folder: where it goes; None takes none.
    start: steps done before this call.
    stop: steps done at its end.

  Attributes:
    notes: which steps it is of, and where it lies.

  Raises:
    InputError: here and below, if it cannot be written.
  """

  def __init__(self, folder: Path | None, start: int, stop: int) -> None:
    self._folder, self._start = folder, start
    first, last = _STEPS
    self._first = max(0, min(first, stop - start - 1))
    self._last = min(last, stop - start)
    self._runs = False
    self.notes: list[str] = []
    if folder:
      own = folder / f".probe_{jax.process_index()}"
      files.atomic_write_text(own, "").unlink()
    if folder and start >= stop:
      self.notes.append(f"{folder}: no profile, as no step was left")

  def before(self, number: int, last: Any) -> None:
    """Starts or ends it where a step is about to start.

    Args:
      number: of the step, from 0 at the start of the call.
      last: what the step before it returned.
    """
    if self._folder and number == self._first:
      jax.block_until_ready(last)
      jax.profiler.start_trace(self._folder)
      self._runs = True
    elif number == self._last:
      self.close(number, last)

  def close(self, number: int, last: Any) -> None:
    """Ends it, if it runs still.

    Args:
      number: of steps done.
      last: what the last of them returned.
    """
    if not self._runs:
      return
    self._runs = False
    jax.block_until_ready(last)
    try:
      jax.profiler.stop_trace()
    except jax.errors.JaxRuntimeError as e:
      reason = " ".join(str(e).split())
      raise errors.InputError(
        f"{self._folder}: profile cannot be written: {reason}"
      ) from e
    steps = f"{self._start + self._first + 1} to {self._start + number}"
    self.notes.append(f"{self._folder}: profile of steps {steps}")
