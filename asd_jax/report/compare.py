"""Two runs side by side: verdict, table and dots, as text and as a page."""

import math
from typing import NamedTuple

from asd_jax.metrics import paired
from asd_jax.report import seeds, text, verdict

# Both kinds of test are read as "B is better"; each holds for one thing only.
OVER_SEEDS = (
  "This is a statement about seeds, that is about training again, and not about"
  " other test clips: every seed sees the same test clips."
)
OVER_CLIPS = (
  "This is a statement about test clips: which ones were drawn, within each"
  " machine, domain and label. It says nothing about training again."
)
_HEADS = "A +- std,B +- std,A ensemble,B ensemble,B - A,95 % interval,p,"
_HEADS += "p (Holm),B wins"
COLUMNS = ("", *_HEADS.split(","))

Value = float | None


class Side(NamedTuple):
  """One of the two runs.

  Attributes:
    system: its name.
    num_seeds: seeds with scores.
    file: the results.json it was read from.
  """

  system: str
  num_seeds: int
  file: str


class Row(NamedTuple):
  """The official score or one machine; a value a seed on both sides.

  Attributes:
    name: of the machine.
    a: seed to score of A, None where it is missing.
    b: those of B.
    fused_a: score of A's ensemble.
    fused_b: score of B's.
    record: what the test says.
    p_holm: its p, corrected for the number of machines.
  """

  name: str
  a: dict[str, Value]
  b: dict[str, Value]
  fused_a: Value
  fused_b: Value
  record: paired.Comparison
  p_holm: Value = None


class Compared(NamedTuple):
  """Two runs, the official score first among the rows.

  Attributes:
    a: the first run.
    b: the second; differences are B - A.
    rows: the numbers.
    notes: what a reader must know.
    clips: the official score over test clips, beside seeds on one side only.
  """

  a: Side
  b: Side
  rows: list[Row]
  notes: list[str]
  clips: paired.Comparison | None = None


def _remarks(found: Compared) -> list[str]:
  """Sentences to read with the numbers, the verdict first."""
  first, *machines = found.rows
  # Seeds are compared by their mean; the ensembles may lie otherwise.
  fused = None
  if first.fused_a is not None and first.fused_b is not None:
    fused = first.fused_b - first.fused_a
  lines = [verdict.verdict(first.record, fused=fused)]
  if details := verdict.details(first.record):
    lines.append(f"Official score: {details}.")
  # What a test does not say is said each time, or it will be read into it.
  if first.record.kind == "clips":
    lines.append(OVER_CLIPS)
  elif first.record.kind != "none":
    lines.append(OVER_SEEDS)
  # One side has seeds, the other does not: both questions can be asked.
  if found.clips:
    a, b = (text.plural(r.num_seeds, "seed") for r in (found.a, found.b))
    lines.append(
      f"Over test clips, the ensembles of A ({a}) and of B ({b}):"
      f" {verdict.verdict(found.clips)} {OVER_CLIPS}"
    )
  tested = [r for r in machines if r.p_holm is not None]
  # With many machines some p is small by chance alone.
  if len(tested) > 1:
    kept = [
      f"{text.visible(r.name)} ({100 * r.record.difference:+.2f})"
      for r in tested
      if r.p_holm is not None and r.p_holm < 0.05
    ]
    lines.append(
      f"{len(tested)} machines are tested, and one test in twenty is below 0.05"
      " by chance alone: read p (Holm), which is corrected for that. Below 0.05"
      f" after correction: {', '.join(kept) or 'none'}."
    )
  return lines


def _cells(row: Row) -> list[str]:
  """The columns after the name, `-` where there is nothing."""

  def percent(value: Value) -> str:
    return "-" if value is None else f"{100 * value:.2f}"

  record, out = row.record, []
  for values in (row.a, row.b):
    known = [v for v in values.values() if v is not None]
    std = seeds.spread(known)
    out.append(percent(math.fsum(known) / len(known)))
    out[-1] += f" +- {percent(std[1])}" if std else ""
  out += [percent(row.fused_a), percent(row.fused_b)]
  out.append(f"{100 * record.difference:+.2f}")
  ends = record.interval
  out.append(
    f"{100 * ends.low:+.2f} to {100 * ends.high:+.2f}" if ends else "-"
  )
  out += [verdict.p_value(record.p_t), verdict.p_value(row.p_holm)]
  # Clips are not wins: only seeds come in pairs that one side can win.
  if record.wins is None or record.kind in ("none", "clips"):
    return [*out, "-"]
  return [*out, f"{record.wins}/{max(record.num_a, record.num_b)}"]


def _heading(side: Side) -> str:
  """Name, number of seeds and file of a run."""
  num = text.plural(side.num_seeds, "seed")
  return text.visible(f"{side.system}, {num}, {side.file}")


def console(found: Compared) -> list[str]:
  """The comparison as lines of text.

  Args:
    found: the comparison.

  Returns:
    The lines.
  """
  rows = [list(COLUMNS)]
  rows += [[text.visible(r.name), *_cells(r)] for r in found.rows]
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  lines = [f"A: {_heading(found.a)}", f"B: {_heading(found.b)}", ""]
  for first, *rest in rows:
    padded = [c.rjust(w) for c, w in zip(rest, widths[1:], strict=True)]
    lines.append("  ".join([first.ljust(widths[0]), *padded]))
  lines += ["Percent; differences in points.", "", *_remarks(found)]
  return lines + [f"note: {note}" for note in found.notes]


def _drawn(row: Row) -> tuple[seeds.Row, seeds.Row]:
  """Dots of both systems; in the same order of seeds where they are paired."""
  b = row.b
  # Lines join equal seeds, so both sides are drawn in one order.
  if row.record.kind == "paired":
    b = {seed: b[seed] for seed in row.a}
  return (
    seeds.Row(row.name, list(row.a.values()), row.fused_a),
    seeds.Row(row.name, list(b.values()), row.fused_b),
  )


def page(found: Compared) -> str:
  """The comparison as one self-contained HTML page.

  Args:
    found: the comparison.

  Returns:
    HTML.
  """
  a, b = (text.escape(r.system) for r in (found.a, found.b))
  table = text.table(
    "Percent; differences in points.",
    [text.Column(seeds.cell(c or "score")) for c in COLUMNS],
    [[seeds.row_head(r.name), *map(seeds.cell, _cells(r))] for r in found.rows],
    name="compare-table",
  )
  picture = seeds.pairs_figure(
    [_drawn(row) for row in found.rows],
    joined=found.rows[0].record.kind == "paired",
  )
  notes = "".join(f"<li>{text.escape(n)}</li>" for n in found.notes)
  first, *others = map(text.escape, _remarks(found))
  said = "".join(f"<p>{line}</p>" for line in others)
  heads = [text.escape(_heading(r)) for r in (found.a, found.b)]
  return seeds.page(
    f"{b} against {a}",
    f"<dl><dt>A</dt><dd>{heads[0]}</dd><dt>B</dt><dd>{heads[1]}</dd></dl>",
    f"<p><strong>{first}</strong></p>{said}",
    {
      "Seed by seed": picture,
      "Numbers": table,
      "Notes": f'<ul class="notes">{notes}</ul>' if notes else "",
    },
  )
