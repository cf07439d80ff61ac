"""File names of the DCASE Task 2 data sets of 2020 to 2026.

A name says section, domain, split, label and attributes; the index numbers
nothing reliably, so clips are keyed by their full names.

Source: [DCASE26], data sets of Task 2.
"""

import pathlib
import re
from typing import NamedTuple

# Every part but section and index is missing in some set: evaluation clips have
# no label, a machine of 2024 no split. A grammar copes, a split at `_` does
# not. Attributes may hold dots (`volt_1.5`): only the last one ends the name.
_MAIN = re.compile(
  r"section_(?P<section>\d{2})"
  r"(?:_(?P<domain>source|target))?"
  r"(?:_(?P<split>train|test))?"
  r"(?:_(?P<label>normal|anomaly))?"
  r"_(?P<index>\d{4})"
  r"(?:_(?P<attributes>.*))?\.wav",
  re.ASCII,
)
_IDS_2020 = re.compile(
  r"(?:(?P<label>normal|anomaly)_)?"
  r"id_(?P<section>\d{2})_(?P<index>\d{8})\.wav",
  re.ASCII,
)
# Tried last, as its `kind` would also fit a domain.
_SUPPLEMENTAL = re.compile(
  r"section_(?P<section>\d{2})_(?P<kind>[a-z]+)"
  r"(?:_(?P<domain>source|target))?"
  r"_(?P<index>\d{4})"
  r"(?:_(?P<attributes>.*))?\.wav",
  re.ASCII,
)


class Name(NamedTuple):
  """What an official file name says; None where it says nothing.

  Attributes:
    section: two digits; the machine id in 2020.
    domain: "source" or "target".
    split: "train", "test", or "supplemental" for the extra clips of 2025.
    label: "normal" or "anomaly".
    index: digits as written; neither contiguous nor unique in a folder.
    attributes: raw text between index and suffix, "" for none and for
      `noAttribute`. Case is kept: see `fold`.
  """

  section: str
  domain: str | None
  split: str | None
  label: str | None
  index: str
  attributes: str


def parse(file_name: str) -> Name | None:
  """Reads an official file name, or returns None for any other name.

  Args:
    file_name: base name with its suffix `.wav`, no folders.

  Returns:
    The parsed name; None where no official grammar matches in full.
  """
  if "/" in file_name:
    return None
  for pattern in (_MAIN, _IDS_2020, _SUPPLEMENTAL):
    if match := pattern.fullmatch(file_name):
      found = match.groupdict()
      split = "supplemental" if found.get("kind") else found.get("split")
      return Name(
        section=found["section"],
        domain=found.get("domain"),
        split=split,
        label=found.get("label"),
        index=found["index"],
        attributes=clean_attributes(found.get("attributes") or ""),
      )
  return None


def of_file(file_name: str) -> Name | None:
  """Reads the name of a file of any kind, whose ending may be in capitals.

  Args:
    file_name: base name.

  Returns:
    As `parse`.
  """
  return parse(f"{pathlib.PurePath(file_name).stem}.wav")


def clean_attributes(text: str) -> str:
  """Returns the text itself, or "" where it stands for no attributes."""
  return "" if text.strip("_").casefold() == "noattribute" else text


def attribute_pairs(attributes: str) -> tuple[tuple[str, str], ...]:
  """Reads attribute text as key and value pairs, from left to right.

  Repeated keys stay (`mic_2_mic_1` gives two), values stay text (`1.5` is a
  label), case stays. Not every year writes pairs: a last token without a
  partner becomes a key with the value "" (`volt_1.5_damage1`), and free words
  (`spd1000_BckgC`) cannot be told from a pair and are read as one. Compare
  whole strings with `fold` where that matters.

  Args:
    attributes: raw attribute text, tokens joined by `_`.

  Returns:
    Pairs in the order of the text; empty for "" and `noAttribute`.
  """
  tokens = clean_attributes(attributes).rstrip("_").split("_")
  if tokens == [""]:
    return ()
  if len(tokens) % 2:
    tokens.append("")
  return tuple(zip(tokens[::2], tokens[1::2], strict=True))


def fold(attributes: str) -> str:
  """Returns attribute text in the form in which two of them are compared.

  In gearboxEmu of 2026 the normal target test clips say `pro_y`, the anomalous
  and the training ones `pro_Y`: read literally, the case is the label. Trailing
  underscores carry no meaning either.
  """
  return clean_attributes(attributes).rstrip("_").casefold()
