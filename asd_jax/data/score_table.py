"""The csv of scores that a run leaves and `score` prints.

It is ours and not the challenge's, whose files are in `submission`.
"""

import csv
import io
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from asd_jax import errors, files

HEADER = ("file", "score", "decision", "p_value")


class Row(NamedTuple):
  """One line.

  Attributes:
    file: clip, or path as given.
    score: anomaly score; "" of a file that cannot be scored.
    decision: 1 anomalous, 0 normal, "" where none is possible.
    p_value: share of normal clips that score as high, "" where unknown.
  """

  file: str
  score: float
  decision: int | str
  p_value: float | str


def row(file: str, score: float, decision: int, p_value: float) -> Row:
  """The line of a clip.

  Args:
    file: the clip.
    score: its anomaly score.
    decision: -1 where none is possible.
    p_value: NaN where it is unknown.

  Returns:
    The line.
  """
  said = int(decision) if decision >= 0 else ""
  # Six digits tell apart what any number of training clips can.
  known = "" if math.isnan(p_value) else float(f"{p_value:.6g}")
  return Row(file, float(score), said, known)


def unscored(file: str) -> Row:
  """The line of a file that cannot be scored."""
  none: Any = ""
  return Row(file, none, none, none)


class Window(NamedTuple):
  """One line of a window of a long recording.

  Attributes:
    file: the recording.
    start_seconds: where the window begins.
    score: as of a clip.
    decision: as of a clip.
    p_value: as of a clip.
  """

  file: str
  start_seconds: float
  score: float
  decision: int | str
  p_value: float | str


def windows(names: Sequence[str], columns: Sequence[Any]) -> list[Window]:
  """The lines of windows.

  Args:
    names: of the files.
    columns: of each window the position of its file, its start in seconds,
      score, decision and p-value, as `row` takes them.

  Returns:
    The lines.
  """
  out = []
  for file, start, *values in zip(*columns, strict=True):
    own = row(names[int(file)], *values)
    out.append(Window(own.file, round(float(start), 6), *own[1:]))
  return out


def windows_text(rows: Iterable[Window]) -> str:
  """Writes windows with a header.

  Args:
    rows: of the windows.

  Returns:
    csv.
  """
  return files.csv_text([Window._fields, *rows])


def text(rows: Iterable[Row]) -> str:
  """Writes scores with a header.

  Args:
    rows: of the clips.

  Returns:
    csv.
  """
  return files.csv_text([HEADER, *rows])


def read(file: Path) -> dict[str, float]:
  """Reads the scores back.

  Args:
    file: csv as `text` makes it; columns after the score may differ.

  Returns:
    Clip to score, of those that could be scored.

  Raises:
    InputError: it is missing or damaged.
  """
  where, wanted = f"{file}: found", HEADER[:2]
  try:
    # Names need not be UTF-8; their bytes come back as they were written.
    content = file.read_bytes().decode("utf-8", "surrogateescape")
  except OSError as e:
    raise errors.InputError(f"{where} no readable file ({e.strerror})") from e
  try:
    header, *rows = list(csv.reader(io.StringIO(content, newline=""))) or [[]]
  except csv.Error as e:  # a cell too long to be a name
    raise errors.InputError(f"{where} {e}, expected a csv file") from e
  if tuple(header[:2]) != wanted:
    raise errors.InputError(f"{where} columns {header[:3]}, expected {wanted}")
  out: dict[str, float] = {}
  for row in rows:
    if row[1:2] == [""]:
      continue
    try:
      score = float(row[1])
    except (IndexError, ValueError):
      score = math.nan
    if not math.isfinite(score) or row[0] in out:
      raise errors.InputError(
        f"{where} {row[:2]}, expected each clip and its score"
      )
    out[row[0]] = score
  return out
