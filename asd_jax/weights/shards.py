"""Weights in several files, with an index that says which name is where.

The index is `NAME.safetensors.index.json` or `NAME.bin.index.json`: an object
with `weight_map`, file by name of the weight. What the files hold must be
what it says.
"""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from asd_jax.weights import safetensors_file
from asd_jax.weights.byte_source import Source, WeightsFileError, shown

SUFFIX = ".index.json"
# Real ones have some 100 bytes a tensor, and some ten files.
_MAX_BYTES = 16 << 20
_MAX_FILES = 1_000
_FILE = re.compile(r"[^/\\\0]{1,200}\.(safetensors|bin|pt|pth|ckpt)")
_PART = re.compile(r"(.+)-\d{5}-of-(\d{5})(\.[a-z]+)")


class Index(NamedTuple):
  """What an index says.

  Attributes:
    path: the index.
    files: names of the weights of each file, files by name.
  """

  path: Path
  files: dict[str, list[str]]


def is_index(path: Path) -> bool:
  """Whether a file is named as an index is.

  Args:
    path: the file.

  Returns:
    True if so.
  """
  return path.name.endswith(SUFFIX)


def index_of(path: Path) -> str | None:
  """The index to which a file belongs, told from its name.

  Args:
    path: such as `model-00001-of-00002.safetensors`.

  Returns:
    Such as `model.safetensors.index.json`; None for a file of its own.
  """
  found = _PART.fullmatch(path.name)
  if not found or int(found[2]) < 2:
    return None
  return f"{found[1]}{found[3]}{SUFFIX}"


def read_index(source: Source) -> Index:
  """Reads an index; none of its files is opened.

  Args:
    source: the open index.

  Returns:
    What it says.

  Raises:
    WeightsFileError: it is none, or names a file that is not beside it.
  """
  if source.size > _MAX_BYTES:
    raise WeightsFileError(
      f"found an index of {source.size} bytes, expected at most {_MAX_BYTES}."
    )
  text = source.read(0, source.size, "the index")
  try:
    found = json.loads(text.decode(), object_pairs_hook=safetensors_file.unique)
  # It is a ValueError itself, and must get past the next line.
  except WeightsFileError:
    raise
  except (ValueError, RecursionError):
    found = None
  places = found.get("weight_map") if type(found) is dict else None
  if type(places) is not dict or not places:
    raise WeightsFileError(
      "found no weight_map with names of weights, expected an index of several"
      " weight files."
    )
  files: dict[str, list[str]] = {}
  for name, file in places.items():
    # The index of a stranger must not lead to other files of this machine.
    if type(file) is not str or not _FILE.fullmatch(file):
      raise WeightsFileError(
        f"found {shown(file)!r} as the file of {shown(name)}, expected the"
        " name of a weight file in the same folder."
      )
    files.setdefault(file, []).append(name)
  if len(files) > _MAX_FILES:
    raise WeightsFileError(
      f"found {len(files)} files in the index, expected at most {_MAX_FILES}."
    )
  return Index(source.path, files)


def check_names(found: Iterable[str], told: list[str]) -> None:
  """Raises unless a file holds exactly what the index says.

  Args:
    found: names in the file.
    told: those that the index gives to it.

  Raises:
    WeightsFileError: some are missing, or more are there.
  """
  held, wanted = set(found), set(told)
  missing = [n for n in told if n not in held]
  more = sorted(held - wanted)
  for names, what in ((missing, "no"), (more, "also")):
    if names:
      rest = f" and {len(names) - 1} more" * (len(names) > 1)
      raise WeightsFileError(
        f"found {what} {shown(names[0])}{rest}, expected what the index says."
      )
