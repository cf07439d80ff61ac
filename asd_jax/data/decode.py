"""Clips decoded into batches of one shape, a few batches ahead."""

import collections
import concurrent.futures
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from asd_jax import errors, store
from asd_jax.data import audio, hearing

_LOOK_AHEAD = 2


class Batch(NamedTuple):
  """Clips of one shape.

  Attributes:
    index: `[B]` int32 position of the clip in the sequence, -1 on padding rows.
    audio: `[B, C, S]` int16 or float32; padding rows repeat the first row.
    notes: clip position and what was odd about that clip.
    num: `[B]` int32 samples of each clip, zeros follow; None where clips fill
      their rows.
    most: samples that none of them is longer than, S if they fill their rows.
  """

  index: np.ndarray
  audio: np.ndarray
  notes: tuple[tuple[int, str], ...]
  num: np.ndarray | None
  most: int


class Room(NamedTuple):
  """Where a clip is put.

  Attributes:
    size: samples S of its row.
    most: clips of more samples have another batch.
    shared: whether clips of other lengths have the same; else all are `size`
      long.
  """

  size: int
  most: int
  shared: bool


def own_room(num_samples: int) -> Room:
  """A clip among those of its length only.

  Args:
    num_samples: of the clip.
  """
  return Room(num_samples, num_samples, False)


class Recording(Protocol):
  """A wave file, or a window of one, such as `clips.Clip`."""

  @property
  def path(self) -> pathlib.Path:
    """Where the file is."""
    ...

  @property
  def header(self) -> audio.Header:
    """Its header; of a window the window's own length."""
    ...

  @property
  def start(self) -> int:
    """First sample of a window, at the file's own rate."""
    ...

  @property
  def recording(self) -> audio.Header | None:
    """Header of the file that a window is a part of, else None."""
    ...

  @property
  def channels(self) -> Sequence[int]:
    """Channels of the file that the clip has; all of them if empty."""
    ...


def read(
  clip: Recording, *, sample_rate: int
) -> tuple[np.ndarray, tuple[str, ...]]:
  """Decodes a clip, of a window nothing but the window.

  Args:
    clip: the clip.
    sample_rate: in Hz; other files are resampled.

  Returns:
    What `audio.read` does.

  Raises:
    InputError: as `audio.read`.
  """
  if clip.recording is None:
    return audio.read(
      clip.path, sample_rate=sample_rate, channels=clip.channels
    )
  return audio.read(
    clip.path,
    sample_rate=sample_rate,
    channels=clip.channels,
    start=clip.start,
    num_samples=clip.header.num_samples,
  )


def digest(clip: Recording) -> str:
  """A name of what a clip is decoded from, remembered while its file stays.

  Args:
    clip: the clip.

  Returns:
    32 hex digits: the name of the file's content, of a window with its place,
    of some channels with their numbers.

  Raises:
    InputError: if the file cannot be read.
  """
  content = store.remembered_digest(clip.path)
  if clip.channels:
    content = store.digest(content, clip.channels)
  if clip.recording is None:
    return content
  return store.digest(content, clip.start, clip.header.num_samples)


def batches(
  clips: Sequence[Recording],
  *,
  batch_size: int,
  sample_rate: int = audio.SAMPLE_RATE,
  num_workers: int = 2,
  room: Callable[[int], Room] = own_room,
) -> Iterator[Batch]:
  """Decodes clips into batches of constant shape, a few batches ahead.

  Clips of one room, which is their length unless told otherwise (after
  resampling), channel count and sample type share batches. Kinds come in order
  of their first clip, clips of a kind in the order given. Every batch has
  `batch_size` rows, so that a function compiled
  for a shape gives a clip the same score in company and alone. At most three
  batches are alive, the one in the caller's hands included.

  Args:
    clips: the files, with their headers.
    batch_size: rows B of a batch.
    sample_rate: in Hz; other files are resampled.
    num_workers: threads that decode.
    room: samples of a clip to its place.

  Raises:
    InputError: a setting below one; while iterating, a file that cannot be
      read or no longer fits its header.
  """
  for name, value in dict(
    batch_size=batch_size, sample_rate=sample_rate, num_workers=num_workers
  ).items():
    if value < 1:
      raise errors.InputError(f"{name}: found {value}, expected at least 1")
  plans = _plan(clips, batch_size, sample_rate, room)
  return _decode(clips, plans, num_workers)


class _Plan(NamedTuple):
  """A batch to come: clip positions and the array they are decoded into."""

  members: list[int]
  shape: tuple[int, int, int]
  dtype: type[np.generic]
  sample_rate: int
  room: Room
  num: list[int]


def _plan(
  clips: Sequence[Recording],
  batch_size: int,
  sample_rate: int,
  room: Callable[[int], Room],
) -> list[_Plan]:
  length = [audio.num_samples_at(c.header, sample_rate) for c in clips]
  kinds: dict[tuple, list[int]] = {}
  for i, clip in enumerate(clips):
    header = clip.header
    same_rate = header.sample_rate == sample_rate
    dtype = np.int16 if header.subtype == "PCM_16" and same_rate else np.float32
    # A compiled program is for one shape and type.
    kind = (header.num_channels, room(length[i]), dtype)
    kinds.setdefault(kind, []).append(i)
  return [
    _Plan(
      members[i : i + batch_size],
      (batch_size, num_channels, place.size),
      dtype,
      sample_rate,
      place,
      [length[m] for m in members[i : i + batch_size]],
    )
    for (num_channels, place, dtype), members in kinds.items()
    for i in range(0, len(members), batch_size)
  ]


def _decode(
  clips: Sequence[Recording], plans: Sequence[_Plan], num_workers: int
) -> Iterator[Batch]:
  pool = concurrent.futures.ThreadPoolExecutor(num_workers)
  pending: collections.deque = collections.deque()
  todo = iter(plans)

  def start() -> None:
    plan = next(todo, None)
    if plan is not None:
      wave = np.empty(plan.shape, plan.dtype)  # [B, C, S]
      rows = [
        pool.submit(_fill, clips[i], wave[row], num, plan.sample_rate)
        for row, (i, num) in enumerate(zip(plan.members, plan.num, strict=True))
      ]
      pending.append((plan, wave, rows))

  try:
    for _ in range(_LOOK_AHEAD):
      start()
    while pending:
      batch = _finish(*pending.popleft())
      yield batch
      del batch
      start()
  finally:
    # Also where the caller stops early: nobody waits for batches to come.
    pool.shutdown(cancel_futures=True)


def _finish(
  plan: _Plan, wave: np.ndarray, rows: Sequence[concurrent.futures.Future]
) -> Batch:
  notes = tuple(
    (i, note)
    for i, row in zip(plan.members, rows, strict=True)
    for note in row.result()
  )
  index = np.full(plan.shape[0], -1, np.int32)
  index[: len(rows)] = plan.members
  # A clip, not zeros: whatever is computed of padding stays finite.
  wave[len(rows) :] = wave[0]
  num = np.full(plan.shape[0], plan.num[0], np.int32)
  num[: len(rows)] = plan.num
  return Batch(
    index, wave, notes, num if plan.room.shared else None, plan.room.most
  )


def _fill(
  clip: Recording, row: np.ndarray, num: int, sample_rate: int
) -> tuple[str, ...]:
  """Decodes a clip of `num` samples into its row `[C, S]` of a batch."""
  samples, notes = read(clip, sample_rate=sample_rate)
  # A recorder may still be writing what was listed a minute ago.
  shape = (row.shape[0], num)
  if (samples.shape, samples.dtype) != (shape, row.dtype):
    raise errors.InputError(
      f"{clip.path}: found {samples.dtype} {samples.shape}, expected"
      f" {row.dtype} {shape} as when its header was read; the"
      " file has changed"
    )
  row[:, :num] = samples
  row[:, num:] = 0
  return (*notes, hearing.said(hearing.levels(samples)))
