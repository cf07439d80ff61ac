"""What becomes of scores that come one after another, as files or a stream."""

import collections
import datetime
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from asd_jax import errors
from asd_jax.data import score_table
from asd_jax.engine import section as section_lib
from asd_jax.report import record, text
from asd_jax.runs import hook as hook_lib
from asd_jax.runs import score
from asd_jax.scores import alarm, drift, in_a_row, p_value

_HOUR = 3600.0


class Event(NamedTuple):
  """What happened: a scored clip or something to tell.

  Attributes:
    row: its scores, or None.
    note: sentence for people, or "".
    is_alarm: whether an alarm begins with the clip.
    start_seconds: where the clip begins in a stream; None of a file.
  """

  row: score_table.Row | None
  note: str = ""
  is_alarm: bool = False
  start_seconds: float | None = None


class Settings(NamedTuple):
  """What is to be done besides scoring.

  Attributes:
    alarm_after: suspicious clips in a row that make an alarm; None for what
      the detector says.
    hook: what alarms call, if anything.
    today: the date.
  """

  alarm_after: int | None = None
  hook: hook_lib.Hook | None = None
  today: Callable[[], datetime.date] = datetime.date.today


PLAIN = Settings()


class _Day(NamedTuple):
  """What one day brought."""

  date: datetime.date
  num_clips: int = 0
  num_suspicious: int = 0
  num_alarms: int = 0


class Follow:
  """Notes drift, raises alarms and sums up days.

  Args:
    scorer: the detector.
    where: what messages call the source of the clips.
    settings: what is to be done.
  """

  def __init__(
    self, scorer: score.Scorer, where: str, settings: Settings
  ) -> None:
    self._scorer, self._where, self._settings = scorer, where, settings
    sections = scorer.detector.sections
    self._every: collections.Counter[str] = collections.Counter()
    self._num_suspicious = 0
    self._day = _Day(settings.today())
    past = {name: _past(section) for name, section in sections.items()}
    self._of_stream = {name for name, found in past.items() if not found}
    self._drift = {name: drift.Drift(found) for name, found in past.items()}
    self._after = {
      name: settings.alarm_after or _alarm_after(s)
      for name, s in sections.items()
    }
    self._alarms = {n: in_a_row.InARow(a) for n, a in self._after.items()}

  def promise(self, *, every_seconds: float = 0.0) -> list[str]:
    """Sentences on what makes an alarm, and how often one is false.

    Args:
      every_seconds: time from one clip to the next; 0 if it is unknown.

    Returns:
      One for all sections that are alike.
    """
    return list(
      dict.fromkeys(
        _promise(section, self._after[name], every_seconds)
        for name, section in self._scorer.detector.sections.items()
        if not section.problem()
      )
    )

  def replay(self, section: str, row: score_table.Row, is_long: bool) -> None:
    """Takes a clip that an earlier watch has told of.

    Args:
      section: of the clip; an unknown one is left out.
      row: its scores.
      is_long: as of `add`.
    """
    # What was said of a recording is said of one of its windows, the most
    # suspicious: it has no place among clips, nor in a row of them.
    if section in self._drift and not is_long:
      self._drift_side(section, row)
      self._alarms[section].add(row.decision == 1)

  def add(
    self,
    section: str,
    row: score_table.Row,
    *,
    start_seconds: float | None = None,
    is_long: bool = False,
  ) -> Iterator[Event]:
    """Takes a scored clip.

    Args:
      section: of the clip.
      row: its scores.
      start_seconds: where it begins in a stream.
      is_long: it is a recording, which is suspicious for several windows in a
        row: an alarm by itself.

    Yields:
      The clip, and what there is to tell.
    """
    suspicious = row.decision == 1
    is_alarm = suspicious
    if not is_long:
      is_alarm = self._alarms[section].add(suspicious)
    self._every[section] += 1
    self._num_suspicious += suspicious
    day = self._day
    self._day = _Day(
      day.date,
      day.num_clips + 1,
      day.num_suspicious + suspicious,
      day.num_alarms + is_alarm,
    )
    yield Event(row, "", is_alarm, start_seconds)
    if is_alarm:
      num = 1 if is_long else self._after[section]
      yield from self._alarm(num, row, start_seconds)
    if not is_long:
      yield from _told([self._drift_note(section, row)])

  def look(self) -> Iterator[Event]:
    """What is to be told from time to time.

    Yields:
      Commands that failed, and the summary of a day that is over.
    """
    if self._settings.hook is not None:
      yield from _told(self._settings.hook.ended())
    today = self._settings.today()
    if today != self._day.date:
      yield Event(None, f"{self._where}: {_of_day(self._day)}")
      self._day = _Day(today)

  def finish(self) -> Iterator[Event]:
    """Waits for commands that are still running, and sums up.

    Yields:
      Those that failed, and the summary.
    """
    if self._settings.hook is not None:
      yield from _told(self._settings.hook.wait())
    yield Event(None, self.summary())

  def summary(self) -> str:
    """One line for people on all clips so far."""
    return self._scorer.summary([*self._every.elements()], self._num_suspicious)

  def _alarm(
    self, num: int, row: score_table.Row, start_seconds: float | None
  ) -> Iterator[Event]:
    """Tells of an alarm that so many clips make."""
    at = ""
    if start_seconds is not None:
      at = f", the last at {start_seconds:g} s"
    if num > 1:
      what = f"alarm: {num} suspicious clips in a row{at}"
      yield Event(None, f"{row.file}: {what}")
    if self._settings.hook is not None:
      told = (row.file, row.score, row.p_value, start_seconds)
      yield from _told([self._settings.hook.call(*told)])

  def _drift_side(self, section: str, row: score_table.Row) -> str | None:
    """Takes a clip into the drift of its section, see `Drift.add`."""
    has_folds = self._scorer.detector.sections[section].folds is not None
    if has_folds and row.p_value == "":  # memories of older versions
      return None
    return self._drift[section].add(_place(row.p_value or 0.0, row.score))

  def _drift_note(self, section: str, row: score_table.Row) -> str:
    side = self._drift_side(section, row)
    if side is None:
      return ""
    which = f" of section {section}" if len(self._drift) > 1 else ""
    past = "the training clips"
    if section in self._of_stream:
      past = (
        "the earlier clips of this watch (those of the training clips are no"
        " yardstick)"
      )
    return (
      f"{self._where}: drift: recent scores{which} lie {side} those of {past};"
      " by chance, at most one such note in"
      f" {drift.CLIPS_PER_FALSE_NOTE} clips; scores and decisions stay as they"
      " are"
    )


def _place(p: float | str, score: float) -> tuple[float, float]:
  """Where a clip stands among normal ones, the higher the more suspicious."""
  return -float(p), score


def _past(section: section_lib.Section) -> list[tuple[float, float]]:
  """Places of the training clips, for new ones to be compared with.

  Scores by models of folds are on scales of their own, above or below those of
  the whole fit: only p-values can be compared. Empty where the detector has
  seen the clips, whose scores are then too low, and where p-values are by
  domain and one has no clips.
  """
  if section.sees_own_clips() or not section.about()["num_train"]:
    return []
  if (folds := section.folds) is None:
    return [_place(0.0, score) for score in section.train_scores()]
  p = p_value.own_p_values(
    folds.own, folds.is_target, by_domain=section.rule.by_domain
  )
  return [_place(*both) for both in zip(p, folds.own, strict=True)]


def _told(notes: Iterable[str]) -> Iterator[Event]:
  return (Event(None, note) for note in notes if note)


def _alarm_after(section: section_lib.Section) -> int:
  """Suspicious clips that make an alarm, as a detector says."""
  return section.facts.get("windows", {}).get("alarm_after", alarm.AFTER)


def _promise(
  section: section_lib.Section, after: int, every_seconds: float
) -> str:
  """What makes an alarm, and how often one is false."""
  how = record.Decision(**section.about())
  head = "an alarm: each clip that is suspicious"
  if after > 1:
    head = f"an alarm: {after} suspicious clips in a row"
  if not how.promises:
    return f"{head}; no interval of false ones is promised (rule {how.rule})"
  rate = p_value.nominal_rate(how.num_train, how.false_alarm_rate)
  num = in_a_row.clips_between(rate, after)
  said = f"{head}; a false one in about {num:,.0f} normal clips"
  if every_seconds:
    said += f" ({num * every_seconds / _HOUR:.2g} h)"
  if after > 1:
    said += " if their decisions are independent"
  about = section.facts.get("windows", {})
  if hours := about.get("training_hours", 0.0):
    runs = about["training_runs"]
    found = sum(runs) if after == 1 else sum(n >= after for n in runs)
    said += f"; on the training recordings, {found} in {hours:.2g} h"
  return said


def _of_day(day: _Day) -> str:
  if not day.num_clips:
    return f"{day.date}: no clips"
  return (
    f"{day.date}: {text.plural(day.num_clips, 'clip')},"
    f" {day.num_suspicious} suspicious, {text.plural(day.num_alarms, 'alarm')}"
  )


class Log:
  """A file that gets a JSON object a line for all that happens.

  It is opened for each line, so that it may be moved away at any time.

  Args:
    path: the file; lines are added.

  Raises:
    InputError: if it cannot be written.
  """

  def __init__(self, path: str) -> None:
    self._path = Path(path)
    self._is_told = False
    if problem := self._append(""):
      raise errors.InputError(problem)

  def write(self, event: Event) -> str:
    """Adds what happened.

    Args:
      event: what.

    Returns:
      Why it could not be written, once; "" else.
    """
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    line: dict[str, Any] = {"time": now}
    if event.row is not None:
      told = {k: None if v == "" else v for k, v in event.row._asdict().items()}
      line |= {**told, "alarm": event.is_alarm}
    if event.start_seconds is not None:
      line["start_seconds"] = event.start_seconds
    if event.note:
      line["note"] = event.note
    problem = self._append(json.dumps(line) + "\n")
    if problem and not self._is_told:
      self._is_told = True
      return problem
    return ""

  def _append(self, line: str) -> str:
    try:
      self._path.parent.mkdir(parents=True, exist_ok=True)
      with open(self._path, "ab", buffering=0) as file:
        file.write(line.encode())
    except OSError as e:
      return f"{self._path}: cannot be written: {e.strerror or e}"
    return ""
