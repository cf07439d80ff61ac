"""Seeds of an adaptation: in turn, or all in one program."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from asd_jax.training.job import Job

Tree = Any
MODES = ("auto", "always", "never")
# Parameters of one seed beyond which a CPU's cache holds no other seed's.
_LARGE_BYTES = 4 * 2**20
# Parameters, gradient and two moments, and as much again for a step.
_COPIES = 5


def at_once(mode: str, size: int, num: int) -> bool:
  """Whether seeds are trained in one program.

  Args:
    mode: one of `MODES`. `auto` does where that is faster: small networks on a
      CPU, and on other devices what takes a quarter of their memory at most,
      which leaves the rest to activations.
    size: parameters of one network.
    num: seeds.

  Returns:
    False for a single seed.
  """
  if mode != "auto" or num < 2:
    return mode == "always" and num > 1
  num_bytes = size * np.dtype(np.float32).itemsize
  if jax.default_backend() == "cpu":
    return num_bytes <= _LARGE_BYTES
  stats = jax.local_devices()[0].memory_stats() or {}
  return _COPIES * num * num_bytes <= stats.get("bytes_limit", 0) / 4


def stacked(jobs: Sequence[Job], name: str) -> Job:
  """One job of several that differ in their seed alone.

  Args:
    jobs: of the same clips and classes.
    name: of the whole.

  Returns:
    The job: states have a leading axis of seeds K, batches a second one.
  """
  first = jobs[0]

  def batch_at(step: int, rows: slice) -> Tree:
    parts = [job.batch_at(step, rows) for job in jobs]
    return jax.tree.map(lambda *x: np.stack(x, axis=1), *parts)

  def names(step: int) -> list[str]:
    return [clip for job in jobs for clip in job.names(step)]

  validation = first.validation
  if validation is not None:
    # The clips that are held out are the same for all seeds.
    loss = jax.vmap(validation.loss, in_axes=(0, None, None))
    validation = validation._replace(loss=loss)
  return first._replace(
    name=name,
    # What is frozen is the published weights, for all seeds.
    init=jax.vmap(first.init, in_axes=(0, None), out_axes=(0, None)),
    step=jax.vmap(first.step, in_axes=(0, None, 1)),
    batch_at=batch_at,
    names=names,
    validation=validation,
  )
