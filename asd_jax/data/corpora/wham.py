"""WHAM! noise, the 48 kHz edition: rooms full of people, stereo [Wichern19].

    high_res_wham/audio/<Filename>
    high_res_wham/high_res_metadata.csv
      (Filename, File Length (sec), WHAM! Split: Train, Valid or Test)

One archive, `high_res_wham.zip`, or its pieces `.aa`, `.ab` and so on.
"""

import pathlib
from collections.abc import Sequence

from asd_jax import errors
from asd_jax.data.corpora import base, files, tables

ARCHIVE = "high_res_wham"
_RULE = base.Rule((48_000,), 2)
_TABLE = "high_res_metadata.csv"
_NAME, _SECONDS, _SPLIT = "Filename", "File Length (sec)", "WHAM! Split"
_SPLITS = {"Train": "train", "Valid": "valid", "Test": "test"}


def read(
  root: pathlib.Path,
  *,
  splits: Sequence[str] = base.SPLITS,
  strict: bool = False,
) -> base.Corpus:
  """Finds the recordings below a folder.

  Those that the table says to be of 60 s or less are left out, as are splits
  that are none of the three.

  Args:
    root: folder with the archive, or with what was in it.
    splits: those that are wanted; none of them may be empty.
    strict: refuse any gap.

  Raises:
    InputError: no table, none of a split, or files that cannot be read.
  """
  listing = files.listed(root, ARCHIVE)
  rows, remarks = _rows(listing, root, splits)
  clips = base.first_of(
    listing, lambda p: p.name if p.suffix.casefold() == ".wav" else None
  )
  found = [(name, split) for name, split in rows if name in clips]
  stored = [clips[name] for name, _ in found]
  recordings = tuple(
    base.Recording(pathlib.PurePath(name).stem, split, file, header, (1, 2))
    for (name, split), file, header in zip(
      found, stored, base.headers(stored, _RULE), strict=True
    )
  )
  counts, missing = {}, []
  for split in splits:
    names = [name for name, other in rows if other == split]
    lost = [name for name in names if name not in clips]
    counts[split] = len(names) - len(lost), len(names)
    if lost:
      missing.append(
        f"{len(lost)} of {len(names)} recordings of {split} are missing: "
        + base.some(lost)
      )
  corpus = base.Corpus(
    "wham48k", recordings, counts, tuple(missing), tuple(remarks), ()
  )
  return base.checked(corpus, listing, root, splits=splits, strict=strict)


def _rows(
  listing: files.Listing, root: pathlib.Path, splits: Sequence[str]
) -> tuple[list[tuple[str, str]], list[str]]:
  """Names and splits of recordings that are long enough; remarks."""
  found = base.first_of(listing, lambda p: p.name == _TABLE or None)
  if not found:
    if listing.broken:
      raise listing.broken[0]
    raise errors.InputError(
      f"{root}: found no {_TABLE}, expected high_res_wham.zip (or what is in "
      "it), whose table says splits and durations"
    )
  rows: dict[str, str] = {}
  num_short = 0
  for row in tables.rows(found[True], (_NAME, _SECONDS, _SPLIT)):
    split = _SPLITS.get(row[_SPLIT])
    try:
      seconds = float(row[_SECONDS])
    except ValueError as error:
      raise errors.InputError(
        f"{files.title(found[True])}: found {row[_SECONDS]!r} as the length of "
        f"{row[_NAME]}, expected seconds"
      ) from error
    if split is None or split not in splits:
      continue
    # By the table, not by the file, as those were that were trained with.
    if seconds > base.MIN_SECONDS:
      rows[row[_NAME]] = split
    else:
      num_short += 1
  remarks = []
  if num_short:
    remarks.append(
      f"{num_short} recordings of {base.MIN_SECONDS} s or less are left out"
    )
  return sorted(rows.items()), remarks
