"""What a training tells on disk: JSON lines and TensorBoard events."""

import json
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from asd_jax import errors, files
from asd_jax.training import events

_LINES = "metrics.jsonl"


def _step_of(line: str) -> float:
  """The step of a line, infinite for one that was torn."""
  try:
    return json.loads(line)["step"]
  except (ValueError, TypeError, KeyError):
    return float("inf")


class Journal:
  """Writes `metrics.jsonl` and an event file, a line and a record a step.

  Args:
    folder: made if missing; TensorBoard's `--logdir`.
    done: steps that the run goes on from: what older calls wrote of later ones
      is taken back.

  Raises:
    InputError: here and below, if something cannot be written.
  """

  def __init__(self, folder: Path, done: int) -> None:
    self._folder = Path(folder)
    path = self._folder / _LINES
    old = path.read_text().splitlines() if path.exists() else []
    kept = [f"{line}\n" for line in old if _step_of(line) <= done]
    files.atomic_write_text(path, "".join(kept))
    now = time.time()
    name = f"events.out.tfevents.{now:.6f}.{socket.gethostname()}.{os.getpid()}"
    self._lines = self._open(path)
    self._events = self._open(self._folder / name)
    self._put(self._events, events.header(now, done + 1))

  def _open(self, path: Path) -> BinaryIO:
    try:
      return open(path, "ab", buffering=0)
    except OSError as e:
      raise self._refused(e) from e

  def _refused(self, error: OSError) -> errors.InputError:
    return errors.InputError(
      f"{self._folder}: cannot be written: {error.strerror}"
    )

  def _put(self, file: BinaryIO, data: bytes) -> None:
    try:
      file.write(data)
    except OSError as e:
      raise self._refused(e) from e

  def tell(self, step: int, scalars: Mapping[str, float], **more: Any) -> None:
    """Writes what is known of a step.

    Args:
      step: steps done.
      scalars: finite numbers, by name.
      more: further plain data, for the JSON line alone.
    """
    line = json.dumps({"step": step, **scalars, **more})
    self._put(self._lines, f"{line}\n".encode())
    if scalars:
      self._put(self._events, events.scalars(time.time(), step, scalars))

  def close(self) -> None:
    """Closes the files."""
    self._lines.close()
    self._events.close()
