"""What earlier runs learnt of weights: what they are, and where they are kept.

To name gigabytes of weights they must be read, and to keep them beside
detectors written. Files that stay as they were need neither again: a run whose
embeddings are all kept looks at none.
"""

import json
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from asd_jax import errors, files, store
from asd_jax.encoders import family, zoo

# Raised when the meaning of what is remembered changes.
_FORM = 1
# A file may change once more within one tick of the clock that stamps it.
_SETTLED_NS = 2_000_000_000


class About(NamedTuple):
  """What there is to know of weights without reading them.

  Attributes:
    digest: 32 hex digits, see `load.Loaded`.
    size: number of parameters.
    notes: see `load.Loaded`.
    base: see `load.Loaded`.
  """

  digest: str
  size: int
  notes: tuple[str, ...]
  base: str = ""


def _stamps(folder: Path, paths: Iterator[Path]) -> list[list[Any]]:
  """Name, size, time and number of each file; what no change leaves alone."""
  out = []
  for path in sorted(paths):
    facts = path.stat()
    if not path.is_dir():
      name = os.fsencode(path.relative_to(folder)).hex()
      stamp = facts.st_size, facts.st_mtime_ns, facts.st_ino
      out.append([name, *stamp])
  return out


def name_of(encoder: family.Encoder, paths: Sequence[Path], origin: str) -> str:
  """A name of weights that changes when one of their files does.

  Args:
    encoder: the network.
    paths: files or folders of its weights.
    origin: where they are from, in words.

  Returns:
    32 hex digits; "" where nothing may be remembered: a file is too young or
    gone, or the family is a user's own, whose code no name tells.
  """
  known = encoder.about.family
  if zoo.FAMILIES.get(known.name) is not known:
    return ""
  try:
    # Those beside a file too: settings, an index, the rest of the weights.
    each = [
      _stamps(p, p.rglob("*"))
      if p.is_dir()
      else _stamps(p.parent, p.parent.iterdir())
      for p in paths
    ]
  except OSError:
    return ""
  found = [stamp for some in each for stamp in some]
  newest = max((stamp[2] for stamp in found), default=0)
  if not all(each) or time.time_ns() - newest < _SETTLED_NS:
    return ""
  first, *more = (os.fsencode(p.absolute()).hex() for p in paths)
  where = os.fsencode(origin).hex()
  return _name(encoder, "files", first, where, found, *more)


def name_of_drawn(encoder: family.Encoder, *, seed: int) -> str:
  """A name of weights that are drawn at random, see `name_of`."""
  known = encoder.about.family
  if zoo.FAMILIES.get(known.name) is not known:
    return ""
  return _name(encoder, "drawn", seed)


def _name(encoder: family.Encoder, *parts: Any) -> str:
  code = store.code_version("encoders", "weights", "files.py", "store.py")
  settings = encoder.about.settings
  return store.digest(_FORM, code, encoder.about.family.name, settings, *parts)


def _path(name: str) -> Path | None:
  folder = files.cache_folder("weights")
  return folder / f"{name}.json" if folder is not None and name else None


def _read(name: str) -> dict[str, Any]:
  path = _path(name)
  if path is None or not path.exists():
    return {}
  try:
    found = files.read_json(path)
  except errors.InputError:
    return {}
  # Told by itself whether it is whole.
  return found["of"] if found.get("digest") == _sum(found.get("of")) else {}


def _sum(found: Any) -> str:
  return store.digest(json.dumps(found, sort_keys=True))


def _write(name: str, found: dict[str, Any]) -> None:
  """Remembers something; a full disk is no reason to stop."""
  path = _path(name)
  if path is None:
    return
  text = json.dumps({"of": found, "digest": _sum(found)})
  try:
    files.atomic_write_text(path, text + "\n")
  except errors.InputError:
    return


def get(name: str) -> About | None:
  """What is known of weights.

  Args:
    name: see `name_of`.

  Returns:
    It, or None.
  """
  found = _read(name)
  if not found:
    return None
  notes, base = tuple(found["notes"]), found.get("base", "")
  return About(found["digest"], found["size"], notes, base)


def put(name: str, about: About) -> None:
  """Remembers what weights are.

  Args:
    name: see `name_of`; taken before they were read.
    about: what is known of them.
  """
  _write(name, about._asdict())


def _place_name(digest: str) -> str:
  return store.digest(_FORM, "place", digest)


def kept_at(digest: str) -> Path | None:
  """A folder of weights that is as a run wrote it.

  Args:
    digest: of the weights.

  Returns:
    The folder, or None.
  """
  found = _read(_place_name(digest))
  if not found:
    return None
  place = Path(os.fsdecode(bytes.fromhex(found["place"])))
  try:
    same = _stamps(place, place.rglob("*")) == found["stamps"]
  except OSError:
    return None
  return place if same else None


def keep(digest: str, place: Path) -> None:
  """Remembers a folder that was just written.

  Args:
    digest: of its weights.
    place: the folder.
  """
  where = os.fsencode(place.absolute()).hex()
  found = {"place": where, "stamps": _stamps(place, place.rglob("*"))}
  _write(_place_name(digest), found)
