"""Signals that ask a training to end: noted, and obeyed after a step."""

import signal
import threading
from types import FrameType, TracebackType

from asd_jax import errors

_ASKED = (signal.SIGTERM, signal.SIGINT)


class Interrupt:
  """Notes SIGTERM and SIGINT inside a `with`, instead of dying of them.

  A second signal has its usual effect: it ends the process at once. In another
  thread than the main one nothing is noted, as Python hears no signals there.

  Attributes:
    number: of the signal that came, or 0.
  """

  def __init__(self) -> None:
    self.number = 0
    self._before: dict[int, object] = {}

  def __enter__(self) -> "Interrupt":
    if threading.current_thread() is threading.main_thread():
      for asked in _ASKED:
        self._before[asked] = signal.signal(asked, self._note)
    return self

  def __exit__(
    self,
    kind: type[BaseException] | None,
    error: BaseException | None,
    trace: TracebackType | None,
  ) -> None:
    self._restore()

  def _note(self, number: int, frame: FrameType | None) -> None:
    del frame
    self.number = number
    self._restore()

  def _restore(self) -> None:
    for asked, handler in self._before.items():
      signal.signal(asked, handler)  # pyrefly: ignore
    self._before.clear()

  def stopped(self, what: str) -> errors.Stopped:
    """The exception that ends the command.

    Args:
      what: what was reached, one line.

    Returns:
      It, with the exit status that shells expect of the signal.
    """
    number = self.number or signal.SIGTERM
    name = signal.Signals(number).name
    return errors.Stopped(f"stopped by {name}: {what}", 128 + number)
