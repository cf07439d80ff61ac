"""What a sweep has computed, on disk, so that a killed one goes on."""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from asd_jax import files

# Raised when the meaning of a part changes.
_VERSION = 1


def fingerprint(parts: Any) -> str:
  """Names settings and data.

  Args:
    parts: nested plain data.

  Returns:
    Hexadecimal digits; other settings or data have others.
  """
  text = json.dumps([_VERSION, parts], sort_keys=True, default=str)
  return hashlib.sha256(text.encode()).hexdigest()[:24]


class Parts:
  """Arrays by fingerprint in a folder.

  Args:
    folder: made when the first part is written.
  """

  def __init__(self, folder: Path) -> None:
    self._folder = folder
    self.num_read = 0

  def _file(self, mark: str) -> Path:
    return self._folder / f"{mark}.npz"

  def read(self, mark: str) -> dict[str, np.ndarray] | None:
    """A part, or None if it is missing or cannot be read."""
    try:
      with (
        open(self._file(mark), "rb") as file,
        np.load(file, allow_pickle=False) as found,
      ):
        arrays = dict(found)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
      return None
    self.num_read += 1
    return arrays

  def write(self, mark: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes a part; a reader never meets half of one."""
    out = io.BytesIO()
    np.savez(out, allow_pickle=False, **arrays)
    files.atomic_write_bytes(self._file(mark), out.getvalue())

  def drop(self, mark: str) -> None:
    """Removes a part, if it is there."""
    self._file(mark).unlink(missing_ok=True)
