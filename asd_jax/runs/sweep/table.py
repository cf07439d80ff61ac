"""The table of a sweep on disk: sweep.csv, and parquet where it can be."""

import importlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from asd_jax import files
from asd_jax.metrics import choice


def rows_of(table: choice.Table) -> list[list[Any]]:
  """Rows of sweep.csv, its head first.

  Args:
    table: every setting.

  Returns:
    A row for each point and machine, and one for all machines.
  """
  head = [*table.keys, "machine", *choice.VALUES, "score"]
  names = [*table.machines, choice.ALL]
  values = {n: choice.columns(table, n) for n in names}
  # The device's values are float32: seven digits.
  cell = lambda v: "" if np.isnan(v) else round(float(v), 7)
  out: list[list[Any]] = [head]
  for point, chosen in enumerate(table.settings):
    start = [chosen.get(key, "") for key in table.keys]
    for name in names:
      out.append([*start, name, *map(cell, values[name][point])])
  return out


def write_parquet(path: Path, rows: Sequence[Sequence[Any]]) -> None:
  """Writes the table as parquet where pyarrow is installed.

  Args:
    path: the file.
    rows: as `rows_of` returns them.
  """
  if importlib.util.find_spec("pyarrow") is None:
    return
  arrow = importlib.import_module("pyarrow")
  parquet = importlib.import_module("pyarrow.parquet")
  head, *body = rows
  columns = {}
  for i, name in enumerate(head):
    cells = [None if row[i] == "" else row[i] for row in body]
    kinds = {type(c) for c in cells} - {type(None)}
    plain = kinds <= {int, float} or kinds <= {str} or kinds <= {bool}
    columns[name] = cells if plain else [str(c) for c in cells]
  sink = arrow.BufferOutputStream()
  parquet.write_table(arrow.table(columns), sink)
  files.atomic_write_bytes(path, sink.getvalue().to_pybytes())
