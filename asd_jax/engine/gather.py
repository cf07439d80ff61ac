"""From clips to features and scores, batch by batch in constant memory."""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from asd_jax import errors
from asd_jax.data import audio, clips, decode, names, windows
from asd_jax.engine import augmented, encode, lengths
from asd_jax.engine import fronts as fronts_lib
from asd_jax.engine import train as train_lib
from asd_jax.engine.embed import Advance, Embedder, Room
from asd_jax.engine.normals import Normals
from asd_jax.engine.section import Section
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


def _check_finite(feats: Tree, some: Sequence[clips.Clip]) -> None:
  for name, found in feats.items():
    x = jax.tree.leaves(found)[0]
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
  room: Room = decode.own_room,
  advance: Advance = _ignore,
) -> tuple[Normals, list[str]]:
  """Computes the features of the training clips of one section.

  Args:
    embedder: the embedding stage.
    front: fitted stages, see `fronts.front_fitter`.
    some: training clips.
    room: where they are put, see `lengths.rooms`.
    advance: called with the number of clips done, after each batch.

  Returns:
    `Normals` without trained encoders, and notes on odd input.

  Raises:
    InputError: for a clip whose features are not finite.
  """
  # Clips of other lengths may have features of other shapes, a group each.
  groups: dict[Any, tuple[list, list]] = {}
  notes = []
  for part in embedder.parts(front, some, room=room, advance=advance):
    keep = part.index >= 0
    feats = jax.tree.map(lambda x: x[keep], part.features)  # noqa: B023
    _check_finite(feats, [some[i] for i in part.index[keep]])
    # Not those of `Ragged` and of whole clips in one, though shapes are equal.
    shape = (
      jax.tree.structure(feats),
      *(x.shape[1:] for x in jax.tree.leaves(feats)),
    )
    rows, parts = groups.setdefault(shape, ([], []))
    rows.extend(part.index[keep])
    parts.append(feats)
    notes += [f"{windows.title(some[i])}: {text}" for i, text in part.notes]
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


def score(
  embedder: Embedder,
  state: Tree,
  some: Sequence[clips.Clip],
  *,
  room: Room = decode.own_room,
  others: Sequence[Tree] = (),
  advance: Advance = _ignore,
) -> Iterator[tuple[np.ndarray, Scores, np.ndarray, list[str]]]:
  """Scores clips, batch by batch.

  Args:
    embedder: the embedding stage.
    state: fitted state.
    some: clips to score.
    room: where they are put, see `lengths.rooms`.
    others: K states of models of folds, for which the features are the same.
    advance: called with the number of clips done, after each batch.

  Yields:
    Positions `[n]` in `some`, scores with leading axis n, `[n, K]` scores by
    the other states, notes.

  Raises:
    InputError: if a score by `state` is not finite.
  """
  for part in embedder.parts(state["front"], some, room=room, advance=advance):
    keep = part.index >= 0
    found = embedder.programs.scores(state, part.features)
    scores = jax.tree.map(lambda x: np.asarray(x)[keep], found)  # noqa: B023
    each = [embedder.programs.scores(s, part.features).fused for s in others]
    by_fold = np.zeros((int(keep.sum()), len(each)), np.float32)
    for k, fused in enumerate(each):
      by_fold[:, k] = np.asarray(fused)[keep]
    rows = part.index[keep]
    if not np.isfinite(scores.fused).all():
      bad = some[rows[np.argmin(np.isfinite(scores.fused))]]
      raise errors.InputError(f"{bad.path}: found a score that is not finite.")
    notes = [f"{windows.title(some[i])}: {text}" for i, text in part.notes]
    yield rows, scores, by_fold, notes


def room(system: System, section: Section) -> Room:
  """Where clips of a fitted section are put, see `lengths.rooms`."""
  known = [int(n) for n in section.facts.get("lengths", ())]
  # An older detector does not tell: its clips shared no programs.
  if not known:
    return decode.own_room
  own = lengths.Lengths(min(known), max(known))
  return lengths.rooms(system.branches, own)


class Gathered(NamedTuple):
  """The training clips of a section before any fit.

  Attributes:
    train: the clips.
    normals: what the system is fitted to.
    fronts: fitted stages, of all clips and without each fold.
    made: clips made of them, by branch.
    fold: `[N]` fold of each clip; None without folds.
    notes: on odd input.
  """

  train: Sequence[clips.Clip]
  normals: Normals
  fronts: fronts_lib.Fronts
  made: dict[str, augmented.Made]
  fold: np.ndarray | None
  notes: list[str]


class Gatherer:
  """Computes features and trains encoders.

  Args:
    embedder: the embedding stage.
    config: the system's config.
  """

  def __init__(self, embedder: Embedder, config: Mapping[str, Any]) -> None:
    self._embedder, self._config = embedder, config
    self._system = embedder.programs.system
    self._fit_front = fronts_lib.front_fitter(self._system)
    self._trainers = train_lib.trainers(self._system)

  def gather(
    self,
    train: Sequence[clips.Clip],
    *,
    fold: np.ndarray | None,
    advance: Callable,
    on_epoch: train_lib.OnEpoch,
  ) -> Gathered:
    """Front ends fitted, features computed, clips made, encoders trained.

    Args:
      train: training clips of a section.
      fold: `[N]` fold of each clip, where models of folds are wanted.
      advance: called with the number of clips done, after each batch.
      on_epoch: called with (branch, epochs done, metrics).

    Returns:
      What the system is fitted to, and what its folds need.
    """
    programs, rate = self._embedder.programs, self._config["sample_rate"]
    room = self._room(train)
    fronts = self._fit_front(
      train, batch_size=programs.batch_size, rate=rate, room=room, fold=fold
    )
    normals, notes = collect(
      self._embedder, fronts.whole, train, room=room, advance=advance
    )
    made = augmented.augment(programs, fronts, train, rate=rate, room=room)
    is_target, own = np.asarray(normals.is_target), {}
    for name, m in made.items():
      num = augmented.num_augmented(self._system, name, fronts.whole, is_target)
      if num:
        own[name] = m.first(num)
    normals, more = self._trained(normals.replace(augmented=own), on_epoch)
    return Gathered(train, normals, fronts, made, fold, notes + more)

  def _room(self, train: Sequence[clips.Clip]) -> Room:
    known = lengths.of(train, self._config["sample_rate"])
    return lengths.rooms(self._system.branches, known)

  def _trained(
    self, normals: Normals, on_epoch: train_lib.OnEpoch
  ) -> tuple[Normals, list[str]]:
    folder = self._config["training_dir"]
    return train_lib.train(
      self._trainers,
      self._system,
      normals,
      self._config,
      folder=Path(folder) if folder else None,
      on_epoch=on_epoch,
    )

  def without(
    self,
    found: Gathered,
    k: int,
    *,
    refit: bool,
    on_epoch: train_lib.OnEpoch,
    embedder: Embedder,
  ) -> Normals:
    """The training clips without one fold, as the whole fit has them.

    Args:
      found: of all clips, with folds.
      k: the fold.
      refit: whether features depend on which clips are trained on.
      on_epoch: called with (branch, epochs done, metrics).
      embedder: the embedding stage without the fold.

    Returns:
      All clips, of which the others count; networks trained on those.
    """
    assert found.fold is not None
    front, normals = found.fronts.without[k], found.normals
    if refit:
      room = self._room(found.train)
      normals, _ = collect(embedder, front, found.train, room=room)
    valid: Any = found.fold != k
    domains = np.asarray(normals.is_target)[valid]
    made = {}
    for name, m in found.made.items():
      num = augmented.num_augmented(self._system, name, front, domains)
      made[name] = m.masked(num, valid)
    normals = normals.replace(
      front=front, valid=valid, augmented=made, trained={}
    )
    return self._trained(normals, on_epoch)[0]

  def keepers(
    self,
    train: Sequence[clips.Clip],
    fold: np.ndarray | None,
    embedders: Sequence[Embedder],
  ) -> list[Callable[..., None]]:
    """What keeps the embeddings that a fit and its scores will look for.

    Args:
      train: training clips of a section, which front ends are fitted to.
      fold: `[N]` fold of each; None where features are the same without it.
      embedders: the embedding stages, of all clips and without each fold.

    Returns:
      `(clips, *, advance)` of each stage, see `Embedder.keep`.
    """
    room = self._room(train)
    fronts = self._fit_front(
      train,
      batch_size=self._embedder.programs.batch_size,
      rate=self._config["sample_rate"],
      room=room,
      fold=fold,
    )
    every = fronts.whole, *fronts.without
    return [
      functools.partial(embedder.keep, front, room=room)
      for embedder, front in zip(embedders, every, strict=True)
    ]

  def clips(
    self,
    front: Any,
    some: Sequence[clips.Clip],
    train: Sequence[clips.Clip],
    advance: Callable,
  ) -> tuple[Normals, list[str]]:
    """Features alone, of any clips, and notes on odd input.

    Args:
      front: fitted stages.
      some: clips.
      train: training clips of their section.
      advance: called with the number of clips done, after each batch.

    Returns:
      Features and order as of training clips, and notes.
    """
    room = self._room(train)
    return collect(self._embedder, front, some, room=room, advance=advance)
