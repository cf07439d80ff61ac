"""The chunks of a wave file, as far as its size tells whether it is whole."""

import io
import os
import struct
from typing import BinaryIO

from asd_jax import errors

# Writers to a pipe cannot go back to fill in sizes: they leave 0 or a huge one.
_HUGE = 0x7FFFF000


def whole(path: str | os.PathLike, stream: BinaryIO) -> BinaryIO:
  """Checks the sizes in a wave file; libsndfile reads cut files silently.

  Args:
    path: of the file, for messages.
    stream: the open file, at its start.

  Returns:
    The stream at its start, or a copy with the size filled in where a writer
    to a pipe left it 0.

  Raises:
    InputError: it is no wave file, or cut short.
  """
  size = stream.seek(0, os.SEEK_END)
  stream.seek(0)
  head = stream.read(12)
  if not size:
    raise errors.InputError(
      f"{path}: found an empty file, expected a wave file"
    )
  if head[:4] not in (b"RIFF", b"RIFX", b"RF64") or head[8:] != b"WAVE":
    raise errors.InputError(
      f"{path}: found a file that starts with {head!r}, expected a wave file "
      "(RIFF)"
    )
  order = ">" if head[:4] == b"RIFX" else "<"
  (riff_size,) = struct.unpack(f"{order}I", head[4:8])
  declared, start = _find_data(stream, order)
  present = size - start
  if start == 0 or present < declared < _HUGE:
    raise errors.InputError(
      f"{path}: found {max(present, 0) if start else 0} bytes of samples, "
      f"expected {declared if start else 'some'}; the file is cut short"
    )
  stream.seek(0)
  # Only where a writer could not go back: an honest 0 has a right outer size.
  if declared or not present or riff_size == size - 8:
    return stream
  content = bytearray(stream.read())
  content[start - 4 : start] = struct.pack(f"{order}I", present)
  return io.BytesIO(content)


def _find_data(stream: BinaryIO, order: str) -> tuple[int, int]:
  """Returns declared size and start of the samples; (0, 0) without any."""
  long_size = 0
  while True:
    chunk, size = _unpack(stream, f"{order}4sI")
    if chunk == b"":
      return 0, 0
    if chunk == b"data":
      is_long = size == 0xFFFFFFFF and long_size
      return (long_size if is_long else size), stream.tell()
    # Chunks start at even places.
    skip = size + size % 2
    # RF64 keeps the true size here and a full field at the samples.
    if chunk == b"ds64":
      _, long_size = _unpack(stream, f"{order}QQ")
      skip -= 16
    stream.seek(skip, os.SEEK_CUR)


def _unpack(stream: BinaryIO, form: str) -> tuple:
  """Unpacks the next bytes; empty values where the file ends before."""
  num_bytes = struct.calcsize(form)
  content = stream.read(num_bytes)
  if len(content) == num_bytes:
    return struct.unpack(form, content)
  empty = struct.unpack(form, bytes(num_bytes))
  return tuple(b"" if isinstance(value, bytes) else value for value in empty)
