"""A machine's clips: what is known of each, and of all together."""

import collections
import concurrent.futures
import dataclasses
import os
import pathlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from asd_jax import errors
from asd_jax.data import audio, folders, truth

_HEADER_WORKERS = 8


@dataclasses.dataclass(frozen=True)
class Clip:
  """One sound file and what is known about it.

  Attributes:
    path: the file.
    machine: machine type.
    section: two digits; "00" where nothing says otherwise.
    split: "train" or "test".
    domain: "source", "target", or None if unknown.
    label: "normal", "anomaly", or None if unknown.
    attributes: raw attribute text, "" for none.
    header: header of the file; of a window the window's own length.
    start: of a window, in samples at the file's own rate.
    recording: header of the file that a window is a part of, else None.
    channels: of the file, near and perhaps far; all of them if empty. The
      header has as many.
    file: its path below the folder of a plain set; None for its base name.
    label_from: "names" (a development set: the file name says the label) or
      "ground_truth" (a table, or a copy that was renamed after one); None
      without a label.
  """

  path: pathlib.Path
  machine: str
  section: str
  split: str
  domain: str | None
  label: str | None
  attributes: str
  header: audio.Header
  start: int = 0
  recording: audio.Header | None = None
  channels: tuple[int, ...] = ()
  # No part of what a clip is.
  file: str | None = dataclasses.field(default=None, compare=False)
  label_from: str | None = dataclasses.field(default=None, compare=False)

  @property
  def name(self) -> str:
    """Name, unique within machine and split, as the disk writes it."""
    return folders.text_of(self.file or self.path.name)


class Unread(NamedTuple):
  """A file to score that cannot be.

  Attributes:
    name: as of a clip.
    section: as of a clip.
    problem: what is wrong with it, its path first.
  """

  name: str
  section: str
  problem: str


@dataclasses.dataclass(frozen=True)
class Machine:
  """All clips of one machine, sorted by name.

  Attributes:
    name: machine type.
    train: normal clips to learn from.
    test: clips to score; may be empty.
    notes: sentences on input that is odd but fine.
    unread: files to score that cannot be.
  """

  name: str
  train: tuple[Clip, ...]
  test: tuple[Clip, ...]
  notes: tuple[str, ...]
  unread: tuple[Unread, ...] = ()


def found_headers(
  paths: Iterable[str | os.PathLike], channels: Sequence[int]
) -> list[audio.Header | errors.InputError]:
  """Reads many headers at once; a bad file stops none.

  Args:
    paths: the files.
    channels: of each file that are taken; all, which may be two, if empty.

  Returns:
    In order: the header with as many channels, or what is wrong.
  """

  def one(path: str | os.PathLike) -> audio.Header | errors.InputError:
    try:
      return taken(path, audio.read_header(path), channels)
    except errors.InputError as error:
      return error

  with concurrent.futures.ThreadPoolExecutor(_HEADER_WORKERS) as pool:
    return list(pool.map(one, paths))


def taken(
  path: str | os.PathLike, header: audio.Header, channels: Sequence[int]
) -> audio.Header:
  """The header of what is taken of a file; see `audio.picked`."""
  taken = audio.picked(path, header, channels)
  return header._replace(num_channels=len(taken))


def check_uniform(train: Sequence[Clip]) -> None:
  """Refuses several channel counts or rates among training clips.

  Args:
    train: a machine's.

  Raises:
    InputError: there are several.
  """
  for field, unit in (("num_channels", "channels"), ("sample_rate", "Hz")):
    kinds: dict[int, Clip] = {}
    for clip in train:
      kinds.setdefault(getattr(clip.header, field), clip)
    (value, first), *others = kinds.items()
    for other, clip in others:
      raise errors.InputError(
        f"{clip.path}: found {other} {unit}, expected {value} {unit} as in "
        f"{first.path} of the same machine"
      )


def content_notes(train: Sequence[Clip], test: Sequence[Clip]) -> list[str]:
  """Says what names and tables leave open.

  Args:
    train: a machine's training clips.
    test: its test clips.

  Returns:
    Sentences.
  """
  notes = []
  domains = {clip.domain for clip in train}
  if domains == {None}:
    notes.append("domains of the train clips are unknown")
  else:
    for domain in ("source", "target"):
      if domain not in domains:
        notes.append(f"no {domain} clips in train")
  if not test:
    return [*notes, "no test clips"]
  for field in ("label", "domain"):
    unknown = sum(getattr(clip, field) is None for clip in test)
    if unknown:
      notes.append(f"{field}s of {unknown} of {len(test)} test clips unknown")
  trained = sum(truth.split_of(clip.name) == "train" for clip in test)
  if trained:
    notes.append(f"{trained} test clips are named as train clips")
  for section in sorted({c.section for c in test} - {c.section for c in train}):
    notes.append(f"section {section} has test clips but no train clips")
  return notes


def audio_notes(train: Sequence[Clip], test: Sequence[Clip]) -> list[str]:
  """Says which rates, lengths and sample formats differ from the usual.

  Args:
    train: a machine's training clips.
    test: its test clips.

  Returns:
    Sentences.
  """
  notes = []
  usual, clips = train[0].header, [*train, *test]
  rate = usual.sample_rate
  if rate != audio.SAMPLE_RATE:
    notes.append(f"sample rate is {rate} Hz, not {audio.SAMPLE_RATE} Hz")
  for field, unit in (("sample_rate", "Hz"), ("num_channels", "channels")):
    kinds = collections.Counter(getattr(c.header, field) for c in test)
    wanted = getattr(usual, field)
    for value in sorted(set(kinds) - {wanted}):
      notes.append(
        f"{kinds[value]} test clips have {value} {unit}, not {wanted} {unit} as"
        " the training clips"
      )
  seconds = [c.header.num_samples / c.header.sample_rate for c in clips]
  if min(seconds) != max(seconds):
    notes.append(f"lengths go from {min(seconds):g} to {max(seconds):g} s")
  formats = collections.Counter(clip.header.subtype for clip in clips)
  for name in sorted(set(formats) - {"PCM_16"}):
    notes.append(f"sample format of {formats[name]} clips is {name}")
  return notes
