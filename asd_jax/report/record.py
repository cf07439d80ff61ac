"""One run as plain data: all that the report may know.

Nothing here holds a system, a fitted state or an open file, so that a page can
be made of any run, from a test's made-up numbers as well as from an engine's.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

Results = Mapping[str, Any]


class Section(NamedTuple):
  """Scores of one section.

  Attributes:
    score: `[Q]` of the test clips.
    is_anomaly: `[Q]` bool, or None if unknown.
    is_target: `[Q]` bool, or None if unknown.
    train: `[N]` of the training clips.
    threshold: the one in force; may be infinite.
  """

  score: np.ndarray
  is_anomaly: np.ndarray | None
  is_target: np.ndarray | None
  train: np.ndarray
  threshold: float


class Reason(NamedTuple):
  """How much of a clip's score each part of it makes.

  Attributes:
    seconds: `[A + 1]` edges of the time segments, s.
    time: `[A]` drop of the score without each segment's oddness.
    hertz: `[B + 1]` edges of the frequency bands, Hz.
    band: `[B]` drop of the score without each band's oddness.
  """

  seconds: np.ndarray
  time: np.ndarray
  hertz: np.ndarray
  band: np.ndarray


class Suspect(NamedTuple):
  """A suspicious clip.

  Attributes:
    machine: its machine.
    section: its section.
    name: of its file.
    domain: source or target, or None if unknown.
    label: normal or anomaly, or None if unknown.
    score: its score.
    threshold: the one in force; may be infinite.
    typical: median training score.
    share_below: share of training clips below it.
    wave: `[C, S]` samples in [-1, 1), or None if the file is gone.
    rate: Hz.
    reason: which parts raise the score, or None.
    neighbours: nearest training clips of a bank and the score against each
      alone.
    references: names of the training clips that parts came from.
    problem: why something is missing, or empty.
  """

  machine: str
  section: str
  name: str
  domain: str | None
  label: str | None
  score: float
  threshold: float
  typical: float
  share_below: float
  # From here on it needs the recording, which may be gone.
  wave: np.ndarray | None = None
  rate: int = 16_000
  reason: Reason | None = None
  neighbours: tuple[tuple[str, float], ...] = ()
  references: tuple[str, ...] = ()
  problem: str = ""


class Heard(NamedTuple):
  """One clip before and after denoising.

  Attributes:
    title: what it is.
    name: file name.
    seconds: its length.
    rows: (title, `[T, M]` dB), near, far, then denoised by each branch.
  """

  title: str
  name: str
  seconds: float
  rows: list[tuple[str, np.ndarray]]


class Denoised(NamedTuple):
  """What denoising did in one section.

  Attributes:
    machine: its machine.
    section: its section, "" if the machine has only one.
    rate: Hz.
    clips: a normal and an anomalous clip, or of low and of high score.
    transfer: branch to noise transfer, `[F]` power ratios.
  """

  machine: str
  section: str
  rate: int
  clips: list[Heard]
  transfer: dict[str, np.ndarray]


class Run(NamedTuple):
  """A run.

  Attributes:
    results: content of results.json.
    sections: machine to section to scores.
    suspects: the clips that stand out, in the order to show them.
    denoised: examples of what denoising did.
  """

  results: Results
  sections: Mapping[str, Mapping[str, Section]]
  suspects: Sequence[Suspect] = ()
  denoised: Sequence[Denoised] = ()

  @property
  def num_clips(self) -> int:
    """Test clips in all."""
    return sum(len(s.score) for m in self.sections.values() for s in m.values())


def entries_of(results: Results) -> Iterator[Mapping[str, Any]]:
  """Metrics of every section of a run.

  Args:
    results: content of results.json.

  Yields:
    One entry a section.
  """
  for entry in results["machines"].values():
    yield from entry["sections"].values()


def published_of(results: Results) -> Mapping[str, Any]:
  """Published numbers that are known (a config writes 0.0 for unknown).

  Args:
    results: content of results.json.

  Returns:
    Name to number, and the source.
  """
  # None where the config has no such block.
  given = results.get("published") or {}
  return {k: v for k, v in given.items() if v}
