"""Mono recordings to draw crops from, in a data set or in a folder."""

import os
import threading
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from asd_jax import errors
from asd_jax.data.corpora import base, folder

SAMPLE_RATE = base.SAMPLE_RATE
# Data sets that `tfds_sources` writes; it takes two seconds to import.
CORPORA = ("fsd50k", "wham48k", "demand", "qut_noise", "wav_folder")
# What a folder's decoded files may take of the memory of a process.
_MAX_KEPT_BYTES = 2**30


class Mono(NamedTuple):
  """One channel of a recording.

  Attributes:
    name: of the recording.
    channel: counted from 1.
    num_samples: at 16 kHz.
  """

  name: str
  channel: int
  num_samples: int

  @property
  def title(self) -> str:
    """Name and channel, as messages call it."""
    return f"{self.name}, channel {self.channel}"


class Pool(Protocol):
  """Mono recordings of one corpus, with random access.

  Pools go to other processes by pickling.
  """

  @property
  def name(self) -> str:
    """What messages call it."""
    ...

  @property
  def recordings(self) -> Sequence[Mono]:
    """What there is, always in the same order."""
    ...

  @property
  def notes(self) -> Sequence[str]:
    """Sentences on what is missing or odd."""
    ...

  def read(self, number: int, start: int, stop: int) -> np.ndarray:
    """Part of a recording.

    Args:
      number: of the recording.
      start: first sample, at 16 kHz.
      stop: the one after the last; both lie within the recording.

    Returns:
      `[stop - start]` int16.
    """
    ...


def opened(
  place: str,
  *,
  data_dir: str | os.PathLike,
  split: str,
  holdout: str | float = 0.0,
) -> Pool:
  """Opens what a config names.

  Args:
    place: a data set, such as "fsd50k" or "demand/extra" (the corpus and the
      name of the set); or the path of a folder of wave files.
    data_dir: where data sets of tfds lie.
    split: "train", "valid" or "test".
    holdout: of a folder; see `corpora.folder.read`.

  Raises:
    InputError: it is neither, or has no such split.
  """
  corpus, _, name = place.partition("/")
  if corpus in CORPORA:
    return Built(data_dir, corpus, split=split, name=name or "default")
  if not os.path.isdir(os.path.expanduser(place)):
    raise errors.InputError(
      f"{place}: found nothing, expected a folder of wave files, or one of "
      f"{', '.join(CORPORA)}, built in {os.fspath(data_dir) or 'data_dir'}"
    )
  return Folder(place, split=split, holdout=holdout)


def of_noise(
  places: Sequence[str],
  *,
  data_dir: str | os.PathLike,
  split: str,
  holdout: str | float = 0.0,
) -> tuple[list[Pool], list[str]]:
  """Opens those pools of noises that there are.

  Without a corpus, noises are drawn from the others all the more often, which
  is another law of mixtures: a note says so. One that has no such split (the
  noise to validate with is WHAM!'s alone) is left out.

  Args:
    places: as in `opened`.
    data_dir: where data sets of tfds lie.
    split: "train", "valid" or "test".
    holdout: of folders.

  Returns:
    Pools, and sentences on what is missing.

  Raises:
    InputError: there is none, or a folder cannot be read.
  """
  found: list[Pool] = []
  missing = []
  for place in places:
    corpus, _, name = place.partition("/")
    splits = None
    if corpus in CORPORA:
      splits = _splits(data_dir, corpus, name or "default")
      if splits is None:
        missing.append(place)
      if split not in (splits or ()):
        continue
    found.append(opened(place, data_dir=data_dir, split=split, holdout=holdout))
  names = ", ".join(pool.name for pool in found)
  if not found:
    raise errors.InputError(
      f"{data_dir}: found none of the noises {', '.join(places) or '(none)'} "
      f"for the split {split}, expected at least one of them, built by "
      "scripts/build_corpus.py"
    )
  notes = [
    f"{place} is not built in {data_dir}: noises are drawn from {names} only"
    for place in missing
  ]
  return found, notes


def _splits(
  data_dir: str | os.PathLike, corpus: str, name: str
) -> list[str] | None:
  """Splits of a data set, None where there is none."""
  from asd_jax.data import tfds_base, tfds_sources

  kind = tfds_sources.builder_of(corpus)
  if not tfds_base.is_there(kind, data_dir, name):
    return None
  return list(tfds_base.load(kind, data_dir, name).info.splits)


class Folder:
  """The recordings of a folder of wave files, read as they lie there.

  For small folders, or ones of short files: what is decoded stays in memory, up
  to 1 GiB. Of others make a data set (`tfds_sources`), whose records are short.

  Args:
    root: the folder.
    split: "train", or "valid" for those held out.
    holdout: which are held out; see `corpora.folder.read`.

  Raises:
    InputError: as `corpora.folder.read`, or none of the split.
  """

  def __init__(
    self,
    root: str | os.PathLike,
    *,
    split: str = "train",
    holdout: str | float = 0.0,
  ) -> None:
    found = folder.read(root, holdout=holdout)
    self._files = [r for r in found.recordings if r.split == split]
    if not self._files:
      raise errors.InputError(
        f"{root}: found no recordings of the split {split}, expected some; "
        "hold some out, by name or by share"
      )
    self.name = os.fspath(root)
    self.notes: tuple[str, ...] = found.remarks
    self._places = [
      (r, row) for r in self._files for row in range(len(r.channels))
    ]
    self.recordings = [
      Mono(r.name, r.channels[row], r.num_samples) for r, row in self._places
    ]
    self._forget()

  def _forget(self) -> None:
    self._kept: dict[str, np.ndarray] = {}
    self._num_kept = 0
    self._lock = threading.Lock()

  def __getstate__(self) -> dict[str, Any]:
    kept = ("_kept", "_num_kept", "_lock")
    return {k: v for k, v in self.__dict__.items() if k not in kept}

  def __setstate__(self, state: dict[str, Any]) -> None:
    self.__dict__.update(state)
    self._forget()

  def read(self, number: int, start: int, stop: int) -> np.ndarray:
    """Part of a recording; see `Pool`.

    Raises:
      InputError: the file cannot be read, or has changed.
    """
    recording, row = self._places[number]
    samples = self._kept.get(recording.name)
    if samples is None:
      samples = recording.samples()  # [C, S]
      # Whoever gets a part of it sees what is kept.
      samples.flags.writeable = False
      with self._lock:
        if self._num_kept + samples.nbytes <= _MAX_KEPT_BYTES:
          self._num_kept += samples.nbytes
          self._kept[recording.name] = samples
    return samples[row, start:stop]


class Built:
  """The recordings of a split of a data set that `tfds_sources` wrote.

  Args:
    out_dir: where data sets of tfds lie.
    corpus: "fsd50k", "wham48k", "demand", "qut_noise" or "wav_folder".
    split: "train", "valid" or "test".
    name: of the set.

  Raises:
    InputError: there is no such set, or no such split in it.
  """

  def __init__(
    self,
    out_dir: str | os.PathLike,
    corpus: str,
    *,
    split: str,
    name: str = "default",
  ) -> None:
    # tfds takes two seconds to import.
    from asd_jax.data import tfds_base, tfds_sources

    kind = tfds_sources.builder_of(corpus)
    builder = tfds_base.load(kind, out_dir, name)
    facts = builder.info.metadata
    listed = facts["recordings"]
    if split not in listed:
      raise errors.InputError(
        f"{builder.data_path}: found no split {split}, expected one of "
        f"{', '.join(listed)}"
      )
    self.name = corpus
    self.notes: tuple[str, ...] = tuple(
      f"{corpus}: {note}" for note in (*facts["missing"], *facts["remarks"])
    )
    self.recordings = [Mono(*row) for row in listed[split]]
    self._piece = int(facts["piece_samples"])
    num = [-(-r.num_samples // self._piece) for r in self.recordings]
    self._first = np.concatenate([[0], np.cumsum(num)])
    self._source = builder.as_data_source(split)
    if len(self._source) != self._first[-1]:
      raise errors.InputError(
        f"{builder.data_path}: found {len(self._source)} records of {split}, "
        f"expected {self._first[-1]}; build it again"
      )

  def read(self, number: int, start: int, stop: int) -> np.ndarray:
    """Part of a recording; see `Pool`.

    Raises:
      InputError: the records are not those that the set says to have.
    """
    first, last = start // self._piece, -(-stop // self._piece)
    places = self._first[number] + np.arange(first, last)
    records = self._source.__getitems__(places.tolist())
    mono = self.recordings[number]
    head = records[0]
    found = os.fsdecode(head["recording"]), int(head["channel"])
    if found != (mono.name, mono.channel):
      raise errors.InputError(
        f"{self.name}: found {found} in record {places[0]}, expected "
        f"{mono.title}; build it again"
      )
    joined = np.concatenate([r["audio"] for r in records])
    offset = start - first * self._piece
    return joined[offset : offset + stop - start]
