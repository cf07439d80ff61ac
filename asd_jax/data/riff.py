"""Chunks of sound files: where the samples truly end, whatever a size says.

Recorders lose power, pass 4 GB, or write to a pipe: the sizes in their headers
are 0, the largest number, or wrapped. What is declared is compared with what is
there; libsndfile gets a file whose sizes are right.
"""

import os
import re
import struct
from typing import Any, BinaryIO, NamedTuple

from asd_jax import errors
from asd_jax.data import flac, spliced

# Writers to a pipe cannot go back to fill in sizes: they leave 0 or a huge one.
_HUGE = 0x7FFFF000
_LONG = 0xFFFFFFFF  # the size stands in a chunk of its own
# No file is longer: a larger 64-bit size was never filled in.
_MOST = 1 << 60
_W64 = bytes.fromhex("f3acd3118cd100c04f8edb8a")  # ends most of its names
_W64_HEAD = b"riff" + bytes.fromhex("2e91cf11a5d628db04c10000")
# What recorders write behind the samples.
_BEHIND = (
  *(b"LIST", b"list", b"cue ", b"bext", b"iXML", b"axml", b"chna", b"smpl"),
  *(b"inst", b"INFO", b"fact", b"PEAK", b"JUNK", b"junk", b"FLLR", b"PAD "),
  *(b"pad ", b"plst", b"adtl", b"note", b"labl", b"ltxt", b"levl", b"umid"),
  *(b"id3 ", b"ID3 ", b"afsp", b"_PMX", b"DISP", b"minf", b"elm1", b"regn"),
  *(b"MEXT", b"cart", b"acid", b"link", b"SAUR", b"strc", b"wamd", b"guan"),
  *(b"RIFF", b"TAG\0"),
)
_NAME = re.compile(rb"[A-Za-z0-9_ \-.\0]{4}")
_SEARCHED = 1 << 24  # bytes at the end of a file; what stands there is short
_BLOCK = 1 << 20


class _Kind(NamedTuple):
  """How a container writes its chunks.

  Attributes:
    head: bytes before the first chunk.
    form: of the name and size of a chunk, for `struct`.
    align: chunks start at multiples of it.
    own: bytes of a chunk's name and size that its size includes.
    data: name of the samples' chunk.
    outer: where the size of all is, and its form; None without one.
    mends: whether a file with right sizes can be made of it.
  """

  head: int
  form: str
  align: int
  own: int
  data: bytes
  outer: tuple[int, str] | None
  mends: bool


_RIFF = _Kind(12, "<4sI", 2, 0, b"data", (4, "<I"), True)
_KINDS = {
  b"RIFF": _RIFF,
  b"RF64": _RIFF,
  b"BW64": _RIFF,
  b"RIFX": _RIFF._replace(form=">4sI", outer=(4, ">I")),
  b"riff": _Kind(40, "<16sQ", 8, 24, b"data" + _W64, (16, "<Q"), True),
  b"FORM": _Kind(12, ">4sI", 2, 0, b"SSND", (4, ">I"), False),
  b"caff": _Kind(8, ">4sQ", 1, 0, b"data", None, False),
}


class _Found(NamedTuple):
  """The samples of a container.

  Attributes:
    start: first byte of them; 0 without any.
    declared: bytes of them by the header.
    outer: size of the file by the header; 0 where none is told.
    form: content of the format chunk; empty without one.
  """

  start: int
  declared: int
  outer: int
  form: bytes


def whole(path: str | os.PathLike, stream: BinaryIO) -> spliced.Whole:
  """Compares the sizes in a file with what is there.

  Args:
    path: of the file, for messages.
    stream: the open file, at its start.

  Returns:
    The file, as it is where its sizes are right or there are none to trust
    (mp3, ogg, flac: libsndfile counts).

  Raises:
    InputError: it is empty, or cut short.
  """
  size = stream.seek(0, os.SEEK_END)
  stream.seek(0)
  head = stream.read(40)
  stream.seek(0)
  if not size:
    raise errors.InputError(
      f"{path}: found an empty file, expected a wave file"
    )
  kind = _KINDS.get(head[:4])
  if kind is None or not _is_sound(head):
    if head[:4] == b"fLaC" and (mended := flac.whole(stream)):
      return mended
    stream.seek(0)
    said = f"a file that starts with {head[:12]!r}"
    return spliced.Whole(
      stream, said, is_known=False, has_count=_has_count(stream)
    )
  found = _find(stream, kind, size)
  present = max(size - found.start, 0) if found.start else 0
  if not found.start:
    raise _cut_short(path, 0, "some")
  fits = found.declared <= present and found.declared != _LONG
  is_open = not found.declared or (found.declared >= _HUGE and not fits)
  if not fits and not is_open and _is_missing(kind, found, size):
    raise _cut_short(path, present, found.declared)
  stream.seek(0)
  if not kind.mends or not found.form:
    return spliced.Whole(stream)
  if fits and _is_end(stream, found.start + found.declared, size):
    end, notes = found.start + found.declared, ()
    stream.seek(end)
    # libsndfile takes a second file behind the first for a part of it.
    second = stream.read(4) == b"RIFF"
    if head[:4] in (b"RIFF", b"RIFX", b"RF64") and not second:
      stream.seek(0)
      return spliced.Whole(stream)
  else:
    end = _end(stream, found.start, size)
    notes = _notes(found.declared, end - found.start, is_open=is_open)
  return spliced.Whole(_mended(stream, head[:4], found, end), notes=notes)


def _has_count(stream: BinaryIO) -> bool:
  """Whether an mp3 file begins with a frame that tells its length."""
  head = stream.read(10)
  tag = 0
  if head[:3] == b"ID3" and len(head) == 10:
    tag = sum(b << 7 * (3 - i) for i, b in enumerate(head[6:]))
  stream.seek(tag)
  first = stream.read(2048)
  stream.seek(0)
  return b"Xing" in first or b"Info" in first or b"VBRI" in first


def _is_sound(head: bytes) -> bool:
  """Whether a container's second name is that of sound."""
  if head[:4] == b"riff":
    return head[:16] == _W64_HEAD
  return head[:4] == b"caff" or head[8:12] in (b"WAVE", b"AIFF", b"AIFC")


def _cut_short(
  path: str | os.PathLike, present: int, expected: int | str
) -> errors.InputError:
  return errors.InputError(
    f"{path}: found {present} bytes of samples, expected {expected}; the file"
    " is cut short"
  )


def _is_missing(kind: _Kind, found: _Found, size: int) -> bool:
  """Whether the size of all, too, says that bytes are missing."""
  if kind.outer is None:
    return True
  # One byte less: the last one may have been left out as padding.
  return size + 1 < found.outer < _HUGE or (
    size + 1 < found.outer < _MOST and found.declared >= _HUGE
  )


def _notes(declared: int, present: int, *, is_open: bool) -> tuple[str, ...]:
  if is_open:
    return (
      "the header was never finished (its sizes are open): all"
      f" {present} bytes of samples that are there are read",
    )
  return (
    f"the header declares {declared} bytes of samples, {present} are there: all"
    " of them are read",
  )


def _find(stream: BinaryIO, kind: _Kind, size: int) -> _Found:
  """Goes through the chunks up to the samples."""
  outer = 0
  if kind.outer is not None:
    at, form = kind.outer
    stream.seek(at)
    (outer,) = _unpack(stream, form) or (0,)
    # The W64 size counts its own field.
    outer += 0 if kind.own else 8
  place, long_size, content = kind.head, 0, b""
  num = struct.calcsize(kind.form)
  while place + num <= size:
    stream.seek(place)
    name, length = _unpack(stream, kind.form)
    length = max(length - kind.own, 0)
    if name == kind.data:
      # RF64 keeps the true size apart and a full field here.
      is_long = length == _LONG and long_size
      return _Found(
        place + num, long_size if is_long else length, outer, content
      )
    if name == b"ds64" and length >= 16:
      all_bytes, long_size = _unpack(stream, "<QQ") or (0, 0)
      outer = all_bytes + 8 if outer == _LONG + 8 else outer
    if name[:4] == b"fmt ":
      content = stream.read(min(length, 1024))
    place += num + length
    place += -place % kind.align
  return _Found(0, 0, outer, content)


def _unpack(stream: BinaryIO, form: str) -> tuple[Any, ...]:
  """Unpacks the next bytes; nothing where the file ends before."""
  num = struct.calcsize(form)
  content = stream.read(num)
  return struct.unpack(form, content) if len(content) == num else ()


def _is_end(stream: BinaryIO, place: int, size: int) -> bool:
  """Whether what stands behind the declared samples is no sound."""
  if size - place < 8:
    return True
  stream.seek(place)
  next_ones = stream.read(25)
  # With and without the byte that makes their number even.
  if any(next_ones[i : i + 4] in _BEHIND for i in (0, 1)):
    return True
  if _W64 in next_ones[4:24] or any(
    _is_chain(stream, place + i, size) for i in (0, 1)
  ):
    return True
  return _is_filler(stream, place, size)


def _is_chain(stream: BinaryIO, place: int, size: int) -> bool:
  """Whether chunks and nothing else go from here to the end of the file."""
  while size - place >= 8:
    stream.seek(place)
    name, length = _unpack(stream, "<4sI")
    if not _NAME.fullmatch(name):
      return False
    place += 8 + length
    # Some leave the padding byte out.
    place += length % 2 and place < size
  return place <= size + 1 and size - place < 8


def _is_filler(stream: BinaryIO, place: int, size: int) -> bool:
  """Whether a file ends in bytes of one value, or in a tag of text."""
  stream.seek(place)
  if size - place == 128 and stream.read(3) == b"TAG":
    return True
  stream.seek(place)
  first = stream.read(1)
  if first not in (b"\0", b"\xff"):
    return False
  while block := stream.read(_BLOCK):
    if block.strip(first):
      return False
  return True


def _end(stream: BinaryIO, start: int, size: int) -> int:
  """Where the samples end: before the chunks that close a file, if any."""
  first = max(start, size - _SEARCHED)
  stream.seek(first)
  content = stream.read()
  names = b"|".join(map(re.escape, _BEHIND))
  for match in re.finditer(names, content):
    place = first + match.start()
    if _is_chain(stream, place, size):
      return place
  return size


def _mended(
  stream: BinaryIO, magic: bytes, found: _Found, end: int
) -> BinaryIO:
  """The samples behind a header with right sizes."""
  order = ">" if magic == b"RIFX" else "<"
  length = end - found.start
  form = found.form + bytes(len(found.form) % 2)
  body = b"WAVE"
  is_long = length + len(form) + 100 > _LONG
  if is_long:
    sizes = length + len(form) + 72, length, 0, 0
    body += struct.pack("<4sIQQQI", b"ds64", 28, *sizes)
  body += struct.pack(f"{order}4sI", b"fmt ", len(found.form)) + form
  body += struct.pack(f"{order}4sI", b"data", _LONG if is_long else length)
  name = b"RF64" if is_long else b"RIFX" if magic == b"RIFX" else b"RIFF"
  total = _LONG if is_long else len(body) + length + length % 2
  head = struct.pack(f"{order}4sI", name, total) + body
  return spliced.file(head, stream, found.start, end)
