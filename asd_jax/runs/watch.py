"""Scores the wave files of a folder as they arrive, and notes drift."""

import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from asd_jax import errors
from asd_jax.data import audio, clips, score_table
from asd_jax.runs import score
from asd_jax.scores import drift

# Scans during which an unreadable file may stay as it is before it is given up.
PATIENCE = 5


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


def scan(folder: str) -> list[str] | None:
  """Lists the wave files below a folder; hidden ones are left out.

  Args:
    folder: where to look.

  Returns:
    Paths; None if a folder below went away meanwhile.

  Raises:
    InputError: if the folder itself is not there or cannot be read.
  """
  try:
    # Folders below may go away while they are read; the watched one must stay.
    found = score.inside(folder)
  except errors.InputError:
    _check_folder(folder)
    return None
  _check_folder(folder)
  return found


def _check_folder(folder: str) -> None:
  try:
    os.scandir(folder).close()
  except OSError as e:
    raise errors.InputError(
      f"{folder}: found no readable folder ({e.strerror}), expected the one to"
      " watch."
    ) from None


class _Waiting(NamedTuple):
  """A file that is not dealt with: how many looks found it as it is."""

  stamp: Stamp
  num_same: int


class Arrivals:
  """Keeps track of files: which are complete, which were dealt with.

  A folder may hold months of clips, and a stat may go over a network: of
  scored files only the names are looked at while they stay.
  """

  def __init__(self) -> None:
    self._waiting: dict[str, _Waiting] = {}
    self._skipped: dict[str, Stamp] = {}
    self._scored: dict[str, Stamp] = {}
    self._away: set[str] = set()

  def update(
    self,
    found: Sequence[str],
    stamp_of: Callable[[str], Stamp | None] = stamp,
  ) -> list[str]:
    """Takes a scan.

    A file changed after it was scored is not scored again. One that was gone
    for a scan and is back is a new file, unless it is as it was when it was
    scored. A skipped file that changes gets another chance.

    Args:
      found: what `scan` returns.
      stamp_of: stamp of a file, None where it has gone.

    Returns:
      Waiting files that are gone.
    """
    here = set(found)
    back = self._away & here
    changing = here - (self._scored.keys() - back)
    stamps = {path: stamp_of(path) for path in changing}
    # Listed a moment ago and gone since.
    here -= {path for path, now in stamps.items() if now is None}
    gone = [path for path in self._waiting if path not in here]
    for path in gone:
      del self._waiting[path]
    self._skipped = {p: s for p, s in self._skipped.items() if p in here}
    self._away = self._scored.keys() - here
    for path, now in stamps.items():
      if now is not None and now not in (
        self._skipped.get(path),
        self._scored.get(path),
      ):
        self._wait(path, now)
    return gone

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

  def done(self, path: str, state: str) -> None:
    """Records that a waiting file was "scored" or "skipped"."""
    into = self._scored if state == "scored" else self._skipped
    into[path] = self._waiting.pop(path).stamp

  @property
  def num_waiting(self) -> int:
    """Files that are neither scored nor skipped."""
    return len(self._waiting)


class Event(NamedTuple):
  """What happened: a scored file or something to tell.

  Attributes:
    row: csv line, or None.
    note: sentence for people, or "".
  """

  row: score_table.Row | None
  note: str


class Watch:
  """Scores the files of one folder, each once.

  Args:
    scorer: the detector.
    folder: folder to watch, with all below.
  """

  def __init__(self, scorer: score.Scorer, folder: str) -> None:
    _check_folder(folder)
    self._scorer = scorer
    self._folder = folder
    self._arrivals = Arrivals()
    self._sections: list[str] = []
    self._num_suspicious = 0
    # Scores of clips that the detector has seen are lower than those of new
    # ones: no yardstick.
    sections = scorer.detector.sections
    self._own_past = any(s.sees_own_clips() for s in sections.values())
    self._drift = {
      name: drift.Drift([] if self._own_past else list(s.train_scores()))
      for name, s in sections.items()
    }

  @property
  def num_waiting(self) -> int:
    """Files that may still be scored."""
    return self._arrivals.num_waiting

  def summary(self) -> str:
    """One line for people on all files so far."""
    return self._scorer.summary(self._sections, self._num_suspicious)

  def poll(self) -> Iterator[Event]:
    """Looks once, and scores what is complete.

    Yields:
      Events, file by file.

    Raises:
      InputError: if the folder is gone.
    """
    found = scan(self._folder)
    if found is None:
      return
    for path in self._arrivals.update(found):
      yield Event(None, f"{path}: was removed before it could be read")
    ready: list[tuple[str, clips.Clip]] = []
    for path in self._arrivals.still():
      try:
        header = audio.read_header(path)
      except errors.InputError as e:
        # A file that is half written reads like a damaged one, so it gets more
        # looks.
        if self._arrivals.patience(path) >= PATIENCE:
          yield from self._skip(path, e)
        continue
      try:
        ready += [(path, clip) for clip in self._scorer.check([path], [header])]
      except errors.InputError as e:
        yield from self._skip(path, e)
    size = self._scorer.batch_size
    for i in range(0, len(ready), size):
      yield from self._score(ready[i : i + size])

  def _score(self, ready: Sequence[tuple[str, clips.Clip]]) -> Iterator[Event]:
    """Scores files; where one is bad, each alone."""
    try:
      rows, notes = self._scorer.score(
        [clip for _, clip in ready], advance=lambda num: None
      )
    except errors.InputError as e:
      if len(ready) == 1:
        yield from self._skip(ready[0][0], e)
        return
      for one in ready:
        yield from self._score([one])
      return
    for note in notes:
      yield Event(None, note)
    for (path, clip), row in zip(ready, rows, strict=True):
      if os.path.exists(path) and not self._arrivals.unchanged(path):
        continue  # Written to while it was read: another scan.
      self._arrivals.done(path, "scored")
      row = row._replace(file=path)
      self._sections.append(clip.section)
      self._num_suspicious += row.decision == 1
      yield Event(row, self._drift_note(clip.section, row.score))

  def _skip(self, path: str, error: errors.InputError) -> Iterator[Event]:
    """Gives a file up, unless it changed since the scan."""
    if self._arrivals.unchanged(path):
      self._arrivals.done(path, "skipped")
      yield Event(None, f"{error} (skipped)")

  def _drift_note(self, section: str, value: float) -> str:
    side = self._drift[section].add(value)
    if side is None:
      return ""
    which = f" of section {section}" if len(self._drift) > 1 else ""
    past = (
      "the earlier clips of this watch (training scores are in-sample, too low"
      " to compare with)"
      if self._own_past
      else "the training clips"
    )
    return (
      f"{self._folder}: drift: recent scores{which} lie {side} those of {past};"
      " by chance, at most one such note in"
      f" {drift.CLIPS_PER_FALSE_NOTE} clips; scores and decisions stay as they"
      " are"
    )


def run(
  watch: Watch,
  *,
  interval_seconds: float,
  max_seconds: float = math.inf,
  once: bool = False,
  sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Event]:
  """Watches a folder.

  Args:
    watch: the folder and the detector.
    interval_seconds: time between two looks.
    max_seconds: ends at the first look after this time.
    once: ends when no file is waiting.
    sleep: waits.

  Yields:
    Events as they happen.

  Raises:
    InputError: for bad settings, and if the folder goes away.
  """
  for name, value in dict(
    interval_seconds=interval_seconds, max_seconds=max_seconds
  ).items():
    if not value > 0.0:
      raise errors.InputError(
        f"flags: --{name}: found {value}, expected above 0."
      )
  # The clock on the wall may be set back.
  end = time.monotonic() + max_seconds
  while True:
    yield from watch.poll()
    if time.monotonic() >= end or (once and not watch.num_waiting):
      return
    sleep(interval_seconds)
