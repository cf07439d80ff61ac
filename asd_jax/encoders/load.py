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
from asd_jax.encoders import (
  family,
  noise_aware_files,
  places,
  reading,
  remembered,
)
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
    base: digest of the encoder inside, as it has by itself; "" where there is
      none.
  """

  encoder: family.Encoder
  read: Callable[[], Tree]
  digest: str
  origin: str
  size: int
  notes: tuple[str, ...] = ()
  base: str = ""

  @property
  def params(self) -> Tree:
    """Nested mappings of float32 arrays."""
    return self.read()


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
  return {n: _opened(wanted[n][0], found[n]) for n in wanted}


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


def _draw(encoder: family.Encoder, seed: int) -> reading.Read:
  shapes = encoder.about.shapes()
  # The encoder inside another is drawn as it is by itself.
  inside = noise_aware_files.inner_of(encoder) is not None
  lead = f"{noise_aware_files.BASE}/" * inside
  draw = lambda path: _drawn(path.removeprefix(lead), shapes[path], seed)
  with ThreadPoolExecutor() as pool:
    flat = dict(zip(shapes, pool.map(draw, shapes), strict=True))
  tree = flax.traverse_util.unflatten_dict(flat, sep="/")
  return reading.Read(tree, *reading.digests(encoder, tree))


def _opened(encoder: family.Encoder, place: places.Place) -> Loaded:
  """Reads one place, at once if nothing is known of it."""
  name = remembered.name_of(encoder, place.paths(), place.origin)
  read = functools.partial(reading.read, encoder, place)
  return _lazy(encoder, name, read, place.origin)


def _lazy(
  encoder: family.Encoder,
  name: str,
  read: Callable[[], reading.Read],
  origin: str,
) -> Loaded:
  """Weights by what is remembered of them, else by reading them now."""
  about = remembered.get(name)
  if about is None:
    found = read()
    tree = found.params
    size = sum(x.size for x in jax.tree.leaves(tree))
    about = remembered.About(found.digest, size, found.notes, found.base)
    remembered.put(name, about)
    return Loaded(encoder, lambda: tree, origin=origin, **about._asdict())

  def later() -> Tree:
    found = read()
    if found.digest != about.digest:
      raise errors.InputError(
        f"{origin}: found weights of the digest {found.digest}, expected"
        f" {about.digest}, as before: they changed while this run used them."
      )
    return found.params

  return Loaded(encoder, later, origin=origin, **about._asdict())


def named(encoder: family.Encoder, params: Tree, origin: str) -> Loaded:
  """Parameters with the name of their content.

  Args:
    encoder: the network.
    params: its parameters, on the host.
    origin: in words.

  Returns:
    The parameters.
  """
  # As they will be read: with those of other seeds they become one tree.
  params = weight_folder.plain(params)
  digest, base = reading.digests(encoder, params)
  size = sum(x.size for x in jax.tree.leaves(params))
  return Loaded(encoder, lambda: params, digest, origin, size, base=base)


def is_random(loaded: Loaded) -> bool:
  """Whether parameters are random, or come from such ones."""
  return loaded.origin.removeprefix(ADAPTED) == RANDOM


def keep(folder: Path, loaded: Loaded) -> Path:
  """Keeps parameters in a folder of the name of their digest.

  Two runs may keep the same at once. Parameters are read, and copied from a
  device, only where no other folder has them: its files are linked. An encoder
  inside others has a folder of its own, which they share.

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
  inner = noise_aware_files.inner_of(loaded.encoder)
  if inner is not None:
    inside = lambda: loaded.params[noise_aware_files.BASE]
    base = Loaded(inner, inside, loaded.base, loaded.origin, 0)
    about["base"] = keep(folder, base).name
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
  params = dict(loaded.params)
  if "base" in about:
    del params[noise_aware_files.BASE]
  weight_folder.write(place, jax.tree.map(np.asarray, params), about)
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
  found = _opened(encoder, places.Place(place, str(place)))
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
