"""Where the wave files of a data set lie."""

import collections
import difflib
import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence

from asd_jax import errors

TEST_FOLDERS = ("test", "source_test", "target_test")  # the last two: 2021
RENAMED = "test_rename"  # evaluation clips under labelled names
_SPLIT_FOLDERS = ("train", *TEST_FOLDERS)
# Features that the official code caches, and what archives of a Mac hold.
_SKIPPED_FOLDERS = ("processed", "__MACOSX")


def existing(path: str | os.PathLike) -> pathlib.Path:
  """Returns the path of a folder.

  Raises:
    InputError: there is no such folder.
  """
  folder = pathlib.Path(path).expanduser()
  if not folder.is_dir():
    what = "a file" if folder.exists() else "nothing"
    raise errors.InputError(f"{folder}: found {what}, expected a folder")
  return folder


def walk(
  root: pathlib.Path, *, skipped: Sequence[str] = _SKIPPED_FOLDERS
) -> Iterator[pathlib.Path]:
  """Yields a folder and all below it, links followed, each folder once.

  Args:
    root: where to start.
    skipped: names of folders to leave out, beside those that start with a dot.
  """
  seen = set()
  stack = [root]
  while stack:
    folder = stack.pop()
    real = os.path.realpath(folder)
    # Links may lead in a circle.
    if real in seen:
      continue
    seen.add(real)
    yield folder
    children = [
      folder / entry.name
      for entry in _entries(folder)
      if entry.is_dir() and entry.name not in skipped
    ]
    # The last one is taken first: so folders come in the order of their names.
    stack += sorted(children, reverse=True)


def wave_files(
  folders: Iterable[pathlib.Path],
) -> tuple[list[pathlib.Path], int]:
  """Lists files directly in some folders, hidden ones left out.

  Returns:
    Wave files (by suffix, any case) sorted by base name, and the number of
    other files.
  """
  found = []
  others = 0
  for folder in folders:
    for entry in _entries(folder):
      if entry.name.casefold().endswith(".wav") and not entry.is_dir():
        found.append(folder / entry.name)
      elif not entry.is_dir():
        others += 1
  # File systems list in orders of their own; results must not depend on one.
  return sorted(found, key=lambda path: (path.name, path)), others


def find_machines(
  root: pathlib.Path,
  folders: Sequence[pathlib.Path],
  *,
  wanted: Sequence[str] = (),
) -> list[tuple[str, pathlib.Path]]:
  """Finds the folders that hold the splits of a machine.

  Args:
    root: folder that messages speak of.
    folders: all folders to look at, as `walk` yields them.
    wanted: machine names; empty for all.

  Returns:
    Name and folder of each machine, sorted by name.

  Raises:
    InputError: no machine, an unknown name, or a name in two places.
  """
  found = _by_name(folders)
  if not found:
    raise errors.InputError(
      f"{root}: found no machine, expected wave files in <machine>/train and "
      "<machine>/test at any depth"
    )
  for name in wanted:
    if name not in found:
      raise errors.InputError(
        f"{root}: found no machine {name!r}, expected one of "
        + ", ".join(_nearest_first(found, name))
      )
  result = []
  for name in sorted(set(wanted) or found):
    folder, *others = found[name]
    if others:
      raise errors.InputError(
        f"{root}: found machine {name} in {folder} and in {others[0]}, "
        "expected it once; a name alone does not identify a data set, so "
        "point to the set of one year"
      )
    result.append((name, folder))
  return result


def _entries(folder: pathlib.Path) -> list[os.DirEntry[str]]:
  """Returns what lies in a folder, hidden entries left out."""
  try:
    with os.scandir(folder) as entries:
      return [entry for entry in entries if not entry.name.startswith(".")]
  except OSError as error:
    raise errors.InputError(
      f"{folder}: found no readable folder ({error.strerror}), expected one"
    ) from error


def _by_name(
  folders: Sequence[pathlib.Path],
) -> dict[str, list[pathlib.Path]]:
  """Groups machine folders by name.

  `test` may also be the name of a level above machines: a split folder counts
  where wave files lie directly in it. An empty `train` counts too, to be
  reported as such.
  """
  present = set(folders)
  found = collections.defaultdict(list)
  for folder in folders:
    splits = [folder / s for s in _SPLIT_FOLDERS if folder / s in present]
    train = folder / "train"
    if wave_files(splits)[0] or (train in splits and not _entries(train)):
      # Of the absolute path, as the folder may be given as `.`.
      found[os.path.basename(os.path.abspath(folder))].append(folder)
  return dict(found)


def _nearest_first(known: Iterable[str], name: str) -> list[str]:
  def likeness(other: str) -> float:
    pair = (other.casefold(), name.casefold())
    return difflib.SequenceMatcher(None, *pair).ratio()

  # Sorted twice: names that are equally near come in alphabetical order.
  return sorted(sorted(known), key=likeness, reverse=True)
