"""What csv files and renamed copies say about clips.

Three sources complete the file names: the attributes csv of a machine, ground
truth, as it is published after a challenge or written by a user, and a folder
with the same clips under labelled names. Rows and clips are joined by name or
by content, never by position: published rows are not always sorted.
"""

import collections
import concurrent.futures
import hashlib
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from asd_jax import errors
from asd_jax.data import folders as folder_lib
from asd_jax.data import names, truth_table
from asd_jax.data.truth_table import Truth

T = TypeVar("T")


def find(folders: Iterable[pathlib.Path]) -> list[pathlib.Path]:
  """Returns the ground-truth tables that lie directly in one of the folders.

  These are `ground_truth_<machine>_section_XX_test.csv` in folders named
  ground_truth_data, ground_truth_domain and ground_truth_attributes, and
  `eval_data_list*.csv` anywhere.
  """
  found = []
  for folder in folders:
    if folder.name in truth_table.READERS:
      found += [
        p for p in folder.glob("*.csv") if truth_table.TABLE.fullmatch(p.name)
      ]
    found += folder.glob("eval_data_list*.csv")
  return sorted(found)


def read(
  tables: Iterable[pathlib.Path],
  machine: str,
  test_names: Sequence[str],
  *,
  unread: Sequence[str] = (),
) -> dict[str, Truth]:
  """Reads what ground-truth tables say about the test clips of a machine.

  Args:
    tables: csv files as `find` returns them; those of other machines are
      left alone. A csv of another name is a user's own table, see
      `read_own`, with `<machine>/` in its file names, or an evaluation list.
    machine: name of the machine.
    test_names: base names of all its test clips.
    unread: those of files that cannot be read; a table may name them or not.

  Returns:
    By base name; empty where no table speaks of the machine.

  Raises:
    InputError: a table that cannot be read, names no test clip, a test clip
      twice or not at all, two tables of one kind, or tables that disagree.
  """
  facts: dict[str, Truth] = {}
  seen: dict[tuple[str, str], pathlib.Path] = {}
  for path in tables:
    rows, kind, sections = truth_table.read(path, machine)
    rows = as_named(rows, [*test_names, *unread])
    sections = sections or {section_of(name) for name in rows}
    for section in sections:
      # Machines and clip names are the same in every year. Only the second
      # table shows that two years lie in one folder.
      other = seen.setdefault((kind, section), path)
      if other != path:
        raise errors.InputError(
          f"{path}: found a second table of {machine}, section {section}, "
          f"beside {other}, expected one; keep the tables of one year"
        )
    # A table speaks of whole sections: a clip that it leaves out is an error,
    # not a clip of unknown label.
    wanted = [n for n in test_names if section_of(n) in sections]
    _check_names(path, rows, wanted, unread)
    for name, fact in rows.items():
      facts[name] = truth_table.merge(
        path, name, facts.get(name, Truth()), fact
      )
  return facts


def given(path: str | os.PathLike) -> list[pathlib.Path]:
  """The tables that a user names.

  Args:
    path: a csv file, or a folder with tables of the challenge at any depth.

  Raises:
    InputError: there are none.
  """
  place = folder_lib.as_on_disk(pathlib.Path(path).expanduser())
  if place.is_file():
    return [place]
  tables = find(folder_lib.walk(folder_lib.existing(place)))
  if not tables:
    raise errors.InputError(
      f"{place}: found no ground truth, expected csv files in folders "
      "ground_truth_data, ground_truth_domain, ground_truth_attributes, or an "
      "eval_data_list csv"
    )
  return tables


def as_named(rows: Mapping[str, T], names: Sequence[str]) -> dict[str, T]:
  """Rows by the names of the clips that they mean.

  Args:
    rows: by name, as a table writes it.
    names: of clips, as the disk writes them.

  Returns:
    The rows; where a letter such as `ü` is one character here and two there,
    by the name of the clip.
  """
  known = set(names)
  forms = collections.Counter(map(folder_lib.composed, known))
  clips = {folder_lib.composed(n): n for n in known}
  out = {}
  for name, row in rows.items():
    form = folder_lib.composed(name)
    other = clips.get(form, name)
    fits = name in known or forms[form] != 1 or other in rows
    out[name if fits else other] = row
  return out


def read_own(
  path: str | os.PathLike,
  test_names: Sequence[str],
  *,
  unread: Sequence[str] = (),
) -> dict[str, Truth]:
  """Reads a user's table of the test clips of the only machine.

  Args:
    path: csv with the columns `file`, `label` and perhaps `domain`, see
      `truth_table.read_own`; folders in its file names count where base names
      are not enough.
    test_names: names of all test clips.
    unread: those of files that cannot be read; the table may name them or not.

  Returns:
    By name.

  Raises:
    InputError: it is no such file, or names an unknown clip, a clip twice or
      not at all.
  """
  place = folder_lib.as_on_disk(pathlib.Path(path).expanduser())
  if place.is_dir():
    raise errors.InputError(
      f"{place}: found a folder, expected a csv file with the columns file, "
      "label and perhaps domain"
    )
  rows = truth_table.read_own(place, names=[*test_names, *unread])
  _check_names(place, rows, test_names, unread)
  return rows


def from_name(path: pathlib.Path) -> Truth:
  """Returns what an official file name says; nothing for other names."""
  name = names.of_file(path.name)
  return Truth(name.label, name.domain, name.attributes) if name else Truth()


def section_of(name: str) -> str:
  """Returns the section in a base name, "00" where it says none."""
  parsed = names.of_file(name)
  return parsed.section if parsed else "00"


def split_of(name: str) -> str | None:
  """Returns the split that a base name says, if any."""
  parsed = names.of_file(name)
  return parsed.split if parsed else None


def match_renamed(
  clips: Sequence[pathlib.Path], renamed: Sequence[pathlib.Path]
) -> dict[str, Truth]:
  """Finds the labelled copy of each clip by its content.

  Args:
    clips: files with anonymous names.
    renamed: the same files under labelled names, in any order.

  Returns:
    By base name of the clip, what the name of its copy says.

  Raises:
    InputError: a clip without a copy, or with copies that say different
      things.
  """
  # Never by number: it may differ between the two names of a clip. Equal files
  # under several names are fine where these say the same.
  copies = collections.defaultdict(set)
  for path, digest in zip(renamed, _digests(renamed), strict=True):
    copies[digest].add(from_name(path))
  facts = {}
  for path, digest in zip(clips, _digests(clips), strict=True):
    found = copies.get(digest, set())
    if len(found) != 1:
      raise errors.InputError(
        f"{path}: found {len(found)} differently labelled copies in "
        f"{renamed[0].parent}, expected one with the same bytes; remove that "
        "folder to score without labels"
      )
    facts[path.name] = next(iter(found))
  return facts


def attribute_tables(
  folder: pathlib.Path, names: Sequence[str]
) -> dict[pathlib.Path, dict[str, str]]:
  """Reads the attributes tables that lie directly in a folder.

  Args:
    folder: of a machine, or of clips of any names.
    names: base names of the clips.

  Returns:
    What `read_attributes` finds, by table `attributes_XX.csv`.
  """
  tables = sorted(folder.glob("attributes_[0-9][0-9].csv"))
  return {path: as_named(read_attributes(path), names) for path in tables}


def of_tables(
  folder: pathlib.Path, names: Sequence[str]
) -> Mapping[str, Truth]:
  """Attributes of clips, by base name, from the tables in their folder.

  Args:
    folder: see `attribute_tables`.
    names: base names of the clips.

  Returns:
    What the tables say; of any other name nothing.
  """
  facts: dict[str, Truth] = collections.defaultdict(Truth)
  for rows in attribute_tables(folder, names).values():
    facts |= {name: Truth(attributes=text) for name, text in rows.items()}
  return facts


def read_attributes(path: pathlib.Path) -> dict[str, str]:
  """Reads an attributes csv.

  Args:
    path: csv with a header line, `file_name` first, then parameter names and
      values in turn.

  Returns:
    Attribute text by base name, written as in file names (`car_B1_mic_1`).
    Repeated keys stay, values stay text; missing columns, empty cells and
    `noAttribute` all give "".

  Raises:
    InputError: no such header, or a clip twice with different attributes.
  """
  rows = truth_table.rows_of(path)
  number, header = next(rows, (1, [""]))
  if header[0].strip() != "file_name":
    raise errors.InputError(
      f"{path}, line {number}: found {header[0]!r} as first column, expected "
      "file_name"
    )
  facts: dict[str, str] = {}
  for number, (file, *cells) in rows:
    # Not a mapping of names to values: a name such as `mic` may come twice.
    tokens = (names.clean_attributes(cell.strip()) for cell in cells)
    text = "_".join(token for token in tokens if token)
    name = truth_table.base(file)
    if facts.setdefault(name, text) != text:
      raise errors.InputError(
        f"{path}, line {number}: found attributes {text!r} for {name}, "
        f"expected {facts[name]!r} as in an earlier line"
      )
  return facts


def _check_names(
  path: pathlib.Path,
  rows: dict[str, Truth],
  wanted: Sequence[str],
  unread: Sequence[str],
) -> None:
  unknown = sorted(set(rows) - set(wanted) - set(unread))
  if unknown:
    raise errors.InputError(
      f"{path}: found {len(unknown)} rows of unknown clips such as "
      f"{unknown[0]}, expected only the {len(wanted)} test clips"
    )
  missing = sorted(set(wanted) - set(rows))
  if missing:
    raise errors.InputError(
      f"{path}: found {len(rows)} rows, expected {len(wanted)}; "
      f"{len(missing)} test clips are missing, the first is {missing[0]}"
    )


def _digests(paths: Sequence[pathlib.Path]) -> list[bytes]:
  def digest(path: pathlib.Path) -> bytes:
    with open(path, "rb") as file:
      return hashlib.file_digest(file, "sha256").digest()

  # Hashing leaves the interpreter to other threads.
  with concurrent.futures.ThreadPoolExecutor() as pool:
    return list(pool.map(digest, paths))
