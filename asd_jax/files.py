"""Writing files so that nobody ever meets half of one; reading JSON."""

import contextlib
import csv
import io
import json
import os
import secrets
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from asd_jax import errors


def atomic_write_bytes(
  path: str | Path, data: bytes, *, sync: bool = True
) -> Path:
  """Writes a file beside its place, then renames it.

  Args:
    path: the file; missing folders above it are made, an old file is replaced.
    data: its content.
    sync: whether it survives a loss of power from then on.

  Returns:
    The path.

  Raises:
    InputError: it cannot be written (disk full, no permission, a folder stands
      there ...); the message names the path, no partial file is left and an
      old file stays as it was.
  """
  path = Path(path)
  beside = path.parent / f".{secrets.token_hex(8)}.partial"
  try:
    # Beside it, because a rename is whole only within one file system.
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
      with open(beside, "wb") as file:
        file.write(data)
        if sync:
          file.flush()
          os.fsync(file.fileno())
      os.replace(beside, path)
    # An interrupt, too, must leave no partial file.
    except BaseException:
      with contextlib.suppress(OSError):
        beside.unlink()
      raise
  except OSError as error:
    reason = error.strerror or str(error)
    raise errors.InputError(f"{path}: cannot be written: {reason}") from error
  return path


def atomic_write_text(path: str | Path, text: str) -> Path:
  """Writes text as UTF-8, line ends as they are; see `atomic_write_bytes`.

  File names whose bytes are not UTF-8 (surrogate escapes in a Python string)
  come out as those bytes.
  """
  return atomic_write_bytes(path, text.encode(errors="surrogateescape"))


def cache_folder(kind: str) -> Path | None:
  """Folder of results that are kept between runs.

  Args:
    kind: of results.

  Returns:
    A folder in `~/.cache/asd_jax`, or in what `ASD_JAX_CACHE` names instead;
    None where there is no home: nothing is kept then.
  """
  if base := os.environ.get("ASD_JAX_CACHE"):
    return Path(base) / kind
  try:
    return Path.home() / ".cache" / "asd_jax" / kind
  except RuntimeError:  # a container's user of a number alone
    return None


def csv_text(rows: Iterable[Sequence[object]]) -> str:
  """Rows as csv, so quoted that any file name reads back as it was.

  Args:
    rows: cells; floats keep their full precision.

  Returns:
    One line a row, ended by a line feed.
  """
  lines = []
  for row in rows:
    line = io.StringIO(newline="")
    # Cells that hold a character of the line end are quoted: name both.
    csv.writer(line, lineterminator="\r\n").writerow(row)
    lines.append(line.getvalue().removesuffix("\r\n") + "\n")
  return "".join(lines)


def _refuse_constant(name: str) -> None:
  raise errors.InputError(f"{name} in it")


def read_json(
  path: str | Path, *, expected: str = "a JSON object"
) -> dict[str, Any]:
  """Reads a JSON object, in UTF-8 and without NaN or infinity.

  Args:
    path: the file.
    expected: what it should be, for messages.

  Returns:
    Its content.

  Raises:
    InputError: it is missing or holds something else.
  """
  try:
    # Editors on Windows put a byte order mark first.
    text = Path(path).read_bytes().decode("utf-8-sig")
    found = json.loads(text, parse_constant=_refuse_constant)
  except OSError as e:
    reason = e.strerror or str(e)
    raise errors.InputError(
      f"{path}: found no readable file ({reason}), expected {expected}."
    ) from e
  # A number of thousands of digits is a plain ValueError, deep nesting none.
  except (ValueError, RecursionError) as e:
    raise errors.InputError(
      f"{path}: found no JSON ({e}), expected {expected}."
    ) from e
  if not isinstance(found, dict):
    raise errors.InputError(
      f"{path}: found a JSON {type(found).__name__}, expected {expected}."
    )
  return found
