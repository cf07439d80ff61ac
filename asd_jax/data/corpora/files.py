"""Files of a corpus, wherever they are: in a folder or in an archive."""

import io
import os
import pathlib
import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from asd_jax import errors
from asd_jax.data import audio, folders
from asd_jax.data.corpora import archives, split_archives

# Enough for the chunks before the samples, in all but odd wave files.
_HEAD = 4096

Stored = pathlib.Path | archives.Member


class Listing(NamedTuple):
  """What a folder and the archives in it hold.

  Attributes:
    files: path with folders, and where it lies; those in no archive come
      first, so that what was unpacked is preferred. By name.
    archives: the files that make up archives.
    missing: paths of parts of archives that are not there.
    broken: errors of archives that cannot be read; whoever needs them raises
      one.
  """

  files: list[tuple[pathlib.PurePosixPath, Stored]]
  archives: list[pathlib.Path]
  missing: list[pathlib.Path]
  broken: list[errors.InputError]


def listed(root: pathlib.Path, archive: str) -> Listing:
  """Lists a folder, and the archives of a corpus that lie in it.

  Args:
    root: the folder, read at any depth, never written to.
    archive: pattern of the names of archives, without suffix, case and
      hyphens.

  Raises:
    InputError: it cannot be read.
  """
  found = Listing([], [], [], [])
  for folder in folders.walk(root, skipped=("__MACOSX",)):
    names = sorted(p for p in folder.iterdir() if p.is_file())
    packed = [p for p in names if _packed_name(p, archive)]
    for path in names:
      if path not in packed and not path.name.startswith("."):
        relative = pathlib.PurePosixPath(path.relative_to(root).as_posix())
        found.files.append((relative, path))
    found.archives.extend(packed)
  members: list[tuple[pathlib.PurePosixPath, Stored]] = []
  for paths in _archives(found.archives):
    try:
      for member in _members(paths, found.missing):
        members.append((pathlib.PurePosixPath(member.name), member))
    except errors.InputError as error:
      found.broken.append(error)
  hidden = lambda path: path.name.startswith(".") or "__MACOSX" in path.parts
  members = [x for x in members if not hidden(x[0])]
  found.files.sort(key=lambda x: x[0])
  found.files.extend(sorted(members, key=lambda x: x[0]))
  return found


def title(file: Stored) -> str:
  """What messages call a file."""
  return os.fspath(file) if isinstance(file, pathlib.Path) else file.title


def content(file: Stored) -> bytes:
  """The bytes of a file.

  Raises:
    InputError: it cannot be read.
  """
  if isinstance(file, archives.Member):
    return file.read()
  try:
    return file.read_bytes()
  except OSError as error:
    raise errors.InputError(
      f"{file}: cannot be read ({error.strerror or error}), expected a file"
    ) from error


def header(file: Stored) -> audio.Header:
  """The header of a wave file; of a packed one no more is read.

  Raises:
    InputError: as `audio.read_header`.
  """
  if isinstance(file, pathlib.Path):
    return audio.read_header(file)
  head = file.head(_HEAD)
  try:
    return audio.header_in(file.title, _Head(head, file.num_bytes))
  except errors.InputError:
    if len(head) == file.num_bytes:
      raise
    return audio.header_in(file.title, io.BytesIO(file.read()))


def samples(file: Stored) -> tuple[audio.Header, np.ndarray]:
  """Decodes a wave file.

  Returns:
    Header, and `[C, S]` samples as `audio.samples_in` gives them.

  Raises:
    InputError: as `audio.read`, or its checksum is another one.
  """
  return audio.samples_in(title(file), io.BytesIO(content(file)))


class _Head(io.BytesIO):
  """The first bytes of a file, which knows how long the file is."""

  def __init__(self, head: bytes, size: int) -> None:
    super().__init__(head)
    self._size = size

  def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
    if whence == os.SEEK_END:
      return super().seek(self._size + offset)
    return super().seek(offset, whence)


def _packed_name(path: pathlib.Path, archive: str) -> bool:
  name = path.name.casefold().replace("-", "")
  # `x.unsplit.zip` is what joining the parts of a split one is advised to make.
  suffix = r"(\.unsplit)?(\.zip|\.z\d\d|\.zip\.[a-z][a-z])"
  return bool(re.fullmatch(f"({archive}){suffix}", name))


def _archives(
  packed: list[pathlib.Path],
) -> Iterator[list[pathlib.Path]]:
  """Groups files into archives; parts of split ones go with their last."""
  pieces: dict[pathlib.Path, list[pathlib.Path]] = {}
  for path in packed:
    suffix = path.suffix.casefold()
    if suffix == ".zip":
      yield [path]
    elif re.fullmatch(r"\.z\d\d", suffix):
      pieces.setdefault(path.with_suffix(".zip"), [])
    else:
      pieces.setdefault(path.with_suffix(""), []).append(path)
  whole = {os.fspath(p).casefold() for p in packed}
  for target, paths in pieces.items():
    # Without its last part nothing of a split one can be read, and `_members`
    # says so. Beside a whole archive, pieces of it are left-overs.
    if os.fspath(target).casefold() not in whole:
      yield sorted(paths, key=lambda p: p.name.casefold()) or [target]


def _members(
  paths: list[pathlib.Path], missing: list[pathlib.Path]
) -> list[archives.Member]:
  last = paths[-1]
  if last.suffix.casefold() != ".zip":
    _check_sequence(paths)
    return archives.members(paths)
  if not last.exists():
    raise errors.InputError(
      f"{last}: found only the parts before it, expected the last part too, "
      "which holds the directory of the archive"
    )
  if not split_archives.is_split(last):
    return archives.members(paths)
  found = split_archives.members(last)
  missing.extend(last.parent / name for name in found.missing)
  return found.members


def _check_sequence(paths: list[pathlib.Path]) -> None:
  """Refuses pieces `.aa`, `.ab` ... of which one is not there."""
  number = lambda s: (ord(s[-2]) - ord("a")) * 26 + ord(s[-1]) - ord("a")
  present = {number(p.name.casefold()) for p in paths}
  for i in range(max(present)):
    if i not in present:
      letters = chr(ord("a") + i // 26) + chr(ord("a") + i % 26)
      raise errors.InputError(
        f"{paths[-1].with_suffix('.' + letters)}: found nothing, expected a "
        f"piece of the archive, of which {paths[-1].name} is there"
      )
