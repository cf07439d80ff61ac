"""Rows of a console's result table."""

from collections.abc import Callable, Mapping

from asd_jax.metrics import official

CONSOLE_COLUMNS = {
  "AUC source": "auc_source",
  "AUC target": "auc_target",
  "pAUC": "pauc",
  "score": "score",
}


def _percent(value: float | None) -> str:
  return "-" if value is None else f"{100 * value:.2f}"


def _mean_cell(
  mean: Callable[[list[float | None]], float | None],
  values: list[float | None],
) -> str:
  """A mean, and of how many where some are missing."""
  num = sum(v is not None for v in values)
  of = f" ({num} of {len(values)})" if 0 < num < len(values) else ""
  return _percent(mean(values)) + of


def console_rows(
  machines: Mapping[str, official.Metrics],
) -> tuple[list[str], list[list[str]]]:
  """Cells of a table with a row a machine, in percent.

  Args:
    machines: by machine, fractions under `auc_source`, `auc_target`, `pauc`
      and `score` (the entries of results.json fit); others are ignored.

  Returns:
    The header and the rows; with two machines or more, the last two are the
    arithmetic and the harmonic mean, `(1 of 2)` behind those that leave
    machines out. The harmonic mean of the score column is the official score
    where nothing is missing. `-` stands for a value that is missing.
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
  # Means of one machine would repeat it.
  if len(machines) > 1:
    for name, mean in means.items():
      columns = ([m.get(key) for m in machines.values()] for key in keys)
      rows.append([name, *(_mean_cell(mean, column) for column in columns)])
  return ["machine", *CONSOLE_COLUMNS], rows
