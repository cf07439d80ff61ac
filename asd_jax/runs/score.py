"""Scores files and folders with a saved detector."""

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from asd_jax import errors
from asd_jax.data import audio, clips, folders, names, score_table
from asd_jax.engine import detector, session
from asd_jax.runs import progress as progress_lib
from asd_jax.scores import threshold


class Row(NamedTuple):
  """One line of the result.

  Attributes:
    file: path as given.
    score: anomaly score.
    decision: 1 if the score is above the section's threshold, else 0.
  """

  file: str
  score: float
  decision: int


class Result(NamedTuple):
  """What a run found.

  Attributes:
    text: csv, the header first.
    notes: sentences on odd input.
    summary: one line for people.
  """

  text: str
  notes: list[str]
  summary: str


def inside(path: str) -> list[str]:
  """Wave files below a folder, sorted and joined to its path as given.

  Args:
    path: a folder.

  Returns:
    Paths; hidden files and folders are left out.

  Raises:
    InputError: if a folder cannot be read.
  """
  below, _ = folders.wave_files(folders.walk(Path(path), skipped=()))
  found = (os.path.relpath(p, path) for p in below)
  return sorted(os.path.join(path, name) for name in found)


def find(paths: Sequence[str]) -> list[str]:
  """Expands folders to the wave files below them.

  Args:
    paths: files and folders.

  Returns:
    Files as given, those of a folder sorted and joined to it as given.

  Raises:
    InputError: for a path that does not exist, and an empty folder.
  """
  out = []
  for path in paths:
    if not os.path.exists(path):
      raise errors.InputError(
        f"{path}: found nothing, expected a wav file or folder."
      )
    if not os.path.isdir(path):
      out.append(path)
      continue
    below = inside(path)
    if not below:
      raise errors.InputError(
        f"{path}: found no wave files, expected at least one."
      )
    out += below
  return out


def expected_false_alarms(
  counts: Sequence[tuple[int, float]], rate: float
) -> float:
  """False alarms that a threshold promises if all clips are normal.

  Args:
    counts: number of clips and threshold, by section; no score is above an
      infinite threshold.
    rate: promised false-alarm rate.

  Returns:
    Their mean number.
  """
  return rate * sum(num for num, limit in counts if not math.isinf(limit))


class Scorer:
  """A loaded detector; scores equal those of the evaluate run.

  Args:
    folder: `OUT/detectors/<machine>`.
    section: section of all files; from their names if None.
  """

  def __init__(self, folder: str, *, section: str | None = None) -> None:
    self.detector = detector.load(Path(folder))
    self._section = section
    self._opened = session.of_detector(self.detector, Path(folder))

  @property
  def batch_size(self) -> int:
    """Clips that are scored at once."""
    return self._opened.embedder.programs.batch_size

  def section_of(self, path: str) -> str:
    """Returns which of the detector's sections a file belongs to."""
    known = sorted(self.detector.sections)
    name = names.parse(os.path.basename(path))
    named = name.section if name else ""
    chosen = self._section or (known[0] if len(known) == 1 else named)
    if chosen not in known:
      raise errors.InputError(
        f"{path}: found section {chosen!r}, expected one of {known}"
        " (--section=...)."
      )
    return chosen

  def check(
    self, paths: Sequence[str], headers: Sequence[audio.Header]
  ) -> list[clips.Clip]:
    """Checks files by their headers.

    Args:
      paths: wave files.
      headers: their headers.

    Returns:
      Clips that the system can score.

    Raises:
      InputError: for an unknown section, too few channels or samples.
    """
    machine = self.detector.machine
    some = [
      clips.Clip(
        Path(p), machine, self.section_of(p), "test", None, None, "", h
      )
      for p, h in zip(paths, headers, strict=True)
    ]
    self._opened.check(some)
    return some

  def score(
    self, some: Sequence[clips.Clip], *, advance: Callable[[int], None]
  ) -> tuple[np.ndarray, list[str]]:
    """Scores clips.

    Args:
      some: what `check` returns.
      advance: called with the number of clips done, after each batch.

    Returns:
      Scores `[n]` float32, and notes on odd input.

    Raises:
      InputError: for a file that cannot be decoded.
    """
    score = np.zeros(len(some), np.float32)
    notes: list[str] = []
    for part in sorted({c.section for c in some}):
      rows = np.array([i for i, c in enumerate(some) if c.section == part])
      scores, new = self._opened.score(
        self.detector.sections[part], [some[i] for i in rows], advance=advance
      )
      score[rows] = scores.fused
      notes += new
    return score, notes

  def row(self, path: str, section: str, score: float) -> Row:
    """Returns the line of a scored file."""
    limit = self.detector.sections[section].threshold
    return Row(path, float(score), int(score > limit))

  def training_scores(self, sections: Sequence[str]) -> str:
    """Kind of the training scores: "loo", "in_sample", or both."""
    kinds = {
      kind
      for s in sections
      for kind in self.detector.sections[s].facts["training_scores"].values()
    }
    return " and ".join(sorted(kinds))

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
    rules = sorted({every[s].rule for s in used})
    kind = self.training_scores(used)
    head = f"{num_suspicious} suspicious of {len(sections)} clips; "
    about = f"({' and '.join(rules)}, training scores: {kind}"
    # Quantiles of training scores say nothing of new clips: no rate to state.
    if rules != ["conformal"]:
      return f"{head}no false-alarm rate is promised {about})"
    rate = self.detector.config["threshold"].get(
      "false_alarm_rate", threshold.FALSE_ALARM_RATE
    )
    counts = [(sections.count(s), every[s].threshold) for s in used]
    # In-sample scores are low, so is the threshold.
    more = ", so more are likely" if "in_sample" in kind else ""
    few = [s for s in used if math.isinf(every[s].threshold)]
    text = (
      f"{head}about {expected_false_alarms(counts, rate):.3g} false alarms"
      f" expected at the stated rate {rate:.3g} {about}{more})"
    )
    if few:
      text += (
        f"; section {', '.join(few)} has too few training clips for this rate,"
        " no clip of it can be called suspicious"
      )
    return text


def run(
  folder: str,
  paths: Sequence[str],
  *,
  section: str | None = None,
  progress: progress_lib.Progress | None = None,
) -> Result:
  """Scores files; the result equals that of the evaluate run.

  Args:
    folder: `OUT/detectors/<machine>`.
    paths: files and folders.
    section: section of all files; from their names if None.
    progress: where progress is shown; nowhere if None.

  Returns:
    Lines of csv (paths as given, in the order given), notes, and a summary.

  Raises:
    InputError: for a bad detector or a bad file.
  """
  scorer = Scorer(folder, section=section)
  found = find(paths)
  sections = [scorer.section_of(p) for p in found]
  some = scorer.check(found, audio.read_headers(found))
  progress = progress or progress_lib.Progress(quiet=True)
  with progress:
    advance = progress.task("clips", len(some))
    score, notes = scorer.score(some, advance=advance)
  rows = [
    scorer.row(p, s, x) for p, s, x in zip(found, sections, score, strict=True)
  ]
  summary = scorer.summary(sections, sum(r.decision for r in rows))
  return Result(score_table.text(rows), notes, summary)
