"""What is kept on disk: named by all that decides it, checked when it is read.

`digest` makes the names, a `Store` keeps arrays under them. Nothing that is
kept is trusted: a file that is torn, damaged, of another format or made by
other code counts as absent, so whoever asks computes it again.
"""

import functools
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors
import safetensors.numpy

from asd_jax import errors, files

_PACKAGE = Path(__file__).parent
# What reading a file of any content may raise on its way.
_NOT_OURS = (
  ArithmeticError,
  AttributeError,
  LookupError,
  RecursionError,
  TypeError,
  ValueError,
  safetensors.SafetensorError,
)


def _hash(*chunks: Any) -> str:
  seen = hashlib.blake2b(digest_size=16)
  for chunk in chunks:
    seen.update(chunk)
  return seen.hexdigest()


def _named(part: Any) -> list[Any]:
  """Stands in JSON for what is no plain data."""
  if isinstance(part, Path):
    return ["file", file_digest(part)]
  if isinstance(part, bytes):
    return ["bytes", _hash(part)]
  if not hasattr(part, "dtype"):
    raise TypeError(f"{type(part).__name__} has no digest: {part!r}")
  array = np.asarray(part, order="C")
  if array.dtype.hasobject:
    raise TypeError(f"arrays of objects have no digest: {array!r}")
  # The memory as bytes: a view, as some types of numbers have no buffer.
  raw = array.reshape(-1).view(np.uint8)
  return ["array", array.dtype.str, array.dtype.name, array.shape, _hash(raw)]


def digest(*parts: Any) -> str:
  """A name that differs where any part does.

  Args:
    parts: plain data (a tuple counts as a list, keys have no order), arrays
      with their type and shape, bytes, and the content of files (`Path`).

  Returns:
    32 hex digits.

  Raises:
    InputError: if a file cannot be read.
  """
  text = json.dumps(parts, sort_keys=True, default=_named)
  return _hash(text.encode())


def _unreadable(path: Path, error: OSError) -> errors.InputError:
  return errors.InputError(
    f"{path}: found no readable file ({error.strerror})."
  )


def file_digest(path: Path) -> str:
  """A name of the content of a file.

  Args:
    path: the file.

  Returns:
    32 hex digits.

  Raises:
    InputError: if it cannot be read.
  """
  try:
    with open(path, "rb") as file:
      new = lambda: hashlib.blake2b(digest_size=16)
      return hashlib.file_digest(file, new).hexdigest()
  except OSError as e:
    raise _unreadable(path, e) from e


# Of one run's recordings: a path, a stamp and a digest each.
@functools.lru_cache(maxsize=1 << 18)
def _digest_at(path: Path, *stamp: int) -> str:
  del stamp
  return file_digest(path)


def remembered_digest(path: Path) -> str:
  """The `file_digest` of a file, read once for as long as it stays as it is.

  Args:
    path: the file.

  Returns:
    32 hex digits.

  Raises:
    InputError: if it cannot be read.
  """
  try:
    facts = path.stat()
  except OSError as e:
    raise _unreadable(path, e) from e
  # Taken before the content: of a file that changes meanwhile it is old, so
  # that the next look reads the file again.
  return _digest_at(path, facts.st_size, facts.st_mtime_ns, facts.st_ino)


@functools.cache
def code_version(*parts: str) -> str:
  """A name of the code that makes something.

  The sources themselves, not a number that someone has to remember to raise:
  a comment that changes costs a computation, a number that was forgotten costs
  a wrong result.

  Args:
    parts: folders and files of this package, such as `"ops"`.

  Returns:
    32 hex digits.
  """
  found: list[Path] = []
  for part in parts:
    place = _PACKAGE / part
    found += place.rglob("*.py") if place.is_dir() else [place]
  names = sorted((f.relative_to(_PACKAGE).as_posix(), f) for f in found)
  return digest(names)


class Kept(NamedTuple):
  """What a store holds under a key.

  Attributes:
    arrays: by name.
    facts: plain data beside them.
    digest: of both, and of format and code.
  """

  arrays: dict[str, np.ndarray]
  facts: dict[str, Any]
  digest: str


class Store:
  """Arrays on disk by key, one safetensors file each.

  Args:
    folder: made when something is put.
    form: number of the format of what is kept, raised when its meaning
      changes.
    code: `code_version` of what makes it.

  Attributes:
    damaged: files that were found damaged.
  """

  def __init__(self, folder: Path, *, form: int, code: str = "") -> None:
    self._folder = folder
    self._maker = {"format": form, "code": code}
    self.damaged: list[Path] = []

  def path(self, key: str) -> Path:
    """Where a key's file is, or would be."""
    return self._folder / f"{key}.safetensors"

  def get(self, key: str) -> Kept | None:
    """Reads what is kept.

    Args:
      key: of it; a relative path, without suffix.

    Returns:
      It, or None if it is absent, damaged, or of another format or code.
    """
    path = self.path(key)
    try:
      data = path.read_bytes()
    except OSError:
      return None
    found = _parsed(data)
    if found is None:
      self.damaged.append(path)
      return None
    maker, kept = found
    return kept if maker == self._maker else None

  def put(
    self,
    key: str,
    arrays: Mapping[str, Any],
    facts: Mapping[str, Any],
    *,
    sync: bool = True,
  ) -> str:
    """Keeps something; others may read or write the same at once.

    Args:
      key: of it.
      arrays: by name.
      facts: plain data beside them.
      sync: whether it survives a loss of power from then on. What it leaves
        torn is noticed when it is read, so mere caches need not wait for it.

    Returns:
      The digest that `get` will tell.

    Raises:
      InputError: if it cannot be written; an old file stays as it was.
    """
    own = {k: np.asarray(v, order="C") for k, v in arrays.items()}
    about = json.dumps([self._maker, facts], sort_keys=True)
    name = digest(about, own)
    data = safetensors.numpy.save(own, {"about": about, "digest": name})
    files.atomic_write_bytes(self.path(key), data, sync=sync)
    return name

  def drop(self, key: str) -> None:
    """Removes what is kept, if it is there."""
    self.path(key).unlink(missing_ok=True)

  def notes(self) -> list[str]:
    """A sentence on damaged files, if there were any."""
    if not self.damaged:
      return []
    first, num = self.damaged[0], len(self.damaged)
    more = f" (and {num - 1} more)" if num > 1 else ""
    return [f"{first}{more}: found damaged content, made again"]


def _parsed(data: bytes) -> tuple[dict[str, Any], Kept] | None:
  """Who made a file and what it holds; None if it is not whole."""
  try:
    size = int.from_bytes(data[:8], "little")
    head = json.loads(data[8 : 8 + size])["__metadata__"]
    arrays = safetensors.numpy.load(data)
    # Checked before anything of the content is looked at.
    if head["digest"] != digest(head["about"], arrays):
      return None
    maker, facts = json.loads(head["about"])
  except _NOT_OURS:
    return None
  return maker, Kept(arrays, facts, head["digest"])
