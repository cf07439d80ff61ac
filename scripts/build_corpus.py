"""Makes a data set to draw mixtures from, out of a corpus that you downloaded.

Run: python scripts/build_corpus.py --corpus=fsd50k --archives=DIR
  --data_dir=DATA
or:  python scripts/build_corpus.py --corpus=wav_folder --archives=DIR
  --data_dir=DATA --name=mine --holdout=0.1

DIR holds the official archives, whole or in parts, or what was in them. Nothing
is unpacked, downloaded or written there. What is missing is told, and the rest
is built.
"""

import contextlib
import io
from collections.abc import Sequence
from typing import Any

from absl import flags, logging

from asd_jax import errors
from asd_jax.runs import cli

_CORPUS = flags.DEFINE_string(
  "corpus", None, "fsd50k, wham48k, demand, qut_noise or wav_folder"
)
_ARCHIVES = flags.DEFINE_string("archives", None, "folder of archives or files")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "where data sets are kept")
_NAME = flags.DEFINE_string(
  "name",
  "default",
  "of the set; a name of your own where one of the following flags is given",
)
_SPLITS = flags.DEFINE_list("splits", [], "those wanted, of train,valid,test")
_STRICT = flags.DEFINE_bool("strict", False, "refuse any gap")
_MD5 = flags.DEFINE_bool("md5", False, "compare checksums, which takes long")
_EXTRA = flags.DEFINE_bool("extra", False, "of demand, SCAFE too")
_MAIN_ONLY = flags.DEFINE_bool(
  "main_only", False, "of qut_noise, main parts by its labels"
)
_HOLDOUT = flags.DEFINE_string(
  "holdout", "", "of wav_folder: a share, or a pattern of names, to validate on"
)


def _settings() -> dict[str, Any]:
  """Settings that the command line gives."""
  holdout: str | float = _HOLDOUT.value
  with contextlib.suppress(ValueError):  # a pattern of names
    holdout = float(holdout)
  given = dict(
    splits=tuple(_SPLITS.value),
    strict=_STRICT.value,
    md5=_MD5.value,
    extra=_EXTRA.value,
    main_only=_MAIN_ONLY.value,
    holdout=holdout,
  )
  return {name: value for name, value in given.items() if value}


def run(arguments: Sequence[str]) -> None:
  """Builds the corpus of the flags."""
  given = _CORPUS.value, _ARCHIVES.value, _DATA_DIR.value
  places = [place for place in given if place]
  if arguments or len(places) < len(given):
    raise errors.InputError(
      "flags: expected --corpus=NAME --archives=DIR --data_dir=DATA; found"
      f" corpus={given[0]!r}, archives={given[1]!r}, data_dir={given[2]!r}"
      f" and {len(arguments)} other arguments."
    )
  from asd_jax.data import tfds_sources

  with contextlib.ExitStack() as stack:
    # What it says of gaps is said below, in one place.
    stack.callback(logging.set_verbosity, logging.get_verbosity())
    logging.set_verbosity(logging.ERROR)
    # It says on standard output that it downloads, which it does not.
    stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
    builder = tfds_sources.prepare(*places, name=_NAME.value, **_settings())
  facts = builder.info.metadata
  for name, (found, expected) in facts["counts"].items():
    print(f"{name}: {found} of {expected}")
  for sentence in (*facts["missing"], *facts["remarks"]):
    print(sentence)
  for split, recordings in facts["recordings"].items():
    seconds = sum(num for _, _, num in recordings) / facts["sample_rate"]
    print(f"{split}: {len(recordings)} recordings, {seconds / 3600:.2f} h")
  print(f"data set: {builder.data_path}")


if __name__ == "__main__":
  cli.main(run, computes=False)
