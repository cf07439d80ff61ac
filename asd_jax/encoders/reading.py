"""What lies at a place of weights, read as the parameters of an encoder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from asd_jax import errors
from asd_jax.encoders import convert, family, noise_aware_files, places, zoo
from asd_jax.weights import folder as weight_folder

Tree = Any


class Read(NamedTuple):
  """Parameters that were read.

  Attributes:
    params: nested mappings of float32 arrays.
    digest: 32 hex digits of family, settings and all parameters.
    base: those of the encoder inside, as it has by itself; "" without one.
    notes: what of an official file was taken, where that is not plain.
  """

  params: Tree
  digest: str
  base: str
  notes: tuple[str, ...] = ()


def digests(
  encoder: family.Encoder, params: Tree, *, values: str = ""
) -> tuple[str, str]:
  """Names of parameters by their content.

  Args:
    encoder: the network.
    params: its parameters.
    values: what `folder.checksum` says of them, where that is known.

  Returns:
    Digests of all, and of the encoder inside by itself.
  """
  whole = _digest(encoder, values or weight_folder.checksum(params))
  inner = noise_aware_files.inner_of(encoder)
  if inner is None:
    return whole, ""
  own = params[noise_aware_files.BASE]
  return whole, _digest(inner, weight_folder.checksum(own))


def _digest(encoder: family.Encoder, values: str) -> str:
  return weight_folder.digest(
    encoder.about.family.name, encoder.about.settings, values
  )


def read(encoder: family.Encoder, place: places.Place) -> Read:
  """Reads a file, or a folder.

  Args:
    encoder: the network.
    place: of its weights.

  Returns:
    The parameters.

  Raises:
    InputError: if they are of another network, or damaged.
  """
  path, known = place.path, encoder.about.family
  if path.is_dir() and not (path / weight_folder.ABOUT).exists():
    source = places.source_of(encoder)
    path = convert.official_in(path, names=source.files if source else ())
  if path.is_dir():
    tree, values = _of_folder(encoder, path, place.base)
    return Read(tree, *digests(encoder, tree, values=values))
  inner, base = noise_aware_files.inner_of(encoder), place.base
  given, more, notes = None, (), []
  if inner is not None and base is not None:
    inside = read(inner, base)
    given = convert.Ported(
      inside.params, dict(inner.about.settings), True, inside.notes
    )
    more, notes = inside.notes, [f"the encoder inside is {base.origin}"]
  found = convert.read_official(path, known, base=given)
  _check(encoder, path, found.settings, told=found.tells_heads)
  lead = f"weights {place.origin}: "
  own = (lead + note for note in (*found.notes, *notes))
  return Read(found.params, *digests(encoder, found.params), (*own, *more))


def _of_folder(
  encoder: family.Encoder, path: Path, base: places.Place | None
) -> tuple[Tree, str]:
  """Parameters of a folder of ours, and their checksum."""
  known, shapes = encoder.about.family, encoder.about.shapes()
  about = weight_folder.read_about(path)
  if about["family"] != known.name:
    raise errors.InputError(
      f"{path}: found {zoo.title_of(about['family'])} weights, expected"
      f" those of {known.title}."
    )
  heads = about["encoder"].get("num_heads")
  _check(encoder, path, about["encoder"], told=heads is not None)
  inner = noise_aware_files.inner_of(encoder)
  if inner is None or "base" not in about:
    return weight_folder.read(path, shapes)
  # The encoder inside lies beside it, where others share it, or elsewhere.
  want = str(about["base"])
  beside = path.parent / want
  if beside.is_dir() or base is None:
    base = places.Place(beside, str(beside))
  if not base.path.exists():
    raise errors.InputError(
      f"{base.path}: found no such folder, expected the weights of"
      f" {inner.about.family.title} in those of {path.name}."
    )
  inside = read(inner, base)
  if inside.digest != want:
    raise errors.InputError(
      f"{base.origin}: found weights of the digest {inside.digest}, expected"
      f" {want}, in which the layers of {path.name} were trained."
    )
  own = {noise_aware_files.BASE: inside.params}
  return weight_folder.read(path, shapes, beside=own)


def _check(
  encoder: family.Encoder,
  path: Path,
  found: Mapping[str, Any],
  *,
  told: bool,
) -> None:
  """Raises if the settings that were found are not the encoder's.

  No weight tells the number of heads, so a guess of it does not count; what is
  None is told by nothing.
  """
  want = encoder.about.settings
  found = {k: want.get(k) if v is None else v for k, v in found.items()}
  # Only the number that the config gives is left then.
  if not told:
    found = {**found, "num_heads": want["num_heads"]}
  if dict(found) == want:
    return
  keys = sorted(k for k in {*found, *want} if found.get(k) != want.get(k))
  more = [f"{k} {found.get(k)} for {want.get(k)}" for k in keys]
  about = encoder.about._replace(settings=dict(found))
  other = encoder._replace(about=about)
  raise errors.InputError(
    f"{path}: found {about.family.title} {places.named(other)}, expected"
    f" {places.named(encoder)}: {', '.join(more)}."
  )
