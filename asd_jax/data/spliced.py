"""Sound files with another header: what libsndfile is given to read."""

import io
import os
from typing import Any, BinaryIO, NamedTuple


class Whole(NamedTuple):
  """A sound file that libsndfile reads right.

  Attributes:
    stream: at its start.
    head: its first bytes, in words.
    is_known: whether it is a container of `riff`.
    has_count: whether an mp3 file tells its length.
    notes: sentences on sizes that were wrong.
  """

  stream: BinaryIO
  head: str = ""
  is_known: bool = True
  has_count: bool = False
  notes: tuple[str, ...] = ()


def file(head: bytes, stream: BinaryIO, start: int, end: int) -> BinaryIO:
  """A header, then a part of a file, which is not copied.

  Args:
    head: the header.
    stream: the file.
    start: first byte of the part.
    end: the one after its last.

  Returns:
    Both as one file, at its start.
  """
  return io.BufferedReader(_Spliced(head, stream, start, end))


class _Spliced(io.RawIOBase):
  """A header, then a part of a file, which is not copied."""

  def __init__(self, head: bytes, stream: BinaryIO, start: int, end: int):
    self._head, self._stream = head, stream
    self._start, self._size = start, len(head) + end - start
    self._place = 0

  def readable(self) -> bool:
    return True

  def seekable(self) -> bool:
    return True

  def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
    base = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._size}
    self._place = max(base[whence] + offset, 0)
    return self._place

  def readinto(self, buffer: Any) -> int:
    view = memoryview(buffer).cast("B")
    num = max(min(len(view), self._size - self._place), 0)
    part = self._head[self._place : self._place + num]
    if len(part) < num:
      inside = self._place + len(part) - len(self._head)
      self._stream.seek(self._start + inside)
      part += self._stream.read(num - len(part))
    view[: len(part)] = part
    self._place += len(part)
    return len(part)
