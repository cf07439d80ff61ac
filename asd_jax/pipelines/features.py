"""From clips to features and scores, batch by batch in constant memory."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from asd_jax.data import audio, clips
from asd_jax.pipelines.build import Normals, System

Tree = Any
Advance = Callable[[int], None]


def _ignore(num: int) -> None:
  del num


def check(system: System, some: Sequence[clips.Clip], rate: int) -> None:
  """Refuses clips that the system cannot use, before any is decoded.

  Args:
    system: the system.
    some: clips.
    rate: sample rate that clips are brought to, Hz.

  Raises:
    ValueError: for a clip with too few channels or samples.
  """
  for clip in some:
    head = clip.header
    if head.num_channels < system.num_channels:
      raise ValueError(
        f"{clip.path}: found {head.num_channels} channel, this system expects"
        f" {system.num_channels} (near and far)."
      )
    num = head.num_samples * rate // head.sample_rate
    if num < system.min_samples:
      raise ValueError(
        f"{clip.path}: found {num} samples at {rate} Hz, this system expects"
        f" at least {system.min_samples} (one frame of context)."
      )


def collect(
  compute: Callable,
  some: Sequence[clips.Clip],
  *,
  batch_size: int,
  rate: int,
  advance: Advance = _ignore,
) -> tuple[Normals, list[str]]:
  """Computes the features of the training clips of one section.

  Args:
    compute: compiled `[B, C, S] -> {branch: [B, C, ...]}`.
    some: training clips.
    batch_size: clips in a batch.
    rate: sample rate, Hz.
    advance: called with the number of clips done, after each batch.

  Returns:
    `Normals` without trained encoders, and notes on odd input.
  """
  groups: dict[Any, tuple[list, list]] = {}
  notes = []
  for batch in audio.batches(some, batch_size=batch_size, sample_rate=rate):
    keep = batch.index >= 0
    feats = jax.tree.map(lambda x: np.asarray(x)[keep], compute(batch.audio))  # noqa: B023
    shape = tuple(x.shape[1:] for x in jax.tree.leaves(feats))
    rows, parts = groups.setdefault(shape, ([], []))
    rows.extend(batch.index[keep])
    parts.append(feats)
    notes += [f"{some[i].path.name}: {text}" for i, text in batch.notes]
    advance(int(keep.sum()))
  features = tuple(
    jax.tree.map(lambda *x: jnp.asarray(np.concatenate(x)), *parts)
    for _, parts in groups.values()
  )
  rows = np.concatenate([rows for rows, _ in groups.values()])
  is_target = np.array([c.domain == "target" for c in some])
  return (
    Normals(
      features, jnp.asarray(np.argsort(rows)), jnp.asarray(is_target), {}
    ),
    notes,
  )


def scorer(system: System) -> Callable[[Tree, np.ndarray], tuple]:
  """Compiles scoring: `(state, [B, C, S]) -> ([B], [B, K])`.

  A batch is `vmap` over clips, so no score can depend on another clip.

  Args:
    system: the system, at the hyperparameters of its config.

  Returns:
    A function of a fitted state and a batch of samples to fused scores and
    scores seed by seed.
  """

  def one(state: Tree, wave: jax.Array) -> tuple:
    return system.score_seeds(system.hypers, state, system.features(wave))

  return jax.jit(jax.vmap(one, in_axes=(None, 0)))


def score(
  compiled: Callable,
  state: Tree,
  some: Sequence[clips.Clip],
  *,
  batch_size: int,
  rate: int,
  advance: Advance = _ignore,
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]]:
  """Scores clips, batch by batch.

  Args:
    compiled: what `scorer` returns.
    state: fitted state.
    some: clips to score.
    batch_size: clips in a batch.
    rate: sample rate, Hz.
    advance: called with the number of clips done, after each batch.

  Yields:
    Positions `[n]` in `some`, scores `[n]`, scores by seed `[n, K]`, notes.

  Raises:
    ValueError: if a score is not finite.
  """
  for batch in audio.batches(some, batch_size=batch_size, sample_rate=rate):
    keep = batch.index >= 0
    fused, seeds = (np.asarray(x)[keep] for x in compiled(state, batch.audio))
    rows = batch.index[keep]
    if not np.isfinite(fused).all():
      bad = some[rows[np.argmin(np.isfinite(fused))]]
      raise ValueError(f"{bad.path}: found a score that is not finite.")
    notes = [f"{some[i].path.name}: {text}" for i, text in batch.notes]
    advance(int(keep.sum()))
    yield rows, fused, seeds, notes
