"""Flac files whose length was left open: what their last frame tells.

Source: RFC 9639, sections 8.2 (streaminfo) and 9.1 (frame header).
"""

import os
from typing import BinaryIO

from asd_jax.data import spliced

_HEAD = 42  # bytes up to the end of the first block of metadata
_TOTAL = 21  # where the byte is that holds the highest bits of the length
_SEARCHED = 1 << 20  # bytes; a frame has at most some 10,000
_BLOCKS = {1: 192, **{i: 576 << i - 2 for i in range(2, 6)}}
_BLOCKS |= {i: 256 << i - 8 for i in range(8, 16)}


def whole(stream: BinaryIO) -> spliced.Whole | None:
  """A flac file with its length filled in.

  Args:
    stream: an open flac file.

  Returns:
    The file up to its last whole frame; None where the length is told, or no
    frame is found.
  """
  size = stream.seek(0, os.SEEK_END)
  stream.seek(0)
  head = stream.read(_HEAD)
  if len(head) < _HEAD or head[4] & 127 or _total(head):
    return None
  first = max(_HEAD, size - _SEARCHED)
  stream.seek(first)
  content = stream.read()
  block = int.from_bytes(head[8:10], "big")
  found = _last_frame(content, block)
  if found is None:
    return None
  at, total = found
  head = bytearray(head)
  head[_TOTAL] |= total >> 32
  head[_TOTAL + 1 : _TOTAL + 5] = (total & 0xFFFFFFFF).to_bytes(4, "big")
  note = (
    "the header was never finished (its length is open): all"
    f" {total} samples that are there are read"
  )
  return spliced.Whole(
    spliced.file(bytes(head), stream, _HEAD, first + at), notes=(note,)
  )


def _total(head: bytes) -> int:
  """The length that the metadata tell, 0 for none."""
  high = (head[_TOTAL] & 15) << 32
  return high | int.from_bytes(head[_TOTAL + 1 : _TOTAL + 5], "big")


def _last_frame(content: bytes, block: int) -> tuple[int, int] | None:
  """Where whole frames end, and the number of samples up to there."""
  at = len(content)
  while (at := content.rfind(b"\xff", 0, at)) >= 0:
    told = _frame(content[at : at + 16], block)
    if told is None:
      continue
    start, num = told
    # Of a frame that was cut the samples before it are all there are.
    if _crc(content[at:], 0x8005, 16):
      return (at, start) if start else None
    return len(content), start + num
  return None


def _frame(head: bytes, block: int) -> tuple[int, int] | None:
  """First sample and number of samples of a frame; None if it is none."""
  if len(head) < 16 or head[1] & 0xFE != 0xF8 or not head[2] >> 4:
    return None
  length = max(8 - (head[4] ^ 0xFF).bit_length(), 1)
  number = head[4] & (0x7F >> (length > 1 and length))
  for byte in head[5 : 4 + length]:
    number = number << 6 | byte & 63
  place = 4 + length
  code, rate = head[2] >> 4, head[2] & 15
  num = _BLOCKS.get(code, 0)
  if code in (6, 7):
    num = int.from_bytes(head[place : place + code - 5], "big") + 1
    place += code - 5
  place += {12: 1, 13: 2, 14: 2}.get(rate, 0)
  if place >= len(head) or _crc(head[: place + 1], 0x07, 8):
    return None
  # Frames of one length are counted, others tell their first sample.
  return (number if head[1] & 1 else number * block), num


def _crc(content: bytes, polynomial: int, bits: int) -> int:
  """Check value of bytes that end in theirs: 0 if they are sound."""
  top, mask, value = 1 << bits - 1, (1 << bits) - 1, 0
  for byte in content:
    value ^= byte << bits - 8
    for _ in range(8):
      value = (value << 1 ^ polynomial if value & top else value << 1) & mask
  return value
