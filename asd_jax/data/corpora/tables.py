"""Tables of a corpus: csv files whose columns are looked up by name."""

import csv
import io
from collections.abc import Sequence

from asd_jax import errors
from asd_jax.data.corpora import files


def rows(file: files.Stored, columns: Sequence[str]) -> list[dict[str, str]]:
  """Reads a csv file with a line of column names.

  Args:
    file: where it is.
    columns: those that it must have; others stay unread.

  Returns:
    Rows, column to cell.

  Raises:
    InputError: it is no such table.
  """
  place = files.title(file)
  try:
    # Editors on Windows put a byte order mark first.
    text = files.content(file).decode("utf-8-sig")
    table = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    found = [str(name).strip() for name in table.fieldnames or ()]
    table.fieldnames = found
    content = list(table)
  except (UnicodeDecodeError, csv.Error) as error:
    raise errors.InputError(
      f"{place}: found no csv table ({error}), expected the columns "
      + ", ".join(columns)
    ) from error
  missing = [name for name in columns if name not in found]
  if missing:
    raise errors.InputError(
      f"{place}: found the columns {', '.join(found) or 'none'}, expected "
      f"{', '.join(missing)} too"
    )
  for number, row in enumerate(content, start=2):
    if any(row[name] is None for name in columns):
      raise errors.InputError(
        f"{place}: found row {number} cut short, expected "
        f"{', '.join(columns)} in it"
      )
  return [{name: row[name].strip() for name in columns} for row in content]
