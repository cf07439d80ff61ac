"""Compares two runs over seeds or test clips, as text and as a page."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from asd_jax import errors, files
from asd_jax.metrics import official, paired
from asd_jax.report import seeds as report_seeds
from asd_jax.report import text
from asd_jax.runs import compare_clips

_EXPECTED = "results.json of a run of evaluate.py"
_KINDS = {"system": str, "machines": dict, "per_seed": list}
_KINDS |= {"official_score": object}
_KEYS = (*official.RANKED, "score")
REMINDER = (
  "This is a statement about seeds, that is about training again, and not about"
  " other test clips: every seed sees the same test clips."
)
_HEADS = "A +- std,B +- std,A ensemble,B ensemble,B - A,95 % interval,p,"
_HEADS += "p (Holm),B wins"
COLUMNS = ("", *_HEADS.split(","))

Value = float | None
Machines = dict[str, dict[str, Value]]


class Run(NamedTuple):
  """A results.json.

  Attributes:
    file: where it was read.
    results: its content.
    official: score of the fused scores.
    machines: metrics of the fused scores by machine.
    seeds: official score and machines by seed.
  """

  file: Path
  results: Mapping[str, Any]
  official: float
  machines: Machines
  seeds: dict[str, tuple[Value, Machines]]


class Row(NamedTuple):
  """The official score or one machine; a value a seed on both sides."""

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

  a: Run
  b: Run
  rows: list[Row]
  notes: list[str]
  clips: paired.Comparison | None = None


def _unfit(file: Path, found: str, expected: str) -> errors.InputError:
  return errors.InputError(f"{file}: found {found}, expected {expected}.")


def _fraction(file: Path, place: str, value: Any) -> Value:
  number = isinstance(value, int | float) and not isinstance(value, bool)
  if value is None or (number and 0 <= value <= 1):
    return value
  found = f"{repr(value)[:40]} at {place}"
  raise _unfit(file, found, "a fraction from 0 to 1 or null")


def _machines(file: Path, given: Any) -> Machines:
  if not isinstance(given, dict):
    raise _unfit(file, f"machines {repr(given)[:40]}", "metrics by name")
  out = {}
  for name, entry in given.items():
    if not isinstance(entry, dict):
      raise _unfit(file, f"{repr(entry)[:40]} at {name}", "metrics")
    place = text.visible(name)
    out[name] = {k: _fraction(file, place, entry.get(k)) for k in _KEYS}
  return out


def read(path: str | Path) -> Run:
  """Reads a run.

  Args:
    path: results.json, or the folder that holds it.

  Returns:
    The run.

  Raises:
    InputError: it is missing, is not a results.json, or has no scores because
      its clips have no labels.
  """
  file = Path(path)
  file = file / "results.json" if file.is_dir() else file
  if not file.exists():
    raise _unfit(file, "no file", _EXPECTED)
  found = files.read_json(file, expected=_EXPECTED)
  for key, kind in _KINDS.items():
    if key not in found:
      raise _unfit(file, f"no key {key!r}", _EXPECTED)
    if not isinstance(found[key], kind):
      raise _unfit(file, f"{key} {repr(found[key])[:40]}", f"a {kind.__name__}")
  score = _fraction(file, "official_score", found["official_score"])
  if score is None:
    raise _unfit(file, "official_score null", "test clips with labels")
  seeds: dict[str, tuple[Value, Machines]] = {}
  for entry in found["per_seed"]:
    missing = {"seed", "official_score", "machines"}
    missing -= set(entry) if isinstance(entry, dict) else set()
    if missing:
      raise _unfit(file, f"no key {min(missing)!r} in per_seed", _EXPECTED)
    seed = report_seeds.seed_name(entry)
    if seed in seeds:
      raise _unfit(file, f"seed {seed} twice in per_seed", "each once")
    value = _fraction(file, f"seed {seed}", entry["official_score"])
    seeds[seed] = value, _machines(file, entry["machines"])
  if all(value is None for value, _ in seeds.values()):
    raise _unfit(file, "no score of a seed in per_seed", "one or more")
  return Run(file, found, score, _machines(file, found["machines"]), seeds)


def _ranked(run: Run) -> set[tuple[str, str]]:
  """Machines and metrics that the official score of a run is made of."""
  return {
    (name, key)
    for name, entry in run.machines.items()
    for key in official.RANKED
    if entry[key] is not None
  }


def _official(
  value: Value, machines: Machines, places: Sequence[tuple[str, str]]
) -> Value:
  """The official score, over `places` alone if there are any."""
  if not places:
    return value
  found = [machines.get(name, {}).get(key) for name, key in places]
  return None if None in found else official.official_score(found)


def _machine_rows(a: Run, b: Run) -> tuple[list[Row], list[str]]:
  """Rows of the machines that both runs scored, and the others' names."""
  rows, without = [], []
  for name in a.machines:
    if name not in b.machines:
      continue
    first, second = (
      {s: m.get(name, {}).get("score") for s, (_, m) in r.seeds.items()}
      for r in (a, b)
    )
    fused_a, fused_b = (r.machines[name]["score"] for r in (a, b))
    try:
      record = paired.by_seed(first, second)
    except ValueError:
      without.append(name)
      continue
    rows.append(Row(name, first, second, fused_a, fused_b, record))
  return _corrected(rows), without


def _corrected(rows: Sequence[Row]) -> list[Row]:
  """The rows of machines with their p values corrected."""
  corrected = paired.holm([r.record.p_t for r in rows])
  pairs = zip(rows, corrected, strict=True)
  return [r._replace(p_holm=p) for r, p in pairs]


def _over_clips(found: Compared) -> Compared:
  """Adds a test over clips where a side, or both, has a single value.

  Two single values have no other test, so the rows take it.
  """
  first, *machines = found.rows
  if first.record.kind not in ("none", "one sample"):
    return found
  a, b = (
    compare_clips.Source(r.file.parent, r.results) for r in (found.a, found.b)
  )
  names = [r.name for r in machines]
  clips = compare_clips.compare(a, b, names)
  if clips.official is None:
    note = f"no test over clips: {clips.why}"
    return found._replace(notes=[*found.notes, note])
  notes = [*found.notes, *clips.notes]
  if first.record.kind == "one sample":
    return found._replace(notes=notes, clips=clips.official)
  rows = [r._replace(record=clips.machines[r.name]) for r in machines]
  first = first._replace(record=clips.official)
  return found._replace(rows=[first, *_corrected(rows)], notes=notes)


def _record_notes(rows: Sequence[Row]) -> list[str]:
  """Each note of the rows once, with the rows it is about."""
  about: dict[str, list[str]] = {}
  for row in rows:
    if row.record.note:
      about.setdefault(row.record.note, []).append(row.name)
  return [
    note if len(names) == len(rows) else f"{report_seeds.named(names)}: {note}"
    for note, names in about.items()
  ]


def compare(a: Run, b: Run) -> Compared:
  """Compares B with A on the machines that both have.

  Raises:
    InputError: no machine has scores in both.
  """
  known = [_ranked(r) for r in (a, b)]
  common = sorted(known[0] & known[1])
  if not common:
    first, second = (report_seeds.named(r.machines) or "none" for r in (a, b))
    wanted = f"one that {a.file} scored too ({first})"
    raise _unfit(b.file, f"machines {second}", wanted)
  places = [] if known[0] == known[1] else common
  notes = [
    f"only in {side}, left out: {report_seeds.named(only)}"
    for side, only in (
      ("A", [n for n in a.machines if n not in b.machines]),
      ("B", [n for n in b.machines if n not in a.machines]),
    )
    if only
  ]
  if places:
    notes.append("the official score is over what both runs have a value of")
  first, second = (
    {s: _official(v, m, places) for s, (v, m) in r.seeds.items()}
    for r in (a, b)
  )
  fused_a, fused_b = (_official(r.official, r.machines, places) for r in (a, b))
  try:
    record = paired.by_seed(first, second)
  except ValueError as e:
    wanted = f"one with the machines of {a.file}"
    raise _unfit(b.file, "no seed", wanted) from e
  rows, without = _machine_rows(a, b)
  if without:
    notes.append(
      f"no score of a seed in both runs: {report_seeds.named(without)}"
    )
  total = Row("official score", first, second, fused_a, fused_b, record)
  rows = [total, *rows]
  notes += compare_clips.data_notes(a.results, b.results)
  if any("branch" in e for r in (a, b) for e in r.results["per_seed"]):
    notes.append("what counts as a seed is a member: a branch with its seed")
  found = _over_clips(Compared(a, b, rows, notes))
  return found._replace(notes=[*_record_notes(found.rows), *found.notes])


def _remarks(found: Compared) -> list[str]:
  """Sentences to read with the numbers, the verdict first."""
  first, *machines = found.rows
  fused = None
  if first.fused_a is not None and first.fused_b is not None:
    fused = first.fused_b - first.fused_a
  lines = [paired.verdict(first.record, fused=fused)]
  if details := paired.details(first.record):
    lines.append(f"Official score: {details}.")
  if first.record.kind == "clips":
    lines.append(compare_clips.REMINDER)
  elif first.record.kind != "none":
    lines.append(REMINDER)
  if found.clips:
    a, b = (text.plural(len(r.seeds), "seed") for r in (found.a, found.b))
    lines.append(
      f"Over test clips, the ensembles of A ({a}) and of B ({b}):"
      f" {paired.verdict(found.clips)} {compare_clips.REMINDER}"
    )
  tested = [r for r in machines if r.p_holm is not None]
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
    std = report_seeds.spread(known)
    out.append(percent(math.fsum(known) / len(known)))
    out[-1] += f" +- {percent(std[1])}" if std else ""
  out += [percent(row.fused_a), percent(row.fused_b)]
  out.append(f"{100 * record.difference:+.2f}")
  ends = record.interval
  out.append(
    f"{100 * ends.low:+.2f} to {100 * ends.high:+.2f}" if ends else "-"
  )
  out += [paired.p_value(record.p_t), paired.p_value(row.p_holm)]
  if record.wins is None or record.kind in ("none", "clips"):
    return [*out, "-"]
  return [*out, f"{record.wins}/{max(record.num_a, record.num_b)}"]


def _heading(run: Run) -> str:
  """Name, number of seeds and file of a run."""
  num = text.plural(len(run.seeds), "seed")
  return text.visible(f"{run.results['system']}, {num}, {run.file}")


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


def _drawn(row: Row) -> tuple[report_seeds.Row, report_seeds.Row]:
  """Dots of both systems; in the same order of seeds where they are paired."""
  b = row.b
  if row.record.kind == "paired":
    b = {seed: b[seed] for seed in row.a}
  return (
    report_seeds.Row(row.name, list(row.a.values()), row.fused_a),
    report_seeds.Row(row.name, list(b.values()), row.fused_b),
  )


def page(found: Compared) -> str:
  """The comparison as one self-contained HTML page.

  Args:
    found: the comparison.

  Returns:
    HTML.
  """
  a, b = (text.escape(r.results["system"]) for r in (found.a, found.b))
  table = text.table(
    "Percent; differences in points.",
    [text.Column(report_seeds.cell(c or "score")) for c in COLUMNS],
    [
      [report_seeds.row_head(r.name), *map(report_seeds.cell, _cells(r))]
      for r in found.rows
    ],
    name="compare-table",
  )
  picture = report_seeds.pairs_figure(
    [_drawn(row) for row in found.rows],
    joined=found.rows[0].record.kind == "paired",
  )
  notes = "".join(f"<li>{text.escape(n)}</li>" for n in found.notes)
  first, *others = map(text.escape, _remarks(found))
  said = "".join(f"<p>{line}</p>" for line in others)
  heads = [text.escape(_heading(r)) for r in (found.a, found.b)]
  return report_seeds.page(
    f"{b} against {a}",
    f"<dl><dt>A</dt><dd>{heads[0]}</dd><dt>B</dt><dd>{heads[1]}</dd></dl>",
    f"<p><strong>{first}</strong></p>{said}",
    {
      "Seed by seed": picture,
      "Numbers": table,
      "Notes": f'<ul class="notes">{notes}</ul>' if notes else "",
    },
  )
