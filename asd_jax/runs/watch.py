"""Scores the wave files of a folder as they arrive."""

import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from asd_jax import errors, store
from asd_jax.data import audio, clips, folders, score_table
from asd_jax.runs import arrivals, follow, score, watched
from asd_jax.runs.follow import Event

# Scans during which a file may stay as it is before it is given up, if it is
# unreadable, or taken as it is, if its header was never finished.
PATIENCE = 5


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
    found = folders.paths_below(folder)
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


class Watch:
  """Scores the files of one folder, each once.

  Args:
    scorer: the detector.
    folder: folder to watch, with all below.
    settings: what is to be done besides scoring.
    memory: of files that were scored before; none are if None.
  """

  header = score_table.HEADER

  def __init__(
    self,
    scorer: score.Scorer,
    folder: str,
    settings: follow.Settings = follow.PLAIN,
    memory: watched.Memory | None = None,
  ) -> None:
    folder = folders.as_given(folder)
    _check_folder(folder)
    self._scorer = scorer
    self._folder = folder
    self._arrivals = arrivals.Arrivals()
    self._follow = follow.Follow(scorer, folder, settings)
    self._memory = memory
    for old in memory.entries() if memory else ():
      self._recall(old)

  def _recall(self, old: watched.Entry) -> None:
    """Takes a file that an earlier watch has dealt with."""
    stamp = arrivals.Stamp(old.size, old.changed)
    state = "skipped" if old.score is None else "scored"
    path = os.path.join(self._folder, folders.name_of(old.file))
    self._arrivals.known(path, stamp, state)
    if old.score is not None:
      row = score_table.Row(old.file, old.score, old.decision, old.p_value)
      self._follow.replay(old.section, row, old.is_long)

  @property
  def num_waiting(self) -> int:
    """Files that may still be scored."""
    return self._arrivals.num_waiting

  def promise(self) -> list[str]:
    """Sentences on what goes on from an earlier watch, and on alarms."""
    notes = self._follow.promise()
    if self._memory is not None and (num := self._arrivals.num_done):
      notes.append(f"{self._memory.path}: {num:,} files were dealt with before")
    return notes

  def poll(self) -> Iterator[Event]:
    """Looks once, and scores what is complete.

    Yields:
      Events, file by file.

    Raises:
      InputError: if the folder is gone.
    """
    yield from self._follow.look()
    found = scan(self._folder)
    if found is None:
      return
    for path in self._arrivals.update(found):
      yield Event(None, f"{path}: was removed before it could be read")
    ready: list[tuple[str, clips.Clip]] = []
    for path in self._arrivals.still():
      is_patient = self._arrivals.patience(path) < PATIENCE
      try:
        header = audio.read_header(path)
        if is_patient and not audio.is_finished(path):
          continue
      except errors.InputError as e:
        # A file that is half written reads like a damaged one, so it gets more
        # looks.
        if not is_patient:
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
      again = self._arrivals.was_scored(path)
      stamp = self._arrivals.done(path, "scored")
      if again:
        yield Event(None, f"{path}: has changed since it was scored: once more")
      row = row._replace(file=path)
      section = self._scorer.detector.sections[clip.section]
      is_long = section.plan([clip]).clips[0].recording is not None
      yield from self._follow.add(clip.section, row, is_long=is_long)
      # Last, so that what a kill leaves untold is scored again.
      name = self._name(path)
      new = watched.entry(name, stamp, clip.section, row, is_long)
      yield from self._keep(new)

  def _skip(self, path: str, error: errors.InputError) -> Iterator[Event]:
    """Gives a file up, unless it changed since the scan."""
    if self._arrivals.unchanged(path):
      stamp = self._arrivals.done(path, "skipped")
      yield Event(None, f"{error} (skipped)")
      yield from self._keep(watched.Entry(self._name(path), *stamp))

  def _name(self, path: str) -> str:
    """What the memory calls a file, whatever the locale."""
    return folders.text_of(os.path.relpath(path, self._folder))

  def _keep(self, new: watched.Entry) -> Iterator[Event]:
    """Remembers a file; a full disk is no reason to stop."""
    if self._memory is None:
      return
    try:
      self._memory.add(new)
    except errors.InputError as e:
      self.close()
      yield Event(None, f"{e}; files from here on are scored again next time")

  def finish(self) -> Iterator[Event]:
    """Waits for commands, and sums up.

    Yields:
      What there is still to tell.
    """
    yield from self._follow.finish()

  def close(self) -> None:
    """Lets another watch have the memory."""
    if self._memory is not None:
      self._memory.close()
      self._memory = None

  def cells(self, event: Event) -> Sequence[object]:
    """Cells of `header` of a scored file."""
    return event.row or ()


def start(
  detector: str,
  folder: str,
  *,
  section: str | None = None,
  settings: follow.Settings = follow.PLAIN,
  state: str | None = None,
) -> tuple[Watch, list[str]]:
  """Opens a detector and what an earlier watch has left.

  Args:
    detector: `OUT/detectors/<machine>`, or a file of `asd_jax export`.
    folder: folder to watch.
    section: section of all files; from their names if None.
    settings: what is to be done besides scoring.
    state: file that remembers what was scored; one in the detector's folder,
      or beside its file, if None, none if empty.

  Returns:
    The watch, and what is to be told first.

  Raises:
    InputError: for a bad detector, folder or memory.
  """
  _check_folder(folder)
  scorer = score.Scorer(detector, section=section)
  place = Path(detector)
  index = place if place.is_file() else place / "detector.json"
  about = {
    "detector": store.file_digest(index),
    "folder": folders.text_of(os.path.realpath(folder)),
    "section": section or "",
  }
  memory, notes = None, []
  if state:
    memory = watched.Memory(Path(state), about)
  elif state is None:
    try:
      memory = watched.Memory(watched.default_path(place, about), about)
    except watched.ReadOnly as e:
      notes.append(f"{e}; what is scored is not remembered (--state=FILE)")
  found = Watch(scorer, folder, settings, memory)
  return found, [*notes, *found.promise()]


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
    InputError: if the folder goes away.
  """
  # The clock on the wall may be set back.
  end = time.monotonic() + max_seconds
  while True:
    yield from watch.poll()
    if time.monotonic() >= end or (once and not watch.num_waiting):
      return
    sleep(interval_seconds)
