"""Batches for a training, by the number of a step.

    examples = sources.training(found, seed=0, num_epochs=200)
    with Batches(examples, 160, num_workers=8) as batches:
      job = Job(..., batch_at=batches, num_steps=batches.num_steps)
      run.run(job, keys, folder=folder)

**Resume.** There is no state to save: a batch is decided by its number, and a
run that goes on at step `n` asks for batch `n`. Worker processes prepare those
that follow what was asked for last; asked for any other, they start anew there.

**Hosts.** Each asks for its own rows of a batch and reads no others, so that a
run may go on with another number of hosts or devices and see the same batches.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Sequence
from concurrent import futures
from types import TracebackType
from typing import Any, NamedTuple

import grain
import numpy as np
from absl import flags

from asd_jax import errors


class Batches:
  """Batches by the number of a step: the `batch_at` of a job.

  Args:
    examples: of `training` or `fixed`.
    batch_size: rows of a batch, those of all hosts. Batches are cut out of the
      examples one after another; what is left at the end is not used.
    num_workers: processes that prepare batches ahead of those asked for, each
      a whole batch. With 0, `num_threads` of this process make what is asked
      for, when it is.
    num_threads: of this process.
    ahead: batches that each worker has ready.

  Attributes:
    num_steps: batches that there are.

  Raises:
    InputError: not one batch, or a setting below what it may be.
  """

  def __init__(
    self,
    examples: grain.MapDataset,
    batch_size: int,
    *,
    num_workers: int = 0,
    num_threads: int = 4,
    ahead: int = 1,
  ) -> None:
    least = dict(batch_size=1, num_workers=0, num_threads=1, ahead=1)
    given = dict(
      batch_size=batch_size,
      num_workers=num_workers,
      num_threads=num_threads,
      ahead=ahead,
    )
    for name, value in given.items():
      if value < least[name]:
        raise errors.InputError(
          f"{name}: found {value}, expected at least {least[name]}"
        )
    self.num_steps = len(examples) // batch_size
    if not self.num_steps:
      raise errors.InputError(
        f"batch_size: found {batch_size}, expected at most the {len(examples)} "
        "examples that there are"
      )
    self._examples, self._batch_size = examples, batch_size
    self._num_workers, self._ahead = num_workers, ahead
    self._threads = futures.ThreadPoolExecutor(num_threads, "asd_jax_sources")
    # The feed of a run asks from a thread of its own.
    self._lock = threading.Lock()
    self._coming: Any = None
    # What the next call is, if batches are taken one after another.
    self._next: tuple[int, int, int] | None = None

  def __enter__(self) -> "Batches":
    return self

  def __exit__(
    self,
    kind: type[BaseException] | None,
    error: BaseException | None,
    trace: TracebackType | None,
  ) -> None:
    self.close()

  def close(self) -> None:
    """Ends threads and worker processes."""
    with self._lock:
      self._stop()
    self._threads.shutdown(cancel_futures=True)

  def __call__(self, step: int, rows: slice) -> dict[str, np.ndarray]:
    """Rows of a batch.

    Args:
      step: its number.
      rows: a slice of `range(batch_size)`.

    Returns:
      The examples' arrays, with these rows in front.

    Raises:
      InputError: a source cannot be read, or all noises are silent.
    """
    start, stop, _ = rows.indices(self._batch_size)
    with self._lock:
      # One batch alone, such as the first for its shapes, starts no process.
      follows = self._next == (step, start, stop)
      self._next = step + 1, start, stop
      if not follows:
        self._stop()
      elif self._num_workers:
        return self._taken(step, start, stop)
    first = step * self._batch_size
    numbers = range(first + start, first + stop)
    made = list(self._threads.map(self._examples.__getitem__, numbers))
    return _stacked(made)

  def _taken(self, step: int, start: int, stop: int) -> dict[str, np.ndarray]:
    """The next batch of the workers, which are started if there are none."""
    if self._coming is None:
      own = _Own(self._examples, self._batch_size, start, stop, step)
      batches = grain.MapDataset.range(self.num_steps - step).map(own)
      # In a notebook nobody has read the command line, where grain looks for
      # settings of its own.
      if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()
      # A batch is large: no worker makes several at a time.
      reading = grain.ReadOptions(num_threads=0, prefetch_buffer_size=0)
      workers = grain.MultiprocessingOptions(
        num_workers=self._num_workers, per_worker_buffer_size=self._ahead
      )
      ahead = batches.to_iter_dataset(reading).mp_prefetch(
        workers, worker_init_fn=_begin
      )
      self._coming = iter(ahead)
    return next(self._coming)

  def _stop(self) -> None:
    if self._coming is not None:
      self._coming.close()
      self._coming = None


class _Own(NamedTuple):
  """Number of a batch, from the first one on, to one host's rows of it."""

  examples: grain.MapDataset
  batch_size: int
  start: int
  stop: int
  first: int

  def __call__(self, number: int) -> dict[str, np.ndarray]:
    row = (self.first + number) * self.batch_size
    return _stacked(
      [self.examples[row + i] for i in range(self.start, self.stop)]
    )


def _stacked(made: Sequence[Any]) -> dict[str, np.ndarray]:
  return {name: np.stack([x[name] for x in made]) for name in made[0]}


def _begin(number: int, count: int) -> None:
  """Makes a worker end with the process that started it, and no sooner."""
  del number, count
  # Ctrl-C reaches all processes of a terminal; the run saves its state first.
  signal.signal(signal.SIGINT, signal.SIG_IGN)
  threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
  if parent := multiprocessing.parent_process():
    parent.join()
    # Killed, it could not ask its workers to end.
    os._exit(1)
