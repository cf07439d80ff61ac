"""Where the weights of a system lie, and what to do where they are missing."""

import re
from collections.abc import Mapping
from pathlib import Path

from asd_jax import errors
from asd_jax.encoders import convert, family
from asd_jax.weights import hub

Wanted = Mapping[str, tuple[family.Encoder, str]]
# Names that many models share; those of training code are as plain as the
# hub's.
_PLAIN_NAMES = re.compile(r"model\..*|checkpoint.*|(pretrained|finetuned)\.pth")


def find(wanted: Wanted, *, folder: Path) -> dict[str, tuple[Path, str]]:
  """Finds weights as `load.from_files` does, and reads none.

  Args:
    wanted: encoder and checkpoint by name.
    folder: where weights are sought.

  Returns:
    Place and origin by name.

  Raises:
    InputError: if some are not found; all are named.
  """
  # All places are sought before anything is read: who must download three
  # files wants to be told so once.
  found: dict[str, tuple[Path, str]] = {}
  missing: list[str] = []
  for name, (encoder, checkpoint) in wanted.items():
    try:
      if checkpoint:
        found[name] = convert.locate(checkpoint, encoder.about.family)
      else:
        found[name] = _find(encoder, folder)
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


def _find(encoder: family.Encoder, folder: Path) -> tuple[Path, str]:
  """The weights that a system means that names none."""
  known, source = encoder.about.family, source_of(encoder)
  if source is None:
    raise errors.InputError(
      f"{known.title} {named(encoder)}: found no encoder.checkpoint, expected"
      " one"
    )
  place = Path(folder) / f"{known.name}_{source.size}"
  tried = [
    place,
    *(place.with_name(place.name + suffix) for suffix in convert.SUFFIXES),
    *(Path(folder) / name for name in telling_names(source)),
  ]
  for path in tried:
    if found := hub.latest(path.parent, path.name):
      return found, str(found)
  if source.hub:
    path = hub.find(source.hub, local_only=True)
    if path is not None:
      return path, f"hub {source.hub}"
  raise errors.InputError(_advice(known.name, source, place, tried))


def _advice(
  name: str, source: family.Source, place: Path, tried: list[Path]
) -> str:
  """What to do about weights that are not there."""
  looked = [str(path) for path in tried]
  at = source.where
  if source.hub:
    looked.append(hub.searched(source.hub))
    at = f"hub {source.hub}; {at}"
  given = source.hub or "FILE"
  files = " or ".join(source.files)
  return (
    f"{source.title} ({files}): looked at {', '.join(looked)}; get it from"
    f" {at} (docs/weights.md; licence {source.licence}), then python"
    f" scripts/convert_weights.py --encoder={name}"
    f" --checkpoint={given} --output={place}"
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
