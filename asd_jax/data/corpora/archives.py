"""Members of zip archives, read in place.

Nothing is unpacked to disk: a member is a place in a row of files, and is read
from there, by any process that sees the files.
"""

import io
import os
import pathlib
import struct
import zipfile
import zlib
from collections.abc import Sequence
from typing import NamedTuple

from asd_jax import errors

_LOCAL = struct.Struct("<4s5H3I2H")
_STORED, _DEFLATED = 0, 8
# In the flags of a directory.
ENCRYPTED = 1


class Row(io.RawIOBase):
  """Files laid end to end, read as one.

  Args:
    paths: the files.
  """

  def __init__(self, paths: Sequence[pathlib.Path]) -> None:
    super().__init__()
    self._paths = paths
    self._ends: list[int] = []
    total = 0
    for path in paths:
      total += os.stat(path).st_size
      self._ends.append(total)
    self._place = 0
    self._open: tuple[int, io.FileIO] | None = None

  def readable(self) -> bool:
    """Says that it can be read."""
    return True

  def seekable(self) -> bool:
    """Says that places can be chosen."""
    return True

  def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
    """Goes to a place."""
    total = self._ends[-1] if self._ends else 0
    base = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: total}
    self._place = max(base[whence] + offset, 0)
    return self._place

  def tell(self) -> int:
    """The place of the next byte."""
    return self._place

  def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
    """Reads up to the end of the part at hand."""
    part = next((i for i, e in enumerate(self._ends) if self._place < e), None)
    if part is None:
      return 0
    start = self._ends[part - 1] if part else 0
    if self._open is None or self._open[0] != part:
      self._close_part()
      self._open = part, io.FileIO(self._paths[part])
    file = self._open[1]
    file.seek(self._place - start)
    num = file.readinto(buffer) or 0
    self._place += num
    return num

  def exactly(self, start: int, num_bytes: int) -> bytes:
    """Reads bytes, over the ends of parts.

    Args:
      start: place of the first.
      num_bytes: how many.

    Raises:
      EOFError: there are fewer.
    """
    # Asked first: a damaged directory must not cost memory.
    if start + num_bytes > (self._ends[-1] if self._ends else 0):
      raise EOFError
    out = bytearray(num_bytes)
    view = memoryview(out)
    self.seek(start)
    while view:
      num = self.readinto(view)
      if not num:
        raise EOFError
      view = view[num:]
    return bytes(out)

  def close(self) -> None:
    """Closes what is open."""
    self._close_part()
    super().close()

  def _close_part(self) -> None:
    if self._open is not None:
      self._open[1].close()
      self._open = None


class Member(NamedTuple):
  """A file in an archive, and how to read it without the directory.

  Attributes:
    parts: the files of the archive that are there, laid end to end.
    name: with folders, as the archive has it.
    start: place of its header in the row of parts.
    num_packed: bytes it takes.
    num_bytes: bytes once unpacked.
    method: 0 stored, 8 deflated.
    crc: of the unpacked bytes.
  """

  parts: tuple[pathlib.Path, ...]
  name: str
  start: int
  num_packed: int
  num_bytes: int
  method: int
  crc: int

  @property
  def title(self) -> str:
    """What messages call it: the part in which it begins, and its name."""
    left = self.start
    for part in self.parts[:-1]:
      left -= part.stat().st_size
      if left < 0:
        return f"{part}: {self.name}"
    return f"{self.parts[-1]}: {self.name}"

  def head(self, num_bytes: int) -> bytes:
    """The first bytes, whose checksum nobody knows.

    Args:
      num_bytes: how many; fewer come where there are fewer.

    Raises:
      InputError: they cannot be read.
    """
    if self.method == _STORED:
      return self._packed(min(num_bytes, self.num_packed))
    # Packed, bytes are hardly ever more than they were.
    packed = self._packed(min(num_bytes + 1024, self.num_packed))
    return self._unpacked(packed, num_bytes)

  def read(self) -> bytes:
    """All bytes.

    Raises:
      InputError: they cannot be read, or are not those that were packed.
    """
    content = self._packed(self.num_packed)
    if self.method == _DEFLATED:
      # One more than promised shows that there are too many.
      content = self._unpacked(content, self.num_bytes + 1)
    if len(content) != self.num_bytes or zlib.crc32(content) != self.crc:
      raise errors.InputError(
        f"{self.title}: found other content than its checksum says, expected "
        "an undamaged archive; download it again"
      )
    return content

  def data_start(self, row: Row) -> int:
    """Place of its first packed byte.

    Args:
      row: its parts, open.

    Raises:
      EOFError: its header is not where it should be.
    """
    local = _LOCAL.unpack(row.exactly(self.start, _LOCAL.size))
    if local[0] != b"PK\x03\x04":
      raise EOFError
    # Its extra field is another one than that of the directory.
    return self.start + _LOCAL.size + local[-2] + local[-1]

  def checked(self, *, encrypted: bool) -> "Member":
    """Itself.

    Args:
      encrypted: whether the directory says so.

    Raises:
      InputError: it cannot be unpacked.
    """
    if encrypted or self.method not in (_STORED, _DEFLATED):
      how = "encrypted" if encrypted else f"packed by method {self.method}"
      raise errors.InputError(
        f"{self.title}: found it {how}, expected it stored or deflated"
      )
    return self

  def _packed(self, num_bytes: int) -> bytes:
    try:
      with Row(self.parts) as row:
        return row.exactly(self.data_start(row), num_bytes)
    except EOFError as error:
      raise errors.InputError(
        f"{self.title}: found nothing of it where the archive says, expected "
        f"{self.num_packed} bytes; download the archive again"
      ) from error
    except OSError as error:
      raise unreadable(self.parts[-1], error) from error

  def _unpacked(self, packed: bytes, num_bytes: int) -> bytes:
    try:
      return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, num_bytes)
    except zlib.error as error:
      raise errors.InputError(
        f"{self.title}: found damaged content ({error}), expected an undamaged "
        "archive; download it again"
      ) from error


def members(paths: Sequence[pathlib.Path]) -> list[Member]:
  """Lists the files of an ordinary archive.

  Args:
    paths: the archive, or the pieces into which it was cut, in order.

  Returns:
    Files, in the order of the archive; no folders.

  Raises:
    InputError: it is none, or cut short.
  """
  parts = tuple(paths)
  try:
    # Python's reader wants as many bytes as it asks for.
    with io.BufferedReader(Row(parts)) as row, zipfile.ZipFile(row) as archive:
      entries = archive.infolist()
  except (zipfile.BadZipFile, NotImplementedError) as error:
    raise no_directory(parts[-1], str(error)) from error
  except OSError as error:
    raise unreadable(parts[-1], error) from error
  found = []
  for e in entries:
    if not e.is_dir():
      packing = e.compress_size, e.file_size, e.compress_type, e.CRC
      member = Member(parts, e.filename, e.header_offset, *packing)
      found.append(member.checked(encrypted=bool(e.flag_bits & ENCRYPTED)))
  return found


def no_directory(path: pathlib.Path, reason: str) -> errors.InputError:
  """The error of an archive that is cut short.

  Args:
    path: of its last part.
    reason: what is missing.
  """
  return errors.InputError(
    f"{path}: found no directory of its files at its end ({reason}), expected "
    "a whole zip archive; download it, or its last part, again"
  )


def unreadable(path: pathlib.Path, error: OSError) -> errors.InputError:
  """The error of a file that the system does not give.

  Args:
    path: of the file.
    error: what the system says.
  """
  return errors.InputError(
    f"{path}: cannot be read ({error.strerror or error}), expected a zip "
    "archive"
  )
