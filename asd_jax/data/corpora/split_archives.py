"""Split zip archives: `x.z01`, `x.z02`, ..., `x.zip`.

Their directory, in the last part, counts places from the start of the part in
which a member begins, and a member may go on in the next one. Python's own
reader opens the last part, lists all members and fails on most of them.
"""

import io
import os
import pathlib
import struct
from collections.abc import Sequence
from typing import NamedTuple

from asd_jax import errors
from asd_jax.data.corpora import archives

_END = struct.Struct("<4s4H2IH")
_ENTRY = struct.Struct("<4s6H3I5H2I")
# The end record is followed by a comment of 64 KiB at most.
_MAX_TAIL = _END.size + 2**16
_UTF8 = 0x800
# Fields that a 64-bit extra field stands in for.
_LONG, _LONG_PART = 0xFFFFFFFF, 0xFFFF


class Found(NamedTuple):
  """What a split archive holds.

  Attributes:
    members: files that lie in parts that are there.
    missing: names of parts that are not.
    lost: names of files that lie in those, wholly or in part.
  """

  members: list[archives.Member]
  missing: list[str]
  lost: list[str]


class _Entry(NamedTuple):
  """What the directory says of a member; `packing` ends a `Member`."""

  name: str
  part: int
  offset: int
  encrypted: bool
  packing: tuple[int, int, int, int]


def is_split(last: pathlib.Path) -> bool:
  """Whether an archive is the last part of several.

  Args:
    last: a file.

  Raises:
    InputError: it is no archive, or cut short.
  """
  return _end_record(last)[0] > 0


def members(last: pathlib.Path) -> Found:
  """Lists the files of a split archive, as far as its parts are there.

  Args:
    last: the last part, `x.zip`; the others lie beside it.

  Returns:
    What is there and what is not.

  Raises:
    InputError: the directory is damaged, or in a part that is not there.
  """
  number, disk, start, count = _end_record(last)
  names = [f"{last.stem}.z{i + 1:02d}" for i in range(number)]
  beside = {p.name.casefold(): p for p in last.parent.iterdir() if p.is_file()}
  parts = [*(beside.get(n.casefold()) for n in names), last]
  there = tuple(p for p in parts if p)
  sizes = [p.stat().st_size if p else None for p in parts]
  if disk >= len(parts) or sizes[disk] is None:
    raise archives.no_directory(last, f"it starts in part {disk + 1}")
  # In the row of the parts that are there, one that is not has no length.
  bases = [sum(s or 0 for s in sizes[:i]) for i in range(len(sizes))]
  found, lost = [], []
  with archives.Row(there) as row:
    for entry in _entries(last, row, bases[disk] + start, count):
      if entry.name.endswith("/"):
        continue
      if entry.part >= len(parts):
        raise archives.no_directory(last, f"{entry.name} lies beyond it")
      place = bases[entry.part] + entry.offset
      member = archives.Member(there, entry.name, place, *entry.packing)
      if _reaches_missing(row, sizes[entry.part :], entry.offset, member):
        lost.append(entry.name)
      else:
        found.append(member.checked(encrypted=entry.encrypted))
  missing = [n for n, p in zip(names, parts, strict=False) if p is None]
  return Found(found, missing, lost)


def _end_record(path: pathlib.Path) -> tuple[int, int, int, int]:
  """Number of the last part, part and place of the directory, entries."""
  try:
    with open(path, "rb") as file:
      size = file.seek(0, os.SEEK_END)
      file.seek(max(0, size - _MAX_TAIL))
      tail = file.read()
  except OSError as error:
    raise archives.unreadable(path, error) from error
  at = tail.rfind(b"PK\x05\x06")
  if at < 0 or len(tail) - at < _END.size:
    raise archives.no_directory(path, "no end record")
  _, number, disk, _, count, _, start, _ = _END.unpack_from(tail, at)
  # One file with 64-bit places, which is for Python's reader.
  return (0 if number == _LONG_PART else number), disk, start, count


def _entries(
  last: pathlib.Path, row: archives.Row, start: int, count: int
) -> list[_Entry]:
  row.seek(start)
  found = []
  directory = io.BufferedReader(row)
  for _ in range(count):
    fields = directory.read(_ENTRY.size)
    if len(fields) < _ENTRY.size or fields[:4] != b"PK\x01\x02":
      raise archives.no_directory(last, f"fewer than {count} entries")
    values = _ENTRY.unpack(fields)
    flags, method, _, _, crc, packed, size = values[3:10]
    num_name, num_extra, num_comment, part, _, _, offset = values[10:]
    raw = directory.read(num_name)
    directory.read(num_extra + num_comment)
    name = raw.decode("utf-8" if flags & _UTF8 else "cp437", "replace")
    if _LONG in (packed, size, offset) or part == _LONG_PART:
      raise errors.InputError(
        f"{last}: found 64-bit places of {name}, expected a split archive with "
        "parts under 4 GiB; join it with `zip -s 0`"
      )
    packing = packed, size, method, crc
    encrypted = bool(flags & archives.ENCRYPTED)
    found.append(_Entry(name, part, offset, encrypted, packing))
  # Else the end of this reader closes the row.
  directory.detach()
  return found


def _reaches_missing(
  row: archives.Row,
  sizes: Sequence[int | None],
  offset: int,
  member: archives.Member,
) -> bool:
  """Whether a member lies, or goes on, in a part that is not there.

  Args:
    row: the parts that are there.
    sizes: of the parts from its own on, None where one is not there.
    offset: of its header in its own part.
    member: the member.
  """
  if sizes[0] is None:
    return True
  try:
    num_before = member.data_start(row) - member.start
  except EOFError:
    # Its header goes on in a part that is not there, or the archive is
    # damaged, which whoever reads the member is told.
    return None in sizes
  return _crosses(sizes, offset + num_before + member.num_packed)


def _crosses(sizes: Sequence[int | None], end: int) -> bool:
  """Whether the part after the last one that is needed is not there."""
  for size in sizes:
    if size is None:
      return True
    if end <= size:
      return False
    end -= size
  # Beyond the archive: damaged, which whoever reads it is told.
  return False
