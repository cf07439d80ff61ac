"""Scores the wave files of a folder as they arrive, and notes drift."""

import bisect
import collections
import math
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from asd_jax import errors
from asd_jax.data import audio, clips
from asd_jax.runs import score

# Drift: bets on the rank of a score; positive ones on high scores.
BETS = (-2.0, -1.0, 1.0, 2.0)
CLIPS_PER_FALSE_NOTE = 100_000
# Clips that must look normal before an episode of drift is over.
QUIET = 50
# Scans during which an unreadable file may stay as it is before it is given up.
PATIENCE = 5


def p_value(past: Sequence[float], new: float, tie: float) -> float:
  """Rank of a score among earlier ones, from the top, in (0, 1).

  Args:
    past: `[N]` earlier scores, sorted.
    new: the score.
    tie: uniform in (0, 1); its place among equal scores, itself included.

  Returns:
    (number above + tie * number equal) / (N + 1). Successive p-values, each
    score joining `past`, are independent and uniform for exchangeable scores.

  Source: [Vovk05], smoothed conformal p-values.
  """
  above = len(past) - bisect.bisect_right(past, new)
  equal = len(past) - above - bisect.bisect_left(past, new) + 1
  return (above + tie * equal) / (len(past) + 1)


def bet(evidence: Sequence[float], p: float) -> tuple[float, ...]:
  """Shiryaev-Roberts statistic of each bet after one more clip.

  R <- (R + 1)(1 + e(1/2 - p)) for each bet e: the gains, summed over all clips
  at which drift may have begun. For uniform p each R minus the number of
  clips is a martingale, so a first crossing of c by their mean takes at least
  c clips in the mean, and happens within n clips with probability at most n/c.

  Args:
    evidence: R of each of `BETS`.
    p: p-value of the clip.

  Returns:
    The new R.

  Source: [Vovk21], conformal Shiryaev-Roberts procedure.
  """
  return tuple(
    (r + 1.0) * (1.0 + e * (0.5 - p))
    for r, e in zip(evidence, BETS, strict=True)
  )


class Drift:
  """Tells when scores stop looking like the earlier ones.

  While scores look alike, each joins those that the next is compared with. A
  note opens an episode, in which nothing joins. It is over when the mean
  p-value of the last `QUIET` clips, all after the note, is within two
  standard errors of one half; the evidence then starts at nothing.

  Args:
    past: `[N]` scores to compare with; empty (or few, below about 50)
      compares the stream mostly with itself.
    clips_per_false_note: c of `bet`.
  """

  def __init__(
    self,
    past: Sequence[float],
    *,
    clips_per_false_note: float = CLIPS_PER_FALSE_NOTE,
  ) -> None:
    self._past = sorted(past)
    self._limit = clips_per_false_note
    self._evidence = (0.0,) * len(BETS)
    self._recent: collections.deque[float] = collections.deque(maxlen=QUIET)
    self._ties = random.Random(0)
    self.in_episode = False

  def add(self, new: float) -> str | None:
    """Takes one score.

    Args:
      new: the next score of the stream.

    Returns:
      "above" or "below" where an episode begins, else None.
    """
    p = p_value(self._past, new, self._ties.random())
    self._recent.append(p)
    if self.in_episode:
      off = abs(sum(self._recent) / len(self._recent) - 0.5)
      if len(self._recent) == QUIET and off <= 2.0 / math.sqrt(12 * QUIET):
        self.in_episode = False
        self._evidence = (0.0,) * len(BETS)
      return None
    bisect.insort(self._past, new)
    self._evidence = bet(self._evidence, p)
    if sum(self._evidence) < self._limit * len(BETS):
      return None
    self.in_episode = True
    self._recent.clear()
    best = max(range(len(BETS)), key=self._evidence.__getitem__)
    return "above" if BETS[best] > 0 else "below"


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


def scan(folder: str) -> dict[str, Stamp] | None:
  """Lists the wave files below a folder; hidden ones are left out.

  Args:
    folder: where to look.

  Returns:
    Path to stamp; None if a folder below went away meanwhile.

  Raises:
    InputError: if the folder itself is not there or cannot be read.
  """
  try:
    found = {path: stamp(path) for path in score.inside(folder)}
  except errors.InputError:
    _check_folder(folder)
    return None
  _check_folder(folder)
  return {path: s for path, s in found.items() if s is not None}


def _check_folder(folder: str) -> None:
  try:
    os.scandir(folder).close()
  except OSError as e:
    raise errors.InputError(
      f"{folder}: found no readable folder ({e.strerror}), expected the one to"
      " watch."
    ) from None


class _File(NamedTuple):
  """What is known of a file: `state` is "waiting", "scored" or "skipped"."""

  stamp: Stamp
  num_same: int
  state: str
  present: bool


class Arrivals:
  """Keeps track of files: which are complete, which were dealt with."""

  def __init__(self) -> None:
    self._files: dict[str, _File] = {}

  def update(self, found: Mapping[str, Stamp]) -> list[str]:
    """Takes a scan.

    A file changed after it was scored is not scored again. One that was gone
    for a scan and is back with another stamp is a new file. A skipped file
    that changes gets another chance.

    Args:
      found: what `scan` returns.

    Returns:
      Waiting files that are gone.
    """
    gone = []
    for path, old in list(self._files.items()):
      if path in found:
        continue
      if old.state == "scored":
        self._files[path] = old._replace(present=False)
      else:
        del self._files[path]
        gone += [path] if old.state == "waiting" else []
    for path, now in found.items():
      old = self._files.get(path)
      if old is None:
        self._files[path] = _File(now, 0, "waiting", True)
      elif old.stamp == now:
        same = old.num_same + 1
        self._files[path] = old._replace(num_same=same, present=True)
      elif old.state == "scored" and old.present:
        self._files[path] = old._replace(stamp=now)
      else:
        self._files[path] = _File(now, 0, "waiting", True)
    return gone

  def still(self) -> list[str]:
    """Waiting files that did not change between two scans, oldest first."""
    some = [p for p, f in self._files.items() if self.patience(p)]
    return sorted(some, key=lambda p: (self._files[p].stamp.changed, p))

  def patience(self, path: str) -> int:
    """Number of scans in a row that left a waiting file as it was."""
    file = self._files[path]
    return file.num_same if file.state == "waiting" else 0

  def unchanged(self, path: str) -> bool:
    """Whether a file is as in the last scan."""
    return stamp(path) == self._files[path].stamp

  def done(self, path: str, state: str) -> None:
    """Records that a file was "scored" or "skipped"."""
    self._files[path] = self._files[path]._replace(state=state)

  @property
  def num_waiting(self) -> int:
    """Files that are neither scored nor skipped."""
    return sum(f.state == "waiting" for f in self._files.values())


class Event(NamedTuple):
  """What happened: a scored file or something to tell.

  Attributes:
    row: csv line, or None.
    note: sentence for people, or "".
  """

  row: score.Row | None
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
    self._own_past = "in_sample" in scorer.training_scores(
      list(scorer.detector.sections)
    )
    # In-sample scores are lower than those of new clips: no yardstick.
    self._drift = {
      name: Drift([] if self._own_past else section.facts["train_scores"])
      for name, section in scorer.detector.sections.items()
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
      values, notes = self._scorer.score(
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
    for (path, clip), value in zip(ready, values, strict=True):
      if os.path.exists(path) and not self._arrivals.unchanged(path):
        continue  # Written to while it was read: another scan.
      self._arrivals.done(path, "scored")
      row = self._scorer.row(path, clip.section, value)
      self._sections.append(clip.section)
      self._num_suspicious += row.decision
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
      f" by chance, at most one such note in {CLIPS_PER_FALSE_NOTE} clips;"
      " scores and decisions stay as they are"
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
  end = time.monotonic() + max_seconds
  while True:
    yield from watch.poll()
    if time.monotonic() >= end or (once and not watch.num_waiting):
      return
    sleep(interval_seconds)
