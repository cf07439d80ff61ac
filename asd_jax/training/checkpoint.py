"""Checkpoints of train states, through Orbax."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from asd_jax import errors, files, store
from asd_jax.training import state as train_state

Tree = Any
# What Orbax raises for a tree of another structure or shape.
_OTHER = (KeyError, TypeError, ValueError)


def _raw(tree: Tree) -> Tree:
  """Replaces keys by their data, which Orbax can store."""
  return jax.tree.map(
    lambda x: jax.random.key_data(x) if train_state.is_key(x) else x, tree
  )


def _content(folder: Path) -> str:
  """Names all files of a folder and what is in them."""
  found = sorted(p for p in folder.rglob("*") if p.is_file())
  return store.digest([[p.relative_to(folder).as_posix(), p] for p in found])


def _reserve(folder: Path, num_bytes: int) -> None:
  """Refuses to start a save that the disk has no room for.

  Orbax writes from threads of its own: a disk that fills up under it ends in
  their tracebacks. The room is taken and given back here first.
  """
  probe = folder / ".room"
  try:
    with open(probe, "wb") as file:
      # macOS has no such call: there only an unwritable folder is noticed.
      if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, 2 * num_bytes + 2**16)
  except OSError as e:
    shutil.rmtree(folder, ignore_errors=True)
    raise errors.InputError(
      f"{folder}: checkpoint cannot be written: {e.strerror}"
    ) from e
  probe.unlink()


class OrbaxCheckpoints:
  """Keeps the newest checkpoints of one training run in a folder.

  Args:
    folder: made if missing.
    num_units: units of the whole run; the last one is always saved.
    every: units between two saves.
    keep: checkpoints kept.

  Attributes:
    notes: sentences on checkpoints that were damaged, and are removed.
  """

  def __init__(
    self, folder: Path, *, num_units: int, every: int = 10, keep: int = 2
  ) -> None:
    self._num_units, self._every = num_units, every
    self._folder = Path(folder).absolute()
    # Saved before the call returns, so that an error is raised by the unit
    # that it belongs to.
    options = ocp.CheckpointManagerOptions(
      max_to_keep=keep, enable_async_checkpointing=False, create=True
    )
    self._manager = ocp.CheckpointManager(self._folder, options=options)
    self.notes: list[str] = []

  def _places(self, unit: int) -> tuple[Path, Path]:
    """A checkpoint, and the file that tells its content."""
    return self._folder / str(unit), self._folder / f"{unit}.digest"

  def restore(self, like: Callable[[], Tree]) -> tuple[int, Tree] | None:
    """Reads the newest checkpoint that is whole.

    Args:
      like: makes the tree of `ShapeDtypeStruct` that is expected.

    Returns:
      (units done, tree), or None.
    """
    for unit in sorted(self._manager.all_steps(), reverse=True):
      shapes = like()
      # Keys were stored as their data, and are expected as such.
      tree = self._read(unit, jax.eval_shape(_raw, shapes))
      if tree is not None:
        wrap = lambda x, old: (
          jax.random.wrap_key_data(x) if train_state.is_key(old) else x
        )
        return unit, jax.tree.map(wrap, tree, shapes)
      place, _ = self._places(unit)
      self.notes.append(
        f"{place}: found a damaged or interrupted checkpoint, made again"
      )
      shutil.rmtree(place, ignore_errors=True)
      # Orbax remembers what it saw, and would refuse to save that unit.
      self._manager.reload()
    return None

  def _read(self, unit: int, abstract: Tree) -> Tree | None:
    """One checkpoint as it was saved; None if it is not."""
    place, seal = self._places(unit)
    # Before Orbax sees it: of damaged files it prints page after page, and it
    # takes damaged numbers for numbers.
    if not seal.exists() or seal.read_bytes() != _content(place).encode():
      return None
    try:
      wanted = ocp.args.StandardRestore(abstract)
      return self._manager.restore(unit, args=wanted)
    except _OTHER:
      return None

  def save(self, unit: int, tree: Tree) -> None:
    """Saves every `every` units and at the end."""
    if unit % self._every == 0 or unit == self._num_units:
      raw = _raw(tree)
      _reserve(self._folder, sum(x.nbytes for x in jax.tree.leaves(raw)))
      self._manager.save(unit, args=ocp.args.StandardSave(raw))
      self._manager.wait_until_finished()
      place, seal = self._places(unit)
      files.atomic_write_text(seal, _content(place))

  def close(self) -> None:
    """Waits for pending work and frees the manager."""
    self._manager.close()
