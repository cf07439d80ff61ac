"""Official weight files: what is in them, and their way to our parameters."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import numpy as np

from asd_jax import errors
from asd_jax.encoders import family as family_lib
from asd_jax.encoders import zoo
from asd_jax.encoders.family import Family
from asd_jax.weights import folder as weight_folder
from asd_jax.weights import hub, rules
from asd_jax.weights import read as weights_file
from asd_jax.weights.byte_source import shown

_HUB = "hub:"
_SUFFIXES = (".pt", ".pth", ".safetensors")
# Stands beside the weights in every safetensors file.
_METADATA = "__metadata__"


def _million(num: int) -> str:
  return f"{num / 1e6:.2f} M" if num >= 1e4 else str(num)


def inspect(path: Path, *, placeholders: Iterable[str] = ()) -> list[str]:
  """Lists what a weight file holds, without loading its numbers.

  Args:
    path: the file.
    placeholders: exact names of further objects that are left out.

  Returns:
    Lines of text: the container, then name, dtype and shape of each weight,
    then what else there is.

  Raises:
    InputError: if the file is refused.
  """
  found = weights_file.scan(path, placeholders=placeholders)
  stored = {n: v for n, v in found.weights.items() if _is_tensor(v)}
  count = sum(int(np.prod(v.shape, dtype=object)) for v in stored.values())
  where = f"entry {found.entry!r}" if found.entry else "the whole file"
  others = [n for n in found.weights if n not in stored]
  lines = [
    f"{path}: {found.container}, weights in {where}: {len(stored)} tensors,"
    f" {_million(count)} numbers",
    f"looks like: {rules.identify(found.weights, zoo.LOOKS)}",
  ]
  width = max(len(shown(name)) for name in stored)
  for name, value in stored.items():
    lines.append(f"  {shown(name):{width}}  {value.dtype!s:9} {[*value.shape]}")
  for title, names in (
    ("no tensor, not read", others),
    ("beside the weights", list(found.beside)),
  ):
    if names:
      text = ", ".join(
        str(n) if type(n) is int else shown(n) for n in names[:20]
      )
      lines.append(f"{title}: {text}{' ...' * (len(names) > 20)}")
  if (inner := len(found.tensors) - len(stored)) > 0:
    lines.append(f"tensors elsewhere in the file, not read: {inner}")
  return lines


def _is_tensor(value: object) -> bool:
  return hasattr(value, "extent")


def locate(checkpoint: str | Path, family: Family) -> tuple[Path, str]:
  """Finds what a user named: a file or folder, else a name on the hub.

  Args:
    checkpoint: a path; or `owner/name` or `hub:owner/name`.
    family: whose weights are expected.

  Returns:
    The path, and where it is from.

  Raises:
    InputError: if there is no such file, folder or hub name.
  """
  text = os.fspath(checkpoint)
  path, name = Path(text), text.removeprefix(_HUB)
  if os.path.lexists(path):
    return path, text
  # What looks like a file of this machine is not sought on the network.
  typed = path.suffix in _SUFFIXES or (path.parent.is_dir() and text == name)
  if typed or not hub.is_name(name):
    raise errors.InputError(
      f"{text}: found no such file or folder, expected official weights, a"
      " converted folder, or owner/name on the hub."
    )
  # Families that name their weights alike would load without a word.
  others = (f for f in zoo.FAMILIES.values() if f.name != family.name)
  wrong = [s for f in others for s in f.sources if s.hub == name]
  if wrong:
    raise errors.InputError(
      f"{text}: found the hub name of {wrong[0].title}, expected weights of"
      f" {family.title}."
    )
  try:
    found = hub.cached(name, family_lib.HUB_FILE, local_only=False)
  except errors.InputError as error:
    raise errors.InputError(f"{text}: {error}") from None
  return cast(Path, found), f"hub {name}"


def official(
  path: Path, family: Family, *, placeholders: Iterable[str] = ()
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
  """Reads the weights of a family by their official names.

  Args:
    path: the file.
    family: whose weights are expected.
    placeholders: exact names of further objects that are left out.

  Returns:
    Arrays by name, and the other entries of the file.

  Raises:
    InputError: if the file is refused or holds something else.
  """
  weights = weights_file.read(path, placeholders=placeholders)
  try:
    tensors = rules.official(
      weights.tensors,
      family.names,
      title=family.title,
      others=weights.others,
      looks=zoo.LOOKS,
    )
  except errors.InputError as error:
    raise errors.InputError(f"{path}: {error}") from None
  return tensors, weights.beside


def read_official(
  path: Path, family: Family, *, placeholders: Iterable[str] = ()
) -> tuple[dict[str, Any], dict[str, Any], bool]:
  """Reads official weights as our parameters.

  No more than the file and one of its arrays is held at a time.

  Args:
    path: the file.
    family: whose weights are expected.
    placeholders: exact names of further objects that are left out.

  Returns:
    The parameters in float32, the settings of the network, and whether its
    number of heads is told by the file, and not guessed from the width.

  Raises:
    InputError: if the file is refused or holds something else.
  """
  tensors, beside = official(path, family, placeholders=placeholders)
  try:
    tree, settings = family_lib.port(family, tensors, beside)
  # The file decides the sizes; those that make no network raise no InputError.
  except ValueError as error:
    raise errors.InputError(f"{path}: {error}") from None
  del tensors  # so that each array goes when its copy is there
  told = family.tells_heads or bool(set(beside) - {_METADATA})
  return rules.in_float32(tree), dict(settings), told


def convert(
  checkpoint: str | Path,
  family: Family,
  output: Path,
  *,
  placeholders: Iterable[str] = (),
) -> Path:
  """Writes official weights as our parameters.

  Args:
    checkpoint: the official file, or `owner/name` on the hub.
    family: whose weights are expected.
    output: new folder; it gets `params` (Orbax) and `encoder.json`.
    placeholders: exact names of further objects that are left out.

  Returns:
    The folder.

  Raises:
    InputError: if the file is refused, holds something else, or the folder
      is there already. Then nothing is written.
  """
  output = Path(output).absolute()
  # Before the file is read, which takes long.
  if output.exists():
    raise errors.InputError(
      f"{output}: found already there, expected a new folder."
    )
  path, origin = locate(checkpoint, family)
  tree, settings, _ = read_official(path, family, placeholders=placeholders)
  source = origin if origin.startswith("hub ") else path.name
  about = {"family": family.name, "source": source, "encoder": settings}
  values = weight_folder.checksum(tree)
  about["digest"] = weight_folder.digest(family.name, settings, values)
  weight_folder.write(output, tree, about)
  return output
