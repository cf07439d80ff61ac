"""Folders of converted weights: parameters (Orbax) and `encoder.json`."""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import flax.traverse_util
import jax
import numpy as np

from asd_jax import errors, store
from asd_jax.weights import rules
from asd_jax.weights.byte_source import Source, WeightsFileError

Tree = Any
ABOUT, PARAMS = "encoder.json", "params"
PARTIAL, _OLD_SECONDS = ".partial", 86_400
# What Orbax and TensorStore raise for files that are damaged or missing.
_BROKEN = (
  AssertionError,
  AttributeError,
  LookupError,
  OSError,
  RuntimeError,
  TypeError,
  ValueError,
)


def checksum(tree: Tree) -> str:
  """A number of all parameters: places, shapes, values.

  Args:
    tree: nested mappings of float32 arrays.

  Returns:
    32 hex digits.
  """

  def one(leaf: tuple[str, Any, str]) -> bytes:
    path, holder, name = leaf
    value = np.asarray(holder[name])
    # Places and shapes too: two arrays that swapped them hold the same
    # numbers.
    seen = hashlib.blake2b(f"{path}{[*value.shape]}".encode(), digest_size=16)
    seen.update(np.ascontiguousarray(value, np.float32).data)
    return seen.digest()

  with ThreadPoolExecutor() as pool:
    parts = list(pool.map(one, rules.leaves(tree)))
  return hashlib.blake2b(b"".join(parts), digest_size=16).hexdigest()


def digest(family: str, settings: Mapping[str, Any], values: str) -> str:
  """A number of a network with its parameters.

  Args:
    family: its name.
    settings: of the network.
    values: what `checksum` returns.

  Returns:
    32 hex digits, the same for an official file and for what is made of it.
  """
  return store.digest(family, dict(settings), values)


def _sums(folder: Path, names: Iterable[str]) -> dict[str, list[int]]:
  """Size and CRC-32 of files of a folder, by name; -1 for what is not there."""

  def one(name: str) -> list[int]:
    try:
      with Source(folder / name) as file:
        return [file.size, file.checksum(0, file.size)]
    except WeightsFileError:
      return [-1, 0]

  with ThreadPoolExecutor() as pool:
    return dict(zip(names, pool.map(one, names), strict=True))


def plain(tree: Tree) -> Tree:
  """Parameters as a folder has them: without mappings that hold nothing.

  Args:
    tree: nested mappings of arrays.

  Returns:
    The same arrays.
  """
  flat: Tree = flax.traverse_util.flatten_dict(tree)
  return flax.traverse_util.unflatten_dict(flat)


def _checkpointer() -> Any:
  """Orbax's, of this process alone: else it would wait for all of a run."""
  import orbax.checkpoint as ocp  # a second to import

  own = jax.process_index()
  options = ocp.options.MultiprocessingOptions(
    primary_host=own,
    active_processes={own},
    barrier_sync_key_prefix=f"weights_{own}",
  )
  return ocp.StandardCheckpointer(multiprocessing_options=options)


def write(output: Path, tree: Tree, about: Mapping[str, Any]) -> None:
  """Writes a folder beside its place, then renames it.

  Args:
    output: new folder.
    tree: parameters.
    about: `family`, `source`, `encoder` (settings) and `digest`.

  Raises:
    InputError: if it cannot be written. Then nothing is there.
  """
  tree = plain(tree)
  with _replacing(output) as beside:
    _reserve(beside, tree)
    with _checkpointer() as checkpointer:
      checkpointer.save(beside / PARAMS, tree)
    files = [p for p in (beside / PARAMS).rglob("*") if p.is_file()]
    names = sorted(p.relative_to(beside).as_posix() for p in files)
    _write_about(beside, {**about, "files": _sums(beside, names)})


def link(output: Path, other: Path, about: Mapping[str, Any]) -> bool:
  """Makes a folder of the files of another, which take no room twice.

  Args:
    output: new folder.
    other: a folder that `write` made.
    about: see `write`; the same weights, perhaps from another source.

  Returns:
    False if that cannot be, as between disks. Then nothing is there.
  """
  if not is_whole(other, about):
    return False
  files = read_about(other)["files"]
  try:
    with _replacing(output) as beside:
      for name in files:
        (beside / name).parent.mkdir(parents=True, exist_ok=True)
        os.link(other / name, beside / name)
      _write_about(beside, {**about, "files": files})
  except errors.InputError:
    return False
  return True


@contextlib.contextmanager
def _replacing(output: Path) -> Iterator[Path]:
  """A folder beside a place, which goes there when all is in it."""
  output = Path(output).absolute()
  try:
    output.parent.mkdir(parents=True, exist_ok=True)
    _remove_left(output.parent)
    beside = Path(tempfile.mkdtemp(prefix=PARTIAL, dir=output.parent))
    try:
      yield beside
      # `mkdtemp` makes folders that nobody else can read.
      os.chmod(beside, 0o755)
      os.rename(beside, output)
    # Interrupted by hand, too.
    except BaseException:
      shutil.rmtree(beside, ignore_errors=True)
      raise
  except (OSError, RuntimeError) as error:
    reason = getattr(error, "strerror", None) or str(error)
    raise errors.InputError(f"{output}: cannot be written: {reason}") from error


def _write_about(folder: Path, about: Mapping[str, Any]) -> None:
  (folder / ABOUT).write_text(json.dumps(about, indent=2) + "\n")


def _reserve(folder: Path, tree: Tree) -> None:
  """Proves that there is room: Orbax fails late, and from its own threads."""
  num = sum(np.asarray(h[name]).nbytes for _, h, name in rules.leaves(tree))
  probe = folder / "probe"
  with probe.open("wb") as file:
    # macOS has no such call.
    if hasattr(os, "posix_fallocate") and num:
      os.posix_fallocate(file.fileno(), 0, num)
  probe.unlink()


def _remove_left(folder: Path) -> None:
  """Removes what runs that were killed left half-written, a day ago."""
  for path in folder.glob(f"{PARTIAL}*"):
    with contextlib.suppress(OSError):
      # A younger one may be of a run that is still writing.
      if time.time() - path.stat().st_mtime > _OLD_SECONDS:
        shutil.rmtree(path, ignore_errors=True)


def read_about(folder: Path) -> dict[str, Any]:
  """Reads what a folder says about its weights.

  Args:
    folder: see `write`.

  Returns:
    At least `family` and `encoder`, the settings of the network.

  Raises:
    InputError: if it is no such folder.
  """
  try:
    about = json.loads((folder / ABOUT).read_text())
  except (OSError, ValueError, RecursionError):
    about = None
  if isinstance(about, dict):
    files = about.setdefault("files", {})
    kinds = (about.get("family"), str), (about.get("encoder"), dict)
    if all(isinstance(value, kind) for value, kind in (*kinds, (files, dict))):
      return about
  raise errors.InputError(
    f"{folder}: found no {ABOUT} that names a family and an encoder,"
    " expected a folder that scripts/convert_weights.py wrote."
  )


def is_whole(folder: Path, about: Mapping[str, Any]) -> bool:
  """Whether a folder holds some weights in full, told from sizes only.

  Args:
    folder: see `write`.
    about: its `family`, `encoder` and `digest`.

  Returns:
    True if so.
  """
  try:
    found = read_about(folder)
    sizes = [
      (folder / n).stat().st_size == s[0] for n, s in found["files"].items()
    ]
  except (LookupError, OSError, TypeError, ValueError):
    return False
  same = all(found.get(k) == about[k] for k in ("family", "encoder", "digest"))
  # A folder that lists no files is not whole.
  return same and bool(sizes) and all(sizes)


def read(
  folder: Path,
  shapes: Mapping[str, tuple[int, ...]],
  *,
  beside: Mapping[str, Tree] | None = None,
) -> tuple[Tree, str]:
  """Reads the parameters of a folder.

  Args:
    folder: see `write`.
    shapes: shape of every parameter by its path.
    beside: parameters that are not in the folder; its digest is that of all.

  Returns:
    The parameters in float32, and their `checksum`.

  Raises:
    InputError: if there are others, or they are damaged.
  """
  about = read_about(folder)
  # Before Orbax sees them: on damaged files it prints page after page.
  files = about["files"]
  found = _sums(folder, files)
  if damaged := [name for name in files if found[name] != files[name]]:
    raise errors.InputError(
      f"{folder}: found damaged or no {', '.join(damaged[:5])}, expected the"
      " files that were written: convert the weights again."
    )
  beside = beside or {}
  own = {p: s for p, s in shapes.items() if p.partition("/")[0] not in beside}
  tree = {**_restore(folder, own), **beside}
  values = checksum(tree)
  # The files are as they were written; this says that they are the parameters
  # which `encoder.json` speaks of.
  told = about.get("digest")
  if told and told != digest(about["family"], about["encoder"], values):
    raise errors.InputError(
      f"{folder}: found damaged parameters (another digest than in {ABOUT}),"
      " expected those that were written: convert the weights again."
    )
  return tree, values


def _empty(tree: Tree) -> Tree:
  """Mappings of a tree that hold nothing, by path."""
  flat: Tree = flax.traverse_util.flatten_dict(
    tree, keep_empty_nodes=True, sep="/"
  )
  nothing = flax.traverse_util.empty_node
  return {path: x for path, x in flat.items() if x is nothing}


def _restore(folder: Path, shapes: Mapping[str, tuple[int, ...]]) -> Tree:
  """The parameters, of the shapes that are expected and no others."""
  zero = np.zeros((), np.float32)
  # Shapes that take no memory.
  flat = {path: np.broadcast_to(zero, s) for path, s in shapes.items()}
  place = (folder / PARAMS).absolute()
  try:
    with _checkpointer() as checkpointer:
      # Orbax wants what is there named, mappings too that hold nothing: earlier
      # versions wrote them.
      there = checkpointer.metadata(place).item_metadata.tree
      flat = {**_empty(there), **flat}
      target = flax.traverse_util.unflatten_dict(flat, sep="/")
      tree = plain(checkpointer.restore(place, target))
    found = {path: holder[name] for path, holder, name in rules.leaves(tree)}
    for path, value in found.items():
      if value.shape != shapes[path] or value.dtype != np.float32:
        raise errors.InputError(f"{path} is {value.dtype} {[*value.shape]}")
  except _BROKEN as error:
    reason = " ".join(str(error).split())[:200]
    raise errors.InputError(
      f"{folder}: found parameters that cannot be read ({reason}), expected"
      " those that were written: convert the weights again."
    ) from error
  return tree
