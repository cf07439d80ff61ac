"""Weight files read safely: nothing in them is run, whoever made them.

`read` takes `.pt` and `.pth` files of all PyTorch versions and safetensors
files. The kind is told from the content. PyTorch is not needed.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from asd_jax.weights import safetensors_file, stored_tensor, torch_file
from asd_jax.weights.byte_source import Source, WeightsFileError, shown
from asd_jax.weights.restricted_pickle import Name, Placeholder
from asd_jax.weights.stored_tensor import Stored

_ENTRY = "model"
# Real files have some thousand tensors, with names of some ten letters.
_MAX_PARTS = 50_000
_MAX_PLACE = 500

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
    container: "torch zip", "torch legacy" or "safetensors".
    entry: name of the entry that holds the weights; "" if it is the whole.
    weights: the entries of the weights mapping; tensors as `Stored`.
    beside: the other entries of the file (configuration ...), plain values
      and placeholders.
    tensors: all tensors of the file by place, such as `model/norm.weight`.
  """

  path: Path
  container: str
  entry: str
  weights: dict[str, Any]
  beside: dict[str, Any]
  tensors: dict[str, Stored]


class Weights(NamedTuple):
  """The weights of a file.

  Attributes:
    path: the file.
    container: "torch zip", "torch legacy" or "safetensors".
    entry: name of the entry that held them; "" if it was the whole file.
    tensors: arrays by name, each with memory of its own.
    others: names in the same mapping that hold no tensor (a second copy of
      the weights ...).
    beside: the other entries of the file, such as `cfg`: plain values, with
      placeholders for objects; tensors in them are not loaded.
  """

  path: Path
  container: str
  entry: str
  tensors: dict[str, np.ndarray]
  others: tuple[str, ...]
  beside: dict[str, Any]


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


def _all_tensors(tree: Any) -> dict[str, Stored]:
  """All tensors by place; each container is entered once, in any depth."""
  found: dict[str, Stored] = {}
  seen: set[int] = set()
  # A list of things to do, as depth without bounds would exhaust the stack.
  todo: list[tuple[tuple, Any]] = [((), tree)]
  if not isinstance(tree, dict | list | tuple):
    return found
  while todo:
    place, value = todo.pop()
    if type(value) is Stored:
      name = _joined(place)
      found[f"{name}#{len(found)}" if name in found else name] = value
      continue
    # Containers may be shared, or be part of themselves.
    if id(value) in seen:
      continue
    seen.add(id(value))
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    inner = [(n, v) for n, v in pairs if isinstance(v, dict | list | tuple)]
    todo += [((place, name), part) for name, part in inner[::-1]]
    if len(found) + len(todo) > _MAX_PARTS:
      raise WeightsFileError(
        f"found more than {_MAX_PARTS} tensors and mappings, expected fewer."
      )
  return found


def _joined(place: tuple) -> str:
  """`model/a/0` from the linked names `((((), "model"), "a"), 0)`."""
  parts: list[str] = []
  # Cut, or the names would grow with the square of the depth.
  while place and len(parts) < 64:
    place, name = place
    parts.append(str(name) if type(name) is int else shown(name))
  return "/".join(["..."] * bool(place) + parts[::-1])[-_MAX_PLACE:]


def _mapping(tree: Any) -> tuple[str, dict[str, Any], dict[str, Any]]:
  """The entry with the weights, its content and what stands beside it."""
  if not isinstance(tree, dict):
    raise WeightsFileError(
      f"found {type(tree).__name__} in the file, expected names and tensors."
    )
  entry, mapping, beside = "", tree, {}
  # A weight may have that name as well.
  if _ENTRY in tree and type(tree[_ENTRY]) is not Stored:
    entry, mapping = _ENTRY, tree[_ENTRY]
    beside = {k: v for k, v in tree.items() if k != _ENTRY}
  where = f"the entry {entry!r}" if entry else "the file"
  if not isinstance(mapping, dict):
    raise WeightsFileError(
      f"found {type(mapping).__name__} as {where}, expected names and tensors."
    )
  if not any(type(v) is Stored for v in mapping.values()):
    raise WeightsFileError(
      f"found no tensor in {where}, expected names and tensors."
    )
  for name, value in mapping.items():
    # An object in the midst of the weights may be one of them: to leave it out
    # would give a network that lacks it.
    if type(name) is not str or type(value) is Placeholder:
      raise WeightsFileError(
        f"found {shown(name)} that is no tensor by name in {where}, expected"
        " only such."
      )
  return entry, mapping, beside


def _scan(source: Source, placeholders: Iterable[str]) -> Contents:
  """What an open file holds."""
  container, tree, extra = _tree(source, _names(placeholders))
  tensors = _all_tensors(tree)
  # Before any of them takes memory.
  stored_tensor.check_total(tensors.values(), source.size)
  entry, mapping, beside = _mapping(tree)
  return Contents(
    source.path, container, entry, mapping, {**beside, **extra}, tensors
  )


def scan(path: str | Path, *, placeholders: Iterable[str] = ()) -> Contents:
  """Looks at a file without loading its numbers.

  All of it is checked as in `read`.

  Args:
    path: the file.
    placeholders: exact names (`module.name`) of further objects beside the
      weights that are left out instead of refused. They are never imported.

  Returns:
    What it holds.

  Raises:
    WeightsFileError: it is broken, or holds anything but plain values,
      tensors and known objects.
  """
  try:
    with Source(path) as source:
      return _scan(source, placeholders)
  except WeightsFileError as error:
    raise WeightsFileError(f"{path}: {error}") from None


def read(path: str | Path, *, placeholders: Iterable[str] = ()) -> Weights:
  """Reads the weights of a file.

  These are the tensors directly under its entry `model`, or at the top of the
  file if there is no such entry.

  Args:
    path: the file.
    placeholders: see `scan`.

  Returns:
    The weights.

  Raises:
    WeightsFileError: see `scan`.
  """
  try:
    with Source(path) as source:
      found = _scan(source, placeholders)
      tensors = {
        name: stored_tensor.load(source, value)
        for name, value in found.weights.items()
        if type(value) is Stored
      }
  except WeightsFileError as error:
    raise WeightsFileError(f"{path}: {error}") from None
  others = tuple(name for name in found.weights if name not in tensors)
  return Weights(
    path=found.path,
    container=found.container,
    entry=found.entry,
    tensors=tensors,
    others=others,
    beside=found.beside,
  )
