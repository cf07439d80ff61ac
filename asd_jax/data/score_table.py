"""The csv of scores that a run leaves and `score` prints.

It is ours and not the challenge's, whose files are in `submission`.
"""

import csv
import io
import math
from collections.abc import Iterable
from pathlib import Path

from asd_jax import errors, files

HEADER = ("file", "score", "decision")


def text(rows: Iterable[tuple[str, float, int]]) -> str:
  """Writes scores with a header.

  Args:
    rows: file, score and decision of each clip.

  Returns:
    csv.
  """
  return files.csv_text([HEADER, *rows])


def read(file: Path) -> dict[str, float]:
  """Reads the scores back.

  Args:
    file: csv as `text` makes it; columns after the score may differ.

  Returns:
    Clip to score.

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
