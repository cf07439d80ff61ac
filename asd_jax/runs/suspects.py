"""The most suspicious clips of a run, with their sound and the reason."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from asd_jax import errors
from asd_jax.data import audio, clips, decode, windows
from asd_jax.engine import lengths
from asd_jax.engine.programs import Programs
from asd_jax.report import record
from asd_jax.runs import decided, explain, reasons

# A page of a few cards is read; one of two hundred is not.
PER_MACHINE = 3
IN_ALL = 12
_NUM_REFERENCES = 2
_NUM_NEIGHBOURS = 2
_NUM_SAMPLED = 24
# A reason takes dozens of passes: a slow encoder must not double the run.
_BUDGET_SECONDS = 30.0
_TOO_SLOW = "No reason: explaining takes too long on this machine."
_GOES_ON = " The next run goes on with it."


class Pick(NamedTuple):
  """A clip worth showing.

  Attributes:
    machine: its machine.
    section: its section.
    row: its position among the section's test clips.
    excess: score above the median training score, in the spread of the
      training scores; compares clips of different machines.
  """

  machine: str
  section: str
  row: int
  excess: float


def choose(
  scored: Mapping[str, Mapping[str, Any]],
  *,
  per_machine: int = PER_MACHINE,
  in_all: int = IN_ALL,
) -> list[Pick]:
  """Picks the clips to show: every machine's worst first, then its second.

  Args:
    scored: machine to section to scores.
    per_machine: clips of one machine at most.
    in_all: clips at most.

  Returns:
    Picks, machines in the order of their worst clip, worst first.
  """
  ranked = []
  for machine, sections in scored.items():
    picks = []
    for section, entry in sections.items():
      # In units of the training spread, so that machines can be ranked
      # together.
      train = entry.section.train_scores()
      typical = np.median(train)
      spread = np.subtract(*np.quantile(train, (0.9, 0.1)))
      excess = (np.asarray(entry.score) - typical) / max(spread, 1e-9)
      picks += [
        Pick(machine, section, i, float(e)) for i, e in enumerate(excess)
      ]
    picks.sort(key=lambda p: -p.excess)
    if picks:
      ranked.append(picks[:per_machine])
  # Every machine shows its worst clip before any shows its second.
  ranked.sort(key=lambda picks: -picks[0].excess)
  by_place = sorted(
    (place, -pick.excess, m)
    for m, picks in enumerate(ranked)
    for place, pick in enumerate(picks)
  )
  kept = {(m, place) for place, _, m in by_place[:in_all]}
  return [
    pick
    for m, picks in enumerate(ranked)
    for place, pick in enumerate(picks)
    if (m, place) in kept
  ]


def _place(clip: clips.Clip) -> str:
  """Where a window lies in its recording; "" of a whole file."""
  if clip.recording is None:
    return ""
  start = windows.start_seconds(clip)
  ends = start, start + windows.seconds(clip)
  return " to ".join(map(windows.clock, ends))


def bare(pick: Pick, scored: Mapping[str, Mapping[str, Any]]) -> record.Suspect:
  """A suspect whose file is not read: no sound, no reason.

  Args:
    pick: which clip.
    scored: machine to section to scores.

  Returns:
    What its scores alone say.
  """
  entry = scored[pick.machine][pick.section]
  clip, score = entry.clips[pick.row], float(entry.score[pick.row])
  train = entry.section.train_scores()
  return record.Suspect(
    pick.machine,
    pick.section,
    clip.name,
    clip.domain,
    clip.label,
    score,
    int(entry.decisions[pick.row]),
    decided.known(entry.p_values[pick.row]),
    float(np.median(train)),
    float(np.mean(train < score)),
    place=_place(clip),
  )


class _Explainer:
  """Explains clips of one run; compiled functions are kept.

  Args:
    programs: the compiled system.
    rate: Hz.
    link: where the page finds a file.
    kept: reasons that earlier runs found.
  """

  def __init__(
    self,
    programs: Programs,
    rate: int,
    link: Callable[[Path], str],
    kept: reasons.Reasons,
  ) -> None:
    self._programs, self._link, self._kept = programs, link, kept
    # Compiled at the first suspect, if there is a bank at all.
    self._bank = explain.bank_scorer(programs.system)
    self._rate = rate
    self._sampled: dict[tuple[str, str], tuple[list, list]] = {}

  def _read(self, clip: clips.Clip) -> np.ndarray:
    return decode.read(clip, sample_rate=self._rate)[0]

  def _sound(self, clip: clips.Clip, wave: np.ndarray) -> record.Sound:
    title = windows.title(clip)
    return record.Sound(title, self._link(clip.path), audio.to_float(wave))

  def _by_spectrum(
    self, key: tuple[str, str], wave: np.ndarray, train: Sequence[clips.Clip]
  ) -> list[int]:
    """The training clips of nearest spectrum, from a few spread evenly."""
    # Only the last section is kept: suspects come machine by machine.
    if key not in self._sampled:
      step = max(1, len(train) // _NUM_SAMPLED)
      rows = [*range(0, len(train), step)][:_NUM_SAMPLED]
      mean = lambda i: explain.mean_spectrum(self._read(train[i]), self._rate)
      self._sampled = {key: (rows, [mean(i) for i in rows])}
    rows, means = self._sampled[key]
    here = explain.mean_spectrum(wave, self._rate)
    near = explain.nearest_spectra(here, means, _NUM_REFERENCES)
    return [rows[i] for i in near]

  def _room(self, train: Sequence[clips.Clip]) -> Callable[[int], decode.Room]:
    known = lengths.of(train, self._rate)
    return lengths.rooms(self._programs.system.branches, known)

  def _score(
    self,
    state: Any,
    wave: np.ndarray,
    room: Callable[[int], decode.Room],
    deadline: float,
  ) -> np.ndarray:
    # Looked at batch by batch; a pass of a large encoder takes seconds.
    if time.perf_counter() > deadline:
      raise TimeoutError
    return np.asarray(self._programs.score(state, wave, room=room).fused)

  def _begun(
    self,
    suspect: record.Suspect,
    state: Any,
    train: Sequence[clips.Clip],
    wave: np.ndarray,
  ) -> reasons.Known:
    """Nearest clips of a bank, and those that parts come from."""
    if not explain.has_bank(state):
      key = suspect.machine, suspect.section
      return reasons.Known([], self._by_spectrum(key, wave, train), [])
    feats = self._programs.clip_features(
      state["front"], wave, room=self._room(train)
    )
    neighbours = explain.nearest_rows(
      self._bank, state, feats, len(train), _NUM_NEIGHBOURS
    )
    # The nearest clips differ from it in the fault and in little else.
    near = [i for i, _ in neighbours[:_NUM_REFERENCES]]
    return reasons.Known(neighbours, near, [])

  def explain(
    self,
    suspect: record.Suspect,
    clip: clips.Clip,
    state: Any,
    train: Sequence[clips.Clip],
    deadline: float,
  ) -> record.Suspect:
    """Adds sound, neighbours and reason.

    Args:
      suspect: without them.
      clip: its file.
      state: fitted state of its section; None past the deadline.
      train: training clips of its section.
      deadline: of the reason, by `time.perf_counter`.

    Returns:
      The same with them, without a reason past the deadline.
    """
    wave = self._read(clip)
    key = "" if state is None else self._kept.key(state, clip, train)
    known = self._kept.get(key)
    if known is None:
      known = self._begun(suspect, state, train, wave)
    references = [(train[i], self._read(train[i])) for i in known.references]
    num_known, reason, problem = len(known.scores), None, ""
    try:
      if references:
        room = self._room(train)
        reason = explain.explain(
          lambda x: self._score(state, x, room, deadline),
          wave,
          [x for _, x in references],
          batch_size=self._programs.batch_size,
          rate=self._rate,
          known=known.scores,
        )
    except TimeoutError:
      problem = _TOO_SLOW + (_GOES_ON if key and self._kept.writes else "")
    if len(known.scores) > num_known:
      self._kept.put(key, known)
    return suspect._replace(
      problem=problem,
      sound=self._sound(clip, wave),
      rate=self._rate,
      reason=reason,
      neighbours=tuple(
        (windows.title(train[i]), s) for i, s in known.neighbours
      ),
      references=tuple(windows.title(c) for c, _ in references),
      normal=self._sound(*references[0]) if references else None,
    )


def find(
  programs: Programs,
  machines: Sequence[clips.Machine],
  scored: Mapping[str, Mapping[str, Any]],
  config: Mapping[str, Any],
  states: Callable[[str, str], Any],
  *,
  link: Callable[[Path], str],
  kept: reasons.Reasons,
  seconds: float = _BUDGET_SECONDS,
) -> list[record.Suspect]:
  """Finds the most suspicious clips and why they are.

  Args:
    programs: the compiled system.
    machines: what was read.
    scored: machine to section to scores.
    config: `sample_rate`.
    states: `(machine, section) -> fitted state`.
    link: where the page finds a file.
    kept: reasons that earlier runs found.
    seconds: no clip is explained after this time.

  Returns:
    Suspects in the order to show them.
  """
  explainer = _Explainer(programs, config["sample_rate"], link, kept)
  train = {m.name: m.train for m in machines}
  start = time.perf_counter()
  out = []
  for pick in choose(scored):
    suspect = bare(pick, scored)
    entry = scored[pick.machine][pick.section]
    clip = entry.clips[pick.row]
    same = [c for c in train[pick.machine] if c.section == pick.section]
    try:
      # Without time there is no reason; spectra still find the nearest clip.
      late = time.perf_counter() > start + seconds
      state = None if late else states(pick.machine, pick.section)
      suspect = explainer.explain(suspect, clip, state, same, start + seconds)
    except errors.InputError as error:  # changed or removed since it was scored
      suspect = suspect._replace(problem=str(error))
    out.append(suspect)
  return out
