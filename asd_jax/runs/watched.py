"""What a watch remembers from one start to the next: a line a file."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from asd_jax import errors, store
from asd_jax.data import score_table
from asd_jax.runs import arrivals

FORMAT = 1


class Entry(NamedTuple):
  """A file that was dealt with.

  Attributes:
    file: its path from the watched folder.
    size: bytes it had then.
    changed: its time of change then, ns.
    section: of its clip; "" of a file that was skipped.
    score: None of a file that was skipped.
    decision: as of `score_table.Row`.
    p_value: as of `score_table.Row`.
    is_long: whether it is a recording that was cut into windows.
  """

  file: str
  size: int
  changed: int
  section: str = ""
  score: float | None = None
  decision: int | str = ""
  p_value: float | str = ""
  is_long: bool = False


def entry(
  file: str,
  found: arrivals.Stamp,
  section: str,
  row: score_table.Row,
  is_long: bool,
) -> Entry:
  """The entry of a file that was scored.

  Args:
    file: its path from the watched folder.
    found: its stamp.
    section: of its clip.
    row: its scores.
    is_long: whether it was cut into windows.

  Returns:
    The entry.
  """
  said = row.score, row.decision, row.p_value
  return Entry(file, *found, section, *said, is_long)


class ReadOnly(errors.InputError):
  """There is no place to write to."""


def default_path(detector: Path, about: dict[str, str]) -> Path:
  """Where the memory of a watch lies, if it is not told.

  Args:
    detector: folder or file of the detector.
    about: what is the same when a watch goes on.

  Returns:
    A file in the detector's folder, or in one beside its file, one for each
    that is to be so.
  """
  folder = detector / "watched"
  if detector.is_file():
    folder = detector.with_name(f"{detector.name}.watched")
  return folder / f"{store.digest(about)[:16]}.jsonl"


class Memory:
  """Files that were dealt with, on disk; a line is added for each.

  A line is written at once and whole, so that a watch may be killed at any
  time. Nothing is ever written again: what a look costs depends on the new
  files alone.

  Args:
    path: the file; made if it is missing.
    about: what must be the same when a watch goes on, such as the detector.

  Raises:
    InputError: it cannot be written, another watch has it, or it is not of
      this watch.
  """

  def __init__(self, path: Path, about: dict[str, str]) -> None:
    self.path = Path(path)
    self._about = {"asd_jax_watch": FORMAT, **about}
    try:
      self.path.parent.mkdir(parents=True, exist_ok=True)
      self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
    except OSError as e:
      raise ReadOnly(self._error(e)) from e
    try:
      _lock(self._file, self.path)
      self._begin()
    except OSError as e:
      self.close()
      raise self._error(e) from e
    except errors.InputError:
      self.close()
      raise

  def _error(self, error: OSError) -> errors.InputError:
    reason = error.strerror or str(error)
    return errors.InputError(f"{self.path}: cannot be written: {reason}")

  def _begin(self) -> None:
    """Writes the first line, or checks that it is that of this watch."""
    with open(self.path, "rb") as file:
      first = file.readline()
    if not first.endswith(b"\n"):  # new, or killed before a line was whole
      if first and not first.startswith(b'{"asd_jax_watch"'[: len(first)]):
        raise self._other(first)
      os.ftruncate(self._file, 0)
      self._write(self._about)
    elif (found := _parsed(first)) != self._about:
      known = isinstance(found, dict) and "asd_jax_watch" in found
      raise self._other(found if known else first)

  def _other(self, found: Any) -> errors.InputError:
    if isinstance(found, dict):
      told = [k for k, v in self._about.items() if found.get(k) != v]
      what = f"the memory of a watch with another {' and '.join(told)}"
    else:
      what = f"a file that starts with {found[:12]!r}"
    return errors.InputError(
      f"{self.path}: found {what}, expected that of this watch; name another"
      " --state, or remove it to score every file again."
    )

  def entries(self) -> Iterator[Entry]:
    """What earlier watches wrote; a later entry of a file is the newer one.

    A last line that is not whole is cut off, any other that cannot be read is
    left out: its file will be scored again.
    """
    whole = 0
    with open(self.path, "rb") as file:
      for i, line in enumerate(file):
        if not line.endswith(b"\n"):
          os.ftruncate(self._file, whole)
          return
        whole += len(line)
        if i and (found := _entry_of(_parsed(line))) is not None:
          yield found

  def add(self, new: Entry) -> None:
    """Remembers a file.

    Args:
      new: the file.

    Raises:
      InputError: if it cannot be written; what was written before stays.
    """
    try:
      # Names need not be UTF-8; JSON keeps their bytes as escapes.
      self._write(list(new))
    except OSError as e:
      raise self._error(e) from e

  def _write(self, line: Any) -> None:
    content = json.dumps(line, separators=(",", ":")).encode() + b"\n"
    size = os.fstat(self._file).st_size
    try:
      if os.write(self._file, content) < len(content):
        raise OSError("disk full")
    except BaseException:
      os.ftruncate(self._file, size)
      raise

  def sync(self) -> None:
    """Brings what was written through a loss of power."""
    os.fsync(self._file)

  def close(self) -> None:
    """Lets another watch have it."""
    os.close(self._file)


def _parsed(line: bytes) -> Any:
  """What a line says, None if it is damaged."""
  try:
    return json.loads(line)
  except (ValueError, RecursionError):
    return None


def _entry_of(found: Any) -> Entry | None:
  """The entry of a parsed line, None if it is not one."""
  try:
    new = Entry(*found)
    good = isinstance(new.file, str) and isinstance(new.section, str)
    good = good and all(type(x) is int for x in (new.size, new.changed))
    good = good and (new.score is None or type(new.score) is float)
    good = good and (new.p_value == "" or type(new.p_value) is float)
  except TypeError:
    return None
  return new if good and new.decision in (0, 1, "") else None


def _lock(file: int, path: Path) -> None:
  """Keeps other watches away from a memory for as long as it is open."""
  try:
    import fcntl
  except ImportError:  # of POSIX alone
    return
  try:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError:
    raise errors.InputError(
      f"{path}: found another watch that runs with it; stop that, or name"
      " another --state."
    ) from None
