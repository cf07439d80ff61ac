"""Two runs side by side: verdict, tables and pictures, as text or page."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from asd_jax.metrics import paired
from asd_jax.report import intervals, seeds, text, verdict

# Both kinds of test are read as "B is better"; each holds for one thing only.
OVER_SEEDS = (
  "A test over seeds is about training again, and not about other test clips:"
  " every seed sees the same test clips."
)
OVER_CLIPS = (
  "A test over test clips is about which ones were drawn, within each machine,"
  " domain and label."
)
NOT_AGAIN = "It says nothing about training again."
_SEED_HEADS = "A +- std,B +- std,A ensemble,B ensemble,B - A,95 % interval,p,"
SEED_COLUMNS: tuple[str, ...] = (
  "over seeds",
  *f"{_SEED_HEADS}p (Holm),B wins".split(","),
)
_CLIP_HEADS = "A,B,B - A,95 % interval,p,p (Holm),clips"
CLIP_COLUMNS: tuple[str, ...] = ("over test clips", *_CLIP_HEADS.split(","))

Value = float | None


class Side(NamedTuple):
  """One of the two runs.

  Attributes:
    system: its name.
    num_seeds: seeds with scores; 0 for a system that draws nothing at random.
    file: the results.json it was read from.
  """

  system: str
  num_seeds: int
  file: str


class Row(NamedTuple):
  """The score over machines or one machine; a value a seed on both sides.

  Attributes:
    name: of the machine.
    a: seed to score of A, None where it is missing.
    b: those of B.
    fused_a: score of A's ensemble.
    fused_b: score of B's.
    record: what the test over seeds says; of kind "none" if there is none.
    p_holm: its p, corrected for the number of machines.
    clips: what the test over test clips says, None if there is none.
    p_holm_clips: its p, corrected.
  """

  name: str
  a: dict[str, Value]
  b: dict[str, Value]
  fused_a: Value
  fused_b: Value
  record: paired.Comparison
  p_holm: Value = None
  clips: paired.Comparison | None = None
  p_holm_clips: Value = None


class Compared(NamedTuple):
  """Two runs, the score over machines first among the rows.

  Attributes:
    a: the first run.
    b: the second; differences are B - A.
    rows: the numbers.
    notes: what a reader must know.
  """

  a: Side
  b: Side
  rows: list[Row]
  notes: list[str]

  @property
  def drawn(self) -> bool:
    """Whether a system draws something at random, so that seeds matter."""
    return bool(self.a.num_seeds or self.b.num_seeds)

  @property
  def over_seeds(self) -> bool:
    """Whether there is a test over seeds."""
    return self.rows[0].record.kind != "none"

  @property
  def over_clips(self) -> bool:
    """Whether there is a test over clips."""
    return self.rows[0].clips is not None


def _corrected(
  machines: Sequence[Row],
  record_of: Callable[[Row], tuple[paired.Comparison | None, Value]],
) -> tuple[int, list[str]]:
  """How many machines a test was made for, and those below 0.05 corrected."""
  pairs = [(row.name, *record_of(row)) for row in machines]
  tested = [(n, r, p) for n, r, p in pairs if r is not None and p is not None]
  kept = [
    f"{text.visible(name)} ({100 * record.difference:+.2f})"
    for name, record, p in tested
    if p < 0.05
  ]
  return len(tested), kept


def _about_machines(machines: Sequence[Row]) -> list[str]:
  """Which machines differ, once their number is corrected for."""
  over = {
    "over seeds": lambda r: (r.record, r.p_holm),
    "over test clips": lambda r: (r.clips, r.p_holm_clips),
  }
  found = {what: _corrected(machines, of) for what, of in over.items()}
  num = max(count for count, _ in found.values())
  # With many machines some p is small by chance alone.
  if num < 2:
    return []
  below = "; ".join(
    f"{what} {', '.join(kept) or 'none'}"
    for what, (count, kept) in found.items()
    if count
  )
  return [
    f"{num} machines are tested, and one test in twenty is below 0.05 by chance"
    " alone: read p (Holm), which is corrected for that. Below 0.05 after"
    f" correction: {below}."
  ]


def _remarks(found: Compared) -> list[str]:
  """Sentences to read with the numbers, the verdict first."""
  first, *machines = found.rows
  lines = [verdict.verdict(first.record, first.clips, drawn=found.drawn)]
  if found.over_seeds and (details := verdict.details(first.record)):
    lines.append(f"Over seeds, of the {first.name}: {details}.")
  # What a test does not say is said each time, or it will be read into it.
  if found.over_seeds:
    lines.append(OVER_SEEDS)
  if found.over_clips:
    lines.append(OVER_CLIPS)
    lines[-1] += f" {NOT_AGAIN}" if found.drawn else ""
  return lines + _about_machines(machines)


def _percent(value: Value) -> str:
  return "-" if value is None else f"{100 * value:.2f}"


def _test_cells(record: paired.Comparison, p_holm: Value) -> list[str]:
  """Difference, interval, p and corrected p."""
  ends = record.interval
  return [
    f"{100 * record.difference:+.2f}",
    f"{100 * ends.low:+.2f} to {100 * ends.high:+.2f}" if ends else "-",
    verdict.p_value(record.p_t),
    verdict.p_value(p_holm),
  ]


def _seed_cells(row: Row) -> list[str]:
  """The columns over seeds after the name, `-` where there is nothing."""
  record, out = row.record, []
  for values in (row.a, row.b):
    known = [v for v in values.values() if v is not None]
    std = seeds.spread(known)
    out.append(_percent(math.fsum(known) / len(known)))
    out[-1] += f" +- {_percent(std[1])}" if std else ""
  out += [_percent(row.fused_a), _percent(row.fused_b)]
  out += _test_cells(record, row.p_holm)
  if record.wins is None:
    return [*out, "-"]
  return [*out, f"{record.wins}/{max(record.num_a, record.num_b)}"]


def _clip_cells(row: Row) -> list[str]:
  """The columns over test clips after the name."""
  # Without scores of clips the difference alone is left.
  record = row.clips or row.record
  num = str(row.clips.num_a) if row.clips else "-"
  cells = _test_cells(record, row.p_holm_clips)
  return [_percent(row.fused_a), _percent(row.fused_b), *cells, num]


def _tables(found: Compared) -> list[tuple[tuple[str, ...], list[list[str]]]]:
  """Heads and cells after the names, of the tests that there are."""
  out = []
  if found.over_seeds:
    out.append((SEED_COLUMNS, [_seed_cells(r) for r in found.rows]))
  if found.over_clips or not out:
    out.append((CLIP_COLUMNS, [_clip_cells(r) for r in found.rows]))
  return out


def _heading(side: Side) -> str:
  """Name, number of seeds and file of a run."""
  num = f"{text.plural(side.num_seeds, 'seed')}, " if side.num_seeds else ""
  return text.visible(f"{side.system}, {num}{side.file}")


def console(found: Compared) -> list[str]:
  """The comparison as lines of text.

  Args:
    found: the comparison.

  Returns:
    The lines.
  """
  lines = [f"A: {_heading(found.a)}", f"B: {_heading(found.b)}", ""]
  names = [text.visible(r.name) for r in found.rows]
  for heads, cells in _tables(found):
    named = zip(names, cells, strict=True)
    rows = [list(heads), *([name, *c] for name, c in named)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *rest in rows:
      padded = [c.rjust(w) for c, w in zip(rest, widths[1:], strict=True)]
      lines.append("  ".join([first.ljust(widths[0]), *padded]))
    lines.append("")
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


def _pictures(found: Compared) -> dict[str, str]:
  """Title to picture: the intervals, and the seeds if there are any."""
  rows = [
    intervals.Row(r.name, r.record if found.over_seeds else None, r.clips)
    for r in found.rows
  ]
  out = {"Difference": intervals.figure(rows)}
  if found.over_seeds:
    joined = found.rows[0].record.kind == "paired"
    dots = seeds.pairs_figure([_drawn(r) for r in found.rows], joined=joined)
    out["Seed by seed"] = dots
  return out


def page(found: Compared) -> str:
  """The comparison as one self-contained HTML page.

  Args:
    found: the comparison.

  Returns:
    HTML.
  """
  a, b = (text.escape(r.system) for r in (found.a, found.b))
  tables = ""
  for number, (heads, cells) in enumerate(_tables(found)):
    named = zip(found.rows, cells, strict=True)
    tables += text.table(
      f"{heads[0].capitalize()}. Percent; differences in points.",
      [text.Column(seeds.cell(c)) for c in ("score", *heads[1:])],
      [[seeds.row_head(r.name), *map(seeds.cell, c)] for r, c in named],
      name=f"compare-table-{number}",
    )
  notes = "".join(f"<li>{text.escape(n)}</li>" for n in found.notes)
  first, *others = map(text.escape, _remarks(found))
  said = "".join(f"<p>{line}</p>" for line in others)
  heads = [text.escape(_heading(r)) for r in (found.a, found.b)]
  return text.comparison(
    f"{b} against {a}",
    f"<dl><dt>A</dt><dd>{heads[0]}</dd><dt>B</dt><dd>{heads[1]}</dd></dl>",
    f"<p><strong>{first}</strong></p>{said}",
    {
      **_pictures(found),
      "Numbers": tables,
      "Notes": f'<ul class="notes">{notes}</ul>' if notes else "",
    },
  )
