"""Which files of a watched folder are complete, and which were dealt with."""

import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

# Files dealt with that are looked at again: the last ones at every look, of the
# others so many, in turn. A stat may go over a network.
LATEST = 100
IN_TURN = 200


class Stamp(NamedTuple):
  """Size in bytes and time of change in ns of a file."""

  size: int
  changed: int


def stamp(path: str) -> Stamp | None:
  """Returns the stamp of a file, None where it cannot be had."""
  try:
    found = os.stat(path)
  except OSError:
    return None
  return Stamp(found.st_size, found.st_mtime_ns)


class _Waiting(NamedTuple):
  """A file that is not dealt with: how many looks found it as it is."""

  stamp: Stamp
  num_same: int


class Arrivals:
  """Keeps track of files.

  A folder may hold months of clips: a look lists their names, and asks the
  file system about no more than those that wait, `LATEST` and `IN_TURN`.
  """

  def __init__(self) -> None:
    self._waiting: dict[str, _Waiting] = {}
    self._skipped: dict[str, Stamp] = {}
    # In the order in which they were scored.
    self._scored: dict[str, Stamp] = {}
    self._grown: set[str] = set()
    self._away: set[str] = set()
    self._turn: Iterator[str] = iter(())

  def update(
    self,
    found: Sequence[str],
    stamp_of: Callable[[str], Stamp | None] = stamp,
  ) -> list[str]:
    """Takes a scan.

    A scored file is scored again when its size is another one: it was written
    to. One that was gone for a scan and is back is a new file, unless it is as
    it was when it was scored. A skipped file that changes gets another chance.

    Args:
      found: paths of all files.
      stamp_of: stamp of a file, None where it has gone.

    Returns:
      Waiting files that are gone.
    """
    here = set(found)
    back = self._away & here
    new = {p for p in here if p not in self._scored and p not in self._skipped}
    again = {p for p in self._again() if p in here} | back
    stamps = {path: stamp_of(path) for path in new | again}
    # Listed a moment ago and gone since.
    here -= {path for path, now in stamps.items() if now is None}
    gone = [path for path in self._waiting if path not in here]
    for path in gone:
      del self._waiting[path]
    self._away = (self._scored.keys() | self._skipped.keys()) - here
    for path, now in stamps.items():
      if now is not None and self._is_due(path, now, path in back):
        self._wait(path, now)
    return gone

  def _again(self) -> Iterator[str]:
    """Files dealt with that are to be looked at."""
    for done in (self._scored, self._skipped):
      yield from itertools.islice(reversed(done), LATEST)
    turn = list(itertools.islice(self._turn, IN_TURN))
    if not turn:
      self._turn = iter([*self._scored, *self._skipped])
    yield from turn

  def _is_due(self, path: str, now: Stamp, is_back: bool) -> bool:
    """Whether a file as it is now is to be scored."""
    if (scored := self._scored.get(path)) is None:
      return now != self._skipped.get(path)
    if is_back:
      return now != scored
    # Who touches a file, as a copy of it does, changes its time alone.
    if now.size != scored.size:
      self._grown.add(path)
    return now.size != scored.size

  def _wait(self, path: str, now: Stamp) -> None:
    """Counts a look at a file that is neither scored nor skipped as it is."""
    self._skipped.pop(path, None)
    self._scored.pop(path, None)
    old = self._waiting.get(path)
    # A file that grows is still being written: each change starts the count
    # again.
    same = old.num_same + 1 if old is not None and old.stamp == now else 0
    self._waiting[path] = _Waiting(now, same)

  def still(self) -> list[str]:
    """Waiting files that did not change between two scans, oldest first."""
    some = [p for p, f in self._waiting.items() if f.num_same]
    return sorted(some, key=lambda p: (self._waiting[p].stamp.changed, p))

  def patience(self, path: str) -> int:
    """Number of scans in a row that left a waiting file as it was."""
    return self._waiting[path].num_same

  def unchanged(self, path: str) -> bool:
    """Whether a waiting file is as in the last scan."""
    return stamp(path) == self._waiting[path].stamp

  def was_scored(self, path: str) -> bool:
    """Whether a waiting file was scored before it was written to again."""
    return path in self._grown

  def done(self, path: str, state: str) -> Stamp:
    """Records that a waiting file was "scored" or "skipped"; its stamp."""
    found = self._waiting.pop(path).stamp
    self.known(path, found, state)
    return found

  def known(self, path: str, found: Stamp, state: str) -> None:
    """Records that a file was dealt with as it was, in this or another watch.

    Args:
      path: the file.
      found: its stamp then.
      state: "scored" or "skipped".
    """
    self._grown.discard(path)
    for done in (self._scored, self._skipped):
      done.pop(path, None)
    into = self._scored if state == "scored" else self._skipped
    into[path] = found

  @property
  def num_waiting(self) -> int:
    """Files that are neither scored nor skipped."""
    return len(self._waiting)

  @property
  def num_done(self) -> int:
    """Files that were scored or skipped."""
    return len(self._scored) + len(self._skipped)
