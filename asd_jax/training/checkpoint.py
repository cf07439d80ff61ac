"""Checkpoints of train states, through Orbax."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from asd_jax import errors
from asd_jax.training import state as train_state

Tree = Any


def _raw(tree: Tree) -> Tree:
  """Replaces keys by their data, which Orbax can store."""
  return jax.tree.map(
    lambda x: jax.random.key_data(x) if train_state.is_key(x) else x, tree
  )


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

  def restore(self, like: Callable[[], Tree]) -> tuple[int, Tree] | None:
    """Reads the newest checkpoint.

    Args:
      like: makes the tree of `ShapeDtypeStruct` that is expected.

    Returns:
      (units done, tree), or None.

    Raises:
      InputError: if the checkpoint has another structure or shape.
    """
    unit = self._manager.latest_step()
    if unit is None:
      return None
    shapes = like()
    # Keys were stored as their data, and are expected as such.
    abstract = jax.eval_shape(_raw, shapes)
    tree = self._manager.restore(unit, args=ocp.args.StandardRestore(abstract))
    wrap = lambda x, old: (
      jax.random.wrap_key_data(x) if train_state.is_key(old) else x
    )
    return unit, jax.tree.map(wrap, tree, shapes)

  def save(self, unit: int, tree: Tree) -> None:
    """Saves every `every` units and at the end."""
    if unit % self._every == 0 or unit == self._num_units:
      raw = _raw(tree)
      _reserve(self._folder, sum(x.nbytes for x in jax.tree.leaves(raw)))
      self._manager.save(unit, args=ocp.args.StandardSave(raw))
      self._manager.wait_until_finished()

  def close(self) -> None:
    """Waits for pending work and frees the manager."""
    self._manager.close()
