"""Weight files read safely: nothing in them is run, whoever made them.

`read` takes `.pt` and `.pth` files of all PyTorch versions and safetensors
files, and several of them through their index. The kind is told from the
content. PyTorch is not needed.
"""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from asd_jax.weights import (
  entries,
  safetensors_file,
  shards,
  stored_tensor,
  torch_file,
)
from asd_jax.weights.byte_source import Source, WeightsFileError, shown
from asd_jax.weights.restricted_pickle import Name
from asd_jax.weights.stored_tensor import Stored

__all__ = [
  "Contents",
  "Weights",
  "WeightsFileError",
  "read",
  "scan",
]


class Contents(NamedTuple):
  """What a file holds, before any number is loaded.

  Attributes:
    path: the file.
    container: "torch zip", "torch legacy", "safetensors", or how many files.
    entry: place of the entry that holds the weights; "" if it is the whole.
    prefix: start of the names that were asked for; None where none was.
    weights: the entries of the weights mapping; tensors as `Stored`.
    beside: the other entries of the file (configuration ...), plain values
      and placeholders.
    tensors: all tensors of the file by place, such as `model/norm.weight`.
    entries: number of tensors of every mapping that has some, by place.
    problem: why none of them is taken as the weights; "" if one is.
  """

  path: Path
  container: str
  entry: str
  prefix: str | None
  weights: dict[str, Any]
  beside: dict[str, Any]
  tensors: dict[str, Stored]
  entries: dict[str, int]
  problem: str = ""


class Weights(NamedTuple):
  """The weights of a file.

  Attributes:
    path: the file.
    container: "torch zip", "torch legacy", "safetensors", or how many files.
    entry: place of the entry that held them; "" if it was the whole file.
    prefix: start of the names that were asked for; None where none was.
    tensors: arrays by name, each with memory of its own.
    others: names in the same mapping that hold no tensor (a second copy of
      the weights ...).
    beside: the other entries of the file, such as `cfg`: plain values, with
      placeholders for objects; tensors in them are not loaded.
    entries: number of tensors of every mapping that has some, by place.
  """

  path: Path
  container: str
  entry: str
  prefix: str | None
  tensors: dict[str, np.ndarray]
  others: tuple[str, ...]
  beside: dict[str, Any]
  entries: dict[str, int]


def _is_pointer(start: bytes) -> bool:
  """Whether a file is the text that stands for one in large-file storage."""
  return start.startswith(b"version ") and b"\noid sha256:" in start


def _unknown(source: Source) -> WeightsFileError:
  """The error for a file of no known kind, by its first bytes."""
  start = source.read(0, min(source.size, 256), "the first bytes")
  text = start.lstrip().lower()
  if not source.size:
    found = "an empty file"
  elif start[8:10] == b'{"' and safetensors_file.plausible(source):
    found = "safetensors data under another name"
  elif _is_pointer(start):
    found = "a pointer to a large file: the download is incomplete"
  elif text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
    found = "a web page"
  elif start[:1] == b"\x80" and start[1:2] in (b"\x02", b"\x03", b"\x04"):
    found = "a pickle that is no torch file"
  else:
    found = f"a file that starts with the bytes {start[:8].hex(' ')}"
  return WeightsFileError(
    f"found {found}, expected a .pt, .pth or .safetensors file."
  )


def _names(placeholders: Iterable[str]) -> set[Name]:
  """The names of objects that are not rebuilt, with those of the user."""
  names = set(torch_file.PLACEHOLDERS)
  for text in placeholders:
    module, dot, name = text.rpartition(".")
    if not (module and dot and name):
      raise WeightsFileError(
        f"found the placeholder {shown(text)!r}, expected module.name."
      )
    names.add((module, name))
  return names


def _tree(source: Source, names: set[Name]) -> tuple[str, Any, dict[str, Any]]:
  """Container, object and what stands beside it."""
  # By content, as a suffix may be wrong. Only safetensors files have no mark
  # to begin with; there the suffix decides.
  if found := torch_file.read(source, placeholders=names):
    return *found, {}
  start = source.read(0, min(source.size, 256), "the first bytes")
  named = source.path.suffix.lower() == ".safetensors"
  if not named or not source.size or _is_pointer(start):
    raise _unknown(source)
  tensors, metadata = safetensors_file.read(source)
  return "safetensors", tensors, {"__metadata__": metadata}


def _found(
  source: Source, placeholders: Iterable[str], copy: str
) -> tuple[Contents, str]:
  """What an open file holds, and what is wrong with it as weights."""
  container, tree, extra = _tree(source, _names(placeholders))
  parts = entries.walk(tree)
  # Before any of them takes memory.
  stored_tensor.check_total(parts.tensors.values(), source.size)
  empty = Contents(
    path=source.path,
    container=container,
    entry="",
    prefix=None,
    weights={},
    beside={},
    tensors=parts.tensors,
    entries={place: e.count for place, e in parts.entries.items()},
  )
  try:
    prefix = None
    if copy:
      entry, prefix = entries.split(copy, parts.entries)
    else:
      entry = entries.choose(tree, parts.entries)
    chosen = parts.entries[entry]
    entries.check(entry, chosen.items)
  except WeightsFileError as error:
    return empty, str(error)
  return empty._replace(
    entry=entry,
    prefix=prefix,
    weights=chosen.items,
    beside={**entries.beside(tree, chosen.path), **extra},
  ), ""


def _opened(path: str | Path, placeholders: Iterable[str]) -> list[Contents]:
  """What each file of an index holds; what they hold is what it says."""
  with Source(path) as source:
    index = shards.read_index(source)
  folder = Path(path).parent
  # All of them, before one is read, which takes long.
  if gone := [name for name in index.files if not (folder / name).exists()]:
    raise WeightsFileError(
      f"found no {', '.join(gone[:5])} beside the index, expected all"
      f" {len(index.files)} files that it names (is the download complete?)."
    )
  out, total = [], 0
  for name, told in index.files.items():
    try:
      with Source(folder / name) as source:
        found, wrong = _found(source, placeholders, "")
        total += source.size
      if wrong:
        raise WeightsFileError(wrong)
      shards.check_names(found.weights, told)
    except WeightsFileError as error:
      raise WeightsFileError(f"{name}: {error}") from None
    out.append(found)
  stored_tensor.check_total(
    (t for found in out for t in found.tensors.values()), total
  )
  return out


def _joined(path: Path, parts: list[Contents]) -> Contents:
  """What several files hold as one."""
  kinds = sorted({part.container for part in parts})
  weights: dict[str, Any] = {}
  tensors: dict[str, Stored] = {}
  for part in parts:
    weights |= part.weights
    tensors |= part.tensors
  return Contents(
    path=path,
    container=f"{len(parts)} files ({', '.join(kinds)})",
    entry="",
    prefix=None,
    weights=weights,
    beside={},
    tensors=tensors,
    entries={"": len(tensors)},
  )


def scan(
  path: str | Path, *, placeholders: Iterable[str] = (), copy: str = ""
) -> Contents:
  """Looks at a file without loading its numbers.

  All of it is checked as in `read`, but that it holds weights by name: any
  file with tensors will do.

  Args:
    path: the file, or the index of several.
    placeholders: exact names (`module.name`) of further objects beside the
      weights that are left out instead of refused. They are never imported.
    copy: see `read`.

  Returns:
    What it holds.

  Raises:
    WeightsFileError: it is broken, or holds anything but plain values,
      tensors and known objects.
  """
  try:
    if shards.is_index(Path(path)):
      return _joined(Path(path), _opened(path, placeholders))
    with Source(path) as source:
      found, wrong = _found(source, placeholders, copy)
    if wrong and (copy or not found.tensors):
      raise WeightsFileError(wrong)
  except WeightsFileError as error:
    raise WeightsFileError(f"{path}: {error}") from None
  return found._replace(problem=wrong)


def read(
  path: str | Path,
  *,
  placeholders: Iterable[str] = (),
  copy: str = "",
  most: int | None = None,
) -> Weights:
  """Reads the weights of a file.

  These are the tensors directly under its entry `model`, `state_dict` or the
  like, or at the top of the file if there is no such entry.

  Args:
    path: the file, or the index of several.
    placeholders: see `scan`.
    copy: another entry, such as `model_ema`, or the start of names in one
      (`state_dict/ema_model.`).
    most: tensors of more numbers are all zeros and take no memory; for a look
      at names and shapes. None: no such limit.

  Returns:
    The weights.

  Raises:
    WeightsFileError: see `scan`; or there are no weights by name, or several.
  """
  path = Path(path)
  try:
    if shards.is_index(path):
      parts = _opened(path, placeholders)
      found = _joined(path, parts)
      tensors = {}
      for part in parts:
        with Source(part.path) as source:
          tensors |= _loaded(source, part.weights, most)
    else:
      with Source(path) as source:
        found, wrong = _found(source, placeholders, copy)
        if wrong:
          raise WeightsFileError(wrong)
        tensors = _loaded(source, found.weights, most)
  except WeightsFileError as error:
    raise WeightsFileError(f"{path}: {error}") from None
  return Weights(
    path=found.path,
    container=found.container,
    entry=found.entry,
    prefix=found.prefix,
    tensors=tensors,
    others=tuple(name for name in found.weights if name not in tensors),
    beside=found.beside,
    entries=found.entries,
  )


def _loaded(
  source: Source, weights: Mapping[str, Any], most: int | None
) -> dict[str, np.ndarray]:
  """The tensors of a mapping."""
  zeros = lambda t: np.broadcast_to(np.zeros((), t.dtype), t.shape)
  return {
    name: zeros(value)
    if most is not None and math.prod(value.shape) > most
    else stored_tensor.load(source, value)
    for name, value in weights.items()
    if type(value) is Stored
  }
