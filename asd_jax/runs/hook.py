"""A command of the user's that alarms call."""

import re
import shlex
import subprocess
import time
from typing import NamedTuple

from asd_jax import errors

# Commands at once, and how long one may take.
MOST = 8
SECONDS = 60.0
_NAMES = ("file", "score", "p", "seconds")
_STANDARD_ERROR = 2


class _Running(NamedTuple):
  """A command that was started, what for, and when it has to have ended."""

  process: subprocess.Popen
  file: str
  end: float


class Hook:
  """Calls a command without a shell, and never waits for one.

  Args:
    command: words as a shell would split them; `{file}`, `{score}`, `{p}` and
      `{seconds}` in them are filled in afterwards, so that no name of a file
      can be more than a part of a word.

  Raises:
    InputError: if it cannot be split, is empty or names something else.
  """

  def __init__(self, command: str) -> None:
    try:
      self._words = shlex.split(command)
    except ValueError as e:
      raise errors.InputError(
        f"flags: --on_alarm: found {command!r} ({e}), expected a command."
      ) from None
    if not self._words:
      raise errors.InputError("flags: --on_alarm: found no command.")
    for name in re.findall(r"\{(\w+)\}", " ".join(self._words)):
      if name not in _NAMES:
        known = ", ".join(f"{{{n}}}" for n in _NAMES)
        raise errors.InputError(
          f"flags: --on_alarm: found {{{name}}}, expected one of {known}."
        )
    self._running: list[_Running] = []

  def call(
    self, file: str, score: float, p: float | str, seconds: float | None
  ) -> str:
    """Starts the command.

    Args:
      file: the clip.
      score: its score.
      p: its p-value, "" where none is known.
      seconds: where it begins in a stream; None of a file, which is "".

    Returns:
      Why it was not started; "" if it was.
    """
    at = "" if seconds is None else f"{seconds:.15g}"
    values = (file, repr(float(score)), str(p), at)
    told = dict(zip(_NAMES, values, strict=True))
    # In one pass: a file may be called "{score}".
    fill = lambda word: re.sub(r"\{(\w+)\}", lambda m: told[m[1]], word)
    if len(self._running) >= MOST:
      return self._say(file, f"was not called: {MOST} are still running")
    try:
      # Standard output is for scores. Ctrl-c is for the watch: the command
      # ends by itself.
      process = subprocess.Popen(
        [fill(word) for word in self._words],
        stdin=subprocess.DEVNULL,
        stdout=_STANDARD_ERROR,
        start_new_session=True,
      )
    except (OSError, ValueError) as e:
      return self._say(file, f"cannot be started: {e}")
    self._running.append(_Running(process, file, time.monotonic() + SECONDS))
    return ""

  def ended(self) -> list[str]:
    """Sentences on commands that failed, or took too long, since the last."""
    notes = []
    for one in [*self._running]:
      status = one.process.poll()
      if status is None and time.monotonic() < one.end:
        continue
      self._running.remove(one)
      if status is None:
        one.process.kill()
        one.process.wait()
        notes.append(self._say(one.file, f"took over {SECONDS:g} s: ended"))
      elif status:
        notes.append(self._say(one.file, f"failed with status {status}"))
    return notes

  def wait(self) -> list[str]:
    """Waits until all have ended; sentences as of `ended`."""
    notes = []
    while self._running:
      notes += self.ended()
      time.sleep(0.02)
    return notes

  def _say(self, file: str, what: str) -> str:
    return f"--on_alarm: {self._words[0]} for {file} {what}"
