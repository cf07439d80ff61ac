"""Wave files: headers, samples, and clips of one shape in batches."""

import collections
import concurrent.futures
import math
import os
import pathlib
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, Protocol, TypeVar

import numpy as np
import soundfile

from asd_jax import errors
from asd_jax.data import riff

if TYPE_CHECKING:
  import jax

Audio = TypeVar("Audio", np.ndarray, "jax.Array")

SAMPLE_RATE = 16_000
_CLIPPED_FRACTION = 1e-3
_PCM_BITS = {"PCM_U8": 8, "PCM_S8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 24}
_LOOK_AHEAD = 2
_HEADER_WORKERS = 8


class Header(NamedTuple):
  """What a wave file says about itself.

  Attributes:
    num_channels: 1, or 2 (0 near, 1 far).
    num_samples: samples a channel.
    sample_rate: in Hz.
    subtype: sample format as libsndfile names it, such as "PCM_16".
  """

  num_channels: int
  num_samples: int
  sample_rate: int
  subtype: str


class Batch(NamedTuple):
  """Clips of one shape.

  Attributes:
    index: `[B]` int32 position of the clip in the sequence, -1 on padding rows.
    audio: `[B, C, S]` int16 or float32; padding rows repeat the first row.
    notes: clip position and what was odd about that clip.
  """

  index: np.ndarray
  audio: np.ndarray
  notes: tuple[tuple[int, str], ...]


class Recording(Protocol):
  """A wave file whose header is known, such as `clips.Clip`."""

  @property
  def path(self) -> pathlib.Path:
    """Where the file is."""
    ...

  @property
  def header(self) -> Header:
    """Its header."""
    ...


def num_samples_at(header: Header, sample_rate: int) -> int:
  """Samples of a channel once a clip is brought to a rate.

  Args:
    header: of the clip.
    sample_rate: Hz.

  Returns:
    Their number.
  """
  return -(-header.num_samples * sample_rate // header.sample_rate)


def read_header(path: str | os.PathLike) -> Header:
  """Reads the header of a wave file and checks that the file is whole.

  Raises:
    InputError: no such file, no wave file, no samples, or fewer bytes of
      samples than the header declares.
  """
  return _with_file(path, _header)


def read_headers(paths: Iterable[str | os.PathLike]) -> list[Header]:
  """Reads many headers at once, in order; errors as in `read_header`."""
  with concurrent.futures.ThreadPoolExecutor(_HEADER_WORKERS) as pool:
    return list(pool.map(read_header, paths))


def header_in(title: str, stream: BinaryIO) -> Header:
  """Reads the header of a wave file that lies in another file.

  Args:
    title: what messages call it.
    stream: its bytes, with random access; no more than the first are read.

  Raises:
    InputError: as `read_header`.
  """
  return _with_stream(title, stream, _header)


def samples_in(title: str, stream: BinaryIO) -> tuple[Header, np.ndarray]:
  """Decodes a wave file that lies in another file, as it is.

  Args:
    title: what messages call it.
    stream: its bytes, with random access.

  Returns:
    Header, and `[C, S]` int16 for 16-bit samples, else float32 in [-1, 1).

  Raises:
    InputError: as `read`.
  """
  return _with_stream(title, stream, _samples)


def read(
  path: str | os.PathLike, *, sample_rate: int = SAMPLE_RATE
) -> tuple[np.ndarray, tuple[str, ...]]:
  """Reads a clip.

  Args:
    path: wave file of any sample format that libsndfile knows.
    sample_rate: rate of the result, in Hz; other files are resampled.

  Returns:
    `[C, S]` samples, int16 for a 16-bit file at this rate, else float32 in
    [-1, 1); and what is odd about them (resampled, silent, clipped), in short
    sentences that do not name the file.

  Raises:
    InputError: as `read_header`, or a sample is NaN or infinite.
  """
  header, audio = _with_file(path, _samples)  # [C, S]
  notes = _remarks(audio, header.subtype)
  if header.sample_rate != sample_rate:
    audio = resample(to_float(audio), header.sample_rate, sample_rate)
    notes += (f"resampled from {header.sample_rate} to {sample_rate} Hz",)
  return audio, notes


def batches(
  clips: Sequence[Recording],
  *,
  batch_size: int,
  sample_rate: int = SAMPLE_RATE,
  num_workers: int = 2,
) -> Iterator[Batch]:
  """Decodes clips into batches of constant shape, a few batches ahead.

  Clips of one length (after resampling), channel count and sample type share
  batches. Kinds come in order of their first clip, clips of a kind in the
  order given. Every batch has `batch_size` rows, so that a function compiled
  for a shape gives a clip the same score in company and alone. At most three
  batches are alive, the one in the caller's hands included.

  Args:
    clips: the files, with their headers.
    batch_size: rows B of a batch.
    sample_rate: in Hz; other files are resampled.
    num_workers: threads that decode.

  Raises:
    InputError: a setting below one; while iterating, a file that cannot be
      read or no longer fits its header.
  """
  for name, value in dict(
    batch_size=batch_size, sample_rate=sample_rate, num_workers=num_workers
  ).items():
    if value < 1:
      raise errors.InputError(f"{name}: found {value}, expected at least 1")
  return _decode(clips, _plan(clips, batch_size, sample_rate), num_workers)


def to_float(audio: Audio) -> Audio:
  """Scales int16 samples to float32 in [-1, 1); float32 stays as it is.

  Args:
    audio: `[...]` int16 or float32, of numpy or jax.

  Returns:
    `[...]` float32 of the same kind.
  """
  if audio.dtype == np.int16:
    scaled: Any = audio.astype(np.float32)
    return scaled / 32_768
  return audio


def resample(audio: np.ndarray, old_rate: int, new_rate: int) -> np.ndarray:
  """Resamples along time, without aliasing.

  Args:
    audio: `[..., S]` float.
    old_rate: of it, in Hz.
    new_rate: of the result, in Hz.

  Returns:
    `[..., ceil(S * new_rate / old_rate)]` float32.
  """
  from scipy import signal  # slow to import, seldom needed

  common = math.gcd(old_rate, new_rate)
  audio = signal.resample_poly(
    audio, new_rate // common, old_rate // common, axis=-1
  )
  return np.ascontiguousarray(audio, np.float32)


class _Plan(NamedTuple):
  """A batch to come: clip positions and the array they are decoded into."""

  members: list[int]
  shape: tuple[int, int, int]
  dtype: type[np.generic]
  sample_rate: int


def _plan(
  clips: Sequence[Recording], batch_size: int, sample_rate: int
) -> list[_Plan]:
  kinds: dict[tuple, list[int]] = {}
  for i, clip in enumerate(clips):
    header = clip.header
    same_rate = header.sample_rate == sample_rate
    num_samples = num_samples_at(header, sample_rate)
    dtype = np.int16 if header.subtype == "PCM_16" and same_rate else np.float32
    # A compiled program is for one shape and type.
    kind = (header.num_channels, num_samples, dtype)
    kinds.setdefault(kind, []).append(i)
  return [
    _Plan(
      members[i : i + batch_size],
      (batch_size, num_channels, num_samples),
      dtype,
      sample_rate,
    )
    for (num_channels, num_samples, dtype), members in kinds.items()
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
      audio = np.empty(plan.shape, plan.dtype)  # [B, C, S]
      rows = [
        pool.submit(_fill, clips[i], audio[row], plan.sample_rate)
        for row, i in enumerate(plan.members)
      ]
      pending.append((plan, audio, rows))

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
  plan: _Plan, audio: np.ndarray, rows: Sequence[concurrent.futures.Future]
) -> Batch:
  notes = tuple(
    (i, note)
    for i, row in zip(plan.members, rows, strict=True)
    for note in row.result()
  )
  index = np.full(plan.shape[0], -1, np.int32)
  index[: len(rows)] = plan.members
  # A clip, not zeros: whatever is computed of padding stays finite.
  audio[len(rows) :] = audio[0]
  return Batch(index, audio, notes)


def _fill(
  clip: Recording, row: np.ndarray, sample_rate: int
) -> tuple[str, ...]:
  """Decodes a clip into its row `[C, S]` of a batch."""
  audio, notes = read(clip.path, sample_rate=sample_rate)
  # A recorder may still be writing what was listed a minute ago.
  if (audio.shape, audio.dtype) != (row.shape, row.dtype):
    raise errors.InputError(
      f"{clip.path}: found {audio.dtype} {audio.shape}, expected {row.dtype} "
      f"{row.shape} as when its header was read; the file has changed"
    )
  row[:] = audio
  return notes


_T = TypeVar("_T")


def _with_file(
  path: str | os.PathLike,
  use: Callable[[str | os.PathLike, soundfile.SoundFile], _T],
) -> _T:
  """Applies `use` to an open wave file; every failure names the file."""
  try:
    # Opening a named pipe would wait for its writer for ever.
    if not stat.S_ISREG(os.stat(path).st_mode):
      raise errors.InputError(
        f"{path}: found no regular file, expected a wave file"
      )
    with open(path, "rb") as stream:
      return _with_stream(path, stream, use)
  except OSError as error:
    raise errors.InputError(
      f"{path}: found no readable file ({error.strerror}), expected a wave file"
    ) from error


def _with_stream(
  path: str | os.PathLike,
  stream: BinaryIO,
  use: Callable[[str | os.PathLike, soundfile.SoundFile], _T],
) -> _T:
  try:
    with soundfile.SoundFile(riff.whole(path, stream)) as file:
      return use(path, file)
  except soundfile.SoundFileError as error:
    raise errors.InputError(
      f"{path}: found damaged content ({error}), expected a wave file"
    ) from error


def _header(path: str | os.PathLike, file: soundfile.SoundFile) -> Header:
  if not file.frames:
    raise errors.InputError(f"{path}: found no samples, expected at least one")
  return Header(file.channels, file.frames, file.samplerate, file.subtype)


def _samples(
  path: str | os.PathLike, file: soundfile.SoundFile
) -> tuple[Header, np.ndarray]:
  header = _header(path, file)
  dtype = "int16" if header.subtype == "PCM_16" else "float32"
  audio = file.read(dtype=dtype, always_2d=True)  # [S, C]
  if len(audio) != header.num_samples:
    raise errors.InputError(
      f"{path}: found {len(audio)} samples, expected {header.num_samples}"
    )
  audio = np.ascontiguousarray(audio.T)  # [C, S]
  if audio.dtype != np.int16:
    _check_finite(path, audio)
  return header, audio


def _check_finite(path: str | os.PathLike, audio: np.ndarray) -> None:
  bad = ~np.isfinite(audio)  # [C, S]
  if bad.any():
    sample, channel = np.argwhere(bad.T)[0]
    raise errors.InputError(
      f"{path}: found {audio[channel, sample]} at sample {sample} of channel "
      f"{channel} ({bad.sum()} such samples), expected finite samples"
    )


def _remarks(audio: np.ndarray, subtype: str) -> tuple[str, ...]:
  """Notes silent, clipped and equal channels of `[C, S]` samples as decoded."""
  bits = _PCM_BITS.get(subtype, 16)
  full = 1 - 2.0 ** (1 - bits)
  if audio.dtype == np.int16:
    full *= 32_768
  notes = []
  for channel, x in enumerate(audio):
    fraction = np.mean((x >= full) | (x <= -full))
    if not x.any():
      notes.append(f"channel {channel} is silent (all samples are zero)")
    elif fraction > _CLIPPED_FRACTION:
      notes.append(f"channel {channel} is clipped at {fraction:.2%} of samples")
    if channel and x.any() and np.array_equal(x, audio[0]):
      notes.append(f"channel {channel} is the same as channel 0")
  return tuple(notes)
