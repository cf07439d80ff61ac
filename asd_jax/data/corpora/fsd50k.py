"""FSD50K: 51,197 clips of everyday sounds, 44.1 kHz, mono [Fonseca22].

    FSD50K.dev_audio/<fname>.wav  FSD50K.eval_audio/<fname>.wav
    FSD50K.ground_truth/dev.csv (fname, labels, split: train or val), eval.csv
    FSD50K.metadata/{dev,eval}_clips_info_FSD50K.json (licence of each clip)

The audio archives are split in parts; all or some may be there.
"""

import json
import pathlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

from asd_jax import errors
from asd_jax.data.corpora import base, files, tables

ARCHIVE = r"fsd50k\.(dev_audio|eval_audio|ground_truth|metadata|doc)"
_RULE = base.Rule((44_100,), 1)
_SPLITS = {"train": "train", "val": "valid"}
# Clips of the two sets, once everything is there.
_NUM_CLIPS = {"dev": 40_966, "eval": 10_231}
_SPLITS_OF = {"dev": {"train", "valid"}, "eval": {"test"}}


class _Row(NamedTuple):
  """A row of a table: which clip belongs where."""

  part: str
  name: str
  split: str
  labels: str


def read(
  root: pathlib.Path,
  *,
  splits: Sequence[str] = base.SPLITS,
  strict: bool = False,
) -> base.Corpus:
  """Finds the clips below a folder.

  Args:
    root: folder with archives, or with what was in them.
    splits: those that are wanted; none of them may be empty.
    strict: refuse any gap.

  Returns:
    All clips that are there: train and valid of dev, test of eval.

  Raises:
    InputError: no tables, none of a split, or files that cannot be read.
  """
  listing = files.listed(root, ARCHIVE)
  wanted = [
    row
    for part in _NUM_CLIPS
    if _SPLITS_OF[part] & set(splits)
    for row in _rows(listing, root, part)
    if row.split in splits
  ]
  clips = base.first_of(listing, _key)
  found = [row for row in wanted if (row.part, row.name) in clips]
  stored = [clips[row.part, row.name] for row in found]
  licences = _licences(listing)
  recordings = [
    base.Recording(
      row.name, row.split, file, header, (1,), row.labels, licences(row)
    )
    for row, file, header in zip(
      found, stored, base.headers(stored, _RULE), strict=True
    )
  ]
  counts, missing = _gaps(wanted, found, strict)
  listed = {(row.part, row.name) for row in wanted}
  # Of a part none of which is wanted nothing is known.
  parts = {row.part for row in wanted}
  extra = sorted(n for p, n in clips.keys() - listed if p in parts)
  remarks = []
  if extra and set(splits) == set(base.SPLITS):
    remarks.append(
      f"{len(extra)} files without a row in the tables are left out: "
      + base.some(extra)
    )
  corpus = base.Corpus(
    "fsd50k", tuple(recordings), counts, missing, tuple(remarks), ()
  )
  return base.checked(corpus, listing, root, splits=splits, strict=strict)


def _key(path: pathlib.PurePosixPath) -> tuple[str, str] | None:
  folder = path.parent.name.casefold()
  for part in _NUM_CLIPS:
    if folder == f"fsd50k.{part}_audio" and path.suffix.casefold() == ".wav":
      return part, path.stem
  return None


def _rows(listing: files.Listing, root: pathlib.Path, part: str) -> list[_Row]:
  name = f"{part}.csv"
  found = base.first_of(listing, lambda p: p.name == name or None)
  if not found:
    if listing.broken:
      raise listing.broken[0]
    raise errors.InputError(
      f"{root}: found no {name}, expected the tables of "
      "FSD50K.ground_truth.zip, which say what belongs where"
    )
  is_dev = part == "dev"
  columns = ["fname", "labels"] + ["split"] * is_dev
  result = []
  for row in tables.rows(found[True], columns):
    split = _SPLITS.get(row["split"]) if is_dev else "test"
    if split is None:
      raise errors.InputError(
        f"{files.title(found[True])}: found the split {row['split']!r} of "
        f"{row['fname']}, expected train or val"
      )
    result.append(_Row(part, row["fname"], split, row["labels"]))
  return result


def _gaps(
  wanted: Sequence[_Row], found: Sequence[_Row], strict: bool
) -> tuple[dict[str, tuple[int, int]], tuple[str, ...]]:
  """Counts by set of clips, and sentences on clips without a file."""
  counts, missing = {}, []
  present = {(row.part, row.name) for row in found}
  for part, official in _NUM_CLIPS.items():
    rows = [row for row in wanted if row.part == part]
    lost = [row.name for row in rows if (part, row.name) not in present]
    counts[part] = len(rows) - len(lost), len(rows)
    if lost:
      missing.append(
        f"{len(lost)} of {len(rows)} clips of {part} have no file in "
        f"FSD50K.{part}_audio: {base.some(lost)}"
      )
    if strict and rows and len(rows) != official:
      missing.append(f"{part}.csv lists {len(rows)} clips of {official}")
  return counts, tuple(missing)


def _licences(listing: files.Listing) -> Callable[[_Row], str]:
  """Returns a function from row to licence."""
  tables_of = {}
  for part in _NUM_CLIPS:
    name = f"{part}_clips_info_FSD50K.json"
    found = base.first_of(listing, lambda p, n=name: p.name == n or None)
    tables_of[part] = _json(found[True]) if found else {}

  def licence(row: _Row) -> str:
    info = tables_of[row.part].get(row.name)
    named = info.get("license") if isinstance(info, dict) else None
    return named if isinstance(named, str) else ""

  return licence


def _json(file: files.Stored) -> dict:
  try:
    found = json.loads(files.content(file))
  except (ValueError, RecursionError) as error:
    raise errors.InputError(
      f"{files.title(file)}: found no JSON ({error}), expected licences by clip"
    ) from error
  return found if isinstance(found, dict) else {}
