"""A file read by position, every length checked before memory is taken."""

import os
import stat
import zlib
from io import FileIO
from pathlib import Path

import numpy as np

from asd_jax import errors

_CHUNK = 1 << 20


class WeightsFileError(errors.InputError):
  """A file that cannot be taken as weights.

  The message is one line: the file, what was found and what was expected.
  """


class Source:
  """An open file of known size.

  Attributes:
    path: as the user gave it.
    size: bytes in the file.
  """

  def __init__(self, path: str | Path):
    """Opens the file.

    Args:
      path: a regular file, or a link to one.

    Raises:
      WeightsFileError: there is none, or it cannot be read.
    """
    self.path = Path(path)
    try:
      # Opening a pipe would wait for ever: look before.
      mode = os.stat(path).st_mode
      if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "no regular file"
        raise WeightsFileError(f"found {kind}, expected a weights file.")
      # Without a buffer: ranges go straight into the arrays that are made of
      # them.
      self._file = FileIO(os.fspath(path), "rb")
      self.size = os.fstat(self._file.fileno()).st_size
    except (OSError, ValueError) as error:
      # A path with a zero byte is a ValueError, and so is our own error.
      if isinstance(error, WeightsFileError):
        raise
      reason = getattr(error, "strerror", None) or str(error)
      raise WeightsFileError(
        f"found no readable file ({reason}), expected a weights file."
      ) from None

  def __enter__(self) -> "Source":
    return self

  def __exit__(self, *_: object) -> None:
    self._file.close()

  def fill(self, start: int, out: np.ndarray) -> np.ndarray:
    """Reads bytes into an array.

    Args:
      start: first byte.
      out: `[N]` uint8, overwritten.

    Returns:
      `out`.

    Raises:
      WeightsFileError: the file ends before.
    """
    left = out.data if out.size else memoryview(b"")
    try:
      self._file.seek(start)
      while left:
        # One call gives 2 GiB at most, so it takes several for a large
        # storage.
        num = self._file.readinto(left)
        if not num:
          raise WeightsFileError(
            "found a file that became shorter while it was read, expected a"
            " complete download."
          )
        left = left[num:]
    except OSError as error:
      raise WeightsFileError(
        f"found an unreadable place ({error.strerror}), expected {out.size}"
        f" bytes at {start}."
      ) from None
    return out

  def read(self, start: int, count: int, what: str) -> bytes:
    """Reads bytes; memory is taken only if the file holds them.

    Args:
      start: first byte.
      count: how many.
      what: their name in messages.

    Returns:
      `count` bytes.

    Raises:
      WeightsFileError: the file does not hold them.
    """
    self.check_range(start, count, what)
    return self.fill(start, np.empty(count, np.uint8)).tobytes()

  def check_range(self, start: int, count: int, what: str) -> None:
    """Raises unless the file holds `count` bytes from `start`.

    Args:
      start: first byte.
      count: how many.
      what: their name in messages.

    Raises:
      WeightsFileError: the file does not hold them.
    """
    if min(start, count) < 0 or start + count > self.size:
      raise WeightsFileError(
        f"found {what} of {count} bytes at byte {start}, expected it inside"
        f" the file of {self.size} bytes (is the download complete?)."
      )

  def checksum(self, start: int, count: int) -> int:
    """CRC-32 of a range that the file holds.

    Args:
      start: first byte.
      count: how many.

    Returns:
      The checksum.
    """
    buffer = np.empty(min(count, _CHUNK), np.uint8)
    value = 0
    for at in range(0, count, _CHUNK):
      part = buffer[: min(_CHUNK, count - at)]
      value = zlib.crc32(self.fill(start + at, part).data, value)
    return value


def shown(name: object) -> str:
  """A name from a file, short and safe to print.

  Args:
    name: anything.

  Returns:
    Printable text on one line; the kind of value where it is no string.
  """
  if type(name) is not str:
    return f"a value of type {type(name).__name__}"
  text = name if name.isprintable() else ascii(name)[1:-1]
  return text if len(text) <= 120 else f"{text[:117]}..."
