"""The one training loop: units of many steps, checkpoints, a NaN guard."""

from collections.abc import Callable
from typing import Any, Protocol

import jax
import numpy as np

from asd_jax import errors

Tree = Any


class Checkpoints(Protocol):
  """What the loop asks of a checkpoint store."""

  def restore(self, like: Callable[[], Tree]) -> tuple[int, Tree] | None:
    """Returns (units done, tree), or None when nothing was saved.

    `like` makes the abstract tree, and is called only if it is needed.
    """

  def save(self, unit: int, tree: Tree) -> None:
    """Saves the tree after `unit` units; may skip units."""


class NotFiniteError(errors.InputError):
  """A loss became NaN or infinite."""


def _check(unit: int, metrics: dict) -> None:
  loss = np.asarray(metrics["loss"])
  if not np.isfinite(loss).all():
    bad = sorted({int(i) for i in np.argwhere(~np.isfinite(loss))[:, 0]})
    raise NotFiniteError(
      f"training: loss is not finite in unit {unit} (members {bad}); found"
      f" {loss[~np.isfinite(loss)][0]}. Lower the learning rate or look at the"
      " input."
    )


def run(
  state: Tree,
  unit: Callable[[int, Tree], tuple[Tree, dict]],
  *,
  num_units: int,
  checkpoints: Checkpoints | None = None,
  on_unit: Callable[[int, dict], None] | None = None,
) -> tuple[Tree, dict]:
  """Runs units of training, from the newest checkpoint if there is one.

  A unit is a scan of many steps: an epoch when the data sit on the device,
  one step when they stream. It must depend on its number and state alone, so
  that a resumed run gives the same bytes as an uninterrupted one.

  Args:
    state: initial train state; one member, or stacked members.
    unit: `(number, state) -> (state, metrics)`; number from 0,
      `metrics["loss"]` `[]` or `[K, ...]`.
    num_units: units in all.
    checkpoints: where to resume from and save to.
    on_unit: called with the number of units done and their metrics, on the
      host, while the next unit runs.

  Returns:
    The last state and the metrics of the last unit.

  Raises:
    NotFiniteError: if a loss is NaN or infinite; nothing is saved after it.
  """
  like = lambda: jax.eval_shape(lambda s: unit(0, s), state)
  done, metrics = 0, None
  if checkpoints and (found := checkpoints.restore(like)):
    done, (state, metrics) = found
  for i in range(done, num_units):
    state, new = unit(i, state)
    # The unit just started runs on the device while the host reads the numbers
    # of the one before. Those of a checkpoint are an earlier run's.
    if metrics is not None and i > done:
      _report(i, metrics, on_unit)
    metrics = new
    if checkpoints:
      # Waits for this unit: a state that is not finite must never be saved, or
      # every run that goes on from it would fail.
      _check(i + 1, metrics)
      # With the metrics, since the run that finds all units done returns them.
      checkpoints.save(i + 1, (state, metrics))
  if metrics is None:
    raise errors.InputError(
      f"training: num_units must be at least 1, got {num_units}"
    )
  if num_units > done:
    _report(num_units, metrics, on_unit)
  return state, metrics


def _report(unit: int, metrics: dict, on_unit: Callable | None) -> None:
  _check(unit, metrics)
  if on_unit:
    on_unit(unit, metrics)
