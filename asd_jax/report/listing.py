"""Every clip of a machine, the most suspicious first."""

import math
from collections.abc import Sequence

import numpy as np

from asd_jax.report import record, text, words
from asd_jax.scores import threshold

TITLE = "All clips"
# All rows of a page together; a million clips are for a program.
_MAX_BYTES = 2_000_000
# More rows than a screen holds scroll by themselves.
_MAX_SEEN = 30


def card_id(suspect: record.Suspect, suspects: Sequence[record.Suspect]) -> str:
  """The id of a clip's card.

  Args:
    suspect: the clip.
    suspects: all that are shown.

  Returns:
    The id.
  """
  key = suspect.machine, suspect.section, suspect.name
  keys = [(s.machine, s.section, s.name) for s in suspects]
  return f"clip-{keys.index(key) + 1}"


def listen(link: str, name: str) -> str:
  """A link to a recording; "" where it is nowhere.

  Args:
    link: relative to the page, safe in a URL.
    name: of the file.

  Returns:
    HTML.
  """
  if not link:
    return ""
  # A screen reader lists links without their rows.
  return (
    f'<a href="{text.escape(link)}">play<span class="sr">'
    f" {text.escape(name)}</span></a>"
  )


def _decision(kind: int) -> str:
  looks = {threshold.ANOMALOUS: "alarm", threshold.UNDECIDED: "soft"}
  look = looks.get(kind)
  word = words.decision(kind)
  return f'<span class="{look}">{word}</span>' if look else word


def _truth(part: record.Section, row: int) -> str:
  known = []
  if part.is_target is not None:
    known.append("target" if part.is_target[row] else "source")
  if part.is_anomaly is not None:
    known.append("anomaly" if part.is_anomaly[row] else "normal")
  return ", ".join(known)


def _cells(
  part: record.Section, row: int, how: record.Decision, player: str
) -> list[str]:
  name = part.names[row]
  p = float(part.p_value[row])
  cells = [
    f'<span class="file">{text.escape(name)}</span>',
    _decision(int(part.decision[row])),
    player or listen(part.links[row], name),
  ]
  if _has_p(part):
    known = None if math.isnan(p) else p
    said = words.higher(known, how)
    cells += [_tagged("p", _short(known)), f'<span class="words">{said}</span>']
  cells.append(_tagged("score", text.number(float(part.score[row]))))
  if _has_truth(part):
    cells.append(_truth(part, row))
  return cells


def _tagged(name: str, number: str) -> str:
  """A number with its name, which shows where there are no columns."""
  return f'<span class="tag">{name} </span>{number}'


def _short(p_value: float | None) -> str:
  return text.MISSING if p_value is None else words.p_value(p_value)


def _has_p(part: record.Section) -> bool:
  return not bool(np.isnan(part.p_value).all())


def _has_truth(part: record.Section) -> bool:
  return part.is_anomaly is not None or part.is_target is not None


def _columns(part: record.Section) -> list[text.Column]:
  columns = [text.Column("clip"), text.Column("decision"), text.Column("sound")]
  if _has_p(part):
    hint = "Share of normal clips that would stand out as much"
    columns += [text.Column("p-value", hint), text.Column("in words")]
  columns.append(text.Column("score", "Higher is more anomalous"))
  if _has_truth(part):
    columns.append(text.Column("truth"))
  return columns


def _summary(part: record.Section, how: record.Decision) -> str:
  num = text.plural(len(part.score), "clip")
  if not how.possible:
    return f"{num}, no decision possible: {text.escape(how.problem)}"
  alarms = int(np.sum(part.decision == threshold.ANOMALOUS))
  return f"{alarms} of {num} called anomalous"


def _table(
  part: record.Section,
  how: record.Decision,
  cards: dict[str, str],
  place: tuple[str, int],
) -> str:
  """The table of one section; `place` is its number and its bytes."""
  name, limit = place
  rows: list[list[str]] = []
  # By p-values a clip may be anomalous below one that is not.
  for row in np.lexsort((-part.score, part.decision != threshold.ANOMALOUS)):
    card = cards.get(part.names[row], "")
    player = f'<a href="#{card}">play, see why</a>' if card else ""
    rows.append(_cells(part, int(row), how, player))
    limit -= sum(map(len, rows[-1])) + 60
    if limit < 0:
      break
  caption = "The highest score first."
  if len(part.score) == 1:
    caption = "The only test clip."
  elif (part.decision == threshold.ANOMALOUS).any():
    caption = "Anomalous clips first, then the highest score."
  if left_out := len(part.score) - len(rows):
    caption += (
      f" {left_out} more, less suspicious, are in <code>scores/</code>."
    )
  long = " long" * (len(rows) > _MAX_SEEN)
  made = text.table(caption, _columns(part), rows, name=name)
  return f'<div class="list{long}">{made}</div>'


def section(run: record.Run) -> str:
  """Every clip with its decision, machine by machine.

  Args:
    run: the run.

  Returns:
    HTML, "" without test clips.
  """
  every = record.decisions_of(run.results)
  made = []
  for i, (machine, number, how) in enumerate(every):
    part = run.sections[machine][number]
    cards = {
      s.name: card_id(s, run.suspects)
      for s in run.suspects
      if (s.machine, s.section) == (machine, number)
    }
    place = f"clips-of-{i + 1}", _MAX_BYTES // len(every)
    table = _table(part, how, cards, place)
    title = text.escape(machine)
    if len(run.sections[machine]) > 1:
      title += f" section {text.escape(number)}"
    title = f"{title}: {_summary(part, how)}"
    # One machine's table is what the page is opened for.
    state = " open" * (len(every) == 1)
    made.append(
      f'<details class="closed"{state}><summary>{title}</summary>{table}'
      "</details>\n"
    )
  if not made:
    return ""
  return (
    '<section id="all"><h2>All clips</h2><p>Links play the recordings where'
    " they were when the run was made.</p>\n"
    f"{''.join(made)}</section>"
  )
