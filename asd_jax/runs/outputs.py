"""The files of a run: scores, challenge files, report and results.json."""

import json
from pathlib import Path
from typing import Any

from asd_jax import errors, files
from asd_jax.data import score_table, submission, submission_meta
from asd_jax.metrics import official
from asd_jax.report import page as report_page
from asd_jax.report import record
from asd_jax.runs.results import Scored

Config = dict[str, Any]


def _rows(scored: Scored) -> list[tuple[str, float, int]]:
  return [
    (c.name, float(s), int(d))
    for c, s, d in zip(scored.clips, scored.score, scored.decision, strict=True)
  ]


def _write_submission(
  out: Path, config: Config, scored: dict[str, dict[str, Scored]], entries: dict
) -> None:
  spec = config["submission"]
  tables = {
    name: {s: _rows(v) for s, v in sections.items() if v.clips}
    for name, sections in scored.items()
  }
  # Machines without test clips have no challenge files.
  tables = {name: sections for name, sections in tables.items() if sections}
  if not tables:
    return
  known = {
    n: {k: e[k] for k in official.RANKED}
    for n, e in entries.items()
    if e["score"] is not None
  }
  meta = submission_meta.build(
    spec["label"],
    name=config["system"],
    abbreviation=spec["abbreviation"],
    development=known,
  )
  submission.write(out / "submission", spec["label"], tables, meta)
  expected = {
    name: {s: {r[0] for r in rows} for s, rows in sections.items()}
    for name, sections in tables.items()
  }
  # Our own files are checked as the challenge would, before anyone sends them.
  if problems := submission.check(out / "submission", expected=expected):
    raise errors.InputError(f"{out / 'submission'}: {'; '.join(problems)}")


def write_machine(
  out: Path, config: Config, machine: str, sections: dict[str, Scored]
) -> None:
  """Writes scores and challenge files of one machine.

  Args:
    out: output folder.
    config: the run's config.
    machine: its name.
    sections: section to scores.
  """
  rows = {s: _rows(v) for s, v in sections.items()}
  every = [row for some in rows.values() for row in some]
  place = out / "scores" / f"{machine}.csv"
  files.atomic_write_text(place, score_table.text(every))
  submission.write_machine(
    out / "submission",
    config["submission"]["label"],
    machine,
    {s: some for s, some in rows.items() if some},
  )


def write(
  out: Path,
  config: Config,
  scored: dict[str, dict[str, Scored]],
  run: record.Run,
) -> None:
  """Writes scores, challenge files, report and, last, results.json.

  Files of the machines are there already, unless someone removed them
  meanwhile; the challenge's meta file needs the metrics of all.

  Args:
    out: output folder.
    config: the run's config.
    scored: machine to section to scores.
    run: the run's record, with the content of results.json.
  """
  for name, sections in scored.items():
    write_machine(out, config, name, sections)
  _write_submission(out, config, scored, run.results["machines"])
  files.atomic_write_text(out / "report.html", report_page.page(run))
  # Last, so that a folder with results.json is a whole run.
  # NaN is no JSON: better to fail here than in what reads it.
  text = json.dumps(run.results, indent=2, allow_nan=False)
  files.atomic_write_text(out / "results.json", text + "\n")
