"""Checkpoints of train states, through Orbax."""

import contextlib
import logging as logging_of_python
import os
import shutil
from collections.abc import Callable
from concurrent import futures
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from absl import logging
from orbax.checkpoint import checkpoint_managers

from asd_jax import errors, files, store
from asd_jax.training import mesh
from asd_jax.training import state as train_state

Tree = Any
# What Orbax raises for a tree of another structure or shape.
_OTHER = (KeyError, TypeError, ValueError)
# What a full disk becomes on its way through Orbax's threads.
_FAILED = (OSError, RuntimeError, ValueError)
_CRITERION = "criterion"
# Of the file beside a checkpoint that tells its content.
_SEAL = ".digest"


def _raw(tree: Tree) -> Tree:
  """Replaces keys by their data, which Orbax can store."""
  return jax.tree.map(
    lambda x: jax.random.key_data(x) if train_state.is_key(x) else x, tree
  )


def _raw_like(shapes: Tree) -> Tree:
  """The same of abstract arrays, which stay where they are to be."""
  where = lambda x: getattr(x, "sharding", None)
  raw = jax.eval_shape(_raw, shapes)
  return jax.tree.map(
    lambda x, old: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where(old)),
    raw,
    shapes,
  )


def _content(folder: Path) -> str:
  """Names all files of a folder and what is in them."""
  found = sorted(p for p in folder.rglob("*") if p.is_file())
  return store.digest([[p.relative_to(folder).as_posix(), p] for p in found])


def is_begun(folder: Path) -> bool:
  """Whether a folder has a checkpoint that was written to its end.

  Args:
    folder: of `OrbaxCheckpoints`; may be missing.
  """
  return any(Path(folder).glob(f"*{_SEAL}"))


def _own_bytes(tree: Tree) -> int:
  """Bytes of a tree that this process writes, at most."""
  parts = (s for x in jax.tree.leaves(tree) for s in x.addressable_shards)
  return sum(s.data.nbytes for s in parts if s.replica_id == 0)


def _room(folder: Path, num_bytes: int) -> str:
  """Looks whether the disk has room for a save.

  Orbax writes from threads of its own: a disk that fills up under it ends in
  their tracebacks. The room is taken and given back here first.

  Returns:
    What is wrong, or "".
  """
  probe = folder / f".room_{jax.process_index()}"
  try:
    with open(probe, "wb") as file:
      # macOS has no such call: there only an unwritable folder is noticed.
      if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, 2 * num_bytes + 2**16)
  except OSError as e:
    return e.strerror or str(e)
  finally:
    probe.unlink(missing_ok=True)
  return ""


class OrbaxCheckpoints:
  """Keeps the newest checkpoints of one training run in a folder, and the best.

  Several processes call every method together; the folder is one that all of
  them see.

  Args:
    folder: made if missing.
    num_units: units of the whole run; the last one is always due.
    every: units between two saves.
    keep: newest checkpoints kept; beside them the one of the lowest criterion.
    background: write while the training goes on. Else a save has ended when
      the call returns, so that an error is raised by the unit that it belongs
      to.

  Attributes:
    notes: sentences on checkpoints that were damaged, and are removed.
  """

  def __init__(
    self,
    folder: Path,
    *,
    num_units: int,
    every: int = 10,
    keep: int = 2,
    background: bool = False,
  ) -> None:
    self._num_units, self._every = num_units, every
    self._folder = Path(folder).absolute()
    self._background = background
    criterion = lambda metrics: metrics[_CRITERION]
    policy = checkpoint_managers.AnyPreservationPolicy(
      [
        checkpoint_managers.LatestN(keep),
        checkpoint_managers.BestN(
          get_metric_fn=criterion,
          reverse=True,  # the last ones of the order are kept
          n=1,
          keep_checkpoints_without_metrics=False,
        ),
      ]
    )
    options = ocp.CheckpointManagerOptions(
      preservation_policy=policy,
      best_fn=criterion,
      best_mode="min",
      enable_async_checkpointing=background,
      cleanup_tmp_directories=True,
      create=True,
    )
    self._manager = ocp.CheckpointManager(self._folder, options=options)
    # Its threads print pages of tracebacks of what they raise here as well.
    self._verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.FATAL)
    self._thread = futures.ThreadPoolExecutor(1, "asd_jax_seal")
    self._sealing: futures.Future | None = None
    self._broken = False
    self.notes: list[str] = []

  def _places(self, unit: int) -> tuple[Path, Path]:
    """A checkpoint, and the file that tells its content."""
    return self._folder / str(unit), self._folder / f"{unit}{_SEAL}"

  def restore(
    self, like: Callable[[], Tree], *, best: bool = False
  ) -> tuple[int, Tree] | None:
    """Reads the newest checkpoint that is whole.

    Args:
      like: makes the tree of `ShapeDtypeStruct` that is expected, and says
        where arrays are to lie: as they were laid when they were saved, or on
        any other devices.
      best: the one of the lowest criterion instead, if any has one.

    Returns:
      (units done, tree), or None.
    """
    self._settle()
    while True:
      # Processes might see the folder differently: the first one decides.
      unit = mesh.said_by_first(self._first_whole(best))
      if not mesh.is_first():
        self._manager.reload()
      if unit < 0:
        return None
      shapes = like()
      tree = self._read(unit, _raw_like(shapes))
      if tree is not None:
        wrap = lambda x, old: (
          jax.random.wrap_key_data(x) if train_state.is_key(old) else x
        )
        return unit, jax.tree.map(wrap, tree, shapes)
      self._leave_out(unit)

  def criterion(self, unit: int) -> float | None:
    """The criterion that a checkpoint was saved with, if any."""
    found = self._manager.metrics(unit)
    return None if found is None else float(found[_CRITERION])

  def _first_whole(self, best: bool) -> int:
    """The unit to read, -1 if there is none; others are left out on the way."""
    if not mesh.is_first():
      return -1
    units = sorted(self._manager.all_steps(), reverse=True)
    if best:
      found = {u: self._manager.metrics(u) for u in units}
      value = {u: float(m[_CRITERION]) for u, m in found.items() if m}
      units.sort(key=lambda u: value.get(u, float("inf")))
    for unit in units:
      place, seal = self._places(unit)
      # Before Orbax sees it: of damaged files it prints page after page, and it
      # takes damaged numbers for numbers.
      if seal.exists() and seal.read_bytes() == _content(place).encode():
        return unit
      self._leave_out(unit)
    return -1

  def _leave_out(self, unit: int) -> None:
    place, _ = self._places(unit)
    self.notes.append(
      f"{place}: found a damaged or interrupted checkpoint, made again"
    )
    if mesh.is_first():
      shutil.rmtree(place, ignore_errors=True)
    # Orbax remembers what it saw, and would refuse to save that unit.
    self._manager.reload()

  def _read(self, unit: int, abstract: Tree) -> Tree | None:
    """One checkpoint as it was saved; None if it is of another training."""
    try:
      wanted = ocp.args.StandardRestore(abstract)
      return self._manager.restore(unit, args=wanted)
    except _OTHER:
      return None

  def due(self, unit: int) -> bool:
    """Whether a unit is saved: each `every` units and at the end."""
    # Looked at after every unit: what a save came to is told soon.
    if self._sealing and self._sealing.done():
      self._settle()
    return unit % self._every == 0 or unit == self._num_units

  def save(
    self, unit: int, tree: Tree, *, criterion: float | None = None
  ) -> None:
    """Saves a tree.

    Args:
      unit: units done.
      tree: of arrays.
      criterion: how good it is, lower is better; None if nobody looked.

    Raises:
      InputError: if it cannot be written; what was saved before stays.
    """
    self._settle()
    raw = _raw(tree)
    wrong = _room(self._folder, _own_bytes(raw))
    if mesh.any_says(bool(wrong)):
      raise self._refused(wrong or "another process has no room")
    if self._background and jax.default_backend() == "cpu":
      # There Orbax would write from the arrays' own memory, which the next
      # step takes for its results.
      raw = jax.tree.map(jnp.copy, raw)
    metrics = None if criterion is None else {_CRITERION: criterion}
    self._manager.save(
      unit, args=ocp.args.StandardSave(raw), metrics=metrics, force=True
    )
    self._sealing = self._thread.submit(self._seal, unit)
    if not self._background:
      self._settle()

  def _refused(self, reason: str) -> errors.InputError:
    return errors.InputError(
      f"{self._folder}: checkpoint cannot be written: {reason}"
    )

  def _seal(self, unit: int) -> None:
    """Waits for a save, and tells the content of what it wrote."""
    self._manager.wait_until_finished()
    self._manager.check_for_errors()
    if not mesh.is_first():
      return
    place, seal = self._places(unit)
    files.atomic_write_text(seal, _content(place))
    for old in self._folder.glob(f"*{_SEAL}"):
      if not old.with_suffix("").exists():
        old.unlink()

  def _settle(self) -> None:
    """Waits for a save that is under way."""
    sealing, self._sealing = self._sealing, None
    if sealing is None:
      return
    try:
      sealing.result()
    except _FAILED as e:
      self._broken = True
      # It would print the same again whenever its futures are collected.
      logging_of_python.getLogger("asyncio").setLevel("CRITICAL")
      raise self._refused(" ".join(str(e).split())[:200]) from e

  def close(self) -> None:
    """Waits for pending work and frees the manager."""
    try:
      if not self._broken:
        self._settle()
    finally:
      # What broke a save was told; it is raised once more here.
      with contextlib.suppress(*_FAILED if self._broken else ()):
        self._manager.close()
      self._thread.shutdown()
      logging.set_verbosity(self._verbosity)
