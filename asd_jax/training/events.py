"""Event files that TensorBoard shows: records of scalars, written plainly.

A record is its length, a checksum of it, a serialised protocol buffer and a
checksum of that; the few fields needed of the buffers are written by hand, so
that neither TensorFlow nor generated code has to be installed.

Source: the formats of TFRecord files and of TensorFlow's event.proto and
summary.proto; checksums are CRC-32C (Castagnoli), rotated and offset.
"""

import struct
from collections.abc import Mapping

_POLYNOMIAL = 0x82F63B78  # reversed
_MASK_DELTA = 0xA282EAD8
_VARINT, _DOUBLE, _BYTES, _FLOAT = 0, 1, 2, 5  # wire types
_START = 1  # of SessionLog: steps from here on replace those of an older file


def _table() -> list[int]:
  rows = []
  for byte in range(256):
    for _ in range(8):
      byte = byte >> 1 ^ (_POLYNOMIAL if byte & 1 else 0)
    rows.append(byte)
  return rows


_TABLE = _table()


def crc32c(data: bytes) -> int:
  """CRC-32C of some bytes.

  Args:
    data: any.

  Returns:
    32 bits.
  """
  crc = 0xFFFFFFFF
  for byte in data:
    crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
  return crc ^ 0xFFFFFFFF


def _checksum(data: bytes) -> bytes:
  crc = crc32c(data)
  turned = (crc >> 15 | crc << 17) & 0xFFFFFFFF
  return struct.pack("<I", (turned + _MASK_DELTA) & 0xFFFFFFFF)


def _record(data: bytes) -> bytes:
  length = struct.pack("<Q", len(data))
  return length + _checksum(length) + data + _checksum(data)


def _varint(number: int) -> bytes:
  out = bytearray()
  while number > 0x7F:
    out.append(number & 0x7F | 0x80)
    number >>= 7
  return bytes([*out, number])


def _field(number: int, wire: int, data: bytes) -> bytes:
  size = _varint(len(data)) if wire == _BYTES else b""
  return _varint(number << 3 | wire) + size + data


def _event(seconds: float, step: int, *fields: bytes) -> bytes:
  when = _field(1, _DOUBLE, struct.pack("<d", seconds))
  return _record(b"".join((when, _field(2, _VARINT, _varint(step)), *fields)))


def header(seconds: float, step: int) -> bytes:
  """What a file begins with.

  Args:
    seconds: since the epoch.
    step: what older files of the folder tell from here on does not count.

  Returns:
    Two records.
  """
  session = _field(1, _VARINT, _varint(_START))
  version = _field(3, _BYTES, b"brain.Event:2")
  return _event(seconds, 0, version) + _event(
    seconds, step, _field(7, _BYTES, session)
  )


def scalars(seconds: float, step: int, values: Mapping[str, float]) -> bytes:
  """Scalars of one step.

  Args:
    seconds: since the epoch.
    step: they are of.
    values: tag to value.

  Returns:
    One record.
  """
  pairs = (
    _field(1, _BYTES, tag.encode()) + _field(2, _FLOAT, struct.pack("<f", x))
    for tag, x in values.items()
  )
  summary = b"".join(_field(1, _BYTES, pair) for pair in pairs)
  return _event(seconds, step, _field(5, _BYTES, summary))
