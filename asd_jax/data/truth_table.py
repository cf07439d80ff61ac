"""Rows of the tables that say what test clips are.

The challenge publishes several kinds after its end; a user's own table has a
line a clip: file, label and perhaps domain.
"""

import csv
import os
import pathlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from asd_jax import errors
from asd_jax.data import folders as folder_lib
from asd_jax.data import names as file_names

TABLE = re.compile(
  r"ground_truth_(?P<machine>.+)_section_(?P<section>\d{2})_test\.csv",
  re.ASCII,
)
_LABELS = {"0": "normal", "1": "anomaly"}
_DOMAINS = {"0": "source", "1": "target"}
_SLASHES = r"[/\\]"  # of either kind: tables come from any system
_OWN_COLUMNS = ("file", "label", "domain")


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


def read(
  path: pathlib.Path, machine: str
) -> tuple[dict[str, Truth], str, set[str]]:
  """Reads what a table says of a machine's test clips.

  Args:
    path: a table of the challenge, by its name and folder; any other csv is a
      user's own where its first line says so, else an evaluation list.
    machine: name of the machine.

  Returns:
    Rows by base name, the kind of table, and the sections that its name tells.

  Raises:
    InputError: it cannot be read, or a clip stands in two rows.
  """
  match = TABLE.fullmatch(path.name)
  if match and (kind := path.parent.name) in READERS:
    if match["machine"] != machine:
      return {}, kind, set()
    rows = _by_name(path, rows_of(path), READERS[kind])
    return rows, kind, {match["section"]}
  if _own_columns(path):
    return read_own(path, machine=machine), "own", set()
  # One list of all machines; its clip names alone tell the sections.
  cells = _rows_of_machine(path, machine)
  return _by_name(path, cells, _read_list_row), "list", set()


def read_own(
  path: pathlib.Path,
  *,
  machine: str | None = None,
  names: Sequence[str] = (),
) -> dict[str, Truth]:
  """Reads a user's own table.

  Args:
    path: csv with the columns `file`, `label` (normal or anomaly, 0 or 1) and
      perhaps `domain` (source or target, 0 or 1; empty where it is unknown).
      A first line names them, in any order and among others; without it they
      stand in this order.
    machine: takes the files in a folder of this name alone; None takes all.
    names: of the clips, with folders; rows are found by as much of their path
      as the two share.

  Returns:
    By name.

  Raises:
    InputError: it cannot be read, or a row cannot be understood or repeats a
      clip.
  """
  rows = rows_of(path)
  columns = _own_columns(path)
  if columns:
    next(rows)
  else:
    columns = {name: i for i, name in enumerate(_OWN_COLUMNS)}
  found: dict[str, Truth] = {}
  ends: dict[str, list[str]] = {}
  for name in names:
    ends.setdefault(folder_lib.composed(base(name)), []).append(name)
  for number, row in rows:
    place = f"{path}, line {number}"
    cells = {n: row[i] if i < len(row) else "" for n, i in columns.items()}
    *folders, name = re.split(_SLASHES, cells["file"])
    # Clips of all machines have the same names.
    if machine is not None and not folders:
      raise errors.InputError(
        f"{place}: found {name}, expected <machine>/test/{name}, as clips of"
        " all machines have the same names"
      )
    if machine is None or machine in folders:
      some = ends.get(folder_lib.composed(name), [name])
      name = _meant(place, (*folders, name), some)
      _put(found, place, name, _own_fact(place, cells))
  return found


def _meant(place: str, parts: Sequence[str], names: Sequence[str]) -> str:
  """Which of some clips of one base name a path in a table means."""
  said = "/".join(parts)
  if said in names or len(names) == 1:
    return said if said in names else names[0]
  ends = folder_lib.composed(said).split("/")[::-1]
  shared = [
    len(os.path.commonprefix([ends, folder_lib.composed(n).split("/")[::-1]]))
    for n in names
  ]
  best = [n for n, num in zip(names, shared, strict=True) if num == max(shared)]
  if len(best) > 1:
    raise errors.InputError(
      f"{place}: found {said}, which may be {best[0]} or {best[1]}, expected it"
      " with its folder"
    )
  return best[0]


def _own_columns(path: pathlib.Path) -> dict[str, int]:
  """The columns that a first line names; none if it names none."""
  _, first = next(rows_of(path), (1, [""]))
  cells = [cell.strip().casefold() for cell in first]
  columns = {n: cells.index(n) for n in _OWN_COLUMNS if n in cells}
  return columns if {"file", "label"} <= columns.keys() else {}


def _own_fact(place: str, cells: dict[str, str]) -> Truth:
  """Label and domain of a row, in a user's words."""
  label, domain = (
    cells.get(n, "").strip().casefold() for n in _OWN_COLUMNS[1:]
  )
  words = {**_LABELS, "anomalous": "anomaly"}
  file = cells["file"]
  fact = Truth(_choose(place, (file, words.get(label, label)), _LABELS))
  if not domain:
    return fact
  return fact._replace(domain=_choose(place, (file, domain), _DOMAINS))


def _put(found: dict[str, Truth], place: str, name: str, fact: Truth) -> None:
  if found.setdefault(name, fact) is not fact:
    raise errors.InputError(
      f"{place}: found {name} again, expected one row a clip"
    )


def _by_name(
  path: pathlib.Path,
  rows: Iterable[tuple[int, Sequence[str]]],
  reader: Callable[[str, Sequence[str]], Truth],
) -> dict[str, Truth]:
  """What rows with a file name first say, by its base name."""
  found: dict[str, Truth] = {}
  for number, row in rows:
    place = f"{path}, line {number}"
    _put(found, place, base(row[0]), reader(place, row))
  return found


def _rows_of_machine(
  path: pathlib.Path, machine: str
) -> Iterator[tuple[int, list[str]]]:
  """Yields a machine's rows of an evaluation list of all machines."""
  current = None
  for number, row in rows_of(path):
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
  name = file_names.parse(f"{base(text).removesuffix('.wav')}.wav")
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


READERS = {
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


def rows_of(path: pathlib.Path) -> Iterator[tuple[int, list[str]]]:
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


def base(name: str) -> str:
  """Returns the last part of a path of either kind of slash."""
  # Not by `pathlib`, which knows the slash of its own system only.
  return re.split(_SLASHES, name)[-1]
