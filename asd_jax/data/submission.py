"""Challenge packages: read and checked; `submission_write` writes them.

A package is `task2/<label>/` with, for every machine and section,
`anomaly_score_<machine>_section_<ss>_test.csv` and
`decision_result_<machine>_section_<ss>_test.csv` (file name, value; no
header), and `<label>.meta.yaml`. Rows are joined by file name, never by
position. The long file names of the official baseline are read as well.
"""

import csv
import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path

from asd_jax import errors
from asd_jax.data import names, submission_meta

SCORE, DECISION = "anomaly_score", "decision_result"
MAX_SYSTEMS = 4
_LABEL = re.compile(r"[^_\s/\\]+(_[^_\s/\\]+)+_task2_[1-4]")
# The official baseline puts the task before the machine, seed and tag behind.
FILE = re.compile(
  rf"({SCORE}|{DECISION})_(?:DCASE\d{{4}}T2)?(.+)_section_(\d\d)_test"
  r"(?:_seed\d+.*)?\.csv",
  re.DOTALL,
)

Values = dict[str, float]
Expected = Mapping[str, Mapping[str, Collection[str]]]
_Pairs = dict[tuple[str, str], dict[str, list[Path]]]


def some(items: Iterable[object], *, most: int = 5) -> str:
  """The first few items and how many more there are.

  Args:
    items: what is listed.
    most: how many at most.
  """
  every = [str(item) for item in items]
  more = len(every) - most
  return ", ".join(every[:most]) + (f" and {more} more" if more > 0 else "")


def _parse_score(cell: str) -> float:
  value = float(cell)
  if not math.isfinite(value):
    raise errors.InputError
  return value


def _parse_decision(cell: str) -> float:
  # Of the text, not of a number: `1.0` is neither of the two values.
  return float(("0", "1").index(cell.strip()))


PARSERS: dict[str, tuple[Callable[[str], float], str]] = {
  SCORE: (_parse_score, "a finite number"),
  DECISION: (_parse_decision, "0 or 1"),
}


def _read(path: Path, kind: str) -> tuple[Values, list[str]]:
  """Reads one csv file: its values by clip name, and what is wrong with it."""
  try:
    with open(
      path, encoding="utf-8", errors="surrogateescape", newline=""
    ) as file:
      rows = list(csv.reader(file))
  except (OSError, csv.Error) as error:
    return {}, [f"cannot be read: {error}"]
  parse, wanted = PARSERS[kind]
  values: Values = {}
  problems, twice = [], []
  for number, row in enumerate(rows, 1):
    if len(row) != 2:
      problems.append(f"row {number} has {len(row)} columns, expected 2")
      continue
    name, cell = row
    if name in values:
      twice.append(name)
    try:
      values[name] = parse(cell)
    except ValueError:
      values[name] = math.nan
      hint = " (a header is not allowed)" if number == 1 else ""
      problems.append(f"row {number}: {cell!r} is not {wanted}{hint}")
  if len(problems) > 5:
    problems = [*problems[:5], f"{len(problems) - 5} more rows like these"]
  if twice:
    problems.append(f"more than one row for {some(twice)}")
  if not rows:
    problems.append("is empty")
  return values, problems


def _pairs(system: Path) -> tuple[_Pairs, list[str]]:
  """Result files by (machine, section) and kind; names that do not fit."""
  pairs: _Pairs = {}
  odd = []
  for path in sorted(system.glob("*.csv")):
    match = FILE.fullmatch(path.name)
    if match:
      kind, machine, section = match.groups()
      pairs.setdefault((machine, section), {}).setdefault(kind, []).append(path)
    elif path.name.startswith((SCORE, DECISION)):
      odd.append(
        f"{path.name}: expected <{SCORE}|{DECISION}>_<machine>_section_<two "
        "digits>_test.csv"
      )
  return pairs, odd


def _is_system(place: Path) -> bool:
  """Holds result files, or has a label for a name and no folders inside."""
  if any(any(place.glob(f"{kind}_*.csv")) for kind in PARSERS):
    return True
  is_label = _LABEL.fullmatch(place.resolve().name) is not None
  return is_label and not any(place.glob("*/"))


def systems(folder: str | Path) -> list[Path]:
  """The system folders of a package.

  Args:
    folder: a package, its `task2` folder or a single system folder.
  """
  root = Path(folder)
  if (root / "task2").is_dir():
    root = root / "task2"
  # Archives may unpack into folders of their own, but no disk is searched.
  places = [root, *(p for n in (1, 2, 3) for p in root.glob("*/" * n))]
  return sorted(place for place in places if _is_system(place))


def _name_problems(
  clips: Collection[str], section: str, expected: Collection[str] | None
) -> list[str]:
  """Clip names that are missing or unknown, or of no known form."""
  if expected is None:
    parsed = {clip: names.parse(clip) for clip in clips}
    tests = {
      clip: name
      for clip, name in parsed.items()
      if name is not None and name.split in (None, "test")
    }
    lists = {
      "names that are no test clips": [c for c in clips if c not in tests],
      "names of another section": [
        clip for clip, name in tests.items() if name.section != section
      ],
    }
  else:
    # The official evaluator sorts the rows and pairs them by position, without
    # a look at the names: a missing row may shift the labels of all others.
    lists = {
      "missing clips": sorted(set(expected) - set(clips)),
      "unknown clips": sorted(set(clips) - set(expected)),
    }
  return [f"{what}: {some(found)}" for what, found in lists.items() if found]


def _pair_problems(
  paths: Mapping[str, list[Path]],
  section: str,
  expected: Collection[str] | None,
) -> list[str]:
  """What is wrong with the two files of one machine and section."""
  problems = []
  tables: list[Values] = []
  for kind in (SCORE, DECISION):
    found = paths.get(kind, [])
    if len(found) != 1:
      listed = f": {some(p.name for p in found)}" if found else ""
      problems.append(f"{len(found)} {kind} files, expected 1{listed}")
    for path in found:
      values, wrong = _read(path, kind)
      wrong += _name_problems(values, section, expected)
      problems += [f"{path.name}: {text}" for text in wrong]
      tables.append(values)
  if len(tables) == 2 and tables[0].keys() != tables[1].keys():
    alone = sorted(tables[0].keys() ^ tables[1].keys())
    problems.append(f"clips with a score or a decision only: {some(alone)}")
  return problems


def _system_problems(system: Path, expected: Expected | None) -> list[str]:
  """What is wrong with one system folder."""
  label = system.resolve().name
  pairs, problems = _pairs(system)
  if not _LABEL.fullmatch(label):
    problems.append("label: expected <LastName>_<Institute>_task2_<1..4>")
  if not pairs:
    problems.append(f"no {SCORE}_<machine>_section_<ss>_test.csv")
  wanted = {
    (m, s): n for m, ss in (expected or {}).items() for s, n in ss.items()
  }
  # Of both: a machine may be missing from the package, or be none of the set.
  for key in sorted(pairs.keys() | wanted.keys()):
    where = f"{key[0]}, section {key[1]}"
    if expected is not None and key not in wanted:
      problems.append(f"{where}: unknown machine or section")
      continue
    clips = None if expected is None else wanted[key]
    found = _pair_problems(pairs.get(key, {}), key[1], clips)
    problems += [f"{where}: {text}" for text in found]
  problems += submission_meta.problems_in(system, label)
  return [f"{label}: {text}" for text in problems]


def check(folder: str | Path, *, expected: Expected | None = None) -> list[str]:
  """Validates a package of anyone.

  Args:
    folder: a package, its `task2` folder or a single system folder.
    expected: the names of the test clips, by machine and section (`00`).
      Without it names are only checked for their form.

  Returns:
    One text a problem, with system, file and row; empty when valid.
  """
  folder = Path(folder)
  if not folder.is_dir():
    return [f"{folder}: no such folder"]
  found = systems(folder)
  problems = [] if found else [f"{folder}: no system folder with results"]
  if len(found) > MAX_SYSTEMS:
    problems.append(f"{len(found)} systems, expected {MAX_SYSTEMS} at most")
  for system in found:
    problems += _system_problems(system, expected)
  return problems


def only_system(folder: str | Path) -> Path:
  """The folder of the only system of a package.

  Raises:
    InputError: no or several systems.
  """
  found = systems(folder) if Path(folder).is_dir() else []
  if len(found) != 1:
    listed = f": {some(p.name for p in found)}" if found else ""
    raise errors.InputError(
      f"{folder}: {len(found)} systems, expected 1{listed}"
    )
  return found[0]


def read_scores(
  folder: str | Path, *, kind: str = SCORE
) -> dict[str, dict[str, Values]]:
  """Anomaly scores of one system, by machine, section and clip name.

  Args:
    folder: a system folder, or a package with one system.
    kind: `DECISION` for the decisions (0.0 or 1.0) instead.

  Returns:
    Machine to section to clip name to value.

  Raises:
    InputError: no or several systems, a missing or a faulty file.
  """
  system = only_system(folder)
  out: dict[str, dict[str, Values]] = {}
  pairs, _ = _pairs(system)
  for (machine, section), kinds in pairs.items():
    paths = kinds.get(kind, [])
    if len(paths) != 1:
      raise errors.InputError(
        f"{system}: {len(paths)} {kind} files for {machine}, section "
        f"{section}, expected 1"
      )
    values, problems = _read(paths[0], kind)
    if problems:
      raise errors.InputError(f"{paths[0]}: {'; '.join(problems)}")
    out.setdefault(machine, {})[section] = values
  return out


def check_label(label: str) -> None:
  """Refuses a label that is not `<LastName>_<Institute>_task2_<1..4>`."""
  if not _LABEL.fullmatch(label):
    raise errors.InputError(
      f"label {label!r}, expected <LastName>_<Institute>_task2_<1..4>"
    )
