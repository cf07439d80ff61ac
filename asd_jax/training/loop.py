"""The one training loop: units of many steps, checkpoints, a NaN guard."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np

from asd_jax import errors

Tree = Any
# What a loss and a gradient become when a training breaks.
_WATCHED = ("loss", "grad_norm")


class Checkpoints(Protocol):
  """What the loop asks of a checkpoint store."""

  def restore(self, like: Callable[[], Tree]) -> tuple[int, Tree] | None:
    """Returns (units done, tree), or None when nothing was saved.

    `like` makes the abstract tree, and is called only if it is needed.
    """

  def due(self, unit: int) -> bool:
    """Whether the state after `unit` units is to be saved."""

  def save(self, unit: int, tree: Tree) -> None:
    """Saves the tree after `unit` units."""


class NotFiniteError(errors.InputError):
  """A loss became NaN or infinite."""


class Reached(NamedTuple):
  """Where a training is.

  Attributes:
    done: units done.
    state: train state after them.
    metrics: of the last of them, None before the first.
  """

  done: int
  state: Tree
  metrics: dict | None


def not_finite(metrics: dict) -> np.ndarray | None:
  """Finds the numbers of a unit that are NaN or infinite.

  Args:
    metrics: `loss`, and `grad_norm` if the training tells it.

  Returns:
    The first of them that is not finite, `[]` or `[K, ...]`; None if all are.
  """
  found = (np.asarray(metrics[n]) for n in _WATCHED if n in metrics)
  return next((x for x in found if not np.isfinite(x).all()), None)


def check(unit: int, metrics: dict) -> None:
  """Refuses a unit whose numbers are not finite.

  Args:
    unit: its number, from 1.
    metrics: of the unit, `[K, ...]`.

  Raises:
    NotFiniteError: naming the unit and the members.
  """
  if (bad := not_finite(metrics)) is not None:
    members = sorted({int(i) for i in np.argwhere(~np.isfinite(bad))[:, 0]})
    raise NotFiniteError(
      f"training: loss is not finite in unit {unit} (members {members}); found"
      f" {bad[~np.isfinite(bad)][0]}. Lower the learning rate or look at the"
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
  start = Reached(0, state, None)
  if checkpoints and (found := checkpoints.restore(like)):
    done, (state, metrics) = found
    start = Reached(done, state, metrics)
  end = advance(
    start, unit, num_units=num_units, checkpoints=checkpoints, on_unit=on_unit
  )
  if end.metrics is None:
    raise errors.InputError(
      f"training: num_units must be at least 1, got {num_units}"
    )
  return end.state, end.metrics


def advance(
  start: Reached,
  unit: Callable[[int, Tree], tuple[Tree, dict]],
  *,
  num_units: int,
  checkpoints: Checkpoints | None,
  on_unit: Callable[[int, dict], bool | None] | None,
  check: Callable[[int, dict], None] = check,
) -> Reached:
  """Runs the units that are left.

  Args:
    start: where the training is.
    unit: see `run`.
    num_units: units in all.
    checkpoints: where to save to.
    on_unit: see `run`. If it returns true, the unit that runs meanwhile is the
      last one, and its state is saved.
    check: raises for metrics that are not finite.

  Returns:
    Where the training is then.
  """
  done, state, metrics = start
  last, stop = start.done, False

  def report(number: int, metrics: dict) -> bool:
    check(number, metrics)
    return bool(on_unit and on_unit(number, metrics))

  for i in range(done, num_units):
    state, new = unit(i, state)
    # The unit just started runs on the device while the host reads the numbers
    # of the one before. Those of a checkpoint are an earlier run's.
    if metrics is not None and i > done:
      stop = report(i, metrics)
    metrics, last = new, i + 1
    if checkpoints and (stop or checkpoints.due(last)):
      # Waits for this unit: a state that is not finite must never be saved, or
      # every run that goes on from it would fail.
      check(last, metrics)
      # With the metrics, since the run that finds all units done returns them.
      checkpoints.save(last, (state, metrics))
    if stop:
      break
  if metrics is not None and last > done:
    report(last, metrics)
  return Reached(last, state, metrics)
