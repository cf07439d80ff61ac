"""Clips of a machine: challenge folders of 2020 to 2026, and plain folders."""

import dataclasses
import os
import pathlib
from collections.abc import Iterable, Sequence

from asd_jax import errors
from asd_jax.data import folders, truth, truth_table
from asd_jax.data import machine as machine_lib
from asd_jax.data.machine import Clip, Machine, Unread

__all__ = ["Clip", "Machine", "Unread", "read_plain", "read_tree"]


def read_tree(
  data_dir: str | os.PathLike,
  *,
  machines: Sequence[str] = (),
  ground_truth: str | os.PathLike | None = None,
  channels: Sequence[int] = (),
) -> list[Machine]:
  """Reads every machine below a folder in the layout of the challenge.

  A machine is a folder with wave files in `train`, `test` (or `source_test`
  and `target_test`), at any depth. What the name of a test clip leaves open
  comes from ground truth, else from `test_rename`; missing attributes of any
  clip come last from the attributes csv.

  * Ground-truth tables are searched below `data_dir` unless given, and joined
    by name. A test set whose names are all labelled needs none.
  * `test_rename` holds copies of the test clips under labelled names. Clips
    keep their anonymous names and take label, domain and attributes from the
    copy with the same bytes. Without a test folder the copies themselves are
    the test clips.

  Args:
    data_dir: folder above the machines, or a machine folder.
    machines: names to read; empty for all.
    ground_truth: folder with ground-truth tables at any depth, or a csv: an
      evaluation list, or a table of file (`<machine>/test/<name>`), label and
      perhaps domain.
    channels: of each file, near and perhaps far; all of them if empty.

  Returns:
    Machines sorted by name. A file to score that cannot be stops none.

  Raises:
    InputError: nothing to read, or input that contradicts itself; the message
      names the file or folder, what was found and what was expected.
  """
  root = folders.existing(data_dir)
  # Walked once: machines and tables both lie anywhere in it.
  below = list(folders.walk(root))
  found = folders.find_machines(root, below, wanted=machines)
  if ground_truth is None:
    tables = truth.find(below)
  else:
    tables = truth.given(ground_truth)
  result = [_read_machine(*place, tables, channels) for place in found]
  # Tables that were found may be of other machines; given ones are meant.
  if ground_truth is not None:
    _check_used(ground_truth, result)
  return result


def read_plain(
  normal_dir: str | os.PathLike,
  test_dir: str | os.PathLike,
  *,
  name: str = "machine",
  ground_truth: str | os.PathLike | None = None,
  channels: Sequence[int] = (),
) -> Machine:
  """Reads one machine from two folders of files with any names.

  Subfolders are read too, and names are relative to the folder. Nothing is
  taken from the names: labels, domains and attributes are unknown unless a
  table says them, the section is "00".

  Args:
    normal_dir: clips of the machine in normal state.
    test_dir: clips to score.
    name: what to call the machine.
    ground_truth: csv with the columns file, label and perhaps domain, a row
      for each clip to score.
    channels: of each file, near and perhaps far; all of them if empty.

  Returns:
    The machine. A file to score that cannot be stops none.

  Raises:
    InputError: a folder without recordings, folders inside each other, normal
      clips that cannot be read, of several rates or channel counts or named as
      anomalies, or a table of other clips.
  """
  roots = folders.existing(normal_dir), folders.existing(test_dir)
  # Links resolved: no clip to score may be one to learn from.
  first, second = (pathlib.Path(os.path.realpath(root)) for root in roots)
  if first.is_relative_to(second) or second.is_relative_to(first):
    raise errors.InputError(
      f"{roots[1]}: found a folder that shares clips with {roots[0]}, expected "
      "separate folders of normal clips and of clips to score"
    )
  train, none, notes = _read_split(roots[0], name, "train", channels)
  if none:
    raise errors.InputError(none[0].problem)
  test, unread, more = _read_split(roots[1], name, "test", channels)
  if ground_truth is not None:
    names = [clip.name for clip in test]
    facts = truth.read_own(
      ground_truth, names, unread=[file.name for file in unread]
    )
    test = [_labelled(c, facts[c.name], "ground_truth") for c in test]
  machine_lib.check_uniform(train)
  notes += [*more, *machine_lib.audio_notes(train, test)]
  return Machine(name, tuple(train), tuple(test), tuple(notes), tuple(unread))


def _read_split(
  root: pathlib.Path, machine: str, split: str, channels: Sequence[int]
) -> tuple[list[Clip], list[Unread], list[str]]:
  """Reads the clips of a plain folder; returns notes last."""
  # No name of a folder has a meaning here.
  paths, others = folders.sound_files(folders.walk(root, skipped=()))
  if not paths:
    raise folders.nothing_in(root, others)
  notes = []
  if others:
    notes.append(f"{len(others)} files in {root} are no recordings: ignored")
  files = [path.relative_to(root).as_posix() for path in paths]
  found, unread = _read_clips(paths, machine, split, {}, channels, files)
  if split == "train":
    _check_normal(found)
  told = truth.of_tables(root, [_base(path) for path in paths])
  # Names that look official served to refuse anomalies, and for nothing else.
  plain = [dataclasses.replace(c, section="00", attributes="") for c in found]
  some = [_labelled(c, told[_base(c.path)], None) for c in plain]
  return some, [file._replace(section="00") for file in unread], notes


def _base(path: pathlib.Path) -> str:
  return folders.text_of(path.name)


def _check_used(
  ground_truth: str | os.PathLike, machines: Iterable[Machine]
) -> None:
  """Refuses ground truth that was given but labels no machine."""
  tested = [machine for machine in machines if machine.test]
  unlabelled = [m.name for m in tested if None in {c.label for c in m.test}]
  if unlabelled and len(unlabelled) == len(tested):
    raise errors.InputError(
      f"{ground_truth}: found labels for none of the machines, expected some "
      f"for {', '.join(unlabelled)}"
    )


def _read_machine(
  name: str,
  folder: pathlib.Path,
  tables: Sequence[pathlib.Path],
  channels: Sequence[int],
) -> Machine:
  notes: list[str] = []
  files = _split_files(name, folder, notes)
  names = [_base(path) for paths in files.values() for path in paths]
  rows = truth.attribute_tables(folder, names)
  if not any(rows.values()):
    notes.append("no attributes csv with rows: file names say the attributes")
  attributes = {k: v for table in rows.values() for k, v in table.items()}
  train, none = _read_clips(files["train"], name, "train", attributes, channels)
  if none:
    raise errors.InputError(none[0].problem)
  _check_train(train)
  for path, table in rows.items():
    _check_rows(path, table, train)
  test, unread = _read_clips(files["test"], name, "test", attributes, channels)
  test = _complete(test, unread, tables, files["test_rename"], notes)
  machine_lib.check_uniform(train)
  notes += machine_lib.content_notes(train, test)
  notes += machine_lib.audio_notes(train, test)
  return Machine(name, tuple(train), tuple(test), tuple(notes), tuple(unread))


def _split_files(
  name: str, folder: pathlib.Path, notes: list[str]
) -> dict[str, list[pathlib.Path]]:
  """Returns the sound files of each split; appends notes on other content."""
  present = {path.name for path in folder.iterdir() if path.is_dir()}
  places = dict(
    train=("train",), test=folders.TEST_FOLDERS, test_rename=("test_rename",)
  )
  files: dict[str, list[pathlib.Path]] = {}
  for split, wanted in places.items():
    here = [folder / place for place in wanted if place in present]
    files[split], others = folders.sound_files(here)
    if others:
      notes.append(f"{len(others)} files in {split} are no recordings: ignored")
    if split == "train" and not files[split]:
      wanted = f"normal clips of machine {name} to learn from"
      raise folders.nothing_in(folder / "train", others, wanted=wanted)
  # From 2025: the machine's sound without noise, or noise alone. Neither is a
  # clip to learn the normal state from.
  if "supplemental" in present:
    extra, _ = folders.sound_files([folder / "supplemental"])
    notes.append(f"supplemental folder ignored ({len(extra)} recordings)")
  if files["test_rename"] and not files["test"]:
    files["test"] = files["test_rename"]
    notes.append("no test folder: the clips of test_rename are scored")
  return files


def _read_clips(
  paths: Sequence[pathlib.Path],
  machine: str,
  split: str,
  attributes: dict[str, str],
  channels: Sequence[int],
  files: Sequence[str | None] | None = None,
) -> tuple[list[Clip], list[Unread]]:
  """Reads headers and names; `attributes` fills in where a name has none.

  `files` are names below the folder of a plain set, instead of base names.
  """
  files = files or [None] * len(paths)
  seen: dict[str, pathlib.Path] = {}
  for path, file in zip(paths, files, strict=True):
    # Scores, ground truth and attributes are all joined by this name.
    if seen.setdefault(file or path.name, path) is not path:
      raise errors.InputError(
        f"{path}: found the file name of {seen[file or path.name]} again, "
        f"expected each name once among the {split} clips of {machine}"
      )
  clips, unread = [], []
  heads = machine_lib.found_headers(paths, channels)
  for path, file, header in zip(paths, files, heads, strict=True):
    section = truth.section_of(_base(path))
    if isinstance(header, errors.InputError):
      name = folders.text_of(file or path.name)
      unread.append(Unread(name, section, str(header)))
      continue
    fact = truth.from_name(path)
    clip = Clip(
      path,
      machine,
      section,
      split,
      None,
      None,
      fact.attributes or attributes.get(_base(path), ""),
      header,
      channels=tuple(channels),
      file=file,
    )
    # Names in this folder are written after what a challenge published.
    renamed = path.parent.name == folders.RENAMED
    clips.append(_labelled(clip, fact, "ground_truth" if renamed else "names"))
  return clips, unread


def _labelled(clip: Clip, fact: truth.Truth, source: str | None) -> Clip:
  """A clip with what a source says of it."""
  return dataclasses.replace(
    clip,
    label=fact.label,
    domain=fact.domain,
    attributes=fact.attributes or clip.attributes,
    label_from=source if fact.label else None,
  )


def _complete(
  test: list[Clip],
  unread: Sequence[Unread],
  tables: Sequence[pathlib.Path],
  renamed: Sequence[pathlib.Path],
  notes: list[str],
) -> list[Clip]:
  """Adds what ground truth, else renamed copies, say about test clips."""
  if not test or all(clip.label for clip in test):
    return test
  names = [clip.name for clip in test]
  facts = truth.read(
    *(tables, test[0].machine, names), unread=[file.name for file in unread]
  )
  if renamed and facts:
    notes.append("test_rename ignored: there is ground truth")
  elif renamed:
    # By content: the number in a labelled name may be another one.
    facts = truth.match_renamed([clip.path for clip in test], renamed)
    notes.append(
      "labels of the test clips come from equal files in test_rename"
    )
  result = []
  for clip in test:
    fact = facts.get(clip.name, truth.Truth())
    # If name and table disagree, the table is of another set.
    name = truth.from_name(clip.path)
    fact = truth_table.merge(clip.path, clip.name, name, fact)
    result.append(_labelled(clip, fact, clip.label_from or "ground_truth"))
  return result


def _check_normal(train: Iterable[Clip]) -> None:
  for clip in train:
    if clip.label == "anomaly":
      raise errors.InputError(
        f"{clip.path}: found a clip named as an anomaly, expected only normal "
        "clips to learn from"
      )


def _check_train(train: Sequence[Clip]) -> None:
  _check_normal(train)
  for clip in train:
    split = truth.split_of(clip.name)
    if split not in (None, "train"):
      raise errors.InputError(
        f"{clip.path}: found a {split} clip by its name, expected only train "
        "clips in this folder"
      )


def _check_rows(
  path: pathlib.Path, rows: dict[str, str], train: Iterable[Clip]
) -> None:
  """Refuses an attributes csv that leaves out clips of its section."""
  # The same machine has other clips in other years: a csv from there shows up
  # here.
  section = path.stem[-2:]
  clips = [clip for clip in train if clip.section == section]
  missing = [clip.name for clip in clips if clip.name not in rows]
  if missing and rows:
    raise errors.InputError(
      f"{path}: found rows for {len(clips) - len(missing)} train clips, "
      f"expected {len(clips)}; {len(missing)} are missing, the first is "
      f"{missing[0]}"
    )
