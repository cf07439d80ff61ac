"""Compares two runs over seeds and over test clips.

Would training again turn the order around? Would other test clips? Systems
that draw nothing at random leave only the second question. What is found goes
to `report.compare` as plain numbers.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from asd_jax import errors, files
from asd_jax.metrics import official, paired
from asd_jax.metrics import total as total_lib
from asd_jax.report import compare as report_compare
from asd_jax.report import seeds as report_seeds
from asd_jax.report import text
from asd_jax.runs import compare_clips

_EXPECTED = "results.json of a run of evaluate.py"
_KINDS = {"system": str, "machines": dict, "per_seed": list}
# Of any kind here: null has a message of its own.
_KINDS |= {"official_score": object}
_KEYS = (*official.RANKED, "score")
# Of all test clips of a machine, so that no domains are needed for it.
_NO_DOMAINS = "pauc"
_NAMES = {"score": "official score", _NO_DOMAINS: "pAUC"}
Value = report_compare.Value
Row = report_compare.Row
Compared = report_compare.Compared
Machines = dict[str, dict[str, Value]]


class Run(NamedTuple):
  """A results.json.

  Attributes:
    file: where it was read.
    results: its content.
    official: score of the fused scores, None without domains.
    machines: metrics of the fused scores by machine.
    seeds: official score and machines by seed.
  """

  file: Path
  results: Mapping[str, Any]
  official: Value
  machines: Machines
  seeds: dict[str, tuple[Value, Machines]]


def _unfit(file: Path, found: str, expected: str) -> errors.InputError:
  return errors.InputError(f"{file}: found {found}, expected {expected}.")


def _fraction(file: Path, place: str, value: Any) -> Value:
  # A bool would pass as a number and be plotted.
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


def why_no_score(run: Run) -> str:
  """What a run lacks for an official score.

  Args:
    run: one without.

  Returns:
    Words such as "no official score: fan: normal test clips only".
  """
  over = run.results.get("official_score_over")
  if not isinstance(over, dict):  # of an older version
    return "no official score"
  said = total_lib.in_words(None, over)
  return said or "no official score: no labels of test clips"


def _seeds(file: Path, given: Any) -> dict[str, tuple[Value, Machines]]:
  """Official score and machines by seed."""
  seeds: dict[str, tuple[Value, Machines]] = {}
  for entry in given:
    missing = {"seed", "official_score", "machines"}
    missing -= set(entry) if isinstance(entry, dict) else set()
    if missing:
      raise _unfit(file, f"no key {min(missing)!r} in per_seed", _EXPECTED)
    # A seed that is there twice would be paired with the wrong one.
    seed = report_seeds.seed_name(entry)
    if seed in seeds:
      raise _unfit(file, f"seed {seed} twice in per_seed", "each once")
    value = _fraction(file, f"seed {seed}", entry["official_score"])
    seeds[seed] = value, _machines(file, entry["machines"])
  return seeds


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
  # A folder is what people have at hand after a run.
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
  run = Run(file, found, score, _machines(file, found["machines"]), {})
  # Told before any seed is read: unlabelled runs cannot be compared.
  if score is None and not _ranked(run):
    wanted = (
      "normal and anomalous test clips with labels, in their names or in a"
      " table (--config.ground_truth=labels.csv)"
    )
    raise _unfit(file, why_no_score(run), wanted)
  run = run._replace(seeds=_seeds(file, found["per_seed"]))
  values = [v for v, _ in run.seeds.values()]
  if score is None:
    values = [
      entry[_NO_DOMAINS] for _, m in run.seeds.values() for entry in m.values()
    ]
  if all(value is None for value in values):
    raise _unfit(file, "no score of a seed in per_seed", "one or more")
  return run


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
  """A harmonic mean over `places`; the official score if there are none."""
  # Both scored the same machines: their own official scores stand.
  if not places:
    return value
  found = [machines.get(name, {}).get(key) for name, key in places]
  return None if None in found else official.official_score(found)


def _machine_rows(a: Run, b: Run, key: str) -> tuple[list[Row], list[str]]:
  """Rows of the machines that both runs scored, and the others' names."""
  rows, without = [], []
  for name in a.machines:
    # What one side lacks is told in a note, not compared.
    if name not in b.machines:
      continue
    first, second = (
      {s: m.get(name, {}).get(key) for s, (_, m) in r.seeds.items()}
      for r in (a, b)
    )
    fused_a, fused_b = (r.machines[name][key] for r in (a, b))
    try:
      record = paired.by_seed(first, second)
    except errors.InputError:
      without.append(name)
      continue
    rows.append(Row(name, first, second, fused_a, fused_b, record))
  return rows, without


def _corrected(rows: Sequence[Row]) -> list[Row]:
  """The rows of machines with their p values corrected."""
  # The official score is one test and is not corrected with the machines.
  over_seeds = paired.holm([r.record.p_t for r in rows])
  over_clips = paired.holm([r.clips.p_t if r.clips else None for r in rows])
  found = zip(rows, over_seeds, over_clips, strict=True)
  return [r._replace(p_holm=p, p_holm_clips=q) for r, p, q in found]


def _over_clips(
  rows: Sequence[Row], first: Run, second: Run, *, domains: bool
) -> tuple[list[Row], list[str]]:
  """The rows with the test over clips, if it can be made, and notes."""
  total, *machines = rows
  a, b = (
    compare_clips.Source(r.file.parent, r.results) for r in (first, second)
  )
  names = [r.name for r in machines]
  clips = compare_clips.compare(a, b, names, domains=domains)
  if clips.official is not None:
    total = total._replace(clips=clips.official)
    machines = [r._replace(clips=clips.machines[r.name]) for r in machines]
  why = [f"no test over clips: {text.visible(clips.why)}"] if clips.why else []
  return [total, *_corrected(machines)], clips.notes + why


def _record_notes(rows: Sequence[Row]) -> list[str]:
  """Each note of the rows once, with the rows it is about."""
  about: dict[str, list[str]] = {}
  for row in rows:
    for record in (row.record, row.clips):
      if record and record.note:
        about.setdefault(record.note, []).append(row.name)
  return [
    note if len(names) == len(rows) else f"{report_seeds.named(names)}: {note}"
    for note, names in about.items()
  ]


def _draws(run: Run) -> bool:
  """Whether a system draws anything at random, as far as its run tells."""
  # Runs of older versions do not say it: a seed may then have mattered.
  return len(run.seeds) > 1 or run.results.get("draws") is not False


def _side(run: Run) -> report_compare.Side:
  num = len(run.seeds) if _draws(run) else 0
  return report_compare.Side(str(run.results["system"]), num, str(run.file))


def _notes_before(a: Run, b: Run, *, has_score: bool) -> list[str]:
  """Says what is compared, and which machines are not."""
  sides = {"A": a, "B": b}
  notes = []
  if not has_score:
    why = [
      f"{side}: {text.visible(why_no_score(run))}"
      for side, run in sides.items()
      if run.official is None
    ]
    notes.append(
      "compared by the pAUC of all test clips, which needs no domains; a table"
      " of labels with a column domain, in both runs, gives an official score"
      f" ({'; '.join(why)})"
    )
  for side, other in (("A", b), ("B", a)):
    if only := [n for n in sides[side].machines if n not in other.machines]:
      notes.append(f"only in {side}, left out: {report_seeds.named(only)}")
  return notes


def compare(a: Run, b: Run) -> Compared:
  """Compares B with A on the machines that both have.

  By the official score, or by the pAUC where one of them has none: that is of
  all test clips of a machine, whatever their domains.

  Raises:
    InputError: no machine has scores in both.
  """
  known = [_ranked(r) for r in (a, b)]
  # By machine and metric: a set without domains has a pAUC only.
  common = sorted(known[0] & known[1])
  has_score = None not in (a.official, b.official)
  key = "score" if has_score else _NO_DOMAINS
  if not has_score:
    common = [place for place in common if place[1] == key]
  if not common:
    first, second = (report_seeds.named(r.machines) or "none" for r in (a, b))
    wanted = f"one that {a.file} scored too ({first})"
    raise _unfit(b.file, f"machines {second}", wanted)
  # Computed anew only where it must be: else a reader finds other numbers here
  # than in the runs' own reports.
  places = [] if has_score and known[0] == known[1] else common
  notes = _notes_before(a, b, has_score=has_score)
  if places and has_score:
    notes.append("the official score is over what both runs have a value of")
  first, second = (
    {s: _official(v, m, places) for s, (v, m) in r.seeds.items()}
    for r in (a, b)
  )
  fused_a, fused_b = (_official(r.official, r.machines, places) for r in (a, b))
  try:
    record = paired.by_seed(first, second)
  except errors.InputError as e:
    wanted = f"one with the machines of {a.file}"
    raise _unfit(b.file, "no seed", wanted) from e
  rows, without = _machine_rows(a, b, key)
  if without:
    notes.append(
      f"no score of a seed in both runs: {report_seeds.named(without)}"
    )
  total = Row(_NAMES[key], first, second, fused_a, fused_b, record)
  rows, over_clips = _over_clips([total, *rows], a, b, domains=has_score)
  notes += over_clips + compare_clips.data_notes(a.results, b.results)
  # A single value that nothing random went into has no spread to miss.
  spreads = [_draws(r) for r in (a, b) if len(r.seeds) == 1]
  if spreads and not any(spreads):
    rows = [r._replace(record=r.record._replace(note="")) for r in rows]
  # Systems of chosen members have no seeds beside them.
  if any("branch" in e for r in (a, b) for e in r.results["per_seed"]):
    notes.append("what counts as a seed is a member: a branch with its seed")
  notes = _record_notes(rows) + notes
  return Compared(_side(a), _side(b), rows, notes)
