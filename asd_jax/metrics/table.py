"""Result tables: the csv texts of the official programs, rows for a console."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence

from asd_jax.metrics import official

BASELINE_COLUMNS = {
  "AUC (source)": "auc_source",
  "AUC (target)": "auc_target",
  "pAUC": "pauc",
  "pAUC (source)": "pauc_source",
  "pAUC (target)": "pauc_target",
  "precision (source)": "precision_source",
  "precision (target)": "precision_target",
  "recall (source)": "recall_source",
  "recall (target)": "recall_target",
  "F1 score (source)": "f1_source",
  "F1 score (target)": "f1_target",
}
EVALUATOR_COLUMNS = {"AUC (all)": "auc"} | {
  name: key
  for name, key in BASELINE_COLUMNS.items()
  if not name.startswith("pAUC (")
}
CONSOLE_COLUMNS = {
  "AUC source": "auc_source",
  "AUC target": "auc_target",
  "pAUC": "pauc",
  "score": "score",
}
_OVERALL = " over all machine types, sections, and domains"

Sections = Mapping[str, official.Metrics]
Row = Sequence[str | float | None]


def _csv_text(rows: Iterable[Row]) -> str:
  """One line a row; None is an empty cell, an empty row an empty line."""
  text = io.StringIO(newline="")
  csv.writer(text, lineterminator="\n").writerows(rows)
  return text.getvalue()


def _section_rows(sections: Sections, columns: Mapping[str, str]) -> list[Row]:
  """The header and one row a section."""
  rows: list[Row] = [["section", *columns]]
  for section, metrics in sections.items():
    rows.append([section, *(metrics.get(key) for key in columns.values())])
  return rows


def _mean_rows(entries: Sequence[official.Metrics], suffix: str) -> list[Row]:
  """The evaluator's header of mean values and its four rows."""
  rows: list[Row] = [["", "", *official.MEAN_COLUMNS]]
  for name, values in official.mean_rows(entries).items():
    rows.append([name + suffix, "", *values.values()])
  return rows


def baseline_csv(sections: Sections) -> str:
  """The official baseline's result file of one machine.

  Args:
    sections: `official.clip_metrics` with decisions, by section (`00`).

  Returns:
    Its text: one line a section, arithmetic and harmonic means, an empty line.
  """
  rows = _section_rows(sections, BASELINE_COLUMNS)
  means = {
    "arithmetic mean": official.arithmetic_mean,
    "harmonic mean": official.official_score,
  }
  for name, mean in means.items():
    values = [
      mean(metrics.get(key) for metrics in sections.values())
      for key in BASELINE_COLUMNS.values()
    ]
    rows.append([name, *values])
  return _csv_text([*rows, []])


def evaluator_csv(
  machines: Mapping[str, Sections], *, ci95: float | None = None
) -> str:
  """The official evaluator's result file of a system.

  Args:
    machines: `official.clip_metrics` with decisions, by machine and section.
    ci95: `uncertainty.official_ci95`, which is too small to be of use; None
      leaves its line out.

  Returns:
    Its text.
  """
  rows: list[Row] = []
  for machine, sections in machines.items():
    rows.append([machine])
    rows += _section_rows(sections, EVALUATOR_COLUMNS)
    rows += [*_mean_rows(list(sections.values()), ""), []]
  entries = [m for sections in machines.values() for m in sections.values()]
  rows += [*_mean_rows(entries, _OVERALL), []]
  score = official.official_score(official.ranked_values(entries))
  rows.append(["official score", "", score])
  if ci95 is not None:
    rows.append(["official score ci95", "", ci95])
  return _csv_text(rows)


def _percent(value: float | None) -> str:
  return "-" if value is None else f"{100 * value:.2f}"


def console_rows(
  machines: Mapping[str, official.Metrics],
) -> tuple[list[str], list[list[str]]]:
  """Cells of a table with a row a machine, in percent.

  Args:
    machines: by machine, fractions under `auc_source`, `auc_target`, `pauc`
      and `score` (the entries of results.json fit); others are ignored.

  Returns:
    The header and the rows; with two machines or more, the last two are the
    arithmetic and the harmonic mean. The harmonic mean of the score column is
    the official score. `-` stands for a value that is missing.
  """
  keys = CONSOLE_COLUMNS.values()
  rows = [
    [name, *(_percent(metrics.get(key)) for key in keys)]
    for name, metrics in machines.items()
  ]
  means = {
    "arithmetic mean": official.arithmetic_mean,
    "harmonic mean": official.official_score,
  }
  if len(machines) > 1:
    for name, mean in means.items():
      columns = ([m.get(key) for m in machines.values()] for key in keys)
      rows.append([name, *(_percent(mean(column)) for column in columns)])
  return ["machine", *CONSOLE_COLUMNS], rows
