"""Corpora for noise-aware pre-training, as tensorflow-datasets data sets.

Mono recordings at 16 kHz, int16, in records of 10 s, with random access. They
are read from the official archives as they were downloaded by hand (split or
in pieces, unpacked or not: see `corpora`), never unpacked to disk, and nothing
is downloaded. Other modules leave this one alone until they need it, so that
only its users wait for the import.

    builder = tfds_sources.prepare("fsd50k", "~/Downloads", "~/tfds")
    builder.info.metadata["missing"]  # sentences on what was not there
    pool = pools.Built("~/tfds", "fsd50k", split="train")  # to draw from

Partial corpora are built from what is there. By tfds itself:

    import asd_jax.data.tfds_sources
    builder = tfds.builder(
      "demand/default", data_dir="~/tfds", file_format="array_record"
    )
    builder.download_and_prepare(
      download_config=tfds.download.DownloadConfig(manual_dir="~/Downloads")
    )

The command line of tfds itself needs TensorFlow; where it is installed:

    tfds build qut_noise/default --imports=asd_jax.data.tfds_sources \
      --manual_dir=$HOME/Downloads --data_dir=~/tfds --file_format=array_record

Apache Beam writes the shards where it is asked to: with
`--beam_pipeline_options=runner=...` there, with
`download_config=tfds.download.DownloadConfig(beam_runner="DirectRunner")` here.
Its workers read the archives themselves, from a file system that they share.
"""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds
from absl import logging

from asd_jax import errors
from asd_jax.data import folders, tfds_base
from asd_jax.data.corpora import (
  base,
  checksums,
  demand,
  folder,
  fsd50k,
  qut_noise,
  wham,
)

# A crop of 10 s then touches two records. Longer ones would be read for the
# sake of a part of them: at half a minute, most of what is read is dropped.
PIECE_SAMPLES = 10 * base.SAMPLE_RATE
_BYTES_A_SAMPLE = 2
# With Beam, tfds (4.9.10) writes the first split again with the second: put
# the smaller one first.
_ORDER = ("test", "valid", "train")


@dataclasses.dataclass(eq=False)
class Config(tfds.core.BuilderConfig):
  """What of a corpus to read.

  Attributes:
    name: of the set.
    description: a sentence on it.
    splits: those that are wanted; empty for all that the corpus has.
    strict: refuse any gap instead of naming it.
    md5: compare the MD5 of archives with those that others found, which takes
      as long as reading all of them; a difference is a remark.
    extra: of DEMAND, SCAFE too.
    main_only: of QUT-NOISE, main parts without what failed.
    holdout: of a folder, which files are "valid"; see `corpora.folder`.
  """

  name: str
  description: str | None = None
  splits: Sequence[str] = ()
  strict: bool = False
  md5: bool = False
  extra: bool = False
  main_only: bool = False
  holdout: str | float = 0.0


_DEFAULT = Config(name="default", description="What is there.")
_STRICT = Config(name="strict", description="All of it.", strict=True)
_NO_TEST = Config(
  name="no_test",
  description="What is there to train and validate with.",
  splits=("train", "valid"),
)


class CorpusBuilder(tfds_base.Builder, skip_registration=True):
  """What the builders share; each says how its corpus is found."""

  VERSION = tfds.core.Version("1.0.0")
  RELEASE_NOTES: ClassVar = {"1.0.0": "First version."}
  BUILDER_CONFIGS: ClassVar = [_DEFAULT, _STRICT]
  HOMEPAGE = ""

  def _found(self, root: pathlib.Path) -> base.Corpus:
    """Finds the recordings below a folder."""
    raise NotImplementedError

  def _settings(self) -> dict[str, Any]:
    """Settings that all corpora with archives have."""
    config = self.builder_config
    splits = {"splits": tuple(config.splits)} if config.splits else {}
    return {"strict": config.strict, **splits}

  def _info(self) -> tfds.core.DatasetInfo:
    text, number = tfds.features.Text, tfds.features.Scalar
    features = {
      "audio": tfds.features.Tensor(
        shape=(None,),
        dtype=np.int16,
        encoding="bytes",
        doc="[S] samples at 16 kHz, 10 s or the rest of the recording.",
      ),
      "corpus": text(doc="Its name."),
      "recording": text(doc="Name within the corpus."),
      "channel": number(np.int32, doc="As the corpus counts, from 1."),
      "start_sample": number(np.int64, doc="Place within the recording."),
      "total_samples": number(np.int64, doc="Of the recording, at 16 kHz."),
      "source_rate": number(np.int32, doc="Of the file, in Hz."),
      "labels": text(doc="What is heard, separated by commas, or empty."),
      "licence": text(doc="Of this recording, or empty."),
      "in_main": text(
        doc="yes or no: lies in the main part and nothing failed; or empty."
      ),
    }
    return tfds.core.DatasetInfo(
      builder=self,
      description=(self.__class__.__doc__ or "").splitlines()[0],
      features=tfds.features.FeaturesDict(features),
      homepage=self.HOMEPAGE,
      metadata=tfds.core.MetadataDict(),
      disable_shuffling=True,
    )

  def _shard_iterators_per_split(
    self, dl_manager: tfds.download.DownloadManager
  ) -> dict[str, list[Callable[[], Iterator]]]:
    root = folders.existing(dl_manager.manual_dir)
    corpus = self._found(root)
    remarks = corpus.remarks
    if self.builder_config.md5:
      remarks += checksums.remarks(root, corpus.archives)
    for sentence in (*corpus.missing, *remarks):
      logging.warning("%s: %s", corpus.name, sentence)
    found: dict[str, list[base.Recording]] = {}
    for recording in corpus.recordings:
      found.setdefault(recording.split, []).append(recording)
    self.info.metadata.update(
      corpus=corpus.name,
      sample_rate=base.SAMPLE_RATE,
      piece_samples=PIECE_SAMPLES,
      counts={name: list(pair) for name, pair in corpus.counts.items()},
      missing=list(corpus.missing),
      remarks=list(remarks),
      archives=list(corpus.archives),
      # Where each mono recording lies among the records: they come in this
      # order.
      recordings={
        split: [[r.name, c, r.num_samples] for r in of for c in r.channels]
        for split, of in found.items()
      },
    )
    return {
      split: [
        functools.partial(_examples, corpus.name, shard)
        for shard in tfds_base.shards(found[split], _num_bytes)
      ]
      for split in _ORDER
      if split in found
    }


class Fsd50k(CorpusBuilder):
  """FSD50K: everyday sounds, the targets of [MERL26]."""

  BUILDER_CONFIGS: ClassVar = [_DEFAULT, _STRICT, _NO_TEST]
  HOMEPAGE = "https://zenodo.org/records/4060432"
  MANUAL_DOWNLOAD_INSTRUCTIONS = (
    "All parts of FSD50K.dev_audio and FSD50K.eval_audio, "
    "FSD50K.ground_truth.zip and, for licences, FSD50K.metadata.zip, as they "
    "are or unpacked."
  )

  def _found(self, root: pathlib.Path) -> base.Corpus:
    return fsd50k.read(root, **self._settings())


class Wham48k(CorpusBuilder):
  """WHAM! noise, 48 kHz edition: rooms full of people."""

  BUILDER_CONFIGS: ClassVar = [_DEFAULT, _STRICT, _NO_TEST]
  HOMEPAGE = "http://wham.whisper.ai"
  MANUAL_DOWNLOAD_INSTRUCTIONS = (
    "high_res_wham.zip, or its pieces .aa, .ab and so on, as they are or "
    "unpacked."
  )

  def _found(self, root: pathlib.Path) -> base.Corpus:
    return wham.read(root, **self._settings())


class Demand(CorpusBuilder):
  """DEMAND: environments, each recorded by 16 microphones."""

  BUILDER_CONFIGS: ClassVar = [
    _DEFAULT,
    _STRICT,
    Config(name="extra", description="SCAFE too.", extra=True),
  ]
  HOMEPAGE = "https://zenodo.org/records/1227121"
  MANUAL_DOWNLOAD_INSTRUCTIONS = (
    "<ENVIRONMENT>_16k.zip (or _48k.zip) of each environment, as they are or "
    "unpacked."
  )

  def _found(self, root: pathlib.Path) -> base.Corpus:
    return demand.read(
      root, extra=self.builder_config.extra, **self._settings()
    )


class QutNoise(CorpusBuilder):
  """QUT-NOISE: ten places, each recorded twice."""

  BUILDER_CONFIGS: ClassVar = [
    _DEFAULT,
    _STRICT,
    Config(name="main", description="Main parts only.", main_only=True),
  ]
  HOMEPAGE = "https://research.qut.edu.au/saivt/databases/qut-noise"
  MANUAL_DOWNLOAD_INSTRUCTIONS = (
    "qutnoise.zip (for labels) and qutnoisecafe.zip, ...car.zip, ...home.zip, "
    "...reverb.zip, ...street.zip, as they are or unpacked."
  )

  def _found(self, root: pathlib.Path) -> base.Corpus:
    config = self.builder_config
    return qut_noise.read(root, main_only=config.main_only, **self._settings())


class WavFolder(CorpusBuilder):
  """A folder of wave files of any names, rates and numbers of channels."""

  BUILDER_CONFIGS: ClassVar = [_DEFAULT]
  MANUAL_DOWNLOAD_INSTRUCTIONS = "Wave files, at any depth."

  def _found(self, root: pathlib.Path) -> base.Corpus:
    return folder.read(root, holdout=self.builder_config.holdout)


BUILDERS: dict[str, type[CorpusBuilder]] = {
  builder.name: builder
  for builder in (Fsd50k, Wham48k, Demand, QutNoise, WavFolder)
}


def prepare(
  corpus: str,
  manual_dir: str | os.PathLike,
  out_dir: str | os.PathLike,
  *,
  name: str = "default",
  download_config: tfds.download.DownloadConfig | None = None,
  **settings: Any,
) -> tfds_base.Builder:
  """Writes a corpus as array_record files.

  Args:
    corpus: a key of `BUILDERS`.
    manual_dir: folder of its archives, or of what was in them; other files in
      it do not matter.
    out_dir: where data sets of tfds lie.
    name: what to call the set; those of `BUILDER_CONFIGS` have settings of
      their own.
    download_config: settings of tfds, such as a Beam runner or that an old set
      of this name may be replaced; its `manual_dir` is not read.
    **settings: of `Config`, for a name of your own.

  Returns:
    The builder, ready for `as_data_source`. Its `info.metadata` says what was
    found, what is missing and what is odd.

  Raises:
    InputError: an unknown corpus or setting, archives that cannot be read,
      nothing for a split that is wanted, a name that cannot be used or is
      taken, or a place that cannot be written.
  """
  builder = builder_of(corpus)
  known = {f.name for f in dataclasses.fields(Config)}
  for key in settings:
    if key not in known:
      raise errors.InputError(
        f"{key}: found it as a setting of {corpus}, expected one of "
        + ", ".join(sorted(known - {"name", "description"}))
      )
  if settings:
    tfds_base.check_own(builder, name)
    config = Config(name=name, **settings)
  else:
    config = builder.builder_configs.get(name) or Config(name=name)
  place = tfds_base.free_place(builder, out_dir, name, download_config)
  if not any(folders.existing(manual_dir).iterdir()):
    raise errors.InputError(
      f"{manual_dir}: found nothing in it, expected {corpus}: "
      + builder.MANUAL_DOWNLOAD_INSTRUCTIONS
    )
  return tfds_base.written(builder, config, place, manual_dir, download_config)


def builder_of(corpus: str) -> type[CorpusBuilder]:
  """The builder of a corpus.

  Args:
    corpus: a key of `BUILDERS`.

  Raises:
    InputError: it is unknown.
  """
  if corpus not in BUILDERS:
    raise errors.InputError(
      f"corpus: found {corpus!r}, expected one of {', '.join(BUILDERS)}"
    )
  return BUILDERS[corpus]


def _num_bytes(recording: base.Recording) -> int:
  return recording.num_samples * len(recording.channels) * _BYTES_A_SAMPLE


def _examples(
  corpus: str, shard: Sequence[base.Recording]
) -> Iterator[tuple[str, dict[str, Any]]]:
  for recording in shard:
    samples = recording.samples()  # [C, S]
    for channel, x in zip(recording.channels, samples, strict=True):
      for start in range(0, len(x), PIECE_SAMPLES):
        piece = x[start : start + PIECE_SAMPLES]
        key = f"{corpus}/{recording.name}/{channel}/{start}"
        yield (
          key,
          {
            "audio": piece,
            "corpus": corpus,
            # As bytes, because names need not be UTF-8.
            "recording": os.fsencode(recording.name),
            "channel": channel,
            "start_sample": start,
            "total_samples": len(x),
            "source_rate": recording.header.sample_rate,
            "labels": recording.labels,
            "licence": recording.licence,
            "in_main": _in_main(recording, start, len(piece)),
          },
        )


def _in_main(recording: base.Recording, start: int, num: int) -> str:
  """Whether samples at 16 kHz lie in one stretch of the main part."""
  if recording.main is None:
    return ""
  rate = recording.header.sample_rate
  scaled = start * rate, (start + num) * rate
  inside = any(
    a * base.SAMPLE_RATE <= scaled[0] and scaled[1] <= b * base.SAMPLE_RATE
    for a, b in recording.main
  )
  return "yes" if inside else "no"
