"""The embedding stage: features of clips, computed or read from the cache."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from asd_jax import errors, store
from asd_jax.data import clips, decode
from asd_jax.engine.cache import EmbeddingCache, Entry
from asd_jax.engine.programs import Programs

Tree = Any
Advance = Callable[[int], None]
Rows = dict[str, Any]
Room = Callable[[int], decode.Room]
# Batches' worth of clips that wait for others of their shape.
_WAITING = 4
# Batches' worth of clips whose kept embeddings wait for others.
_HELD = 16


class Part(NamedTuple):
  """Features of a batch of clips.

  Attributes:
    index: `[B]` position of each clip, -1 on padding rows.
    features: `{branch: [B, C', ...]}`, of NumPy when it is handed on; `Ragged`
      where clips of different lengths share a shape.
    notes: clip position and what was odd about that clip.
  """

  index: np.ndarray
  features: Rows
  notes: tuple[tuple[int, str], ...]


class _Clip(NamedTuple):
  """A clip and what is kept of it.

  Attributes:
    row: its position.
    clip: the clip.
    recording: name of its content.
    places: names of its embeddings by branch, of branches that are cached.
    kept: embeddings that were found, by branch.
  """

  row: int
  clip: clips.Clip
  recording: str
  places: dict[str, str]
  kept: dict[str, Entry]


class Embedder:
  """Goes through clips, batch by batch.

  A frozen encoder's features are looked for in their caches first. Clips that
  miss some are decoded ahead while the device works; a forward pass serves
  all branches, layers and channels that share it. What is held does not grow
  with the number of clips, but for their names.

  Args:
    programs: the compiled system.
    caches: of branches with frozen encoders; none if nothing is kept.
    rate: sample rate, Hz.

  Attributes:
    programs: as given.
    keeps: whether embeddings of any branch are written.
    counts: clips whose embeddings were read from the cache, and computed.
    problem: why embeddings are not kept any more, "" if they are.
  """

  def __init__(
    self, programs: Programs, caches: Mapping[str, EmbeddingCache], rate: int
  ) -> None:
    self.programs, self._caches, self._rate = programs, caches, rate
    self.keeps = any(c.writes for c in caches.values())
    self.counts = {"read": 0, "computed": 0}
    self.problem = ""

  def parts(
    self,
    front: Tree,
    some: Sequence[clips.Clip],
    *,
    room: Room = decode.own_room,
    advance: Advance,
  ) -> Iterator[Part]:
    """Features of clips.

    Args:
      front: states of the fitted stages.
      some: clips.
      room: where they are put, see `lengths.rooms`.
      advance: called with the number of clips done, after each batch.

    Yields:
      Batches, in an order of their own; each clip once.
    """
    for part in self._found(front, some, room):
      advance(int((part.index >= 0).sum()))
      yield part

  def keep(
    self,
    front: Tree,
    some: Sequence[clips.Clip],
    *,
    room: Room = decode.own_room,
    advance: Advance,
  ) -> None:
    """Computes and keeps embeddings that a later run will look for.

    Args:
      front: states of the fitted stages.
      some: clips.
      room: where they are put, see `lengths.rooms`.
      advance: called with the number of clips done.

    Raises:
      InputError: where one cannot be written; those before it are kept.
    """
    groups: dict[tuple[str, ...], list[_Clip]] = {}
    for one in self._looked_up(front, some):
      if missing := tuple(n for n in self._caches if n not in one.kept):
        groups.setdefault(missing, []).append(one._replace(kept={}))
      else:
        self.counts["read"] += 1
        advance(1)
    for missing, group in groups.items():
      for _, own in self._fresh(front, group, missing, room):
        if self.problem:
          raise errors.InputError(self.problem)
        advance(len(own))

  def notes(self) -> list[str]:
    """Sentences on what is not kept, and on what was damaged."""
    problem = [self.problem] if self.problem else []
    return problem + [n for c in self._caches.values() for n in c.notes()]

  def _looked_up(
    self, front: Tree, some: Sequence[clips.Clip]
  ) -> Iterator[_Clip]:
    """Clips with what is kept of them, each recording and file read once."""
    if not self._caches:
      yield from (_Clip(i, c, "", {}, {}) for i, c in enumerate(some))
      return
    for cache in self._caches.values():
      cache.open()
    state = {n: _state_digest(front[n]) for n in self._caches}
    for i, clip in enumerate(some):
      own = decode.digest(clip)
      places = {n: store.digest(own, s) for n, s in state.items()}
      found = {n: self._caches[n].get(place) for n, place in places.items()}
      kept = {n: e for n, e in found.items() if e is not None}
      yield _Clip(i, clip, own, places, kept)

  def _found(
    self, front: Tree, some: Sequence[clips.Clip], room: Room
  ) -> Iterator[Part]:
    """Batches of clips that have, and miss, the same branches."""
    size, held = self.programs.batch_size, 0
    names = tuple(self.programs.system.branches)
    groups: dict[Any, list[_Clip]] = {}
    for one in self._looked_up(front, some):
      missing = tuple(n for n in names if n not in one.kept)
      # Kept arrays of a batch are stacked.
      shapes = tuple(e.array.shape for e in one.kept.values())
      key = missing, shapes
      groups.setdefault(key, []).append(one)
      held += bool(shapes)
      full = not missing and len(groups[key]) == size
      # What is held does not grow with the number of clips. Of a clip without
      # anything kept it is the name: all of them may look for their like.
      if held == _HELD * size:
        holding = (k for k in groups if k[1])
        key, full = max(holding, key=lambda k: len(groups[k])), True
      if full:
        group = groups.pop(key)
        held -= len(group)
        yield from self._of_group(front, group, key[0], room)
    for (missing, _), group in groups.items():
      yield from self._of_group(front, group, missing, room)

  def _of_group(
    self,
    front: Tree,
    group: Sequence[_Clip],
    missing: Sequence[str],
    room: Room,
  ) -> Iterator[Part]:
    if missing:
      yield from self._mixed(front, group, missing, room)
    else:
      yield self._read(group)

  def _computed(
    self,
    front: Tree,
    some: Sequence[clips.Clip],
    names: Sequence[str],
    room: Room,
  ) -> Iterator[Part]:
    """Computes features; the next batch is decoded while the device works."""
    batches = decode.batches(
      some,
      batch_size=self.programs.batch_size,
      sample_rate=self._rate,
      room=room,
    )
    waiting: list[Part] = []
    for part in self._full(front, batches, names):
      keep = part.index >= 0
      found = self.programs.encoded(part.features, names, keep=keep)
      waiting.append(part._replace(features=found))
      if len(waiting) > 1:
        yield _on_host(waiting.pop(0))
    yield from map(_on_host, waiting)

  def _full(
    self, front: Tree, batches: Iterator[decode.Batch], names: Sequence[str]
  ) -> Iterator[Part]:
    """Front-end outputs in full batches, whatever the clips' lengths were."""
    size = self.programs.batch_size
    left: dict[Any, list[Part]] = {}
    for batch in batches:
      keep = batch.index >= 0
      found = self.programs.outputs(
        front,
        batch.audio,
        names,
        num=batch.num,
        most=batch.most,
        keep=keep,
      )
      part = Part(batch.index, found, batch.notes)
      if keep.all():
        yield part
        continue
      shape = _shapes(part)
      left.setdefault(shape, []).extend(_rows(_on_host(part)))
      while sum(map(len, left.values())) >= _WAITING * size or (
        len(left.get(shape, ())) >= size
      ):
        fullest = max(left, key=lambda s: len(left[s]))
        yield _stacked(left[fullest][:size], size)
        del left[fullest][:size]
    for rows in left.values():
      if rows:
        yield _stacked(rows, size)

  def _read(self, group: Sequence[_Clip]) -> Part:
    """A batch of embeddings that were all kept."""
    rows = []
    for one in group:
      features = {n: e.array for n, e in one.kept.items()}
      texts = next(iter(one.kept.values())).notes
      notes = tuple((one.row, text) for text in texts)
      rows.append(Part(np.array(one.row), features, notes))
    self.counts["read"] += len(rows)
    return _stacked(rows, self.programs.batch_size)

  def _fresh(
    self,
    front: Tree,
    group: Sequence[_Clip],
    missing: Sequence[str],
    room: Room,
  ) -> Iterator[tuple[Part, list[_Clip]]]:
    """Computes and keeps what is missing; batches, and whose they are."""
    some = [one.clip for one in group]
    for part in self._computed(front, some, missing, room):
      own = [group[i] for i in part.index if i >= 0]
      self._put(part, missing, own)
      self.counts["computed"] += len(own)
      yield part, own

  def _mixed(
    self,
    front: Tree,
    group: Sequence[_Clip],
    missing: Sequence[str],
    room: Room,
  ) -> Iterator[Part]:
    """Computes and keeps what is missing, and adds what was kept."""
    order = self.programs.system.branches
    for part, own in self._fresh(front, group, missing, room):
      full = own + own[:1] * (len(part.index) - len(own))
      kept = {
        n: np.stack([one.kept[n].array for one in full]) for n in own[0].kept
      }
      every = {**part.features, **kept}
      index = np.full(len(part.index), -1, np.int32)
      index[part.index >= 0] = [one.row for one in own]
      notes = tuple((group[i].row, text) for i, text in part.notes)
      yield Part(index, {n: every[n] for n in order}, notes)

  def _put(
    self, part: Part, names: Sequence[str], owners: Sequence[_Clip]
  ) -> None:
    """Keeps computed embeddings; a full disk is no reason to stop."""
    every = self._caches.items()
    caches = {n: s for n, s in every if n in names and s.writes}
    if not caches or self.problem:
      return
    texts: dict[int, list[str]] = {}
    for i, text in part.notes:
      texts.setdefault(int(i), []).append(text)
    rows = [(row, int(i)) for row, i in enumerate(part.index) if i >= 0]
    try:
      for (row, i), one in zip(rows, owners, strict=True):
        # Not of a file that was changed before it was decoded.
        if decode.digest(one.clip) != one.recording:
          continue
        for name, cache in caches.items():
          found = Entry(part.features[name][row], tuple(texts.get(i, ())))
          if np.isfinite(found.array).all():
            cache.put(one.places[name], found)
    except errors.InputError as e:
      self.problem = f"embeddings are not kept: {e}"


def _on_host(part: Part) -> Part:
  return part._replace(features=jax.tree.map(np.asarray, part.features))


def _shapes(part: Part) -> tuple[tuple[int, ...], ...]:
  """Shapes of a clip's features."""
  return tuple(x.shape[1:] for x in jax.tree.leaves(part.features))


def _rows(part: Part) -> Iterator[Part]:
  """The clips of a batch one by one, without a batch axis."""
  for row, i in enumerate(part.index):
    if i >= 0:
      # Copies: a view would hold the whole batch.
      features = jax.tree.map(lambda x: x[row].copy(), part.features)  # noqa: B023
      notes = tuple(note for note in part.notes if note[0] == i)
      yield Part(np.array(i), features, notes)


def _stacked(rows: Sequence[Part], size: int) -> Part:
  """A batch of clips; padding rows repeat the first one."""
  index = np.full(size, -1, np.int32)
  index[: len(rows)] = [r.index for r in rows]
  full = [*rows, *[rows[0]] * (size - len(rows))]
  features = jax.tree.map(lambda *x: np.stack(x), *(r.features for r in full))
  return Part(index, features, tuple(x for r in rows for x in r.notes))


def _state_digest(front: Tree) -> str:
  """Names the states that decide embeddings; "" where nothing is fitted."""
  states = front["denoise"], front["frontend"]
  leaves = jax.tree.leaves(states)
  return store.digest(*leaves) if leaves else ""
