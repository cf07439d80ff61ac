"""What the tensorflow-datasets builders of this package share.

array_record files with random access, made and read without TensorFlow.
"""

import os
import pathlib
import re
from collections.abc import Callable, Iterable
from typing import TypeVar

import tensorflow_datasets as tfds

from asd_jax import errors

FILE_FORMAT = "array_record"
_SHARD_BYTES = 64 * 2**20

_T = TypeVar("_T")


class Builder(tfds.core.ShardBasedBuilder, skip_registration=True):
  """Writes shard by shard, in the order of the source."""

  # Beside the code tfds looks for checksums of downloads; there are none, and
  # the search needs a package (importlib_resources) that tfds does not install.
  code_path = None

  def _download_and_prepare(
    self,
    dl_manager: tfds.download.DownloadManager,
    download_config: tfds.download.DownloadConfig | None = None,
  ) -> None:
    # The command line of tfds gives the runner as one of the options, where
    # builders by shard do not look for it.
    if download_config and (options := download_config.beam_options):
      named = options.get_all_options().get("runner")
      runner = download_config.beam_runner or named or "DirectRunner"
      download_config = download_config.replace(beam_runner=runner)
    super()._download_and_prepare(dl_manager, download_config)


def shards(
  items: Iterable[_T], num_bytes: Callable[[_T], int]
) -> list[tuple[_T, ...]]:
  """Cuts items into runs; tfds holds what one of them gives in memory.

  Args:
    items: in order.
    num_bytes: of what an item gives.
  """
  found: list[list[_T]] = []
  # Full from the start, so that the first item opens a shard.
  size = _SHARD_BYTES
  for item in items:
    num = num_bytes(item)
    if size + num > _SHARD_BYTES:
      found.append([])
      size = 0
    found[-1].append(item)
    size += num
  return [tuple(shard) for shard in found]


def check_own(builder: type[Builder], name: str) -> None:
  """Refuses names that the builder has given to settings of its own.

  Args:
    builder: a kind of set.
    name: of a set.

  Raises:
    InputError: it is such a name.
  """
  if name in builder.builder_configs:
    raise errors.InputError(
      f"name: found {name!r}, expected one tfds does not use"
    )


def free_place(
  builder: type[Builder],
  out_dir: str | os.PathLike,
  name: str,
  download_config: tfds.download.DownloadConfig | None,
) -> pathlib.Path:
  """Where a set comes to lie.

  Args:
    builder: its kind.
    out_dir: where data sets of tfds lie.
    name: of the set.
    download_config: settings of tfds, which may say to replace an old one.

  Raises:
    InputError: the name cannot be used, or is taken.
  """
  place = _folder(builder, out_dir, name)
  settings = download_config or tfds.download.DownloadConfig()
  # tfds would take the old set for the new one.
  if place.exists() and not settings.download_mode.overwrite_dataset:
    raise errors.InputError(
      f"{place}: found a data set, expected none; give another name, or load it"
    )
  return place


def written(
  builder: type[Builder],
  config: tfds.core.BuilderConfig,
  place: pathlib.Path,
  manual_dir: str | os.PathLike,
  download_config: tfds.download.DownloadConfig | None,
) -> Builder:
  """Writes a set.

  Args:
    builder: its kind.
    config: what to read.
    place: of `free_place`.
    manual_dir: what to read it from.
    download_config: settings of tfds, whose `manual_dir` is not read.

  Returns:
    The builder, ready for `as_data_source`.

  Raises:
    InputError: the place cannot be written; and as the builder.
  """
  settings = download_config or tfds.download.DownloadConfig()
  try:
    made = builder(
      data_dir=place.parents[2], config=config, file_format=FILE_FORMAT
    )
    made.download_and_prepare(
      download_config=settings.replace(
        manual_dir=pathlib.Path(manual_dir).expanduser(),
        try_download_gcs=False,
      )
    )
  except OSError as error:
    raise errors.InputError(
      f"{place}: cannot be written: {error.strerror or error}"
    ) from error
  return made


def is_there(
  builder: type[Builder], out_dir: str | os.PathLike, name: str
) -> bool:
  """Whether a set was written before.

  Args:
    builder: its kind.
    out_dir: where data sets of tfds lie.
    name: of the set.

  Raises:
    InputError: the name cannot be one.
  """
  return (_folder(builder, out_dir, name) / "dataset_info.json").is_file()


def load(
  builder: type[Builder], out_dir: str | os.PathLike, name: str
) -> tfds.core.DatasetBuilder:
  """Opens a set that was written before.

  Args:
    builder: its kind.
    out_dir: where data sets of tfds lie.
    name: of the set.

  Raises:
    InputError: there is none.
  """
  place = _folder(builder, out_dir, name)
  if not is_there(builder, out_dir, name):
    raise errors.InputError(
      f"{place}: found no data set, expected one; build it first"
    )
  return tfds.builder_from_directory(place)


def _folder(
  builder: type[Builder], out_dir: str | os.PathLike, name: str
) -> pathlib.Path:
  if not re.fullmatch(r"\w[\w.-]*", name, re.ASCII):
    raise errors.InputError(
      f"name: found {name!r}, expected letters, digits, '_', '-' and '.'"
    )
  root = pathlib.Path(out_dir).expanduser()
  return root / builder.name / name / str(builder.VERSION)
