"""Challenge packages are written; see `submission` for what they hold."""

import math
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from asd_jax import errors, files
from asd_jax.data import submission, submission_meta

# Clip name, score, decision; None where none is possible, which becomes 0.
Rows = Sequence[tuple[str, float, int | bool | None]]


def texts(machine: str, section: str, rows: Rows) -> dict[str, str]:
  """File names and csv texts of one machine and section.

  Raises:
    InputError: a name, score or decision that no such file can hold.
  """
  where = f"{machine}, section {section}"
  places = [
    f"{kind}_{machine}_section_{section}_test.csv"
    for kind in submission.PARSERS
  ]
  match = submission.FILE.fullmatch(places[0])
  is_plain = not re.search(r"[/\\\x00-\x1f]", machine)
  # A machine may be called like a part of the name: it must read back.
  if not is_plain or not match or match.groups()[1:] != (machine, section):
    raise errors.InputError(
      f"{where}: expected a machine name without slashes and two digits"
    )
  clips = [name for name, _, _ in rows]
  twice = [name for name, num in Counter(clips).items() if num > 1]
  if not clips or "" in clips or twice:
    raise errors.InputError(
      f"{where}: clips that are missing, without a name or double: "
      f"{submission.some(sorted(twice)) or 'none or no name'}"
    )
  for name, score, decision in rows:
    if not math.isfinite(score) or decision not in (0, 1, None):
      raise errors.InputError(
        f"{where}: {name} has score {score} and decision {decision}, expected "
        "a finite number and 0 or 1"
      )
  columns = (
    [(name, float(score)) for name, score, _ in rows],
    [(name, int(decision or 0)) for name, _, decision in rows],
  )
  return dict(zip(places, map(files.csv_text, columns), strict=True))


def _remove_stale(system: Path, written: Collection[Path]) -> None:
  """Removes result and meta files of an earlier run from a system folder."""
  old = [p for p in system.glob("*.csv") if submission.FILE.fullmatch(p.name)]
  for path in {*old, *system.glob("*.meta.y*ml")} - set(written):
    try:
      path.unlink()
    except OSError as error:
      raise errors.InputError(f"{path}: cannot be removed: {error}") from error


def _read_back(
  system: Path, machines: Mapping[str, Mapping[str, Rows]]
) -> None:
  """Checks what was written; raises InputError with what is wrong."""
  scores = {
    machine: {
      section: {name: float(score) for name, score, _ in rows}
      for section, rows in sections.items()
    }
    for machine, sections in machines.items()
  }
  if problems := submission.check(system, expected=scores):
    raise errors.InputError(f"{system}: {'; '.join(problems)}")
  if submission.read_scores(system) != scores:
    raise errors.InputError(
      f"{system}: the scores do not read back as they were"
    )


def write_machine(
  folder: str | Path, label: str, machine: str, sections: Mapping[str, Rows]
) -> None:
  """Writes the result files of one machine of a package; see `write`.

  Args:
    folder: of the package.
    label: of the system.
    machine: its name.
    sections: by section, rows of clip name, score and decision.

  Raises:
    InputError: something is double or not finite, or a file cannot be
      written.
  """
  submission.check_label(label)
  for section, rows in sections.items():
    for name, text in texts(machine, section, rows).items():
      files.atomic_write_text(Path(folder) / "task2" / label / name, text)


def write(
  folder: str | Path,
  label: str,
  machines: Mapping[str, Mapping[str, Rows]],
  meta: Mapping[str, Any],
) -> list[Path]:
  """Writes `<folder>/task2/<label>/`, reads it back and checks it.

  Everything is checked before the first file is written; files are complete
  or absent. Result files of an earlier run in the same system folder are
  removed: the package is this run's.

  Args:
    folder: of the package.
    label: `<LastName>_<Institute>_task2_<1..4>`.
    machines: by machine and section (`00`), rows of clip name, score and
      decision. Names may be of any kind.
    meta: content of the meta file, see `submission_meta.build`.

  Returns:
    The files: scores and decisions of each machine, then the meta file.

  Raises:
    InputError: something is missing, double, unknown or not finite, or a file
      cannot be written.
  """
  submission.check_label(label)
  every: dict[str, str] = {}
  for machine, sections in machines.items():
    for section, rows in sections.items():
      every |= texts(machine, section, rows)
  problems = submission_meta.problems_of(meta, label)
  if problems or not every:
    raise errors.InputError(f"{label}: {'; '.join(problems) or 'no machines'}")
  every[f"{label}.meta.yaml"] = submission_meta.dump(meta)
  system = Path(folder) / "task2" / label
  paths = [files.atomic_write_text(system / n, t) for n, t in every.items()]
  # After the new files are whole: a write that fails leaves old ones alone.
  _remove_stale(system, paths)
  _read_back(system, machines)
  return paths
