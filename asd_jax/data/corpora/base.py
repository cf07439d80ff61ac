"""Recordings of a corpus, and what is missing of it."""

import concurrent.futures
import dataclasses
import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from asd_jax import errors
from asd_jax.data import audio
from asd_jax.data.corpora import files

SAMPLE_RATE = audio.SAMPLE_RATE
SPLITS = ("train", "valid", "test")
# Recordings of noise are longer than this, as those that were trained with.
MIN_SECONDS = 60
# Names that a sentence on missing files spells out.
_NAMED = 10
_WORKERS = 8
_FULL_SCALE = 32_768


@dataclasses.dataclass(frozen=True)
class Recording:
  """A wave file of a corpus.

  Attributes:
    name: within the corpus.
    split: "train", "valid" or "test".
    file: where it is.
    header: of the file.
    channels: their numbers in the corpus, counted from 1, in the order of the
      file.
    labels: what is heard, separated by commas; empty if unknown.
    licence: of this recording; empty if unknown.
    main: stretches of the recording proper, in samples of the file: `(start,
      stop)`; None if nobody says.
    only: the stretch that is used, likewise; None for all of it.
  """

  name: str
  split: str
  file: files.Stored
  header: audio.Header
  channels: tuple[int, ...]
  labels: str = ""
  licence: str = ""
  main: tuple[tuple[int, int], ...] | None = None
  only: tuple[int, int] | None = None

  @property
  def num_samples(self) -> int:
    """Samples a channel, at 16 kHz."""
    if self.only is None:
      return audio.num_samples_at(self.header, SAMPLE_RATE)
    start, stop = self.only
    part = self.header._replace(num_samples=stop - start)
    return audio.num_samples_at(part, SAMPLE_RATE)

  def samples(self) -> np.ndarray:
    """Decodes and resamples the whole of it.

    Levels stay; what resampling lifts above full scale is cut.

    Returns:
      `[C, S]` int16 at 16 kHz.

    Raises:
      InputError: the file cannot be read, or is not what its header said.
    """
    header, found = files.samples(self.file)  # [C, S]
    if header != self.header:
      raise errors.InputError(
        f"{files.title(self.file)}: found {header}, expected {self.header} as "
        "when its header was read; the file has changed"
      )
    if self.only is not None:
      found = found[:, slice(*self.only)]
    # A channel at a time: half an hour of them is large as float.
    return np.stack([_at_rate(x, header.sample_rate) for x in found])


class Corpus(NamedTuple):
  """What there is of a corpus.

  Attributes:
    name: "fsd50k", "wham48k", "demand", "qut_noise" or "wav_folder".
    recordings: by split and name.
    counts: of what was looked for: name to `(found, expected)`.
    missing: sentences on what is not there.
    remarks: sentences on what is odd but fine.
    archives: names of the archives that were there.
  """

  name: str
  recordings: tuple[Recording, ...]
  counts: dict[str, tuple[int, int]]
  missing: tuple[str, ...]
  remarks: tuple[str, ...]
  archives: tuple[str, ...]


class Rule(NamedTuple):
  """What a corpus is recorded in.

  Attributes:
    rates: in Hz.
    num_channels: of a file.
  """

  rates: tuple[int, ...]
  num_channels: int

  def check(self, file: files.Stored, header: audio.Header) -> None:
    """Refuses a file of another kind.

    Args:
      file: where it is.
      header: its header.

    Raises:
      InputError: it has another rate or number of channels.
    """
    found = header.sample_rate, header.num_channels
    if found[0] not in self.rates or found[1] != self.num_channels:
      rates = " or ".join(str(r) for r in self.rates)
      raise errors.InputError(
        f"{files.title(file)}: found {found[1]} channels at {found[0]} Hz, "
        f"expected {self.num_channels} at {rates} Hz as in the whole corpus"
      )


def headers(
  stored: Iterable[files.Stored], rule: Rule | None
) -> list[audio.Header]:
  """Reads headers, several at once, in order.

  Args:
    stored: the files.
    rule: what they are to be like; None for anything.

  Raises:
    InputError: one cannot be read, or is of another kind.
  """

  def one(file: files.Stored) -> audio.Header:
    found = files.header(file)
    if rule:
      rule.check(file, found)
    return found

  with concurrent.futures.ThreadPoolExecutor(_WORKERS) as pool:
    return list(pool.map(one, stored))


def long_enough(header: audio.Header) -> bool:
  """Whether a recording of noise is long enough to be used."""
  return header.num_samples > MIN_SECONDS * header.sample_rate


def some(names: Sequence[str]) -> str:
  """Names as part of a sentence: the first ones, and how many more."""
  more = len(names) - _NAMED
  return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def checked(
  corpus: Corpus,
  listing: files.Listing,
  root: pathlib.Path,
  *,
  splits: Sequence[str],
  strict: bool,
) -> Corpus:
  """Adds missing parts to the report, and refuses what cannot be used.

  Args:
    corpus: what was found.
    listing: of its folder.
    root: the folder.
    splits: those that must not be empty; others are left out.
    strict: refuse any gap.

  Raises:
    InputError: there are gaps and an archive that cannot be read, a split is
      empty, or there are gaps that are not allowed.
  """
  gaps = [f"{path.name} is missing" for path in listing.missing]
  # Parts that nobody needs, since all of it was unpacked, are no gap.
  missing = (*gaps, *corpus.missing) if corpus.missing else ()
  if missing and listing.broken:
    raise listing.broken[0]
  kept = tuple(r for r in corpus.recordings if r.split in splits)
  present = {r.split for r in kept}
  for split in splits:
    if split not in present:
      why = "; ".join(missing) or "none of them is in it"
      raise errors.InputError(
        f"{root}: found no recordings of {corpus.name} for the split {split}, "
        f"expected some ({why})"
      )
  if strict and missing:
    raise errors.InputError(
      f"{root}: found a part of {corpus.name}, expected all of it: "
      + "; ".join(missing)
    )
  order = {split: i for i, split in enumerate(SPLITS)}
  by_name = sorted(kept, key=lambda r: (order[r.split], r.name, r.channels))
  archives = tuple(sorted(p.name for p in listing.archives))
  return corpus._replace(
    recordings=tuple(by_name), missing=missing, archives=archives
  )


def first_of(
  listing: files.Listing,
  key: Callable[[pathlib.PurePosixPath], object],
) -> dict:
  """Files by key, the first of several: so unpacked ones are preferred.

  Args:
    listing: all files.
    key: of a path; None leaves the file out.
  """
  found: dict = {}
  for path, stored in listing.files:
    name = key(path)
    if name is not None:
      found.setdefault(name, stored)
  return found


def _at_rate(samples: np.ndarray, rate: int) -> np.ndarray:
  """`[S]` samples as int16 at 16 kHz."""
  if rate != SAMPLE_RATE:
    samples = audio.resample(audio.to_float(samples), rate, SAMPLE_RATE)
  if samples.dtype == np.int16:
    return samples
  scaled = np.rint(samples * _FULL_SCALE)
  return np.clip(scaled, -_FULL_SCALE, _FULL_SCALE - 1).astype(np.int16)
