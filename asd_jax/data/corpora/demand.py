"""DEMAND: 18 environments, each recorded by 16 microphones [Thiemann13].

    <ENV>/ch01.wav ... <ENV>/ch16.wav, in <ENV>_16k.zip or <ENV>_48k.zip

The first letter says what an environment is: domestic, nature, office, public,
street, transport. All of it is for training.
"""

import pathlib
import re
from collections.abc import Sequence

from asd_jax import errors
from asd_jax.data import audio
from asd_jax.data.corpora import base, files

ARCHIVE = r"[a-z]+_(16|48)k"
ENVIRONMENTS = (
  *("DKITCHEN", "DLIVING", "DWASHING", "NFIELD", "NPARK", "NRIVER"),
  *("OHALLWAY", "OMEETING", "OOFFICE", "PCAFETER", "PRESTO", "PSTATION"),
  *("SPSQUARE", "STRAFFIC", "TBUS", "TCAR", "TMETRO"),
)
# Published at 48 kHz only, and not among those that were trained with.
EXTRA = "SCAFE"
NUM_CHANNELS = 16
_RULE = base.Rule((16_000, 48_000), 1)


def read(
  root: pathlib.Path,
  *,
  splits: Sequence[str] = ("train",),
  strict: bool = False,
  extra: bool = False,
) -> base.Corpus:
  """Finds the recordings below a folder.

  Of an environment at both rates the one at 16 kHz is taken. Environments of
  60 s or less are left out.

  Args:
    root: folder with archives, or with what was in them.
    splits: only "train" has recordings.
    strict: refuse any gap.
    extra: SCAFE too.

  Returns:
    A recording for each channel.

  Raises:
    InputError: no environment, or files that cannot be read.
  """
  _check_splits(splits)
  listing = files.listed(root, ARCHIVE)
  wanted = [*ENVIRONMENTS, *[EXTRA] * extra]
  by_env = _by_environment(listing, wanted)
  recordings, missing, remarks = [], [], []
  absent = [env for env in wanted if env not in by_env]
  if absent:
    missing.append(f"{', '.join(absent)}: missing")
  for env in wanted:
    channels = by_env.get(env, {})
    lost = [c for c in range(1, NUM_CHANNELS + 1) if c not in channels]
    if lost and channels:
      names = [f"ch{c:02d}" for c in lost]
      missing.append(f"{env} lacks {', '.join(names)}")
    used = {c: x for c, x in channels.items() if base.long_enough(x[1])}
    if len(used) < len(channels):
      remarks.append(
        f"{len(channels) - len(used)} channels of {env} have "
        f"{base.MIN_SECONDS} s or less and are left out"
      )
    recordings += [
      base.Recording(env, "train", file, header, (c,))
      for c, (file, header) in sorted(used.items())
    ]
  total = len(wanted) * NUM_CHANNELS
  counts = {
    "environments": (len(by_env), len(wanted)),
    "channels": (sum(map(len, by_env.values())), total),
  }
  corpus = base.Corpus(
    "demand", tuple(recordings), counts, tuple(missing), tuple(remarks), ()
  )
  return base.checked(corpus, listing, root, splits=splits, strict=strict)


def _check_splits(splits: Sequence[str]) -> None:
  if set(splits) != {"train"}:
    raise errors.InputError(
      f"splits: found {', '.join(splits)}, expected train, the only one of "
      "DEMAND"
    )


def _by_environment(
  listing: files.Listing, wanted: Sequence[str]
) -> dict[str, dict[int, tuple[files.Stored, audio.Header]]]:
  """Channel to file and header, for each environment."""

  def key(path: pathlib.PurePosixPath) -> tuple[str, int, str] | None:
    # Both editions unpack to one name: which one it is, only files say.
    env = re.sub("_(16|48)K$", "", path.parent.name.upper())
    channel = re.fullmatch(r"ch(\d\d)\.wav", path.name.casefold())
    if channel is None or env not in wanted:
      return None
    number = int(channel[1])
    if not 1 <= number <= NUM_CHANNELS:
      return None
    return env, number, path.parent.as_posix()

  # Those of each place, since one may be of the other edition.
  found: dict = {}
  for path, stored in listing.files:
    if (name := key(path)) is not None:
      found.setdefault((*name, files.title(stored)), stored)
  rates: dict[str, dict[int, dict]] = {}
  all_headers = base.headers(found.values(), _RULE)
  for ((env, number, *_), file), header in zip(
    found.items(), all_headers, strict=True
  ):
    of_rate = rates.setdefault(env, {}).setdefault(header.sample_rate, {})
    of_rate.setdefault(number, (file, header))
  return {env: editions[min(editions)] for env, editions in rates.items()}
