"""Sound files of any kind that libsndfile reads: headers and samples."""

import concurrent.futures
import functools
import math
import os
import stat
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, TypeVar

import numpy as np
import soundfile

from asd_jax import errors
from asd_jax.data import hearing, riff, spliced

if TYPE_CHECKING:
  import jax

Audio = TypeVar("Audio", np.ndarray, "jax.Array")

SAMPLE_RATE = 16_000
MAX_CHANNELS = 2
_HEADER_WORKERS = 8
_BLOCK = 1 << 16  # samples that are decoded at once where they are let go
# Of a flac file that a writer to a pipe left without a length.
_MOST_FRAMES = 1 << 48
_GUESSED = "MP3"
EXPECTED = "a wave file (or flac, ogg, mp3, aiff, ...)"


class Header(NamedTuple):
  """What a sound file says about itself.

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
  """Reads the header of a sound file and checks that the file is whole.

  Raises:
    InputError: no such file, no sound file, no samples, or a file cut short.
  """
  return _with_file(path, _header)


def is_finished(path: str | os.PathLike) -> bool:
  """Whether a file's header declares what is there, no more and no less.

  A recorder that writes the sizes last may still be at work on one that is not.

  Args:
    path: sound file.

  Returns:
    True where there is no size to trust, as in mp3.

  Raises:
    InputError: as `read_header`.
  """
  return _with_file(path, lambda path, file, whole: not whole.notes)


def read_headers(paths: Iterable[str | os.PathLike]) -> list[Header]:
  """Reads many headers at once, in order; errors as in `read_header`."""
  with concurrent.futures.ThreadPoolExecutor(_HEADER_WORKERS) as pool:
    return list(pool.map(read_header, paths))


def check(path: str | os.PathLike) -> None:
  """Decodes a file and lets its samples go.

  Raises:
    InputError: as `read`.
  """
  _with_file(path, _decoded)


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
  return _with_stream(title, stream, _samples)[:2]


def read(
  path: str | os.PathLike,
  *,
  sample_rate: int = SAMPLE_RATE,
  start: int = 0,
  num_samples: int | None = None,
  channels: Sequence[int] = (),
) -> tuple[np.ndarray, tuple[str, ...]]:
  """Reads a clip: a file, or a part of one and nothing else of it.

  Args:
    path: file of any kind and sample format that libsndfile knows.
    sample_rate: rate of the result, in Hz; other files are resampled. A part
      is resampled by itself, as a file with silence around it: it differs from
      that part of the resampled file only where the filter reaches over its
      ends, ten samples of the lower of both rates.
    start: first sample, at the file's own rate.
    num_samples: how many of them, at the file's own rate; all to the end if
      None.
    channels: of the file, in the order of the result; all if empty.

  Returns:
    `[C, S]` samples, int16 for a 16-bit file at this rate, else float32 in
    [-1, 1); and what is odd about them (wrong sizes, resampled, and what
    `hearing.remarks` finds), in short sentences that do not name the file.

  Raises:
    InputError: as `read_header`, a part or a channel that the file does not
      have, or a sample is NaN or infinite.
  """
  part = functools.partial(_samples, start=start, num_samples=num_samples)
  header, audio, notes = _with_file(path, part)  # [C, S]
  if channels:
    audio = audio[list(picked(path, header, channels))]
  notes += hearing.remarks(audio, header.subtype, header.sample_rate)
  if header.sample_rate != sample_rate:
    audio = resample(to_float(audio), header.sample_rate, sample_rate)
    notes += (f"resampled from {header.sample_rate} to {sample_rate} Hz",)
  return audio, notes


def picked(
  path: str | os.PathLike, header: Header, channels: Sequence[int]
) -> Sequence[int]:
  """Checks which channels of a file are taken.

  Args:
    path: the file, for messages.
    header: of the file as it is.
    channels: which, of the near and perhaps the far microphone; none for all.

  Returns:
    All that are taken.

  Raises:
    InputError: the file lacks one, or has more than two and none are named.
  """
  num = header.num_channels
  if not channels:
    if num > MAX_CHANNELS:
      raise errors.InputError(
        f"{path}: found {num} channels, expected 1 or 2 (near and far);"
        f" --config.recorder_channels=(0,{num - 1}) names the near and the far"
        " one"
      )
    return range(num)
  if max(channels) >= num:
    raise errors.InputError(
      f"{path}: found {num} channels, expected more than {max(channels)}, the"
      f" last one of recorder_channels={tuple(channels)}"
    )
  return channels


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
  use: Callable[[str | os.PathLike, soundfile.SoundFile, spliced.Whole], _T],
) -> _T:
  """Applies `use` to an open sound file; every failure names the file."""
  try:
    # libsndfile would have to be told what is in it.
    if os.fspath(path).casefold().endswith(".raw"):
      raise errors.InputError(
        f"{path}: found raw samples by its name, expected {EXPECTED}"
      )
    # Opening a named pipe would wait for its writer for ever.
    if not stat.S_ISREG(os.stat(path).st_mode):
      raise errors.InputError(
        f"{path}: found no regular file, expected {EXPECTED}"
      )
    with open(path, "rb") as stream:
      return _with_stream(path, stream, use)
  except OSError as error:
    raise errors.InputError(
      f"{path}: found no readable file ({error.strerror}), expected {EXPECTED}"
    ) from error


def _with_stream(
  path: str | os.PathLike,
  stream: BinaryIO,
  use: Callable[[str | os.PathLike, soundfile.SoundFile, spliced.Whole], _T],
) -> _T:
  whole = riff.whole(path, stream)
  found = "damaged content" if whole.is_known else whole.head
  try:
    with soundfile.SoundFile(whole.stream) as file:
      found = "damaged content"
      return use(path, file, whole)
  except soundfile.SoundFileError as error:
    # Without what stands for the file in it.
    why = getattr(error, "error_string", str(error))
    raise errors.InputError(
      f"{path}: found {found} ({why.rstrip('.')}), expected {EXPECTED}"
    ) from error


def _header(
  path: str | os.PathLike, file: soundfile.SoundFile, whole: spliced.Whole
) -> Header:
  # Without a count in an mp3 file, libsndfile guesses one by its size.
  num = _count(file) if file.format == _GUESSED else file.frames
  return _checked(path, file, whole, num)


def _checked(
  path: str | os.PathLike,
  file: soundfile.SoundFile,
  whole: spliced.Whole,
  num: int,
) -> Header:
  """The header of a file with a number of samples."""
  if not 0 < num <= _MOST_FRAMES:
    found = "no samples" if num < 1 else "a length that was left open"
    raise errors.InputError(f"{path}: found {found}, expected some samples")
  if num < file.frames and whole.has_count:
    raise errors.InputError(
      f"{path}: found {num} samples, expected {file.frames}; the file is cut"
      " short"
    )
  return Header(file.channels, num, file.samplerate, file.subtype)


def _count(file: soundfile.SoundFile) -> int:
  """Decodes a file to count its samples."""
  num = 0
  while part := len(file.read(_BLOCK, dtype="int16", always_2d=True)):
    num += part
  return num


def _samples(
  path: str | os.PathLike,
  file: soundfile.SoundFile,
  whole: spliced.Whole,
  *,
  start: int = 0,
  num_samples: int | None = None,
) -> tuple[Header, np.ndarray, tuple[str, ...]]:
  header = _checked(path, file, whole, file.frames)
  num = header.num_samples - start if num_samples is None else num_samples
  dtype = "int16" if file.subtype == "PCM_16" else "float32"
  _go_to(file, start)
  # By number: what GSM and some other codecs wrote cannot be sought in.
  audio = file.read(num, dtype=dtype, always_2d=True)  # [S, C]
  if num_samples is None and file.format == _GUESSED:
    header = _checked(path, file, whole, start + len(audio))
  elif len(audio) != num:
    raise errors.InputError(
      f"{path}: found {start + len(audio)} samples, expected {start + num}"
    )
  audio = np.ascontiguousarray(audio.T)  # [C, S]
  if audio.dtype != np.int16:
    _check_finite(path, audio, start)
  return header, audio, whole.notes


def _decoded(
  path: str | os.PathLike, file: soundfile.SoundFile, whole: spliced.Whole
) -> None:
  _checked(path, file, whole, file.frames)
  num = 0
  while len(part := file.read(_BLOCK, dtype="float32", always_2d=True)):
    _check_finite(path, part.T, num)
    num += len(part)
  if num < file.frames and file.format != _GUESSED:
    raise errors.InputError(
      f"{path}: found {num} samples, expected {file.frames}"
    )


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
