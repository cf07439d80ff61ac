"""The embedding stage: features of clips, computed or read from the cache."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from asd_jax import errors, store
from asd_jax.data import audio, clips
from asd_jax.engine.cache import EmbeddingCache, Entry
from asd_jax.engine.programs import Programs

Tree = Any
Advance = Callable[[int], None]
Rows = dict[str, Any]
# Batches' worth of clips that wait for others of their shape.
_WAITING = 4


class Part(NamedTuple):
  """Features of a batch of clips.

  Attributes:
    index: `[B]` position of each clip, -1 on padding rows.
    features: `{branch: [B, C', ...]}`, of NumPy when it is handed on.
    notes: clip position and what was odd about that clip.
  """

  index: np.ndarray
  features: Rows
  notes: tuple[tuple[int, str], ...]


class _Keys(NamedTuple):
  """Names of a clip's recording and, by branch, of its embeddings."""

  recording: str
  places: dict[str, str]


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
    counts: clips whose embeddings were read from the cache, and computed.
    problem: why embeddings are not kept any more, "" if they are.
  """

  def __init__(
    self, programs: Programs, caches: Mapping[str, EmbeddingCache], rate: int
  ) -> None:
    self.programs, self._caches, self._rate = programs, caches, rate
    self.counts = {"read": 0, "computed": 0}
    self.problem = ""

  def parts(
    self, front: Tree, some: Sequence[clips.Clip], *, advance: Advance
  ) -> Iterator[Part]:
    """Features of clips.

    Args:
      front: states of the fitted stages.
      some: clips.
      advance: called with the number of clips done, after each batch.

    Yields:
      Batches, in an order of their own; each clip once.
    """
    for cache in self._caches.values():
      cache.open()
    keys = self._keys(front, some)
    for missing, rows in self._groups(keys):
      group = [some[i] for i in rows]
      own = [keys[i] for i in rows]
      if missing:
        found = self._mixed(front, group, own, missing)
      else:
        found = self._read(front, group, own)
      for part in found:
        index = np.array([rows[i] if i >= 0 else -1 for i in part.index])
        notes = tuple((rows[i], text) for i, text in part.notes)
        advance(int((index >= 0).sum()))
        yield Part(index, part.features, notes)

  def notes(self) -> list[str]:
    """Sentences on what is not kept, and on what was damaged."""
    problem = [self.problem] if self.problem else []
    return problem + [n for c in self._caches.values() for n in c.notes()]

  def _keys(self, front: Tree, some: Sequence[clips.Clip]) -> list[_Keys]:
    """Where the embeddings of each clip would be."""
    if not self._caches:
      return [_Keys("", {}) for _ in some]
    state = {n: _state_digest(front[n]) for n in self._caches}
    out = []
    for clip in some:
      own = store.file_digest(clip.path)
      places = {n: store.digest(own, s) for n, s in state.items()}
      out.append(_Keys(own, places))
    return out

  def _groups(
    self, keys: Sequence[_Keys]
  ) -> Iterator[tuple[tuple[str, ...], list[int]]]:
    """Clips that miss the same branches, and have the rest in one shape."""
    groups: dict[Any, list[int]] = {}
    for i, key in enumerate(keys):
      shapes = {}
      for name, place in key.places.items():
        entry = self._caches[name].get(place)
        if entry is not None:
          shapes[name] = entry.array.shape
      missing = [n for n in self.programs.system.branches if n not in shapes]
      kind = tuple(missing), tuple(shapes.values())
      groups.setdefault(kind, []).append(i)
    yield from ((kind[0], rows) for kind, rows in groups.items())

  def _entry(self, front: Tree, clip: clips.Clip, name: str, key: str) -> Entry:
    """An embedding that was kept, computed if it has gone since."""
    entry = self._caches[name].get(key)
    if entry is not None:
      return entry
    (part,) = self._computed(front, [clip], [name])
    return Entry(part.features[name][0], tuple(t for _, t in part.notes))

  def _computed(
    self, front: Tree, some: Sequence[clips.Clip], names: Sequence[str]
  ) -> Iterator[Part]:
    """Computes features; the next batch is decoded while the device works."""
    batches = audio.batches(
      some, batch_size=self.programs.batch_size, sample_rate=self._rate
    )
    waiting: list[Part] = []
    for part in self._full(front, batches, names):
      found = self.programs.encoded(part.features, names)
      waiting.append(part._replace(features=found))
      if len(waiting) > 1:
        yield _on_host(waiting.pop(0))
    yield from map(_on_host, waiting)

  def _full(
    self, front: Tree, batches: Iterator[audio.Batch], names: Sequence[str]
  ) -> Iterator[Part]:
    """Pictures in full batches: clips of other lengths may have equal ones."""
    size = self.programs.batch_size
    left: dict[Any, list[Part]] = {}
    for batch in batches:
      found = self.programs.outputs(front, batch.audio, names)
      part = Part(batch.index, found, batch.notes)
      if (batch.index >= 0).all():
        yield part
        continue
      shape = tuple(x.shape[1:] for x in found.values())
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

  def _read(
    self, front: Tree, some: Sequence[clips.Clip], keys: Sequence[_Keys]
  ) -> Iterator[Part]:
    """Batches of embeddings that are all in their caches."""
    size = self.programs.batch_size
    for start in range(0, len(some), size):
      rows = []
      for i in range(start, min(start + size, len(some))):
        places = keys[i].places.items()
        entries = {n: self._entry(front, some[i], n, k) for n, k in places}
        features = {n: e.array for n, e in entries.items()}
        texts = next(iter(entries.values())).notes
        rows.append(Part(np.array(i), features, tuple((i, t) for t in texts)))
      yield _stacked(rows, size)
      self.counts["read"] += len(rows)

  def _mixed(
    self,
    front: Tree,
    some: Sequence[clips.Clip],
    keys: Sequence[_Keys],
    missing: Sequence[str],
  ) -> Iterator[Part]:
    """Computes and keeps what is missing, and adds what is kept."""
    kept = [n for n in keys[0].places if n not in missing]
    order = self.programs.system.branches
    for part in self._computed(front, some, missing):
      own = [int(i) for i in part.index if i >= 0]
      self._put(part, missing, [(some[i], keys[i]) for i in own])
      full = own + own[:1] * (len(part.index) - len(own))
      read = {
        n: np.stack(
          [
            self._entry(front, some[i], n, keys[i].places[n]).array
            for i in full
          ]
        )
        for n in kept
      }
      every = {**part.features, **read}
      self.counts["computed"] += len(own)
      yield part._replace(features={n: every[n] for n in order})

  def _put(
    self,
    part: Part,
    names: Sequence[str],
    owners: Sequence[tuple[clips.Clip, _Keys]],
  ) -> None:
    """Keeps computed embeddings; a full disk is no reason to stop."""
    every = self._caches.items()
    caches = {n: s for n, s in every if n in names and s.writes}
    if not caches or self.problem:
      return
    texts: dict[int, list[str]] = {}
    for i, text in part.notes:
      texts.setdefault(int(i), []).append(text)
    own = [int(i) for i in part.index if i >= 0]
    try:
      for row, (i, (clip, key)) in enumerate(zip(own, owners, strict=True)):
        # Not of a file that was changed before it was decoded.
        if store.file_digest(clip.path) != key.recording:
          continue
        for name, cache in caches.items():
          found = Entry(part.features[name][row], tuple(texts.get(i, ())))
          if np.isfinite(found.array).all():
            cache.put(key.places[name], found)
    except errors.InputError as e:
      self.problem = f"embeddings are not kept: {e}"


def _on_host(part: Part) -> Part:
  features = {n: np.asarray(x) for n, x in part.features.items()}
  return part._replace(features=features)


def _rows(part: Part) -> Iterator[Part]:
  """The clips of a batch one by one, without a batch axis."""
  for row, i in enumerate(part.index):
    if i >= 0:
      # Copies: a view would hold the whole batch.
      features = {n: x[row].copy() for n, x in part.features.items()}
      notes = tuple(note for note in part.notes if note[0] == i)
      yield Part(np.array(i), features, notes)


def _stacked(rows: Sequence[Part], size: int) -> Part:
  """A batch of clips; padding rows repeat the first one."""
  index = np.full(size, -1, np.int32)
  index[: len(rows)] = [r.index for r in rows]
  full = [*rows, *[rows[0]] * (size - len(rows))]
  features = {
    n: np.stack([r.features[n] for r in full]) for n in rows[0].features
  }
  return Part(index, features, tuple(x for r in rows for x in r.notes))


def _state_digest(front: Tree) -> str:
  """Names the states that decide embeddings; "" where nothing is fitted."""
  states = front["denoise"], front["frontend"]
  leaves = jax.tree.leaves(states)
  return store.digest(*leaves) if leaves else ""
