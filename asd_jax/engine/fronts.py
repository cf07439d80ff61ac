"""Statistics of training clips that front ends need, before all else."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from asd_jax.data import clips, decode
from asd_jax.engine import encode
from asd_jax.engine.branch import Branches
from asd_jax.engine.system import System

Tree = Any


class Fronts(NamedTuple):
  """Fitted stages before the encoder.

  Attributes:
    whole: states from all training clips.
    without: states from those outside each fold.
  """

  whole: Tree
  without: tuple[Tree, ...]


def front_fitter(system: System) -> Callable[..., Fronts]:
  """Compiles what gathers statistics of training clips before all else.

  Args:
    system: the system.

  Returns:
    `(clips, *, batch_size, rate, room, fold) -> Fronts`, in one pass a fitted
    stage and in memory that does not grow with the number of clips; `room` says
    where they are put (`lengths.rooms`), `fold` `[N]` is the fold of each, None
    for no folds.
  """

  # Padding rows of the last batch weigh nothing, so all batches have one shape
  # and one program. `member` `[K, B]` has the rows of each fold.
  @functools.partial(jax.jit, static_argnums=0)
  def summed(
    stage: str,
    front: Tree,
    keep: jax.Array,
    member: jax.Array,
    wave: jax.Array,
    *num: jax.Array,
  ) -> tuple[Tree, Tree]:
    def one(wave: jax.Array, *num: jax.Array) -> Tree:
      told = {"num": num[0]} if num else {}
      return encode.measure(system.branches, stage, front, wave, **told)

    sums = jax.vmap(one)(wave, *num)
    over = lambda x: jnp.tensordot(keep.astype(x.dtype), x, 1)
    by_fold = lambda x: jnp.tensordot(member.astype(x.dtype), x, 1)
    return jax.tree.map(over, sums), jax.tree.map(by_fold, sums)

  return functools.partial(_fit, system.branches, summed)


def _fit(
  branches: Branches,
  summed: Callable[..., tuple[Tree, Tree]],
  some: Sequence[clips.Clip],
  *,
  batch_size: int,
  rate: int,
  room: Callable[[int], decode.Room] = decode.own_room,
  fold: np.ndarray | None = None,
) -> Fronts:
  """Fits all stages of all branches, see `front_fitter`."""
  none = np.full(len(some), -1)
  fold = none if fold is None else fold
  whole = encode.unfitted(branches)
  without = [whole] * (fold.max(initial=-1) + 1)

  def measured(
    stage: str, front: Tree, some: Sequence[clips.Clip], fold: np.ndarray
  ) -> tuple[Tree, Tree]:
    """Sums over all clips, and `[K, ...]` over those of each fold."""
    names, total = np.arange(fold.max(initial=-1) + 1), None
    for batch in decode.batches(
      some, batch_size=batch_size, sample_rate=rate, room=room
    ):
      keep = batch.index >= 0
      member = keep & (names[:, None] == fold[batch.index])
      told = () if batch.num is None else (batch.num,)
      sums = summed(stage, front, keep, member, batch.audio, *told)
      total = jax.tree.map(jnp.add, total, sums) if total else sums
    return total or ({}, {})

  # A pass over the files for each stage: a front end is measured on what the
  # fitted denoiser leaves.
  for stage in encode.stages_of(branches):
    total, parts = measured(stage, whole, some, fold)
    before, whole = whole, encode.fit_front(branches, stage, whole, total)
    for k, front in enumerate(without):
      if _equal(front, before):
        sums = jax.tree.map(lambda x, k=k: _others(x, k), parts)
      else:  # what an earlier stage leaves differs by fold
        own = [c for c, j in zip(some, fold, strict=True) if j != k]
        sums = measured(stage, front, own, none)[0]
      without[k] = encode.fit_front(branches, stage, front, sums)
  return Fronts(whole, tuple(without))


def _others(x: Any, k: int) -> np.ndarray:
  """Sum of the rows of `[K, ...]` but one; a difference would cancel."""
  # On the host: JAX would compile a program for each k.
  return np.delete(np.asarray(x), k, axis=0).sum(axis=0)


def _equal(a: Tree, b: Tree) -> bool:
  """Whether denoisers' states, which later stages depend on, are equal."""
  denoise = lambda front: [f["denoise"] for f in front.values()]
  pairs = zip(*map(jax.tree.leaves, map(denoise, (a, b))), strict=True)
  return all(np.array_equal(x, y) for x, y in pairs)
