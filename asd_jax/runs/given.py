"""The files that a command line names."""

import os
from collections.abc import Sequence
from pathlib import Path

from asd_jax import errors
from asd_jax.data import folders


def find(paths: Sequence[str]) -> list[str]:
  """Expands folders to the wave files below them.

  Args:
    paths: files and folders.

  Returns:
    Files as given, those of a folder sorted and joined to it as given.

  Raises:
    InputError: for a path that does not exist, and an empty folder.
  """
  out = []
  for path in map(folders.as_given, paths):
    if not os.path.exists(path):
      raise errors.InputError(
        f"{path}: found nothing, expected a sound file or folder."
      )
    if not os.path.isdir(path):
      out.append(path)
      continue
    below = sorted(folders.paths_below(path))
    if not below:
      _, others = folders.sound_files(folders.walk(Path(path), skipped=()))
      raise folders.nothing_in(path, others)
    out += below
  return out
