"""Official weight files: how they are found and become our parameters."""

import os
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np

from asd_jax import errors
from asd_jax.encoders import family as family_lib
from asd_jax.encoders import noise_aware_files, zoo
from asd_jax.encoders.family import Family
from asd_jax.weights import entries, hub, rules, shards
from asd_jax.weights import folder as weight_folder
from asd_jax.weights import read as weights_file

_HUB = "hub:"
SUFFIXES = (".safetensors", ".pt", ".pth", ".ckpt", ".bin")
# Stands beside the weights in every safetensors file.
_METADATA = "__metadata__"
# Entries whose names say no more than that there is one.
_PLAIN_ENTRIES = ("", "model")


class Ported(NamedTuple):
  """Official weights as our parameters.

  Attributes:
    params: nested mappings of float32 arrays.
    settings: of the network.
    tells_heads: whether the file tells the number of heads, which is else
      guessed from the width.
    notes: what was taken and what was not, where that is not plain.
  """

  params: dict[str, Any]
  settings: dict[str, Any]
  tells_heads: bool
  notes: tuple[str, ...]


def locate(checkpoint: str | Path, family: Family | None) -> tuple[Path, str]:
  """Finds what a user named: a file or folder, else a name on the hub.

  Args:
    checkpoint: a path; or `owner/name` or `hub:owner/name`.
    family: whose weights are expected; None for those of any.

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
  suffixes = (*SUFFIXES, ".json")
  typed = path.suffix in suffixes or (path.parent.is_dir() and text == name)
  if typed or not hub.is_name(name):
    raise errors.InputError(
      f"{text}: found no such file or folder, expected official weights, a"
      " converted folder, or owner/name on the hub."
    )
  # Families that name their weights alike would load without a word.
  others = [
    f for f in zoo.FAMILIES.values() if family and f.name != family.name
  ]
  wrong = [s for f in others for s in f.sources if s.hub == name]
  if wrong and family:
    raise errors.InputError(
      f"{text}: found the hub name of {wrong[0].title}, expected weights of"
      f" {family.title}."
    )
  try:
    found = hub.find(name, local_only=False)
  except errors.InputError as error:
    raise errors.InputError(f"{text}: {error}") from None
  return cast(Path, found), f"hub {name}"


def official_in(folder: Path, *, names: Collection[str] = ()) -> Path:
  """The official file in a folder.

  Args:
    folder: with one, or with snapshots as the hub's library keeps them.
    names: of files that are taken first.

  Returns:
    The file.

  Raises:
    InputError: if there is none.
  """
  # A released archive has folders of its own, one of which this may be.
  parts = [Path(name).parts for name in names]
  inner = ["/".join(p[i:]) for p in parts for i in range(len(p))]
  names = [*dict.fromkeys((*inner, *hub.FILES))]
  if found := hub.official_in(folder, names=names):
    return found
  parts = sorted(p.name for p in folder.iterdir() if shards.index_of(p))
  more = f" (but {parts[0]}, whose index is missing)" if parts else ""
  raise errors.InputError(
    f"{folder}: found a folder without {weight_folder.ABOUT} and without"
    f" {' or '.join(names)}{more}, expected one that"
    " scripts/convert_weights.py wrote, or an official file in it."
  )


def has_base(path: Path, family: Family) -> tuple[Path, bool]:
  """Whether weights hold the encoder inside theirs too; none is read.

  Args:
    path: file, or folder.
    family: of the whole, with an encoder inside.

  Returns:
    The path, that of the file in a folder of the hub's or the publisher's; and
    whether. A folder of ours has what it needs in it, or in another beside it.
    What is wrong with a file is told when it is read.
  """
  try:
    if path.is_dir() and (path / weight_folder.ABOUT).exists():
      base = weight_folder.read_about(path).get("base")
      return path, base is None or (path.parent / str(base)).is_dir()
    path, _ = _official(path, family)
    names = named(weights_file.read(path, most=0), family)
  except errors.InputError:
    return path, True
  return path, noise_aware_files.holds_base(family, names)


def official(
  path: Path, family: Family, *, placeholders: Iterable[str] = ()
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
  """Reads the weights of a family by their official names.

  Args:
    path: the file, or the index of several.
    family: whose weights are expected.
    placeholders: exact names of further objects that are left out.

  Returns:
    Arrays by name, and the other entries of the file.

  Raises:
    InputError: if the file is refused or holds something else.
  """
  weights = _read(path, placeholders, "")
  return named(weights, family), weights.beside


def _read(
  path: Path, placeholders: Iterable[str], copy: str
) -> weights_file.Weights:
  """Reads a file that is no part of others."""
  # The first part may be all of a shallower network.
  if index := shards.index_of(path):
    raise errors.InputError(
      f"{path}: found one of several weight files, expected their index: give"
      f" {index} beside it, or the folder."
    )
  return weights_file.read(path, placeholders=placeholders, copy=copy)


def named(
  weights: weights_file.Weights, family: Family
) -> dict[str, np.ndarray]:
  """Weights of a file by the official names of a family.

  Args:
    weights: of the file.
    family: whose weights are expected.

  Returns:
    Arrays by name.

  Raises:
    InputError: if they are something else.
  """
  try:
    return rules.official(
      weights.tensors,
      family.names,
      title=family.title,
      others=weights.others,
      looks=zoo.LOOKS,
      prefix=weights.prefix,
    )
  except errors.InputError as error:
    raise errors.InputError(f"{weights.path}: {error}") from None


def notes(weights: weights_file.Weights, family: Family) -> tuple[str, ...]:
  """What of a file is taken as the weights of a family, in words.

  Args:
    weights: of the file.
    family: whose weights they are.

  Returns:
    A line each; none for a file as it is published.
  """
  out = []
  if weights.entry not in _PLAIN_ENTRIES:
    out.append(f"took the weights in the entry {weights.entry}")
  averages = [
    place
    for place in weights.entries
    if place != weights.entry and entries.is_average(place)
  ]
  if averages:
    out.append(f"other copies of the weights: {', '.join(averages)}")
  found = rules.unwrap(
    [*weights.tensors, *weights.others],
    family.names,
    title=family.title,
    prefix=weights.prefix,
  )
  out.extend(found.said())
  if trained := _trained(weights, family, found.names):
    out.append(
      f"{len(trained)} weights that {family.title} never uses, such as"
      f" {trained[0]}, are not as training starts: other code may have made the"
      " file"
    )
  return tuple(out)


def _trained(
  weights: weights_file.Weights, family: Family, short: Mapping[str, str]
) -> list[str]:
  """Idle norms with other numbers than a norm starts with."""
  return [
    name
    for name, tensor in weights.tensors.items()
    if any(re.fullmatch(p, short.get(name, "")) for p in family.names.idle)
    and (tensor != name.endswith("weight")).any()
  ]


def read_official(
  path: Path,
  family: Family,
  *,
  placeholders: Iterable[str] = (),
  copy: str = "",
  base: Ported | None = None,
) -> Ported:
  """Reads official weights as our parameters.

  No more than the file and one of its arrays is held at a time.

  Args:
    path: the file, or the index of several.
    family: whose weights are expected.
    placeholders: exact names of further objects that are left out.
    copy: another copy of the weights, see `weights.read`.
    base: weights of the encoder inside, where they have a file of their own.

  Returns:
    The parameters, and what is known of them.

  Raises:
    InputError: if the file is refused or holds something else.
  """
  weights = _read(path, placeholders, copy)
  tensors, told = named(weights, family), notes(weights, family)
  beside = weights.beside
  if family.inner is not None:
    told += noise_aware_files.notes(beside)
  del weights
  try:
    if family.inner is None:
      tree, settings = family_lib.port(family, tensors, beside)
    else:
      inside = None if base is None else (base.params, base.settings)
      tree, settings = noise_aware_files.port(family, tensors, beside, inside)
  # The file decides the sizes; those that make no network raise no InputError.
  except ValueError as error:
    more = "".join(f" ({note})" for note in told)
    raise errors.InputError(f"{path}: {error}{more}") from None
  del tensors  # so that each array goes when its copy is there
  configured = bool(set(beside) - {_METADATA})
  return Ported(
    params=rules.in_float32(tree),
    settings=dict(settings),
    tells_heads=base.tells_heads
    if base
    else family.tells_heads
    or (configured and settings["num_heads"] is not None),
    notes=told,
  )


def convert(
  checkpoint: str | Path,
  family: Family,
  output: Path,
  *,
  placeholders: Iterable[str] = (),
  copy: str = "",
  base: str | Path = "",
) -> Path:
  """Writes official weights as our parameters.

  Args:
    checkpoint: the official file, a folder with it, or `owner/name` on the
      hub.
    family: whose weights are expected.
    output: new folder; it gets `params` (Orbax) and `encoder.json`, with
      `notes` on what was taken.
    placeholders: exact names of further objects that are left out.
    copy: another copy of the weights, see `weights.read`.
    base: official file, folder or hub name of the encoder inside noise-aware
      layers; not needed where the file holds it too.

  Returns:
    The folder, with all parameters.

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
  if base and family.inner is None:
    raise errors.InputError(
      f"{base}: found weights of an encoder inside {family.title}, expected"
      " none: only noise-aware encoders have one."
    )
  path, origin = _official(checkpoint, family)
  inner = None
  if base:
    inner = read_official(_official(base, family.inner)[0], family.inner)
  found = read_official(
    path, family, placeholders=placeholders, copy=copy, base=inner
  )
  about = {
    "family": family.name,
    "source": origin if origin.startswith("hub ") else path.name,
    "notes": [*found.notes, *(inner.notes if inner else ())],
    "encoder": found.settings,
  }
  values = weight_folder.checksum(found.params)
  about["digest"] = weight_folder.digest(family.name, found.settings, values)
  weight_folder.write(output, found.params, about)
  return output


def _official(checkpoint: str | Path, family: Family) -> tuple[Path, str]:
  """The official file that a user named, and where it is from."""
  path, origin = locate(checkpoint, family)
  if path.is_dir():
    path = official_in(path, names=[n for s in family.sources for n in s.files])
  return path, origin
