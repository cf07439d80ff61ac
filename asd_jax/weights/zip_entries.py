"""The directory of a zip file whose entries are stored as they are.

Weight files are such zips. Everything else a zip can be (compressed, split,
encrypted, with two entries of one name, with overlapping ones) is refused.
"""

import struct
from collections.abc import Collection
from typing import NamedTuple

from asd_jax.weights.byte_source import Source, WeightsFileError, shown

# The end of the directory, its two zip64 parts, and the headers of an entry in
# the directory and before its data.
_END = struct.Struct("<4s4H2LH")
_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_FULL32, _FULL16 = 0xFFFFFFFF, 0xFFFF
_MAX_DIRECTORY = 16 << 20


class Entry(NamedTuple):
  """One file inside the zip.

  Attributes:
    name: its name.
    header: byte where its own header starts.
    start: byte where its data start; -1 before its header was read.
    size: bytes of its data.
    crc: CRC-32 of its data.
    plain: neither compressed nor encrypted.
  """

  name: str
  header: int
  start: int
  size: int
  crc: int
  plain: bool


def _broken(found: str) -> WeightsFileError:
  return WeightsFileError(
    f"found {found}, expected a torch zip file (is the download complete?)."
  )


def _end_record(source: Source) -> tuple[int, int, int, int]:
  """Number of entries, start and size of the directory, and where it ends."""
  size = min(source.size, _END.size + _FULL16)
  tail = source.read(source.size - size, size, "the end of the zip")
  # A comment of up to 65,535 bytes may follow. It may hold what looks like an
  # end, too: the last one must fill up the file to its last byte.
  at = tail.rfind(b"PK\x05\x06")
  if at < 0 or at + _END.size > size:
    raise _broken("no zip directory at the end of the file")
  _, disk, first, here, num, length, start, comment = _END.unpack_from(tail, at)
  end = source.size - size + at
  if end + _END.size + comment != source.size or disk or first or here != num:
    raise _broken("a zip directory that does not end the file")
  place = end - _LOCATOR.size
  if place < 0:
    return num, start, length, end
  locator = _LOCATOR.unpack(source.read(place, _LOCATOR.size, "zip locator"))
  if locator[0] != b"PK\x06\x07":
    return num, start, length, end
  end = locator[2]
  record = _END64.unpack(source.read(end, _END64.size, "zip64 directory"))
  if record[0] != b"PK\x06\x06" or record[6] != record[7]:
    raise _broken("a broken zip64 directory")
  # Where they differ, two readers would see two files in one.
  for small, large, full in (
    (num, record[7], _FULL16),
    (length, record[8], _FULL32),
    (start, record[9], _FULL32),
  ):
    if small not in (full, large):
      raise _broken("two zip directories that differ")
  return record[7], record[9], record[8], end


def _wide(extra: bytes, values: list[int]) -> list[int]:
  """Replaces full 32-bit fields by those of the zip64 extra field."""
  at = 0
  while at + 4 <= len(extra):
    kind, length = struct.unpack_from("<2H", extra, at)
    part = extra[at + 4 : at + 4 + length]
    at += 4 + length
    if kind != 1:
      continue
    # The field holds only what did not fit, in this order.
    for i, value in enumerate(values):
      if value == _FULL32 and len(part) >= 8:
        values[i] = int.from_bytes(part[:8], "little")
        part = part[8:]
    break
  return values


def _entry(directory: bytes, at: int) -> tuple[Entry, int]:
  """One entry of the directory, and where the next one starts."""
  if at + _CENTRAL.size > len(directory):
    raise _broken("a zip directory that ends early")
  fields = _CENTRAL.unpack_from(directory, at)
  flags, method = fields[3:5]
  crc, packed, size, name_size, extra_size, note_size = fields[7:13]
  disk, header = fields[13], fields[16]
  at += _CENTRAL.size
  name = directory[at : at + name_size]
  extra = directory[at + name_size : at + name_size + extra_size]
  at += name_size + extra_size + note_size
  if fields[0] != b"PK\x01\x02" or at > len(directory) or disk:
    raise _broken("a broken zip directory")
  try:
    text = name.decode()
  except UnicodeDecodeError:
    raise _broken("an entry name that is not UTF-8") from None
  size, packed, header = _wide(extra, [size, packed, header])
  plain = not method and not flags & 0x1 and packed == size
  return Entry(text, header, -1, packed, crc, plain), at


def _check_name(name: str) -> None:
  """Raises for names that lead out of a folder."""
  parts = name.split("/")
  if not name or "\\" in name or "\0" in name or {"", ".", ".."} & set(parts):
    raise WeightsFileError(
      f"found the entry name {shown(name)!r}, expected a plain relative one."
    )


def _located(source: Source, entry: Entry, end: int) -> Entry:
  """The entry with the start of its data, which must lie before `end`."""
  head = source.read(entry.header, _LOCAL.size, "the header of an entry")
  fields = _LOCAL.unpack(head)
  # Not those of the directory: PyTorch pads this header alone, so that numbers
  # start at multiples of 64 bytes.
  name_size, extra_size = fields[9:11]
  name = source.read(entry.header + _LOCAL.size, name_size, "an entry name")
  if (
    fields[0] != b"PK\x03\x04"
    or name != entry.name.encode()
    or (entry.plain and fields[3])
  ):
    raise _broken(f"a broken header of the entry {shown(entry.name)}")
  start = entry.header + _LOCAL.size + name_size + extra_size
  if start + entry.size > end:
    raise WeightsFileError(
      f"found the entry {shown(entry.name)} of {entry.size} bytes, expected it"
      f" inside the file of {source.size} bytes."
    )
  return entry._replace(start=start)


def entries(source: Source) -> dict[str, Entry]:
  """The entries of a zip; `check_data` must follow before they are read.

  Args:
    source: the open file.

  Returns:
    Entries by name.

  Raises:
    WeightsFileError: the zip is broken, or of a kind that weights never are.
  """
  num, start, length, end = _end_record(source)
  # Nothing may lie between the directory and its end.
  if start + length != end or length > _MAX_DIRECTORY:
    raise _broken(f"a zip directory of {length} bytes at byte {start}")
  directory = source.read(start, length, "the zip directory")
  found: dict[str, Entry] = {}
  at = 0
  while at < length:
    entry, at = _entry(directory, at)
    _check_name(entry.name)
    if entry.name in found:
      raise WeightsFileError(
        f"found two entries named {shown(entry.name)}, expected one."
      )
    found[entry.name] = _located(source, entry, start)
  if len(found) != num:
    raise _broken(f"{len(found)} entries where the zip promises {num}")
  return found


def check_data(source: Source, found: Collection[Entry]) -> None:
  """Raises unless the data of entries are what the directory promises.

  Args:
    source: the open file.
    found: its entries.

  Raises:
    WeightsFileError: some are compressed, encrypted, lie over another or do
      not agree with their checksum.
  """
  for entry in found:
    if not entry.plain:
      raise WeightsFileError(
        f"found the entry {shown(entry.name)} compressed or encrypted, expected"
        " it stored as it is."
      )
  free = 0
  # Entries over each other make a small file large, and show two sides of it.
  for entry in sorted(found, key=lambda e: e.header):
    if entry.header < free:
      raise WeightsFileError(
        f"found the entry {shown(entry.name)} over another one, expected no"
        " overlap."
      )
    free = entry.start + entry.size
  for entry in found:
    if source.checksum(entry.start, entry.size) != entry.crc:
      raise WeightsFileError(
        f"found other data in the entry {shown(entry.name)} than its checksum"
        " says, expected an undamaged file (download it again)."
      )
