"""Where the weights of a system lie, and what to do where they are missing."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from asd_jax import errors
from asd_jax.encoders import convert, family, noise_aware_files
from asd_jax.weights import hub


class Checkpoint(NamedTuple):
  """Weights of two files, as a config names them.

  Attributes:
    own: of the layers that were trained.
    base: of the encoder inside.
  """

  own: str
  base: str


class Place(NamedTuple):
  """Where weights lie.

  Attributes:
    path: file or folder.
    origin: where it is from, in words.
    base: of the encoder inside, where that has a file of its own.
  """

  path: Path
  origin: str
  base: "Place | None" = None

  def paths(self) -> tuple[Path, ...]:
    """All files and folders that are read."""
    return (self.path, *(self.base.paths() if self.base else ()))


Wanted = Mapping[str, tuple[family.Encoder, str | Checkpoint]]
# Names that many models share; those of training code are as plain as the
# hub's.
_PLAIN_NAMES = re.compile(r"model\..*|checkpoint.*|(pretrained|finetuned)\.pth")


def find(wanted: Wanted, *, folder: Path) -> dict[str, Place]:
  """Finds weights as `load.from_files` does, and reads none.

  Args:
    wanted: encoder and checkpoint by name.
    folder: where weights are sought.

  Returns:
    Place by name.

  Raises:
    InputError: if some are not found; all are named.
  """
  # All places are sought before anything is read: who must download three
  # files wants to be told so once.
  found: dict[str, Place] = {}
  missing: list[str] = []
  for name, (encoder, checkpoint) in wanted.items():
    try:
      found[name] = _place(encoder, checkpoint, folder)
    except errors.InputError as error:
      if str(error) not in missing:
        missing.append(str(error))
  if missing:
    raise errors.InputError(
      f"weights: {len(missing)} not found: {' | '.join(missing)} |"
      " --config.random_weights=true runs the architecture with random weights"
      " instead."
    )
  return found


def _place(
  encoder: family.Encoder, checkpoint: str | Checkpoint, folder: Path
) -> Place:
  """One place, and that of the encoder inside where it is another."""
  own, base = checkpoint, ""
  if isinstance(checkpoint, Checkpoint):
    own, base = checkpoint
  found = Place(*_located(encoder, str(own), folder))
  inner = noise_aware_files.inner_of(encoder)
  if inner is None:
    return found
  path, whole = convert.has_base(found.path, encoder.about.family)
  found = found._replace(path=path)
  if whole and path.is_dir():
    return found  # nothing in it is there twice
  try:
    there = Place(*_located(inner, base, folder, beside=path.parent))
  except errors.InputError:
    # The file has it too: what would be compared with it is not at hand.
    if whole and not base:
      return found
    raise
  return found._replace(base=there)


def _located(
  encoder: family.Encoder,
  checkpoint: str,
  folder: Path,
  *,
  beside: Path | None = None,
) -> tuple[Path, str]:
  """Path and origin of what a config names, or of what it means by silence."""
  if not checkpoint:
    return _find(encoder, folder, beside=beside)
  # One of several trainings of the same layers has no other name.
  known = encoder.about.family
  for source in known.sources if known.inner else ():
    if checkpoint in telling_names(source) and not Path(checkpoint).exists():
      return _find(encoder, folder, source=source, file=checkpoint)
  return convert.locate(checkpoint, known)


def source_of(encoder: family.Encoder) -> family.Source | None:
  """What a system means that names no weights.

  Args:
    encoder: the network.

  Returns:
    The source, or None if no weights of this size are published.
  """
  known, settings = encoder.about.family, encoder.about.settings
  size = family.size_of(known, settings)
  found = [s for s in known.sources if s.size == size]
  return found[0] if found else None


def telling_names(source: family.Source) -> tuple[str, ...]:
  """Names of files that tell which weights are inside.

  Args:
    source: the weights.

  Returns:
    The names, without those that many models share.
  """
  return tuple(name for name in source.files if not _PLAIN_NAMES.match(name))


def _find(
  encoder: family.Encoder,
  folder: Path,
  *,
  source: family.Source | None = None,
  file: str = "",
  beside: Path | None = None,
) -> tuple[Path, str]:
  """The weights that a system means that names none, or only their file."""
  known, source = encoder.about.family, source or source_of(encoder)
  if source is None:
    raise errors.InputError(
      f"{known.title} {named(encoder)}: found no encoder.checkpoint, expected"
      " one"
    )
  name = Path(file).stem if file else f"{known.name}_{source.size}"
  place = Path(folder) / name
  tried = [
    place,
    *(place.with_name(place.name + suffix) for suffix in convert.SUFFIXES),
    *(Path(folder) / name for name in telling_names(source) if not file),
    *(beside / name for name in telling_names(source) if beside),
  ]
  for path in tried:
    if found := hub.latest(path.parent, path.name):
      return found, str(found)
  if source.hub:
    path = hub.find(source.hub, local_only=True)
    if path is not None:
      return path, f"hub {source.hub}"
  if file:
    source = source._replace(files=(file,))
  raise errors.InputError(_advice(known, source, place, tried))


def _advice(
  known: family.Family, source: family.Source, place: Path, tried: list[Path]
) -> str:
  """What to do about weights that are not there."""
  looked = [str(path) for path in tried]
  at = source.where
  if source.hub:
    looked.append(hub.searched(source.hub))
    at = f"hub {source.hub}; {at}"
  given = source.hub or "FILE"
  files = " or ".join(source.files)
  more = " --base=FILE" if known.inner else ""
  return (
    f"{source.title} ({files}): looked at {', '.join(looked)}; get it from"
    f" {at} (docs/weights.md; licence {source.licence}), then python"
    f" scripts/convert_weights.py --encoder={known.name}"
    f" --checkpoint={given}{more} --output={place}"
  )


def named(encoder: family.Encoder) -> str:
  """Size of a network in words.

  Args:
    encoder: the network.

  Returns:
    Such as `base (768 wide, 12 blocks)`.
  """
  settings = encoder.about.settings
  size = family.size_of(encoder.about.family, settings)
  width, depth = settings.get("width"), settings.get("depth")
  return f"{size or 'of no published size'} ({width} wide, {depth} blocks)"
