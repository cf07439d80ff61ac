"""Embeddings of frozen encoders on disk, a file a clip and layer.

A file is found by the content of weights, settings and recording, so whoever
computes the same embedding finds it, from any config and under any file name.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from asd_jax import files, store

MODES = ("on", "off", "readonly", "clear")
# Raised when the meaning of a kept embedding changes.
_FORMAT = 2
# What turns a recording into an embedding.
_READERS = tuple(
  f"data/{m}.py"
  for m in ("audio", "decode", "flac", "hearing", "riff", "spliced")
)
_MAKERS = (*_READERS, "ops", "frontends", "encoders", "engine")


class Entry(NamedTuple):
  """One embedding.

  Attributes:
    array: `[C', ...]` features of a clip.
    notes: what was odd about the clip.
  """

  array: np.ndarray
  notes: tuple[str, ...]


class EmbeddingCache:
  """Embeddings of one layer of one network, pooled in one way.

  Args:
    root: folder of all embeddings.
    about: everything that decides an embedding but the recording.
    mode: `"on"`, `"readonly"`, or `"clear"`: `open` empties it.

  Attributes:
    writes: whether `put` writes anything.
  """

  def __init__(self, root: Path, about: Mapping[str, Any], mode: str) -> None:
    self._about, self.writes = about, mode != "readonly"
    self._folder = root / store.digest(about)
    code = store.code_version(*_MAKERS)
    self._store = store.Store(self._folder, form=_FORMAT, code=code)
    self._clears = mode == "clear"

  def open(self) -> None:
    """Empties the cache if its mode says so; called before its first use."""
    if self._clears:
      shutil.rmtree(self._folder, ignore_errors=True)
    self._clears = False

  def get(self, key: str) -> Entry | None:
    """Reads an embedding.

    Args:
      key: of the recording, 32 hex digits.

    Returns:
      It, or None if it is not there or its file is damaged.
    """
    kept = self._store.get(_place(key))
    if kept is None:
      return None
    return Entry(kept.arrays["embedding"], tuple(kept.facts["notes"]))

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
    about = self._folder / "about.json"
    if not about.exists():
      # For people who wonder what a folder of digits holds; never read back.
      text = json.dumps(self._about, sort_keys=True, indent=2)
      files.atomic_write_text(about, text + "\n")
    arrays, facts = {"embedding": entry.array}, {"notes": entry.notes}
    self._store.put(_place(key), arrays, facts, sync=False)

  def notes(self) -> list[str]:
    """A sentence on damaged embeddings, if there were any."""
    return self._store.notes()


def _place(key: str) -> str:
  # Folders of hundreds of thousands of files are slow on many disks.
  return f"{key[:2]}/{key[2:]}"
