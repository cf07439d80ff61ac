"""Weights of the encoders of a system: found, loaded, kept beside detectors."""

import contextlib
import functools
import math
import re
import shutil
import tempfile
import zlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import flax.traverse_util
import jax
import numpy as np

from asd_jax import errors
from asd_jax.encoders import convert, family, places, remembered, zoo
from asd_jax.weights import folder as weight_folder

Tree = Any
Wanted = places.Wanted
_ONES = ("scale", "var", "grep_a", "weight_g", "norm_stats")
_ZEROS = ("bias", "mean")
# Origin of weights that no file holds.
RANDOM = "random"
# What comes before the origin of the weights that others were adapted from.
ADAPTED = "adapted from "


class Loaded(NamedTuple):
  """Parameters of an encoder, which may still be unread.

  Attributes:
    encoder: the network.
    read: gives the parameters; raises InputError if they are not what the
      digest says.
    digest: 32 hex digits of family, settings and all parameters; an official
      file and its converted folder have the same.
    origin: path, `hub owner/name`, or `random`.
    size: number of parameters.
    notes: what of an official file was taken, where that is not plain.
  """

  encoder: family.Encoder
  read: Callable[[], Tree]
  digest: str
  origin: str
  size: int
  notes: tuple[str, ...] = ()

  @property
  def params(self) -> Tree:
    """Nested mappings of float32 arrays."""
    return self.read()


class _Read(NamedTuple):
  """Parameters that were read, their digest, and notes."""

  params: Tree
  digest: str
  notes: tuple[str, ...] = ()


class Origin(NamedTuple):
  """Where the weights of a system come from.

  Attributes:
    folder: where those are sought whose place nobody named; of a detector,
      where its run kept them.
    random: made at random instead.
    kept: digest by name, of a detector; None where they are sought.
  """

  folder: Path
  random: bool = False
  kept: Mapping[str, str] | None = None


def read(wanted: Wanted, origin: Origin) -> dict[str, Loaded]:
  """Reads the weights of a system, or makes them.

  Those that an earlier run has read, and whose files are as they were, are read
  when they are asked for.

  Args:
    wanted: encoder and checkpoint by name; may be empty.
    origin: where they come from.

  Returns:
    Parameters by name.

  Raises:
    InputError: if some are not found, damaged, or of another network.
  """
  if origin.kept is not None:
    return {
      n: read_kept(origin.folder, digest, wanted[n][0])
      for n, digest in origin.kept.items()
    }
  if origin.random:
    return at_random(wanted)
  return from_files(wanted, folder=origin.folder)


def from_files(wanted: Wanted, *, folder: Path) -> dict[str, Loaded]:
  """Finds and reads weights.

  A checkpoint is an official file, a converted folder, or a name on the hub
  (`owner/name` or `hub:owner/name`; a path that exists wins). Where it is "",
  `FAMILY_SIZE` in `folder` is taken, then a file of the official name there,
  then what the hub has on disk; nothing is downloaded.

  Args:
    wanted: encoder and checkpoint by name.
    folder: where weights are sought.

  Returns:
    Parameters by name.

  Raises:
    InputError: if some are not found (all are named), or do not fit.
  """
  found = places.find(wanted, folder=folder)
  return {n: _opened(wanted[n][0], *found[n]) for n in wanted}


def at_random(wanted: Wanted, *, seed: int = 0) -> dict[str, Loaded]:
  """Makes random parameters of the sizes that a fresh network has.

  Args:
    wanted: as in `from_files`; checkpoints are not looked at.
    seed: another number gives other parameters.

  Returns:
    Parameters by name; the same in each run.
  """
  drawn = {}
  for name, (encoder, _) in wanted.items():
    draw = functools.partial(_draw, encoder, seed)
    known = remembered.name_of_drawn(encoder, seed=seed)
    drawn[name] = _lazy(encoder, known, draw, RANDOM)
  return drawn


def _draw(encoder: family.Encoder, seed: int) -> _Read:
  shapes = encoder.about.shapes()
  draw = lambda path: _drawn(path, shapes[path], seed)
  with ThreadPoolExecutor() as pool:
    flat = dict(zip(shapes, pool.map(draw, shapes), strict=True))
  tree = flax.traverse_util.unflatten_dict(flat, sep="/")
  return _Read(tree, _digest(encoder, weight_folder.checksum(tree)))


def _opened(encoder: family.Encoder, path: Path, origin: str) -> Loaded:
  """Reads one place, at once if nothing is known of it."""
  name = remembered.name_of(encoder, path, origin)
  read = functools.partial(_read, encoder, path, origin)
  return _lazy(encoder, name, read, origin)


def _lazy(
  encoder: family.Encoder, name: str, read: Callable[[], _Read], origin: str
) -> Loaded:
  """Weights by what is remembered of them, else by reading them now."""
  about = remembered.get(name)
  if about is None:
    found = read()
    tree = found.params
    size = sum(x.size for x in jax.tree.leaves(tree))
    about = remembered.About(found.digest, size, found.notes)
    remembered.put(name, about)
    return Loaded(
      encoder, lambda: tree, about.digest, origin, about.size, about.notes
    )

  def later() -> Tree:
    found = read()
    if found.digest != about.digest:
      raise errors.InputError(
        f"{origin}: found weights of the digest {found.digest}, expected"
        f" {about.digest}, as before: they changed while this run used them."
      )
    return found.params

  return Loaded(encoder, later, about.digest, origin, about.size, about.notes)


def named(encoder: family.Encoder, params: Tree, origin: str) -> Loaded:
  """Parameters with the name of their content.

  Args:
    encoder: the network.
    params: its parameters, on the host.
    origin: in words.

  Returns:
    The parameters.
  """
  digest = _digest(encoder, weight_folder.checksum(params))
  size = sum(x.size for x in jax.tree.leaves(params))
  return Loaded(encoder, lambda: params, digest, origin, size)


def is_random(loaded: Loaded) -> bool:
  """Whether parameters are random, or come from such ones."""
  return loaded.origin.removeprefix(ADAPTED) == RANDOM


def keep(folder: Path, loaded: Loaded) -> Path:
  """Keeps parameters in a folder of the name of their digest.

  Two runs may keep the same at once. Parameters are read, and copied from a
  device, only where no other folder has them: its files are linked.

  Args:
    folder: of all kept parameters.
    loaded: the parameters.

  Returns:
    The folder of these parameters.

  Raises:
    InputError: if it cannot be written.
  """
  place, network = Path(folder) / loaded.digest, loaded.encoder.about
  about = {
    "family": network.family.name,
    "source": loaded.origin,
    "encoder": dict(network.settings),
    "digest": loaded.digest,
  }
  if weight_folder.is_whole(place, about):
    return place
  _set_aside(place, about)
  # Another run may have written the same in the meantime.
  try:
    _put(place, loaded, about)
  except errors.InputError:
    if not weight_folder.is_whole(place, about):
      raise
  return place


def _put(place: Path, loaded: Loaded, about: Mapping[str, Any]) -> None:
  """Writes a folder, or links the files of one that another run wrote."""
  other = remembered.kept_at(loaded.digest)
  if other is not None and weight_folder.link(place, other, about):
    return
  params = jax.tree.map(np.asarray, loaded.params)
  weight_folder.write(place, params, about)
  remembered.keep(loaded.digest, place)


def read_kept(folder: Path, digest: str, encoder: family.Encoder) -> Loaded:
  """Reads parameters that `keep` wrote.

  Args:
    folder: of all kept parameters.
    digest: of these.
    encoder: the network.

  Returns:
    The parameters.

  Raises:
    InputError: if they are not there, of another network or damaged.
  """
  if not re.fullmatch("[0-9a-f]{16,64}", digest):
    raise errors.InputError(
      f"{folder}: found the digest {digest!r}, expected 32 hex digits."
    )
  place = Path(folder) / digest
  if not place.is_dir():
    raise errors.InputError(
      f"{place}: found no kept weights, expected those of"
      f" {encoder.about.family.title} {places.named(encoder)} that evaluate.py"
      " wrote there."
    )
  found = _opened(encoder, place, str(place))
  if found.digest != digest:
    raise errors.InputError(
      f"{place}: found weights of the digest {found.digest}, expected those of"
      " the folder's name."
    )
  return found


def _set_aside(place: Path, about: Mapping[str, Any]) -> None:
  """Removes a damaged folder, but not one that another run just mended."""
  if not place.exists():
    return
  # Where this fails, another run was faster, or `write` says why.
  with contextlib.suppress(OSError):
    beside = Path(
      tempfile.mkdtemp(prefix=weight_folder.PARTIAL, dir=place.parent)
    )
    with contextlib.suppress(OSError):
      place.rename(beside)
      if weight_folder.is_whole(beside, about):
        beside.rename(place)
    shutil.rmtree(beside, ignore_errors=True)


def _digest(encoder: family.Encoder, values: str) -> str:
  return weight_folder.digest(
    encoder.about.family.name, encoder.about.settings, values
  )


def _drawn(path: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
  """One parameter, of the variance that initialisers give its kind."""
  kind = path.rpartition("/")[2]
  if kind in _ONES or kind in _ZEROS:
    return np.full(shape, kind in _ONES, np.float32)
  spread = 1 / math.sqrt(math.prod(shape[:-1])) if kind == "kernel" else 0.02
  seeds = np.random.SeedSequence([seed, zlib.crc32(path.encode())])
  # Uniform numbers are ten times as fast as normal ones.
  rng = np.random.Generator(np.random.SFC64(seeds))
  out = rng.random(shape, np.float32)
  out -= np.float32(0.5)
  out *= np.float32(spread * math.sqrt(12))
  return out


def _read(encoder: family.Encoder, path: Path, origin: str) -> _Read:
  """Reads one place."""
  if path.is_dir() and not (path / weight_folder.ABOUT).exists():
    source = places.source_of(encoder)
    path = convert.official_in(path, names=source.files if source else ())
  known, shapes = encoder.about.family, encoder.about.shapes
  if path.is_dir():
    about = weight_folder.read_about(path)
    if about["family"] != known.name:
      raise errors.InputError(
        f"{path}: found {zoo.title_of(about['family'])} weights, expected"
        f" those of {known.title}."
      )
    heads = about["encoder"].get("num_heads")
    _check(encoder, path, about["encoder"], told=heads is not None)
    tree, values = weight_folder.read(path, shapes())
    notes: tuple[str, ...] = ()
  else:
    tree, settings, told, notes = convert.read_official(path, known)
    _check(encoder, path, settings, told=told)
    values = weight_folder.checksum(tree)
  notes = tuple(f"weights {origin}: {note}" for note in notes)
  return _Read(tree, _digest(encoder, values), notes)


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
