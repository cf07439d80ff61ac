"""The compiled functions of a job, over all devices."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from asd_jax.training import mesh
from asd_jax.training import state as train_state
from asd_jax.training.feed import Feed
from asd_jax.training.job import Job, Validation
from asd_jax.training.state import TrainState
from asd_jax.typing import Key

Tree = Any


def _abstract(shapes: Tree, where: Tree) -> Tree:
  return jax.tree.map(
    lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s),
    shapes,
    where,
  )


class Program:
  """A job on the devices that there are.

  Args:
    job: what to train.
    key: `[]` or `[K]`, of all draws.
    sharded: whether large arrays are divided among the devices.

  Attributes:
    over: the devices.
    shapes: (state, frozen), abstract, with their places.

  Raises:
    InputError: if devices of several processes cannot share a batch.
  """

  def __init__(self, job: Job, key: Key, *, sharded: bool) -> None:
    self._job = job
    sizes = [job.batch_size]
    if job.validation:
      sizes.append(job.validation.batch_size)
    self.over = mesh.whole(num_rows=math.gcd(*sizes))
    self._words = np.asarray(jax.random.key_data(key))
    self._impl = jax.random.key_impl(key)
    init = lambda start: job.init(self._key(self._words), start)
    shapes = jax.eval_shape(init, job.start)
    self._where = mesh.placements(shapes, self.over, cut=sharded)
    self.shapes = _abstract(shapes, self._where)
    self._sharded = sharded

  def _key(self, words: Any) -> Key:
    return jax.random.wrap_key_data(words, impl=self._impl)

  @functools.cached_property
  def _start(self) -> Tree:
    job = self._job
    where = mesh.placements(job.start, self.over, cut=self._sharded)
    return mesh.placed(job.start, where)

  def start(self) -> tuple[TrainState, Tree]:
    """Makes the first state and what no step changes."""

    def init(words: Any, start: Tree) -> tuple[TrainState, Tree]:
      state, frozen = self._job.init(self._key(words), start)
      # Steps overwrite the state: it must not be the caller's own weights.
      copy = lambda x: x if train_state.is_key(x) else jnp.copy(x)
      return jax.tree.map(copy, state), frozen

    return jax.jit(init, out_shardings=self._where)(self._words, self._start)

  def frozen(self) -> Tree:
    """Makes only what no step changes."""
    init = lambda words, start: self._job.init(self._key(words), start)[1]
    make = jax.jit(init, out_shardings=self._where[1])
    return make(self._words, self._start)

  def forget(self) -> None:
    """Lets go of what `start` began with."""
    self.__dict__.pop("_start", None)

  @functools.cached_property
  def _whole_step(self) -> Any:
    rows = mesh.rows_placement(self.over)
    copies = mesh.copies_placement(self.over)
    state, frozen = self._where

    def step(state: TrainState, frozen: Tree, batch: Tree, stop: Any) -> tuple:
      state, metrics = self._job.step(state, frozen, batch)
      # One device that is asked to stop stops all, at the same step.
      return state, {**metrics, "stop": jnp.max(stop)}

    return jax.jit(
      step,
      in_shardings=(state, frozen, rows, rows),
      out_shardings=(state, copies),
      donate_argnums=0,
    )

  def compiled(self, batch: Tree) -> Any:
    """Compiles a step.

    Args:
      batch: any batch.

    Returns:
      `(state, frozen, batch, stop) -> (state, metrics)`, with the analyses of
      what was compiled; metrics have `stop`.
    """
    flag = self.flag(up=False)
    with mesh.active(self.over):
      return self._whole_step.lower(*self.shapes, batch, flag).compile()

  def flag(self, *, up: bool) -> jax.Array:
    """What tells the other processes whether this one was asked to stop."""
    rows = mesh.own_rows(self.over.size, self.over)
    mine = np.full(rows.stop - rows.start, up, np.int32)
    return mesh.joined(mine, self.over)

  def like(self, batch: Tree) -> Tree:
    """Shapes and places of (state, metrics), as checkpoints keep them."""
    flag = self.flag(up=False)
    with mesh.active(self.over):
      _, metrics = jax.eval_shape(self._whole_step, *self.shapes, batch, flag)
    copies = mesh.copies_placement(self.over)
    where = jax.tree.map(lambda _: copies, metrics)
    return self.shapes[0], _abstract(metrics, where)

  def judge(self, check: Validation) -> Callable[[TrainState, Tree], float]:
    """Makes what looks at all batches of a validation.

    Args:
      check: the validation.

    Returns:
      `(state, frozen) ->` their mean loss.
    """
    rows = mesh.rows_placement(self.over)
    loss = jax.jit(
      check.loss,
      in_shardings=(*self._where, rows),
      out_shardings=mesh.copies_placement(self.over),
    )
    num = check.num_batches

    def look(state: TrainState, frozen: Tree) -> float:
      feed = Feed(
        check.batch_at, check.batch_size, self.over, stop=num, ahead=1
      )
      with feed, mesh.active(self.over):
        found = [loss(state, frozen, feed.get(i)) for i in range(num)]
        return float(np.mean([np.mean(np.asarray(x)) for x in found]))

    return look
