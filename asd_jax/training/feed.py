"""Batches prepared ahead of the step that needs them."""

import time
from concurrent import futures
from types import TracebackType
from typing import Any

from jax.sharding import Mesh

from asd_jax.training import mesh
from asd_jax.training.job import BatchAt

Tree = Any


class Feed:
  """Makes the batches of a job in a thread, and lays them on the devices.

  Args:
    batch_at: of the job.
    batch_size: rows of a batch, those of all processes.
    over: the devices.
    stop: number of the first batch that is not needed.
    ahead: batches prepared before they are asked for.

  Attributes:
    waited: seconds in which the devices had nothing to do but wait for data.
  """

  def __init__(
    self,
    batch_at: BatchAt,
    batch_size: int,
    over: Mesh,
    *,
    stop: int,
    ahead: int,
  ) -> None:
    self._batch_at, self._over = batch_at, over
    self._rows = mesh.own_rows(batch_size, over)
    self._stop, self._ahead = stop, ahead
    self._thread = futures.ThreadPoolExecutor(1, "asd_jax_feed")
    self._asked: dict[int, futures.Future] = {}
    self.waited = 0.0

  def __enter__(self) -> "Feed":
    return self

  def __exit__(
    self,
    kind: type[BaseException] | None,
    error: BaseException | None,
    trace: TracebackType | None,
  ) -> None:
    self._thread.shutdown(cancel_futures=True)

  def _make(self, number: int) -> Tree:
    return mesh.joined(self._batch_at(number, self._rows), self._over)

  def peek(self) -> Tree:
    """Some batch, for its shapes."""
    return self._make(0)

  def get(self, number: int, *, meanwhile: Any = None) -> Tree:
    """A batch on the devices.

    Args:
      number: of the batch; the next ones are prepared from here on.
      meanwhile: what the devices work on until then: while it is not ready,
        they do not wait.

    Returns:
      Arrays of all rows, divided among the devices.
    """
    for i in range(number, min(number + self._ahead + 1, self._stop)):
      if i not in self._asked:
        self._asked[i] = self._thread.submit(self._make, i)
    start = time.perf_counter()
    batch = self._asked.pop(number).result()
    if meanwhile is None or meanwhile.is_ready():
      self.waited += time.perf_counter() - start
    return batch
