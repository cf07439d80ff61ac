"""Rows of a console's result table."""

from collections.abc import Callable, Mapping

from asd_jax.metrics import official

CONSOLE_COLUMNS = {
  "AUC source": "auc_source",
  "AUC target": "auc_target",
  "pAUC": "pauc",
  "score": "score",
}
# Of all test clips, where nothing is known of domains.
_NO_DOMAINS = {"AUC": "auc"}


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


def _columns(machines: Mapping[str, official.Metrics]) -> dict[str, str]:
  """Heads and keys of the columns, an AUC of all clips if one needs it."""
  of_domains = official.RANKED[:2]
  unknown = any(
    m.get("auc") is not None and {m.get(key) for key in of_domains} == {None}
    for m in machines.values()
  )
  return {**(_NO_DOMAINS if unknown else {}), **CONSOLE_COLUMNS}


def console_rows(
  machines: Mapping[str, official.Metrics],
) -> tuple[list[str], list[list[str]]]:
  """Cells of a table with a row a machine, in percent.

  Args:
    machines: by machine, fractions under `auc_source`, `auc_target`, `pauc`
      and `score` (the entries of results.json fit), and `auc` of all clips,
      which is shown if a machine has no other; others are ignored.

  Returns:
    The header and the rows; with two machines or more, the last two are the
    arithmetic and the harmonic mean, `(1 of 2)` behind those that leave
    machines out. The harmonic mean of the score column is the official score
    where nothing is missing. `-` stands for a value that is missing.
  """
  columns = _columns(machines)
  keys = columns.values()
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
      values = ([m.get(key) for m in machines.values()] for key in keys)
      rows.append([name, *(_mean_cell(mean, column) for column in values)])
  return ["machine", *columns], rows
