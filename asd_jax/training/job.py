"""A training as data: pure functions and host arrays, which `run` carries out.

Fine-tuning over machines and distillation are jobs. A job knows neither files
nor devices: `run` places its arrays, feeds it, saves it and watches it.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from asd_jax import errors
from asd_jax.training.state import TrainState
from asd_jax.typing import Array, Key

Tree = Any
# (number, rows) -> these rows of the batch of that number, as numpy arrays.
BatchAt = Callable[[int, slice], Tree]


def _nameless(step: int) -> Sequence[str]:
  del step
  return ()


def _all(frozen: Tree) -> Tree:
  return frozen


class Validation(NamedTuple):
  """How good a state is, told by training clips alone; lower is better.

  Attributes:
    loss: `(state, frozen, batch) -> [...]`, pure; its mean over all batches is
      the criterion (over seeds too, if they are stacked).
    batch_at: like that of a job.
    num_batches: batches that are looked at.
    batch_size: rows in each.
    every: steps between two looks; the last state is looked at too. What is
      looked at is saved.
  """

  loss: Callable[[TrainState, Tree, Tree], Array]
  batch_at: BatchAt
  num_batches: int
  batch_size: int
  every: int


class Job(NamedTuple):
  """What a training does.

  Everything is decided by the key and the number of a step, so that a run that
  was stopped goes on as if it had not been.

  Attributes:
    name: for messages, such as that of a branch.
    init: `(key, start) -> (state, frozen)`, pure: what steps change, and what
      none does, which is never saved and has no moments. Several seeds,
      stacked, have keys `[K]`.
    step: `(state, frozen, batch) -> (state, metrics)`, pure. It sees the rows
      of all devices: a mean over rows is one over the whole batch. `metrics`
      are `[]`, or `[K]` for stacked seeds, and float: `loss` before the update,
      `grad_norm` if it is to be watched, and what else is to be logged.
    batch_at: `(step, rows) -> tree` of arrays with these rows in front; rows
      are a slice of `range(batch_size)`, shapes are the same at every step. It
      is called from another thread, ahead of the step.
    batch_size: rows of a batch, those of all devices.
    num_steps: steps in all.
    start: arrays that `init` begins with, such as published weights.
    validation: which state is the best; None takes the last.
    names: step to names of the clips in its batch, for messages.
    about: further facts for people, name to value.
    notes: sentences on odd input.
    network: of what no step changes, the parameters of networks; the rest is
      data.
  """

  name: str
  init: Callable[[Key, Tree], tuple[TrainState, Tree]]
  step: Callable[[TrainState, Tree, Tree], tuple[TrainState, dict]]
  batch_at: BatchAt
  batch_size: int
  num_steps: int
  start: Tree = None
  validation: Validation | None = None
  names: Callable[[int], Sequence[str]] = _nameless
  about: dict[str, str] = {}
  notes: Sequence[str] = ()
  network: Callable[[Tree], Tree] = _all


class Order:
  """Which rows each batch has: shuffled passes, one after another.

  A pass is a permutation by seed and number of the pass. Batches are cut out of
  the passes laid end to end: all are full, none is left out, and one may hold
  the end of a pass and the start of the next.

  Args:
    num_rows: rows of the training set.
    batch_size: rows in a batch.
    num_epochs: passes.
    seed: of the permutations.

  Attributes:
    num_steps: batches in all passes; what is left is less than a batch.

  Raises:
    InputError: if a batch is larger than the set.
  """

  def __init__(
    self, num_rows: int, *, batch_size: int, num_epochs: int, seed: int
  ) -> None:
    if batch_size > num_rows:
      raise errors.InputError(
        f"batch_size: found {batch_size}, expected at most the {num_rows} clips"
        " that are trained on."
      )
    self._num_rows, self._batch_size, self._seed = num_rows, batch_size, seed
    self.num_steps = num_rows * num_epochs // batch_size

  def _pass(self, number: int) -> np.ndarray:
    generator = np.random.default_rng([self._seed, number])
    return generator.permutation(self._num_rows)

  def at(self, step: int) -> np.ndarray:
    """Rows of a batch.

    Args:
      step: number of the batch.

    Returns:
      `[B]` row numbers.
    """
    first = step * self._batch_size
    # A batch is no larger than a pass, so it lies in two at most.
    number, offset = divmod(first, self._num_rows)
    rows = self._pass(number)[offset : offset + self._batch_size]
    missing = self._batch_size - len(rows)
    if not missing:
      return rows
    return np.concatenate([rows, self._pass(number + 1)[:missing]])
