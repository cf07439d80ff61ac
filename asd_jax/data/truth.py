"""What csv files and renamed copies say about clips.

Three sources complete the file names: the attributes csv of a machine, the
ground truth that is published after a challenge, and a folder with the same
clips under labelled names. Rows and clips are joined by name or by content,
never by position: published rows are not always sorted.
"""

import collections
import concurrent.futures
import csv
import hashlib
import pathlib
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from asd_jax import errors
from asd_jax.data import names

_TABLE = re.compile(
  r"ground_truth_(?P<machine>.+)_section_(?P<section>\d{2})_test\.csv",
  re.ASCII,
)
_LABELS = {"0": "normal", "1": "anomaly"}
_DOMAINS = {"0": "source", "1": "target"}


class Truth(NamedTuple):
  """What is known of a test clip; None or "" where nothing is.

  Attributes:
    label: "normal" or "anomaly".
    domain: "source" or "target".
    attributes: raw attribute text.
  """

  label: str | None = None
  domain: str | None = None
  attributes: str = ""


def find(folders: Iterable[pathlib.Path]) -> list[pathlib.Path]:
  """Returns the ground-truth tables that lie directly in one of the folders.

  These are `ground_truth_<machine>_section_XX_test.csv` in folders named
  ground_truth_data, ground_truth_domain and ground_truth_attributes, and
  `eval_data_list*.csv` anywhere.
  """
  found = []
  for folder in folders:
    if folder.name in _READERS:
      found += [p for p in folder.glob("*.csv") if _TABLE.fullmatch(p.name)]
    found += folder.glob("eval_data_list*.csv")
  return sorted(found)


def read(
  tables: Iterable[pathlib.Path], machine: str, test_names: Sequence[str]
) -> dict[str, Truth]:
  """Reads what ground-truth tables say about the test clips of a machine.

  Args:
    tables: csv files as `find` returns them; those of other machines are
      left alone. A csv of another name is read as an evaluation list.
    machine: name of the machine.
    test_names: base names of all its test clips.

  Returns:
    By base name; empty where no table speaks of the machine.

  Raises:
    InputError: a table that cannot be read, names no test clip, a test clip
      twice or not at all, two tables of one kind, or tables that disagree.
  """
  facts: dict[str, Truth] = {}
  seen: dict[tuple[str, str], pathlib.Path] = {}
  for path in tables:
    rows, kind, sections = _read_table(path, machine)
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
    _check_names(path, rows, wanted)
    for name, fact in rows.items():
      facts[name] = merge(path, name, facts.get(name, Truth()), fact)
  return facts


def merge(place: object, name: str, known: Truth, new: Truth) -> Truth:
  """Joins two statements about a clip; the first one's attributes win.

  Raises:
    InputError: they disagree on label or domain; `place` opens the message.
  """
  for field in ("label", "domain"):
    old, other = getattr(known, field), getattr(new, field)
    if old and other and old != other:
      raise errors.InputError(
        f"{place}: found {field} {other} for {name}, expected {old} as stated "
        "elsewhere (file name or another table)"
      )
  return Truth(
    known.label or new.label,
    known.domain or new.domain,
    known.attributes or new.attributes,
  )


def from_name(path: pathlib.Path) -> Truth:
  """Returns what an official file name says; nothing for other names."""
  # The suffix may be in capitals, which the grammar does not know.
  name = names.parse(f"{path.stem}.wav")
  return Truth(name.label, name.domain, name.attributes) if name else Truth()


def section_of(name: str) -> str:
  """Returns the section in a base name, "00" where it says none."""
  parsed = names.parse(f"{pathlib.PurePath(name).stem}.wav")
  return parsed.section if parsed else "00"


def split_of(name: str) -> str | None:
  """Returns the split that a base name says, if any."""
  parsed = names.parse(f"{pathlib.PurePath(name).stem}.wav")
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
  rows = _rows(path)
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
    if facts.setdefault(_base(file), text) != text:
      raise errors.InputError(
        f"{path}, line {number}: found attributes {text!r} for {_base(file)}, "
        f"expected {facts[_base(file)]!r} as in an earlier line"
      )
  return facts


def _read_table(
  path: pathlib.Path, machine: str
) -> tuple[dict[str, Truth], str, set[str]]:
  """Returns rows by base name, kind of table, and sections it covers."""
  match = _TABLE.fullmatch(path.name)
  if match and (kind := path.parent.name) in _READERS:
    if match["machine"] != machine:
      return {}, kind, set()
    cells = ((number, row) for number, row in _rows(path))
    reader = _READERS[kind]
    sections = {match["section"]}
  else:
    # One list of all machines; its clip names alone tell the sections.
    kind, reader = "list", _read_list_row
    cells = _rows_of_machine(path, machine)
    sections = set()
  rows: dict[str, Truth] = {}
  for number, row in cells:
    place = f"{path}, line {number}"
    name = _base(row[0])
    if name in rows:
      raise errors.InputError(
        f"{place}: found {name} again, expected one row a clip"
      )
    rows[name] = reader(place, row)
  return rows, kind, sections or {section_of(name) for name in rows}


def _rows_of_machine(
  path: pathlib.Path, machine: str
) -> Iterator[tuple[int, list[str]]]:
  """Yields a machine's rows of an evaluation list of all machines."""
  current = None
  for number, row in _rows(path):
    cells = [cell for cell in row if cell.strip()]
    # A line with one cell names the machine of the lines below it.
    if len(cells) == 1:
      current = cells[0].strip()
    elif current is None:
      raise errors.InputError(
        f"{path}, line {number}: found {','.join(row)}, expected a line with "
        "a machine name first"
      )
    elif current == machine:
      yield number, cells


def _read_label(place: str, row: Sequence[str]) -> Truth:
  return Truth(label=_choose(place, row, _LABELS))


def _read_domain(place: str, row: Sequence[str]) -> Truth:
  return Truth(domain=_choose(place, row, _DOMAINS))


def _read_labelled_name(place: str, row: Sequence[str]) -> Truth:
  text = row[1].strip() if len(row) == 2 else ""
  # The published tables leave the suffix out.
  name = names.parse(f"{_base(text).removesuffix('.wav')}.wav")
  if name is None:
    raise errors.InputError(
      f"{place}: found {','.join(row)}, expected a file name and a labelled "
      "file name"
    )
  return Truth(name.label, name.domain, name.attributes)


def _read_list_row(place: str, row: Sequence[str]) -> Truth:
  fact = _read_labelled_name(place, row[:2])
  # Lists of 2020 have the label in a third column.
  if len(row) < 3:
    return fact
  label = Truth(label=_choose(place, (row[0], *row[2:]), _LABELS))
  return merge(place, row[0], fact, label)


_READERS = {
  "ground_truth_data": _read_label,
  "ground_truth_domain": _read_domain,
  "ground_truth_attributes": _read_labelled_name,
}


def _choose(place: str, row: Sequence[str], words: dict[str, str]) -> str:
  value = row[1].strip() if len(row) == 2 else ""
  if value in words:
    return words[value]
  if value in words.values():
    return value
  meanings = " or ".join(f"{key} ({word})" for key, word in words.items())
  raise errors.InputError(
    f"{place}: found {','.join(row)}, expected a file name and {meanings}"
  )


def _check_names(
  path: pathlib.Path, rows: dict[str, Truth], wanted: Sequence[str]
) -> None:
  unknown = sorted(set(rows) - set(wanted))
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


def _rows(path: pathlib.Path) -> Iterator[tuple[int, list[str]]]:
  """Yields line number and cells of the lines that are not empty."""
  try:
    # Spreadsheets begin a csv with a mark (`utf-8-sig`), and names need not be
    # UTF-8: their bytes come back as they were written.
    with open(
      path, newline="", encoding="utf-8-sig", errors="surrogateescape"
    ) as file:
      reader = csv.reader(file)
      for row in reader:
        if any(cell.strip() for cell in row):
          yield reader.line_num, row
  except OSError as error:
    raise errors.InputError(
      f"{path}: found no readable file ({error.strerror}), expected a csv file"
    ) from error
  except csv.Error as error:
    raise errors.InputError(
      f"{path}: found {error}, expected a csv file"
    ) from error


def _base(name: str) -> str:
  """Returns the last part of a path of either kind of slash."""
  # Not by `pathlib`, which knows the slash of its own system only.
  return re.split(r"[/\\]", name)[-1]


def _digests(paths: Sequence[pathlib.Path]) -> list[bytes]:
  def digest(path: pathlib.Path) -> bytes:
    with open(path, "rb") as file:
      return hashlib.file_digest(file, "sha256").digest()

  # Hashing leaves the interpreter to other threads.
  with concurrent.futures.ThreadPoolExecutor() as pool:
    return list(pool.map(digest, paths))
