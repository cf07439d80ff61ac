"""Wave files: headers and samples."""

import concurrent.futures
import functools
import math
import os
import stat
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, TypeVar

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
_HEADER_WORKERS = 8
_BLOCK = 1 << 16


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
  path: str | os.PathLike,
  *,
  sample_rate: int = SAMPLE_RATE,
  start: int = 0,
  num_samples: int | None = None,
) -> tuple[np.ndarray, tuple[str, ...]]:
  """Reads a clip: a file, or a part of one and nothing else of it.

  Args:
    path: wave file of any sample format that libsndfile knows.
    sample_rate: rate of the result, in Hz; other files are resampled. A part
      is resampled by itself, as a file with silence around it: it differs from
      that part of the resampled file only where the filter reaches over its
      ends, ten samples of the lower of both rates.
    start: first sample, at the file's own rate.
    num_samples: how many of them, at the file's own rate; all to the end if
      None.

  Returns:
    `[C, S]` samples, int16 for a 16-bit file at this rate, else float32 in
    [-1, 1); and what is odd about them (resampled, silent, clipped), in short
    sentences that do not name the file.

  Raises:
    InputError: as `read_header`, a part that the file does not have, or a
      sample is NaN or infinite.
  """
  part = functools.partial(_samples, start=start, num_samples=num_samples)
  header, audio = _with_file(path, part)  # [C, S]
  notes = _remarks(audio, header.subtype)
  if header.sample_rate != sample_rate:
    audio = resample(to_float(audio), header.sample_rate, sample_rate)
    notes += (f"resampled from {header.sample_rate} to {sample_rate} Hz",)
  return audio, notes


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
  path: str | os.PathLike,
  file: soundfile.SoundFile,
  *,
  start: int = 0,
  num_samples: int | None = None,
) -> tuple[Header, np.ndarray]:
  header = _header(path, file)
  num = header.num_samples - start if num_samples is None else num_samples
  dtype = "int16" if header.subtype == "PCM_16" else "float32"
  _go_to(file, start)
  audio = file.read(num, dtype=dtype, always_2d=True)  # [S, C]
  if len(audio) != num:
    raise errors.InputError(
      f"{path}: found {start + len(audio)} samples, expected {start + num}"
    )
  audio = np.ascontiguousarray(audio.T)  # [C, S]
  if audio.dtype != np.int16:
    _check_finite(path, audio, start)
  return header, audio


def _go_to(file: soundfile.SoundFile, start: int) -> None:
  """Goes to a sample; where a codec cannot seek, by reading up to it."""
  if file.seekable():
    file.seek(min(start, file.frames))
    return
  while start:
    found = len(file.read(min(start, _BLOCK), dtype="int16", always_2d=True))
    start -= found or start


def _check_finite(
  path: str | os.PathLike, audio: np.ndarray, start: int
) -> None:
  bad = ~np.isfinite(audio)  # [C, S]
  if bad.any():
    sample, channel = np.argwhere(bad.T)[0]
    raise errors.InputError(
      f"{path}: found {audio[channel, sample]} at sample {start + sample} of "
      f"channel {channel} ({bad.sum()} such samples), expected finite samples"
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
