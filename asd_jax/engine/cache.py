"""Embeddings of frozen encoders on disk, a file a clip and layer.

A file is found by the content of weights, settings and recording, so whoever
computes the same embedding finds it, from any config and under any file name.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from asd_jax import errors, files

MODES = ("on", "off", "readonly", "clear")
# A new number for every change of what an embedding is: old files stay unused.
_FORMAT = 1


class Entry(NamedTuple):
  """One embedding.

  Attributes:
    array: `[C', ...]` features of a clip.
    notes: what was odd about the clip.
  """

  array: np.ndarray
  notes: tuple[str, ...]


def digest_of(*parts: bytes) -> str:
  """Thirty-two hex digits that differ where any part does."""
  seen = hashlib.blake2b(digest_size=16)
  for part in parts:
    seen.update(len(part).to_bytes(8, "little"))
    seen.update(part)
  return seen.hexdigest()


def recording_digest(path: Path) -> str:
  """Names the content of a file.

  Args:
    path: a wave file.

  Returns:
    Thirty-two hex digits.

  Raises:
    InputError: if it cannot be read.
  """
  try:
    return digest_of(path.read_bytes())
  except OSError as e:
    raise errors.InputError(
      f"{path}: found no readable file ({e.strerror})."
    ) from e


class Shelf:
  """Embeddings of one layer of one network, pooled in one way.

  Args:
    root: folder of all shelves.
    about: everything that decides an embedding but the recording.
    mode: `"on"`, `"readonly"`, or `"clear"`: `open` empties it.

  Attributes:
    writes: whether `put` writes anything.
  """

  def __init__(self, root: Path, about: Mapping[str, Any], mode: str) -> None:
    text = json.dumps([_FORMAT, about], sort_keys=True)
    self._folder = root / digest_of(text.encode())
    self._about, self.writes = text, mode != "readonly"
    self._clears = mode == "clear"

  def open(self) -> None:
    """Empties the shelf if its mode says so; called before its first use."""
    if self._clears:
      shutil.rmtree(self._folder, ignore_errors=True)
    self._clears = False

  def _file(self, key: str) -> Path:
    return self._folder / key[:2] / f"{key[2:]}.emb"

  def get(self, key: str) -> Entry | None:
    """Reads an embedding.

    Args:
      key: of the recording.

    Returns:
      It, or None if it is not there or its file is damaged.
    """
    try:
      data = self._file(key).read_bytes()
    except OSError:
      return None
    digest, _, rest = data.partition(b"\n")
    if digest.decode(errors="replace") != digest_of(rest):
      return None
    head, _, raw = rest.partition(b"\n")
    try:
      shape, dtype, notes = json.loads(head)
      array = np.frombuffer(raw, np.dtype(dtype)).reshape(shape)
    except (ValueError, TypeError, UnicodeDecodeError):
      return None
    return Entry(array, tuple(notes))

  def put(self, key: str, entry: Entry) -> None:
    """Writes an embedding; two runs may write the same one at once.

    Args:
      key: of the recording.
      entry: the embedding.

    Raises:
      InputError: if it cannot be written.
    """
    if not self.writes:
      return
    array = np.ascontiguousarray(entry.array)
    about = self._folder / "about.json"
    if not about.exists():
      files.atomic_write_text(about, self._about + "\n")
    facts = [list(array.shape), array.dtype.str, list(entry.notes)]
    rest = json.dumps(facts).encode() + b"\n" + array.tobytes()
    data = digest_of(rest).encode() + b"\n" + rest
    # Not forced to disk: what a crash leaves torn is noticed when it is read.
    files.atomic_write_bytes(self._file(key), data, sync=False)
