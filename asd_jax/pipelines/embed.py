"""The embedding stage: features of clips, computed or read from the cache."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from asd_jax.data import audio, clips, files
from asd_jax.pipelines import weights
from asd_jax.pipelines.build import System
from asd_jax.pipelines.embedding_cache import (
  Entry,
  Shelf,
  digest_of,
  recording_digest,
)
from asd_jax.pipelines.programs import Programs

Tree = Any
Advance = Callable[[int], None]
Rows = dict[str, Any]


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


class Embedder:
  """Goes through clips, batch by batch in constant memory.

  A frozen encoder's features are looked for on its shelves first. Clips that
  miss some are decoded ahead while the device works; a forward pass serves
  all branches, layers and channels that share it.

  Args:
    programs: the compiled system.
    shelves: of branches with frozen encoders; none without a cache.
    rate: sample rate, Hz.

  Attributes:
    programs: as given.
    counts: clips whose embeddings were read from the cache, and computed.
    problem: why embeddings are not kept any more, "" if they are.
  """

  def __init__(
    self, programs: Programs, shelves: Mapping[str, Shelf], rate: int
  ) -> None:
    self.programs, self._shelves, self._rate = programs, shelves, rate
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
    keys = self._keys(front, some)
    groups: dict[tuple[str, ...], list[int]] = {}
    kept: dict[int, dict[str, Entry]] = {}
    for i in range(len(some)):
      kept[i] = {n: e for n, k in keys[i].items() if (e := self._get(n, k))}
      missing = [n for n in self.programs.system.branches if n not in kept[i]]
      groups.setdefault(tuple(missing), []).append(i)
    for missing, rows in groups.items():
      some_kept = [kept.pop(i) for i in rows]
      if missing:
        found = self._computed(front, [some[i] for i in rows], missing)
      else:
        found = self._read(some_kept)
      for part in found:
        own = part.index >= 0
        place = [rows[i] for i in part.index[own]]
        if missing:
          part = self._joined(part, some_kept)
          self._put(part, missing, [keys[i] for i in place])
        index = np.full(len(part.index), -1, np.int32)
        index[own] = place
        advance(len(place))
        notes = tuple((rows[i], text) for i, text in part.notes)
        yield Part(index, part.features, notes)

  def _keys(
    self, front: Tree, some: Sequence[clips.Clip]
  ) -> list[dict[str, str]]:
    """Where the embeddings of each clip would be, by branch."""
    if not self._shelves:
      return [{} for _ in some]
    state = {n: _state_digest(front[n]) for n in self._shelves}
    out = []
    for clip in some:
      own = recording_digest(clip.path)
      out.append({n: digest_of((own + s).encode()) for n, s in state.items()})
    return out

  def _get(self, name: str, key: str) -> Entry | None:
    return self._shelves[name].get(key)

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
      found = self.programs.pictures(front, batch.audio, names)
      part = Part(batch.index, found, batch.notes)
      if (batch.index >= 0).all():
        yield part
        continue
      shape = tuple(x.shape[1:] for x in found.values())
      rows = left.setdefault(shape, [])
      rows += _rows(_on_host(part))
      while len(rows) >= size:
        yield _stacked(rows[:size], size)
        del rows[:size]
    for rows in left.values():
      if rows:
        yield _stacked(rows, size)

  def _read(self, kept: Sequence[Mapping[str, Entry]]) -> Iterator[Part]:
    """Batches of embeddings that were all on their shelves."""
    size = self.programs.batch_size
    kinds: dict[Any, list[int]] = {}
    for i, entries in enumerate(kept):
      shape = tuple(e.array.shape for e in entries.values())
      kinds.setdefault(shape, []).append(i)
    for rows in kinds.values():
      for start in range(0, len(rows), size):
        chunk = rows[start : start + size]
        some = [
          Part(
            np.array(i),
            {n: e.array for n, e in kept[i].items()},
            tuple((i, text) for text in _notes(kept[i])),
          )
          for i in chunk
        ]
        yield _stacked(some, size)
        self.counts["read"] += len(chunk)

  def _joined(self, part: Part, kept: Sequence[Mapping[str, Entry]]) -> Part:
    """Adds the embeddings that were on their shelves to computed ones."""
    first = part.index[0]  # padding rows repeat it
    rows = [kept[i if i >= 0 else first] for i in part.index]
    names = rows[0]
    read = {n: np.stack([r[n].array for r in rows]) for n in names}
    every = {**part.features, **read}
    self.counts["computed"] += int((part.index >= 0).sum())
    order = self.programs.system.branches
    return part._replace(features={n: every[n] for n in order})

  def _put(
    self,
    part: Part,
    names: Sequence[str],
    keys: Sequence[Mapping[str, str]],
  ) -> None:
    """Keeps computed embeddings; a full disk is no reason to stop."""
    texts: dict[int, list[str]] = {}
    for i, text in part.notes:
      texts.setdefault(i, []).append(text)
    own = [i for i in part.index if i >= 0]
    for name in names:
      if name not in self._shelves:
        continue
      for row, (i, key) in enumerate(zip(own, keys, strict=True)):
        entry = Entry(part.features[name][row], tuple(texts.get(int(i), ())))
        if self.problem or not np.isfinite(entry.array).all():
          continue
        try:
          self._shelves[name].put(key[name], entry)
        except ValueError as e:
          self.problem = f"embeddings are not kept: {e}"


def _on_host(part: Part) -> Part:
  features = {n: np.asarray(x) for n, x in part.features.items()}
  return part._replace(features=features)


def _rows(part: Part) -> Iterator[Part]:
  """The clips of a batch one by one, without a batch axis."""
  for row, i in enumerate(part.index):
    if i >= 0:
      features = {n: x[row] for n, x in part.features.items()}
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


def _notes(entries: Mapping[str, Entry]) -> tuple[str, ...]:
  return next(iter(entries.values())).notes


def _state_digest(front: Tree) -> str:
  """Names the states of fitted stages; "" where nothing is fitted."""
  leaves = [np.asarray(x) for x in jax.tree.leaves(front)]
  return digest_of(*(x.tobytes() for x in leaves)) if leaves else ""


def _shelves(
  system: System, digests: Mapping[str, str], config: Mapping[str, Any]
) -> dict[str, Shelf]:
  """The shelves of a system's embeddings by branch; none without a cache."""
  mode = config["cache"]
  out = {}
  for name, source in system.sources.items():
    frozen = system.branches[name].frozen
    if frozen is None or mode == "off":
      continue
    about = {
      "weights": digests[source],
      "features": frozen.taken,
      "sample_rate": config["sample_rate"],
    }
    out[name] = Shelf(files.cache_folder("embeddings"), about, mode)
  return out


def read_weights(
  system: System, config: Mapping[str, Any]
) -> dict[str, weights.Loaded]:
  """Reads the weights that a config names.

  Args:
    system: the system.
    config: `random_weights` and `weights_dir`.

  Returns:
    Weights by source; none without frozen encoders.

  Raises:
    ValueError: for weights that are missing, or another network's.
  """
  if not system.encoders:
    return {}
  if config["random_weights"]:
    return weights.random(system.encoders)
  return weights.load(system.encoders, folder=Path(config["weights_dir"]))


def facts(
  embedder: Embedder, loaded: Mapping[str, weights.Loaded]
) -> dict[str, Any]:
  """What the results of a run say about its frozen encoders.

  Args:
    embedder: the embedding stage, after the run.
    loaded: weights by source.

  Returns:
    Plain data, `notes` among it; `{}` without frozen encoders.
  """
  if not loaded:
    return {}
  sources = embedder.programs.system.sources
  random = any(w.origin == weights.RANDOM for w in loaded.values())
  notes = [embedder.problem] if embedder.problem else []
  if random:
    notes.append("encoder weights are random: no score means anything")
  return {
    "random_weights": random,
    "weights": {
      source: {
        "branches": [n for n, s in sources.items() if s == source],
        "origin": found.origin,
        "digest": found.digest,
      }
      for source, found in loaded.items()
    },
    "clips_computed": embedder.counts["computed"],
    "clips_read": embedder.counts["read"],
    "notes": notes,
  }


def open_embedder(
  system: System,
  loaded: Mapping[str, weights.Loaded],
  config: Mapping[str, Any],
) -> Embedder:
  """Makes the embedding stage of a system.

  Args:
    system: the system.
    loaded: weights by source.
    config: `batch_size`, `sample_rate` and `cache`.

  Returns:
    The stage.
  """
  params = {n: w.params for n, w in loaded.items()}
  digests = {n: w.digest for n, w in loaded.items()}
  programs = Programs(system, params, config["batch_size"])
  shelves = _shelves(system, digests, config)
  return Embedder(programs, shelves, config["sample_rate"])
