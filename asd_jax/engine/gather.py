"""From clips to features and scores, batch by batch in constant memory."""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from asd_jax import errors
from asd_jax.data import audio, clips
from asd_jax.engine.branch import Made
from asd_jax.engine.embed import Advance, Embedder
from asd_jax.engine.programs import Programs
from asd_jax.engine.system import Normals, Scores, System

Tree = Any


def _ignore(num: int) -> None:
  del num


def check(system: System, some: Sequence[clips.Clip], rate: int) -> None:
  """Refuses clips that the system cannot use, before any is decoded.

  Args:
    system: the system.
    some: clips.
    rate: sample rate that clips are brought to, Hz.

  Raises:
    InputError: for a clip with too few channels or samples.
  """
  lengths: set[int] = set()
  for clip in some:
    head = clip.header
    if head.num_channels < system.num_channels:
      needs = [
        n
        for n, branch in system.branches.items()
        if branch.front.num_channels > head.num_channels
      ]
      raise errors.InputError(
        f"{clip.path}: found {head.num_channels} channel, expected"
        f" {system.num_channels} (near and far), which {', '.join(needs)} of"
        " this system needs; systems whose branches all say channels=(0,), such"
        " as plain_knn, take one."
      )
    num = audio.num_samples_at(head, rate)
    if num < system.min_samples:
      raise errors.InputError(
        f"{clip.path}: found {num} samples at {rate} Hz, this system expects"
        f" at least {system.min_samples} (one input of the encoder)."
      )
    if num not in lengths:
      try:
        system.check_length(num)
      except ValueError as e:
        raise errors.InputError(f"{clip.path}: {e}") from e
      lengths.add(num)


def front_fitter(system: System) -> Callable:
  """Compiles what gathers statistics of training clips before all else.

  Args:
    system: the system.

  Returns:
    `(clips, *, batch_size, rate) -> front`, in one pass a fitted stage and in
    memory that does not grow with the number of clips.
  """

  @functools.partial(jax.jit, static_argnums=0)
  def summed(stage: str, front: Tree, wave: jax.Array, keep: jax.Array) -> Tree:
    sums = jax.vmap(lambda w: system.measure(stage, front, w))(wave)
    over = lambda x: jnp.tensordot(keep.astype(x.dtype), x, 1)
    return jax.tree.map(over, sums)

  def fit(some: Sequence[clips.Clip], *, batch_size: int, rate: int) -> Tree:
    front = system.front
    for stage in system.stages:
      total = None
      for batch in audio.batches(some, batch_size=batch_size, sample_rate=rate):
        sums = summed(stage, front, batch.audio, batch.index >= 0)
        total = jax.tree.map(jnp.add, total, sums) if total else sums
      front = system.fit_front(stage, front, total)
    return front

  return fit


def _check_finite(feats: Tree, some: Sequence[clips.Clip]) -> None:
  for name, x in feats.items():
    good = np.isfinite(x).reshape(len(x), -1).all(axis=1)
    if not good.all():
      raise errors.InputError(
        f"{some[int(np.argmin(good))].path}: found features of branch {name}"
        " that are not finite."
      )


def collect(
  embedder: Embedder,
  front: Tree,
  some: Sequence[clips.Clip],
  *,
  advance: Advance = _ignore,
) -> tuple[Normals, list[str]]:
  """Computes the features of the training clips of one section.

  Args:
    embedder: the embedding stage.
    front: fitted stages, see `front_fitter`.
    some: training clips.
    advance: called with the number of clips done, after each batch.

  Returns:
    `Normals` without trained encoders, and notes on odd input.

  Raises:
    InputError: for a clip whose features are not finite.
  """
  groups: dict[Any, tuple[list, list]] = {}
  notes = []
  for part in embedder.parts(front, some, advance=advance):
    keep = part.index >= 0
    feats = {n: x[keep] for n, x in part.features.items()}
    _check_finite(feats, [some[i] for i in part.index[keep]])
    shape = tuple(x.shape[1:] for x in feats.values())
    rows, parts = groups.setdefault(shape, ([], []))
    rows.extend(part.index[keep])
    parts.append(feats)
    notes += [f"{some[i].path.name}: {text}" for i, text in part.notes]
  features = tuple(
    jax.tree.map(lambda *x: jnp.asarray(np.concatenate(x)), *parts)
    for _, parts in groups.values()
  )
  rows = np.concatenate([rows for rows, _ in groups.values()])
  is_target = np.array([c.domain == "target" for c in some])
  return (
    Normals(
      front,
      features,
      jnp.asarray(np.argsort(rows)),
      jnp.asarray(is_target),
      {},
      num_target=int(is_target.sum()),
    ),
    notes,
  )


def make(
  programs: Programs, front: Tree, some: Sequence[clips.Clip], *, rate: int
) -> dict[str, Made]:
  """Makes clips from the target-domain training clips.

  Args:
    programs: the compiled system.
    front: fitted stages.
    some: training clips, which are read once a branch, in constant memory.
    rate: sample rate, Hz.

  Returns:
    `Made` of branches whose statistics ask for any; vector i is made from
    target clip i modulo their number.
  """
  targets = [i for i, c in enumerate(some) if c.domain == "target"]
  size = programs.batch_size
  out = {}
  for name, branch in programs.system.branches.items():
    sources = sum(c.domain == "source" for c in some)
    num = branch.front.num_made(front[name], sources) if targets else 0
    if not num:
      continue
    draws = branch.front.draws(num)
    parts, rows = [], []
    chosen = [some[i] for i in targets[:num]]
    for batch in audio.batches(chosen, batch_size=size, sample_rate=rate):
      own = [
        (place, i)
        for place, clip in enumerate(batch.index)
        if clip >= 0
        for i in range(int(clip), num, len(targets))
      ]
      for start in range(0, len(own), size):
        pairs = own[start : start + size]
        full = pairs + pairs[:1] * (size - len(pairs))
        place, i = (np.array(x) for x in zip(*full, strict=True))
        drawn = jax.tree.map(lambda x: x[i], draws)  # noqa: B023
        found = programs.made(name, front, batch.audio[place], drawn)
        parts.append(np.asarray(found)[: len(pairs)])
        rows += [targets[j % len(targets)] for _, j in pairs]
    out[name] = Made(jnp.asarray(np.concatenate(parts)), jnp.array(rows))
  return out


def score(
  embedder: Embedder,
  state: Tree,
  some: Sequence[clips.Clip],
  *,
  advance: Advance = _ignore,
) -> Iterator[tuple[np.ndarray, Scores, list[str]]]:
  """Scores clips, batch by batch.

  Args:
    embedder: the embedding stage.
    state: fitted state.
    some: clips to score.
    advance: called with the number of clips done, after each batch.

  Yields:
    Positions `[n]` in `some`, scores with leading axis n, notes.

  Raises:
    InputError: if a score is not finite.
  """
  for part in embedder.parts(state["front"], some, advance=advance):
    keep = part.index >= 0
    found = embedder.programs.scores(state, part.features)
    scores = jax.tree.map(lambda x: np.asarray(x)[keep], found)  # noqa: B023
    rows = part.index[keep]
    if not np.isfinite(scores.fused).all():
      bad = some[rows[np.argmin(np.isfinite(scores.fused))]]
      raise errors.InputError(f"{bad.path}: found a score that is not finite.")
    notes = [f"{some[i].path.name}: {text}" for i, text in part.notes]
    yield rows, scores, notes
