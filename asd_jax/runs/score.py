"""Scores files and folders with a saved detector."""

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from asd_jax import errors, files
from asd_jax.data import audio, clips, folders, names, score_table
from asd_jax.data import machine as machine_lib
from asd_jax.engine import portable, portable_session
from asd_jax.report import console, record, strips, text
from asd_jax.runs import decided, sift
from asd_jax.runs import given as given_lib
from asd_jax.runs import progress as progress_lib


class Result(NamedTuple):
  """What a run found.

  Attributes:
    text: csv, the header first.
    notes: sentences on odd input and on long recordings.
    summary: one line for people, "" where there are only recordings, or
      nothing was scored.
    problems: what is wrong with files that could not be scored.
    num_files: of all files.
  """

  text: str
  notes: list[str]
  summary: str
  problems: list[str]
  num_files: int

  def said(self) -> list[str]:
    """All lines for people, the summary last."""
    count = ""
    if self.problems and self.num_files > 1:
      num = len(self.problems)
      count = f"{num} of {self.num_files} files could not be scored"
    return [*filter(None, (*self.notes, *self.problems, count, self.summary))]


class Found(NamedTuple):
  """What is said of files.

  Attributes:
    rows: lines in the order of the files.
    windows: of long recordings, in the same order and that of time.
    notes: sentences on odd input.
    told: sentences on long recordings.
  """

  rows: list[score_table.Row]
  windows: list[score_table.Window]
  notes: list[str]
  told: list[str]


def _told(found: Mapping[str, Any], problem: str) -> list[str]:
  """Sentences on the long recordings of a section.

  `problem` says why no decision is possible, "" where one is.
  """
  if not found:
    return []
  about = found["recordings"]
  how = record.Alarms(**about["alarm"])
  each = [
    f"{one['file']}: {strips.sentence(one, how)}" for one in about["files"]
  ]
  about = f"no decision possible: {problem}" if problem else ""
  return [*each, about or strips.promise(how)]


def opened(place: str | Path) -> tuple[Any, Any]:
  """Reads a detector.

  Args:
    place: folder `OUT/detectors/<machine>`, or a file of `asd_jax export`.

  Returns:
    The detector and the session that scores with it, of `engine.detector` or
    `engine.portable`.

  Raises:
    InputError: if it is missing or damaged.
  """
  place = folders.as_on_disk(Path(place))
  if place.is_file():
    file = portable.read(place)
    return file, portable_session.Session(file, place)
  # Imports all stages of all systems, which a file does without.
  from asd_jax.engine import detector, session

  found = detector.load(place)
  return found, session.of_detector(found, place)


class Scorer:
  """A loaded detector; scores equal those of the evaluate run.

  Args:
    folder: `OUT/detectors/<machine>`, or a file of `asd_jax export`.
    section: section of all files; from their names if None.
  """

  def __init__(self, folder: str, *, section: str | None = None) -> None:
    self.detector, self._opened = opened(folder)
    self._section = section

  @property
  def batch_size(self) -> int:
    """Clips that are scored at once."""
    return self._opened.batch_size

  @property
  def num_channels(self) -> int:
    """Channels that a clip must have."""
    return self._opened.num_channels

  def section_of(self, path: str) -> str:
    """Returns which of the detector's sections a file belongs to."""
    known = sorted(self.detector.sections)
    name = names.of_file(os.path.basename(path))
    named = name.section if name else ""
    chosen = self._section or (known[0] if len(known) == 1 else named)
    if chosen not in known:
      raise errors.InputError(
        f"{path}: found section {chosen!r}, expected one of {known}"
        " (--section=...)."
      )
    return chosen

  @property
  def channels(self) -> tuple[int, ...]:
    """Channels of files that are near and far; all of them if empty."""
    return tuple(self.detector.config.get("recorder_channels", ()))

  def clip(self, path: str, header: audio.Header) -> clips.Clip:
    """A file as a clip.

    Args:
      path: the file.
      header: of those of its channels that are taken.

    Returns:
      The clip.

    Raises:
      InputError: for an unknown section.
    """
    return clips.Clip(
      Path(path),
      self.detector.machine,
      self.section_of(path),
      "test",
      None,
      None,
      "",
      header,
      channels=self.channels,
      file=path,
    )

  def check(
    self, paths: Sequence[str], headers: Sequence[audio.Header]
  ) -> list[clips.Clip]:
    """Checks files by their headers.

    Args:
      paths: sound files.
      headers: their headers.

    Returns:
      Clips that the system can score.

    Raises:
      InputError: for an unknown section, too few channels or samples, or more
        channels than two where the detector does not say which.
    """
    some = [
      self.clip(p, machine_lib.taken(p, h, self.channels))
      for p, h in zip(paths, headers, strict=True)
    ]
    for name, section in self.detector.sections.items():
      own = section.plan([c for c in some if c.section == name])
      self._opened.check(own.clips)
    return some

  def sift(self, paths: Sequence[str]) -> tuple[list[clips.Clip], dict]:
    """Checks files by their headers; a bad one stops none.

    Args:
      paths: sound files.

    Returns:
      Clips that the system can score; by path, what is wrong with others.
    """
    some, problems = [], {}
    heads = machine_lib.found_headers(paths, self.channels)
    for path, header in zip(paths, heads, strict=True):
      try:
        if isinstance(header, errors.InputError):
          raise header
        clip = self.clip(path, header)
        self._opened.check(
          self.detector.sections[clip.section].plan([clip]).clips
        )
      except errors.InputError as e:
        problems[path] = str(e)
      else:
        some.append(clip)
    return some, problems

  def num_scored(self, some: Sequence[clips.Clip]) -> int:
    """Clips and windows that are scored of some files."""
    sections = self.detector.sections
    return sum(len(sections[c.section].plan([c]).clips) for c in some)

  def score(
    self, some: Sequence[clips.Clip], *, advance: Callable[[int], None]
  ) -> tuple[list[score_table.Row], list[str]]:
    """Scores files.

    Args:
      some: what `check` returns.
      advance: called with the number of clips and windows done, after each
        batch.

    Returns:
      Lines in the order of the files, named as given, and notes on odd input
      and on long recordings.

    Raises:
      InputError: for a file that cannot be decoded.
    """
    found = self.judge(some, advance=advance)
    return found.rows, [*found.notes, *found.told]

  def judge(
    self, some: Sequence[clips.Clip], *, advance: Callable[[int], None]
  ) -> Found:
    """Scores files, see `score`, and tells of windows too."""
    lines: dict[int, score_table.Row] = {}
    windows: dict[int, list[score_table.Window]] = {}
    notes: list[str] = []
    told: list[str] = []
    for part in sorted({c.section for c in some}):
      rows = [i for i, c in enumerate(some) if c.section == part]
      section = self.detector.sections[part]
      judged = self._opened.score(
        section, [some[i] for i in rows], advance=advance
      )
      columns = judged.scores.fused, judged.decisions, judged.p_values
      for i, *values in zip(rows, *columns, strict=True):
        lines[i] = score_table.row(str(some[i].path), *values)
      paths = [str(some[i].path) for i in rows]
      more = score_table.windows(paths, judged.windows)
      for place, row in zip(judged.windows.file, more, strict=True):
        windows.setdefault(rows[int(place)], []).append(row)
      notes += judged.notes
      found = decided.recordings(section, judged.windows, paths)
      told += _told(found, section.problem())
    return Found(
      [lines[i] for i in range(len(some))],
      [row for i in sorted(windows) for row in windows[i]],
      notes,
      told,
    )

  def summary(self, sections: Sequence[str], num_suspicious: int) -> str:
    """One line for people.

    Args:
      sections: section of each scored clip.
      num_suspicious: clips with decision 1.

    Returns:
      Suspicious clips, and false alarms expected if all clips are normal, of
      a rule that promises a rate.
    """
    every = self.detector.sections
    used = sorted(set(sections)) or sorted(every)
    problems = {s: every[s].problem() for s in used}
    judged = [s for s in used if not problems[s]]
    parts = [
      f"section {s}: no decision possible: {problem}"
      for s, problem in problems.items()
      if problem
    ]
    if judged:
      num = sum(sections.count(s) for s in judged)
      head = f"{num_suspicious} suspicious of {text.plural(num, 'clip')}"
      parts = [f"{head}; {self._promise(judged, num)}", *parts]
    return "; ".join(parts)

  def _promise(self, used: Sequence[str], num: int) -> str:
    """What is promised of decisions on clips of some sections."""
    sections = (self.detector.sections[s] for s in used)
    every = [record.Decision(**s.about()) for s in sections]
    return console.promise(every, num)


def run(
  folder: str,
  paths: Sequence[str],
  *,
  section: str | None = None,
  windows: str = "",
  progress: progress_lib.Progress | None = None,
) -> Result:
  """Scores files; the result equals that of the evaluate run.

  A file that cannot be scored stops none of the others.

  Args:
    folder: `OUT/detectors/<machine>`, or a file of `asd_jax export`.
    paths: files and folders.
    section: section of all files; from their names if None.
    windows: csv file for the windows of long recordings, if any is wanted.
    progress: where progress is shown; nowhere if None.

  Returns:
    Lines of csv (paths as given, in the order given), notes, and a summary.

  Raises:
    InputError: for a bad detector, and a path that is not there or a folder
      without recordings.
  """
  scorer = Scorer(folder, section=section)
  found = given_lib.find(paths)
  if section:  # a wrong flag is no fault of the files
    scorer.section_of(found[0])
  some, problems = scorer.sift(found)
  progress = progress or progress_lib.Progress(quiet=True)
  with progress:
    advance = progress.task("clips", scorer.num_scored(some))
    judge = functools.partial(scorer.judge, advance=advance)
    said, sifted = sift.scored(judge, some)
  paths_of = {clip.name: clip.file or "" for clip in some}
  problems |= {paths_of[file.name]: file.problem for file in sifted.unread}
  good = [some[i] for i in sifted.good]
  # What is promised of clips is not promised of recordings.
  long = {w.file for w in said.windows}
  short = [i for i, r in enumerate(said.rows) if r.file not in long]
  num = sum(said.rows[i].decision == 1 for i in short)
  summary = scorer.summary([good[i].section for i in short], num)
  # Paths as they were given.
  lines = {row.file: row for row in said.rows}
  rows = [
    score_table.unscored(path)
    if path in problems
    else lines[str(Path(path))]._replace(file=path)
    for path in found
  ]
  given = {str(Path(path)): path for path in found}
  table = [w._replace(file=given[w.file]) for w in said.windows]
  if windows:
    files.atomic_write_text(Path(windows), score_table.windows_text(table))
  return Result(
    score_table.text(rows),
    [*said.notes, *said.told],
    summary if short else "",
    list(problems.values()),
    len(found),
  )
