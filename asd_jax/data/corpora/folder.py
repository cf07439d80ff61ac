"""A folder of wave files of any names, rates and numbers of channels."""

import fnmatch
import hashlib
import os
import pathlib

from asd_jax import errors
from asd_jax.data import audio, folders
from asd_jax.data.corpora import base


def read(root: str | os.PathLike, *, holdout: str | float = 0.0) -> base.Corpus:
  """Finds the wave files below a folder.

  Every channel of a file is a recording of its own, as in the corpora; none is
  averaged.

  Args:
    root: the folder, read at any depth.
    holdout: which recordings are the split "valid"; the others are "train". A
      pattern of names (with folders, without suffix) such as "*_1-*", or a
      share, such as 0.1, which a hash of the name decides: files that are
      added later move no other.

  Returns:
    The recordings; named after their path below the folder.

  Raises:
    InputError: no wave files, files that cannot be read, or a holdout that
      leaves none to train with, or holds out none.
  """
  place = folders.existing(root)
  paths, others = folders.sound_files(folders.walk(place, skipped=()))
  if not paths:
    raise folders.nothing_in(place, others)
  recordings = []
  for path, header in zip(paths, audio.read_headers(paths), strict=True):
    name = path.relative_to(place).with_suffix("").as_posix()
    split = "valid" if _is_held(name, holdout) else "train"
    channels = tuple(range(1, header.num_channels + 1))
    recordings.append(base.Recording(name, split, path, header, channels))
  recordings.sort(key=lambda r: (base.SPLITS.index(r.split), r.name))
  _check_holdout(place, recordings, holdout)
  rates = sorted({r.header.sample_rate for r in recordings})
  remarks = [
    f"{sum(r.header.sample_rate == rate for r in recordings)} files at {rate} "
    f"Hz are resampled to {base.SAMPLE_RATE} Hz"
    for rate in rates
    if rate != base.SAMPLE_RATE
  ]
  if others:
    remarks.append(f"{len(others)} files are no recordings: ignored")
  counts = {"files": (len(paths), len(paths))}
  return base.Corpus(
    "folder", tuple(recordings), counts, (), tuple(remarks), ()
  )


def _is_held(name: str, holdout: str | float) -> bool:
  if isinstance(holdout, str):
    return bool(holdout) and fnmatch.fnmatchcase(name, holdout)
  hashed = hashlib.sha256(os.fsencode(name)).digest()[:8]
  return int.from_bytes(hashed, "big") < holdout * 2**64


def _check_holdout(
  place: pathlib.Path, recordings: list[base.Recording], holdout: str | float
) -> None:
  if not isinstance(holdout, str) and not 0 <= holdout < 1:
    raise errors.InputError(
      f"holdout: found {holdout}, expected a pattern of names, or a share of "
      "at least 0 and less than 1"
    )
  splits = {r.split for r in recordings}
  if "train" not in splits or (holdout and "valid" not in splits):
    found = "all" if "train" not in splits else "none"
    raise errors.InputError(
      f"holdout: found {holdout!r}, which holds out {found} of the "
      f"{len(recordings)} files in {place}, expected some"
    )
