"""One run as plain data: all that the report may know.

Nothing here holds a system, a fitted state or an open file, so that a page can
be made of any run, from a test's made-up numbers as well as from an engine's.
"""

import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

Results = Mapping[str, Any]


# The only rule that promises a rate of false alarms.
PROMISING = "conformal"
# Machines of the challenge, and how many clips each has to learn from.
DEVELOPMENT = frozenset((
  "ToyCar", "ToyCarEmu", "bearingEmu", "fan", "gearboxEmu", "sliderEmu",
  "valveEmu",
))  # fmt: skip
EVALUATION = frozenset((
  "ToyDrone", "ToothBrush", "SewingMachine", "BlowerDustCollector", "Sander",
))  # fmt: skip
CHALLENGE_SETS = {"development": DEVELOPMENT, "evaluation": EVALUATION}
CHALLENGE_TRAIN = 1000


class Decision(NamedTuple):
  """How a section's clips are decided, `decision` of results.json.

  Attributes:
    rule: its name.
    false_alarm_rate: of a rule that promises one, a fraction.
    by_domain: whether a clip must stand out from either domain's clips.
    folds: models that were fitted without some training clips; 0 where a
      training clip has no score of a model that has not seen it.
    num_train: normal clips that decide, of the smaller domain if `by_domain`.
    num_needed: as many as the rate takes.
    possible: whether there is any decision.
    problem: why there is none, such as `6 normal clips, 9 needed for 0.1`.
    of_domain: normal clips of each domain that decide, if `by_domain`.
  """

  rule: str
  false_alarm_rate: float
  by_domain: bool
  folds: int
  num_train: int
  num_needed: int
  possible: bool
  problem: str = ""
  of_domain: Mapping[str, int] = types.MappingProxyType({})

  @property
  def promises(self) -> bool:
    """Whether the rule promises a false-alarm rate, kept or not."""
    return self.possible and self.rule == PROMISING

  @property
  def in_sample(self) -> bool:
    """Whether clips are held against scores of clips the model has seen."""
    return self.promises and not self.folds


class Alarms(NamedTuple):
  """What makes an alarm on long recordings, and how many are false.

  Attributes:
    after: consecutive anomalous windows that make one.
    window_seconds: length of a window.
    hop_seconds: from the start of one window to that of the next.
    by_chance: expected an hour of a normal recording if windows were
      independent; None where the rule promises no rate.
    measured: alarms on the training windows in the order of time, by models
      that have not seen them; None where there are no such windows.
    hours: of those windows.
  """

  after: int
  window_seconds: float
  hop_seconds: float
  by_chance: float | None
  measured: int | None
  hours: float


class Recording(NamedTuple):
  """A long recording and its windows in the order of time.

  Attributes:
    name: of the file.
    link: where the page finds it, relative to it; "" if nowhere.
    seconds: its length.
    start_seconds: `[W]` where each window begins.
    score: `[W]`.
    decision: `[W]` as of a section.
    usual: median and 0.9 quantile of the training clips' scores by the model
      that scored the windows.
  """

  name: str
  link: str
  seconds: float
  start_seconds: np.ndarray
  score: np.ndarray
  decision: np.ndarray
  usual: tuple[float, float]


class Section(NamedTuple):
  """Scores of one section.

  Attributes:
    score: `[Q]` of the test clips.
    is_anomaly: `[Q]` bool, or None if unknown.
    is_target: `[Q]` bool, or None if unknown.
    train: `[N]` of the training clips.
    train_kind: where those come from, in words: "leave-one-out" ...
    threshold: of a rule on the score; infinite where there is none.
    decision: `[Q]` int, `ANOMALOUS`, `NORMAL` or `UNDECIDED` of
      `scores.threshold`.
    p_value: `[Q]`, NaN where it is unknown.
    names: `[Q]` of the files.
    links: `[Q]` where the page finds them, relative to it; "" if nowhere.
    recordings: the files that were cut into windows, in the order of
      `recordings.files` of results.json.
  """

  score: np.ndarray
  is_anomaly: np.ndarray | None
  is_target: np.ndarray | None
  train: np.ndarray
  train_kind: str
  threshold: float
  decision: np.ndarray
  p_value: np.ndarray
  names: Sequence[str]
  links: Sequence[str]
  recordings: Sequence[Recording] = ()


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


class Sound(NamedTuple):
  """A recording to see and to hear.

  Attributes:
    name: of its file.
    link: where the page finds it, relative to it; "" if nowhere.
    wave: `[C, S]` samples in [-1, 1), near first.
  """

  name: str
  link: str
  wave: np.ndarray


class Suspect(NamedTuple):
  """A suspicious clip.

  Attributes:
    machine: its machine.
    section: its section.
    name: of its file.
    domain: source or target, or None if unknown.
    label: normal or anomaly, or None if unknown.
    score: its score.
    decision: one of those of a section.
    p_value: None if it is unknown.
    typical: median score of the training clips by the model that scored it.
    share_below: share of them below it.
    sound: the recording, or None if the file is gone.
    rate: Hz.
    reason: which parts raise the score, or None.
    neighbours: nearest training clips of a bank and the score against each
      alone.
    references: names of the training clips that parts came from.
    normal: the nearest of those, or None.
    problem: why something is missing, or empty.
    place: of a window in its recording, such as `12:30 to 12:40`, else "".
  """

  machine: str
  section: str
  name: str
  domain: str | None
  label: str | None
  score: float
  decision: int
  p_value: float | None
  typical: float
  share_below: float
  # From here on it needs the recording, which may be gone.
  sound: Sound | None = None
  rate: int = 16_000
  reason: Reason | None = None
  neighbours: tuple[tuple[str, float], ...] = ()
  references: tuple[str, ...] = ()
  normal: Sound | None = None
  problem: str = ""
  place: str = ""


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


def decision_of(results: Results, machine: str, section: str) -> Decision:
  """How the clips of a section were decided.

  Args:
    results: content of results.json.
    machine: its name.
    section: its number.

  Returns:
    The record.
  """
  entry = results["machines"][machine]["sections"][section]
  return Decision(**entry["decision"])


def decisions_of(results: Results) -> list[tuple[str, str, Decision]]:
  """Machine, section and decision of every section with test clips.

  Args:
    results: content of results.json.

  Returns:
    In the order of the results.
  """
  return [
    (machine, section, decision_of(results, machine, section))
    for machine, entry in results["machines"].items()
    for section, part in entry["sections"].items()
    if part["n_test"]
  ]


def has_labels(results: Results) -> bool:
  """Whether labels of some section are known, so that it has metrics."""
  return any(e["auc"] is not None for e in entries_of(results)) or any(
    e["measured"] for e in entries_of(results)
  )
