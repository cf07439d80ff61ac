"""From clips to features and scores, batch by batch in constant memory."""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from asd_jax import errors
from asd_jax.data import audio, clips, names
from asd_jax.engine import encode
from asd_jax.engine import train as train_lib
from asd_jax.engine.embed import Advance, Embedder
from asd_jax.engine.normals import Augmented, Normals
from asd_jax.engine.programs import Programs
from asd_jax.engine.system import Scores, System

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
  branches = system.branches
  num_channels = encode.num_channels(branches)
  least = encode.min_samples(branches)
  # Sets have thousands of clips and a few lengths: each length is tried once.
  lengths: set[int] = set()
  for clip in some:
    head = clip.header
    if head.num_channels < num_channels:
      needs = [
        n for n, b in branches.items() if max(b.channels) >= head.num_channels
      ]
      raise errors.InputError(
        f"{clip.path}: found {head.num_channels} channel, expected"
        f" {num_channels} (near and far), which {', '.join(needs)} of"
        " this system needs; systems whose branches all say channels=(0,), such"
        " as plain_knn, take one."
      )
    num = audio.num_samples_at(head, rate)
    if num < least:
      raise errors.InputError(
        f"{clip.path}: found {num} samples at {rate} Hz, this system expects"
        f" at least {least} (one input of the encoder)."
      )
    if num not in lengths:
      try:
        encode.check_length(branches, num)
      except errors.InputError as e:
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

  # Padding rows of the last batch weigh nothing, so all batches have one shape
  # and one program.
  @functools.partial(jax.jit, static_argnums=0)
  def summed(stage: str, front: Tree, wave: jax.Array, keep: jax.Array) -> Tree:
    one = lambda w: encode.measure(system.branches, stage, front, w)
    sums = jax.vmap(one)(wave)
    over = lambda x: jnp.tensordot(keep.astype(x.dtype), x, 1)
    return jax.tree.map(over, sums)

  def fit(some: Sequence[clips.Clip], *, batch_size: int, rate: int) -> Tree:
    front = encode.unfitted(system.branches)
    # A pass over the files for each stage: a front end is measured on what the
    # fitted denoiser leaves.
    for stage in encode.stages_of(system.branches):
      total = None
      for batch in audio.batches(some, batch_size=batch_size, sample_rate=rate):
        sums = summed(stage, front, batch.audio, batch.index >= 0)
        total = jax.tree.map(jnp.add, total, sums) if total else sums
      front = encode.fit_front(system.branches, stage, front, total)
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
  # Clips of other lengths may have features of other shapes: an array each.
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
    jax.tree.map(lambda *x: np.concatenate(x), *parts)
    for _, parts in groups.values()
  )
  rows = np.concatenate([rows for rows, _ in groups.values()])
  # NumPy arrays, which the type of a record of device arrays does not know.
  host: Any = dict(
    features=features,
    order=np.argsort(rows),
    is_target=np.array([c.domain == "target" for c in some]),
  )
  normals = Normals(
    front,
    **host,
    trained={},
    num_target=int(host["is_target"].sum()),
    has_attributes=any(names.attribute_pairs(c.attributes) for c in some),
  )
  return normals, notes


def augment(
  programs: Programs, front: Tree, some: Sequence[clips.Clip], *, rate: int
) -> dict[str, Augmented]:
  """Makes clips from the target-domain training clips.

  Args:
    programs: the compiled system.
    front: fitted stages.
    some: training clips, which are read once a branch, in constant memory.
    rate: sample rate, Hz.

  Returns:
    `Augmented` of branches whose statistics ask for any; vector i is made from
    target clip i modulo their number.
  """
  targets = [i for i, c in enumerate(some) if c.domain == "target"]
  size = programs.batch_size
  out = {}
  for name, branch in programs.system.branches.items():
    sources = sum(c.domain == "source" for c in some)
    count = branch.front.augment.count
    num = count(front[name]["augment"], sources) if targets else 0
    if not num:
      continue
    draws = branch.front.augment.draw(num)
    parts, rows = [], []
    chosen = [some[i] for i in targets[:num]]
    for batch in audio.batches(chosen, batch_size=size, sample_rate=rate):
      # Every vector that is made from a clip of this batch, while it is read.
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
        found = programs.augmented(name, front, batch.audio[place], drawn)
        parts.append(np.asarray(found)[: len(pairs)])
        rows += [targets[j % len(targets)] for _, j in pairs]
    host: Any = np.concatenate(parts), np.array(rows, np.int32)
    out[name] = Augmented(*host)
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


class Gatherer:
  """Computes features and trains encoders; compiles once per clip length.

  Args:
    embedder: the embedding stage.
    config: the system's config.
  """

  def __init__(self, embedder: Embedder, config: Mapping[str, Any]) -> None:
    self._embedder, self._config = embedder, config
    self._system = embedder.programs.system
    self._fit_front = front_fitter(self._system)
    self._trainers = train_lib.trainers(self._system)

  def normals(
    self,
    train: Sequence[clips.Clip],
    *,
    advance: Callable,
    on_epoch: train_lib.OnEpoch,
  ) -> tuple[Normals, list[str]]:
    """Front ends fitted, features computed, clips made, encoders trained.

    Args:
      train: training clips of a section.
      advance: called with the number of clips done, after each batch.
      on_epoch: called with (branch, epochs done, metrics).

    Returns:
      What the system is fitted to, and notes on odd input.
    """
    programs, rate = self._embedder.programs, self._config["sample_rate"]
    front = self._fit_front(train, batch_size=programs.batch_size, rate=rate)
    normals, notes = self.clips(front, train, advance)
    made = augment(programs, front, train, rate=rate)
    folder = self._config["training_dir"]
    normals, more = train_lib.train(
      self._trainers,
      self._system,
      normals.replace(augmented=made),
      self._config,
      folder=Path(folder) if folder else None,
      on_epoch=on_epoch,
    )
    return normals, notes + more

  def clips(
    self, front: Any, some: Sequence[clips.Clip], advance: Callable
  ) -> tuple[Normals, list[str]]:
    """Features alone, of any clips, and notes on odd input.

    Args:
      front: fitted stages.
      some: clips.
      advance: called with the number of clips done, after each batch.

    Returns:
      Features and order as of training clips, and notes.
    """
    return collect(self._embedder, front, some, advance=advance)
