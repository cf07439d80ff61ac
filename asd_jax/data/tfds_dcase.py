"""The clips of a data set as a tensorflow-datasets data set.

array_record files with random access, made and read without TensorFlow. Other
modules leave this one alone, so that only its users wait for the import.

    builder = tfds_dcase.prepare("dev_data/raw", "~/tfds", name="dcase2026_dev")
    builder = tfds_dcase.load("~/tfds", name="dcase2026_dev")  # any time later
    source = builder.as_data_source("train")
    for clip, samples in map(tfds_dcase.decode, source):
      ...

A data source has a length, takes an index and can be pickled:
`grain.MapDataset.source(source).map(tfds_dcase.decode)` is an input pipeline.
A machine that tfds finds by itself, as with any builder:

    import asd_jax.data.tfds_dcase
    builder = tfds.builder(
      "dcase_asd/int16", data_dir="~/tfds", file_format="array_record"
    )
    builder.download_and_prepare(
      download_config=tfds.download.DownloadConfig(manual_dir="dev_data/raw")
    )

The command line of tfds itself needs TensorFlow; where it is installed:

    tfds build dcase_asd/int16 --imports=asd_jax.data.tfds_dcase \
      --manual_dir=dev_data/raw --data_dir=~/tfds --file_format=array_record

Apache Beam writes the shards where it is asked to: with
`--beam_pipeline_options=...` there, with
`download_config=tfds.download.DownloadConfig(beam_runner="DirectRunner")` here.
"""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from asd_jax import errors
from asd_jax.data import audio, clips, tfds_base

_UNKNOWN = "unknown"
# With Beam, tfds (4.9.10) writes the first split again with the second: put
# the smaller one first.
_SPLITS = ("test", "train")
_FULL_SCALE = 32_768


@dataclasses.dataclass(eq=False)
class Config(tfds.core.BuilderConfig):
  """What to read and how to store it.

  Attributes:
    name: of the set.
    description: a sentence on it.
    sample_format: "int16" for sets of 16-bit files; "float32" for any, 16-bit
      samples divided by 32768 (which `decode` undoes without loss).
    machines: names to read; empty for all.
    ground_truth: as in `clips.read_tree`.
  """

  name: str
  description: str | None = None
  sample_format: str = "int16"
  machines: Sequence[str] = ()
  ground_truth: str | os.PathLike | None = None


class DcaseAsd(tfds_base.Builder):
  """Machine sounds in the layout of DCASE Task 2, 2020 to 2026.

  Everything that `clips.read_tree` reads, in its order: machines by name,
  clips by name. Splits without clips are left out.
  """

  VERSION = tfds.core.Version("1.0.0")
  RELEASE_NOTES = {"1.0.0": "First version."}
  MANUAL_DOWNLOAD_INSTRUCTIONS = (
    "Unpack the machines of one year: <machine>/train and <machine>/test, at "
    "any depth, ground truth anywhere beside them."
  )
  BUILDER_CONFIGS = [
    Config(name="int16", description="Sets of 16-bit files."),
    Config(
      name="float32",
      description="Sets of any sample format.",
      sample_format="float32",
    ),
  ]

  def _info(self) -> tfds.core.DatasetInfo:
    text = tfds.features.Text
    dtype = np.dtype(self.builder_config.sample_format)
    features = {
      "audio": tfds.features.Tensor(
        shape=(None, None),
        dtype=dtype.type,
        encoding="bytes",
        doc="[C, S] samples at the rate of the file; near channel first.",
      ),
      "sample_rate": tfds.features.Scalar(np.int32, doc="In Hz."),
      "subtype": text(doc="Sample format of the file, such as PCM_16."),
      "file_name": text(doc="Base name; once within machine and split."),
      "machine": text(doc="Machine type."),
      "section": text(doc="Two digits."),
      "split": text(doc="train or test."),
      "domain": text(doc="source, target or unknown."),
      "label": text(doc="normal, anomaly or unknown."),
      "attributes": text(doc="Raw attribute text, empty for none."),
    }
    return tfds.core.DatasetInfo(
      builder=self,
      description="Two-channel recordings of machines, some of them faulty.",
      features=tfds.features.FeaturesDict(features),
      homepage="https://dcase.community",
      disable_shuffling=True,
    )

  def _shard_iterators_per_split(
    self, dl_manager: tfds.download.DownloadManager
  ) -> dict[str, list[Callable[[], Iterator]]]:
    config = self.builder_config
    found = _read(dl_manager.manual_dir, config.machines, config.ground_truth)
    form = config.sample_format
    _check_format(found, form)
    return {
      split: [
        functools.partial(_examples, shard, form)
        for shard in tfds_base.shards(
          found[split], functools.partial(_num_bytes, form)
        )
      ]
      for split in _SPLITS
      if found[split]
    }


def prepare(
  data_dir: str | os.PathLike,
  out_dir: str | os.PathLike,
  *,
  name: str = "clips",
  machines: Sequence[str] = (),
  ground_truth: str | os.PathLike | None = None,
  download_config: tfds.download.DownloadConfig | None = None,
) -> DcaseAsd:
  """Writes the clips below a folder as array_record files.

  Samples are stored as int16 where every file has 16 bits, else as float32.

  Args:
    data_dir: folder above the machines, or a machine folder.
    out_dir: where data sets of tfds lie; the files come in
      `dcase_asd/<name>/<version>`.
    name: what to call the set; several may share `out_dir`.
    machines: names to read; empty for all.
    ground_truth: as in `clips.read_tree`.
    download_config: settings of tfds, such as a Beam runner or that an old set
      of this name may be replaced; its `manual_dir` is not read.

  Returns:
    The builder, ready for `as_data_source`.

  Raises:
    InputError: as `clips.read_tree` and `audio.read`, a name that cannot be
      used or is taken, or a place that cannot be written.
  """
  tfds_base.check_own(DcaseAsd, name)
  place = tfds_base.free_place(DcaseAsd, out_dir, name, download_config)
  found = _read(data_dir, machines, ground_truth)
  config = Config(
    name=name,
    sample_format=_common_format(found),
    machines=tuple(machines),
    ground_truth=ground_truth,
  )
  return tfds_base.written(DcaseAsd, config, place, data_dir, download_config)


def load(
  out_dir: str | os.PathLike, *, name: str = "clips"
) -> tfds.core.DatasetBuilder:
  """Opens what `prepare` wrote.

  Raises:
    InputError: there is no such data set.
  """
  return tfds_base.load(DcaseAsd, out_dir, name)


def decode(example: Mapping[str, Any]) -> tuple[clips.Clip, np.ndarray]:
  """Turns an example of a data source back into a clip and its samples.

  Args:
    example: features by name.

  Returns:
    The clip as `clips.read_tree` has it, except that its path is the base name;
    and the `[C, S]` samples as `audio.read` returns them at the rate of the
    file: int16 for a 16-bit file, else float32; they may be read-only.
  """
  samples = example["audio"]  # [C, S]
  text = {
    key: os.fsdecode(value)
    for key, value in example.items()
    if isinstance(value, bytes)
  }
  if text["subtype"] == "PCM_16" and samples.dtype != np.int16:
    # Exact: float32 holds all 16 bits, and a power of two costs none.
    samples = (samples * _FULL_SCALE).astype(np.int16)
  num_channels, num_samples = samples.shape
  rate = int(example["sample_rate"])
  header = audio.Header(num_channels, num_samples, rate, text["subtype"])
  clip = clips.Clip(
    path=pathlib.Path(text["file_name"]),
    machine=text["machine"],
    section=text["section"],
    split=text["split"],
    domain=_known(text["domain"]),
    label=_known(text["label"]),
    attributes=text["attributes"],
    header=header,
  )
  return clip, samples


def _read(
  data_dir: str | os.PathLike,
  machines: Sequence[str],
  ground_truth: str | os.PathLike | None,
) -> dict[str, list[clips.Clip]]:
  """Returns the clips of each split, by machine and name."""
  found = clips.read_tree(
    data_dir, machines=machines, ground_truth=ground_truth
  )
  # A data set is whole, or there is none.
  for file in (file for m in found for file in m.unread):
    raise errors.InputError(file.problem)
  return {s: [c for m in found for c in getattr(m, s)] for s in _SPLITS}


def _common_format(found: Mapping[str, Sequence[clips.Clip]]) -> str:
  subtypes = {c.header.subtype for split in found.values() for c in split}
  return "int16" if subtypes == {"PCM_16"} else "float32"


def _check_format(
  found: Mapping[str, Sequence[clips.Clip]], sample_format: str
) -> None:
  if sample_format == "float32":
    return
  for clip in (c for split in found.values() for c in split):
    if clip.header.subtype != "PCM_16":
      raise errors.InputError(
        f"{clip.path}: found sample format {clip.header.subtype}, expected "
        "PCM_16; store this set as float32"
      )


def _num_bytes(sample_format: str, clip: clips.Clip) -> int:
  header = clip.header
  num = header.num_channels * header.num_samples
  return num * np.dtype(sample_format).itemsize


def _examples(
  shard: Sequence[clips.Clip], sample_format: str
) -> Iterator[tuple[str, dict[str, Any]]]:
  for clip in shard:
    # At its own rate: a data set is a copy, and the user resamples.
    samples, _ = audio.read(clip.path, sample_rate=clip.header.sample_rate)
    text = dict(
      subtype=clip.header.subtype,
      file_name=clip.name,
      machine=clip.machine,
      section=clip.section,
      split=clip.split,
      domain=clip.domain or _UNKNOWN,
      label=clip.label or _UNKNOWN,
      attributes=clip.attributes,
    )
    # As bytes, because names need not be UTF-8 and must come back as they
    # were.
    example: dict[str, Any] = {k: os.fsencode(v) for k, v in text.items()}
    if sample_format == "float32":
      samples = audio.to_float(samples)  # [C, S]
    example |= dict(audio=samples, sample_rate=clip.header.sample_rate)
    yield f"{clip.machine}/{clip.split}/{clip.name}", example


def _known(value: str) -> str | None:
  return None if value == _UNKNOWN else value
