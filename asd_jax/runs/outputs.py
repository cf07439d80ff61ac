"""The files of a run: scores, challenge files, report and results.json."""

import json
from pathlib import Path
from typing import Any

from asd_jax import files
from asd_jax.data import score_table, submission_write
from asd_jax.engine import system as system_lib
from asd_jax.report import page as report_page
from asd_jax.report import record
from asd_jax.runs import challenge
from asd_jax.runs.results import Scored, labels_from

Config = dict[str, Any]


def _rows(scored: Scored) -> list[tuple[str, float, int | None]]:
  """Rows of challenge files, without a decision where none is possible."""
  return [
    (c.name, float(s), int(d) if d >= 0 else None)
    for c, s, d in zip(
      scored.clips, scored.score, scored.decisions, strict=True
    )
  ]


def _table(scored: Scored) -> list[score_table.Row]:
  names = [c.name for c in scored.clips]
  columns = names, scored.score, scored.decisions, scored.p_values
  rows = [score_table.row(*r) for r in zip(*columns, strict=True)]
  return rows + [score_table.unscored(file.name) for file in scored.unread]


def _windows(scored: Scored) -> list[score_table.Window]:
  names = [c.name for c in scored.clips]
  return score_table.windows(names, scored.windows)


def _write_submission(
  out: Path,
  config: Config,
  system: system_lib.System,
  scored: dict[str, dict[str, Scored]],
  results: record.Results,
) -> None:
  tables = {
    name: {s: _rows(v) for s, v in sections.items() if v.clips}
    for name, sections in scored.items()
  }
  # Machines without test clips have no challenge files.
  tables = {name: sections for name, sections in tables.items() if sections}
  if not tables:
    return
  development = [
    name for name in tables if labels_from({name: scored[name]}) == "names"
  ]
  place = out / "submission"
  challenge.write(
    place, config, system, tables, results, development=development
  )


def write_machine(
  out: Path, config: Config, machine: str, sections: dict[str, Scored]
) -> None:
  """Writes scores and, unless of plain folders, challenge files of a machine.

  Args:
    out: output folder.
    config: the run's config.
    machine: its name.
    sections: section to scores.
  """
  every = [row for scored in sections.values() for row in _table(scored)]
  place = out / "scores" / f"{machine}.csv"
  files.atomic_write_text(place, score_table.text(every))
  # Only of machines with long recordings.
  if windows := [w for s in sections.values() for w in _windows(s)]:
    place = out / "scores" / f"{machine}_windows.csv"
    files.atomic_write_text(place, score_table.windows_text(windows))
  if challenge.takes(config):
    rows = {s: _rows(v) for s, v in sections.items() if v.clips}
    label = config["submission"]["label"]
    submission_write.write_machine(out / "submission", label, machine, rows)


def write(
  out: Path,
  config: Config,
  system: system_lib.System,
  scored: dict[str, dict[str, Scored]],
  run: record.Run,
) -> None:
  """Writes scores, challenge files, report and, last, results.json.

  Files of the machines are there already, unless someone removed them
  meanwhile; the challenge's meta file needs the metrics of all.

  Args:
    out: output folder.
    config: the run's config.
    system: built from it.
    scored: machine to section to scores.
    run: the run's record, with the content of results.json.
  """
  for name, sections in scored.items():
    write_machine(out, config, name, sections)
  if challenge.takes(config):
    _write_submission(out, config, system, scored, run.results)
  files.atomic_write_text(out / "report.html", report_page.page(run))
  # Last, so that a folder with results.json is a whole run.
  # NaN is no JSON: better to fail here than in what reads it.
  text = json.dumps(run.results, indent=2, allow_nan=False)
  files.atomic_write_text(out / "results.json", text + "\n")
