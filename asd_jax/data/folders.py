"""Where the sound files of a data set lie."""

import collections
import difflib
import os
import pathlib
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

from asd_jax import errors

TEST_FOLDERS = ("test", "source_test", "target_test")  # the last two: 2021
RENAMED = "test_rename"  # evaluation clips under labelled names
_SPLIT_FOLDERS = ("train", *TEST_FOLDERS)
# Kinds that libsndfile reads, but those that hold no sound or say nothing of
# their rate.
SUFFIXES = (
  *(".wav", ".wave", ".bwf", ".rf64", ".bw64", ".w64", ".flac", ".ogg"),
  *(".oga", ".opus", ".mp3", ".mp2", ".mpga", ".aif", ".aiff", ".aifc"),
  *(".afc", ".au", ".snd", ".caf", ".voc", ".nist", ".sph", ".sf", ".ircam"),
  *(".paf", ".pvf", ".avr", ".svx", ".8svx", ".iff"),
)
KINDS = "wav, flac, ogg, mp3, aiff, ..."
# Features that the official code caches, and what archives of a Mac hold.
_SKIPPED_FOLDERS = ("processed", "__MACOSX")


def existing(path: str | os.PathLike) -> pathlib.Path:
  """Returns the path of a folder.

  Raises:
    InputError: there is no such folder.
  """
  folder = as_on_disk(pathlib.Path(path).expanduser())
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


def as_on_disk(path: pathlib.Path) -> pathlib.Path:
  """Returns a path as the disk writes it.

  Letters such as `ü` are one character or two, by who typed or wrote the name.

  Args:
    path: as given.

  Returns:
    A path that exists, if one differs from it in nothing else; else the path.
  """
  if os.path.lexists(path) or not path.name:
    return path
  parent = as_on_disk(path.parent)
  try:
    names = os.listdir(parent)
  except OSError:
    return path
  form = composed(text_of(path.name))
  same = [name for name in names if composed(text_of(name)) == form]
  return parent / (same[0] if len(same) == 1 else path.name)


def as_given(path: str) -> str:
  """A path as it was given, `./` in front included; see `as_on_disk`."""
  exists = os.path.lexists(path)
  return path if exists else str(as_on_disk(pathlib.Path(path)))


def composed(name: str) -> str:
  """The form of a name in which two ways to write it are one."""
  return unicodedata.normalize("NFC", name)


def text_of(name: str) -> str:
  """The bytes of a name on the disk as UTF-8, whatever the locale says."""
  return os.fsencode(name).decode("utf-8", "surrogateescape")


def name_of(text: str) -> str:
  """The name of which `text_of` made a text."""
  return os.fsdecode(text.encode("utf-8", "surrogateescape"))


def is_sound(name: str) -> bool:
  """Whether a file is one of sound, by the ending of its name in any case."""
  return name.casefold().endswith(SUFFIXES)


def sound_files(
  folders: Iterable[pathlib.Path],
) -> tuple[list[pathlib.Path], list[str]]:
  """Lists files directly in some folders, hidden ones left out.

  Returns:
    Sound files sorted by base name, and the names of other files.
  """
  found = []
  others = []
  for folder in folders:
    for entry in _entries(folder):
      if entry.is_dir():
        continue
      if is_sound(entry.name):
        found.append(folder / entry.name)
      else:
        others.append(entry.name)
  # File systems list in orders of their own; results must not depend on one.
  return sorted(found, key=lambda path: (path.name, path)), others


def nothing_in(
  folder: str | os.PathLike, others: Iterable[str], *, wanted: str = ""
) -> errors.InputError:
  """What to say of a folder without sound files.

  Args:
    folder: the folder.
    others: names of what is in it.
    wanted: what was expected; at least one if empty.

  Returns:
    The error.
  """
  suffixes = collections.Counter(
    os.path.splitext(name)[1] or "without an ending" for name in others
  )
  held = ", ".join(f"{n} {s}" for s, n in suffixes.most_common(5))
  said = f"{folder}: found no wave files"
  if held:
    said += f" or other recordings (it holds {held})"
  said += f", expected {wanted or 'at least one'}"
  if held:
    said += f" ({KINDS}); ffmpeg -i FILE FILE.wav converts what is none"
  return errors.InputError(said)


def paths_below(root: str) -> list[str]:
  """Lists the sound files of a folder and all below it, hidden ones left out.

  Args:
    root: the folder; links are followed, each folder is listed once.

  Returns:
    Paths joined to the folder as given, in no order: of a hundred thousand
    files nothing but the names is looked at.

  Raises:
    InputError: if a folder cannot be read.
  """
  found, seen, stack = [], set(), [root]
  while stack:
    folder = stack.pop()
    real = os.path.realpath(folder)
    if real in seen:
      continue
    seen.add(real)
    below = []
    for entry in _entries(folder):
      if entry.is_dir():
        below.append(entry.path)
      elif is_sound(entry.name):
        found.append(entry.path)
    # As `walk` goes, so that of two links the same one is taken at every look.
    stack += sorted(below, reverse=True)
  return found


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
  forms = {composed(text_of(name)): name for name in found}
  wanted = [
    w if w in found else forms.get(composed(text_of(w)), w) for w in wanted
  ]
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


def _entries(folder: str | pathlib.Path) -> list[os.DirEntry[str]]:
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
  where sound files lie directly in it. An empty `train` counts too, to be
  reported as such.
  """
  present = set(folders)
  found = collections.defaultdict(list)
  for folder in folders:
    splits = [folder / s for s in _SPLIT_FOLDERS if folder / s in present]
    train = folder / "train"
    if sound_files(splits)[0] or (train in splits and not _entries(train)):
      # Of the absolute path, as the folder may be given as `.`.
      found[os.path.basename(os.path.abspath(folder))].append(folder)
  return dict(found)


def _nearest_first(known: Iterable[str], name: str) -> list[str]:
  def likeness(other: str) -> float:
    pair = (other.casefold(), name.casefold())
    return difflib.SequenceMatcher(None, *pair).ratio()

  # Sorted twice: names that are equally near come in alphabetical order.
  return sorted(sorted(known), key=likeness, reverse=True)
