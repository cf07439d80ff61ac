"""Clips of a machine: challenge folders of 2020 to 2026, and plain folders."""

import collections
import dataclasses
import os
import pathlib
from collections.abc import Iterable, Sequence

from asd_jax import errors
from asd_jax.data import audio, folders, truth, truth_table

_MAX_CHANNELS = 2


@dataclasses.dataclass(frozen=True)
class Clip:
  """One sound file and what is known about it.

  Attributes:
    path: the file.
    machine: machine type.
    section: two digits; "00" where nothing says otherwise.
    split: "train" or "test".
    domain: "source", "target", or None if unknown.
    label: "normal", "anomaly", or None if unknown.
    attributes: raw attribute text, "" for none.
    header: header of the file; of a window the window's own length.
    start: of a window, in samples at the file's own rate.
    recording: header of the file that a window is a part of, else None.
    label_from: "names" (a development set: the file name says the label) or
      "ground_truth" (a table, or a copy that was renamed after one); None
      without a label.
  """

  path: pathlib.Path
  machine: str
  section: str
  split: str
  domain: str | None
  label: str | None
  attributes: str
  header: audio.Header
  start: int = 0
  recording: audio.Header | None = None
  # No part of what a clip is.
  label_from: str | None = dataclasses.field(default=None, compare=False)

  @property
  def name(self) -> str:
    """Base name; unique within machine and split."""
    return self.path.name


@dataclasses.dataclass(frozen=True)
class Machine:
  """All clips of one machine, sorted by name.

  Attributes:
    name: machine type.
    train: normal clips to learn from.
    test: clips to score; may be empty.
    notes: sentences on input that is odd but fine.
  """

  name: str
  train: tuple[Clip, ...]
  test: tuple[Clip, ...]
  notes: tuple[str, ...]


def read_tree(
  data_dir: str | os.PathLike,
  *,
  machines: Sequence[str] = (),
  ground_truth: str | os.PathLike | None = None,
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

  Returns:
    Machines sorted by name.

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
  result = [_read_machine(name, folder, tables) for name, folder in found]
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
) -> Machine:
  """Reads one machine from two folders of wave files with any names.

  Subfolders are read too. Nothing is taken from the names: labels, domains and
  attributes are unknown unless a table says them, the section is "00".

  Args:
    normal_dir: clips of the machine in normal state.
    test_dir: clips to score.
    name: what to call the machine.
    ground_truth: csv with the columns file, label and perhaps domain, a row
      for each clip to score.

  Raises:
    InputError: a folder without wave files, folders inside each other, a base
      name twice in a folder, clips of several rates or channel counts, a clip
      named as an anomaly among the normal ones, or a table of other clips.
  """
  roots = folders.existing(normal_dir), folders.existing(test_dir)
  # Links resolved: no clip to score may be one to learn from.
  first, second = (pathlib.Path(os.path.realpath(root)) for root in roots)
  if first.is_relative_to(second) or second.is_relative_to(first):
    raise errors.InputError(
      f"{roots[1]}: found a folder that shares clips with {roots[0]}, expected "
      "separate folders of normal clips and of clips to score"
    )
  clips: list[list[Clip]] = []
  notes = []
  for root, split in zip(roots, ("train", "test"), strict=True):
    # No name of a folder has a meaning here.
    paths, others = folders.sound_files(folders.walk(root, skipped=()))
    if not paths:
      raise folders.nothing_in(root, others)
    if others:
      notes.append(f"{len(others)} files in {root} are no recordings: ignored")
    found = _read_clips(paths, name, split, {})
    if split == "train":
      _check_normal(found)
    # Names that look official served to refuse anomalies, and for nothing
    # else.
    plain = [dataclasses.replace(c, section="00", attributes="") for c in found]
    told = truth.of_tables(root)
    clips.append([_labelled(c, told[c.name], None) for c in plain])
  train, test = clips
  if ground_truth is not None:
    facts = truth.read_own(ground_truth, [clip.name for clip in test])
    test = [_labelled(c, facts[c.name], "ground_truth") for c in test]
  _check_uniform([*train, *test])
  notes += _audio_notes([*train, *test])
  return Machine(name, tuple(train), tuple(test), tuple(notes))


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
  name: str, folder: pathlib.Path, tables: Sequence[pathlib.Path]
) -> Machine:
  notes: list[str] = []
  files = _split_files(name, folder, notes)
  rows = truth.attribute_tables(folder)
  if not any(rows.values()):
    notes.append("no attributes csv with rows: file names say the attributes")
  attributes = {k: v for table in rows.values() for k, v in table.items()}
  train = _read_clips(files["train"], name, "train", attributes)
  _check_train(train)
  for path, table in rows.items():
    _check_rows(path, table, train)
  test = _read_clips(files["test"], name, "test", attributes)
  test = _complete(test, tables, files["test_rename"], notes)
  _check_uniform([*train, *test])
  notes += _content_notes(train, test)
  notes += _audio_notes([*train, *test])
  return Machine(name, tuple(train), tuple(test), tuple(notes))


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
) -> list[Clip]:
  """Reads headers and names; `attributes` fills in where a name has none."""
  seen: dict[str, pathlib.Path] = {}
  for path in paths:
    # Scores, ground truth and attributes are all joined by this name.
    if seen.setdefault(path.name, path) is not path:
      raise errors.InputError(
        f"{path}: found the file name of {seen[path.name]} again, expected "
        f"each name once among the {split} clips of {machine}"
      )
  clips = []
  for path, header in zip(paths, audio.read_headers(paths), strict=True):
    fact = truth.from_name(path)
    text = fact.attributes or attributes.get(path.name, "")
    section = truth.section_of(path.name)
    # Names in this folder are written after what a challenge published.
    renamed = path.parent.name == folders.RENAMED
    clip = Clip(path, machine, section, split, None, None, text, header)
    clips.append(_labelled(clip, fact, "ground_truth" if renamed else "names"))
  return clips


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
  tables: Sequence[pathlib.Path],
  renamed: Sequence[pathlib.Path],
  notes: list[str],
) -> list[Clip]:
  """Adds what ground truth, else renamed copies, say about test clips."""
  if not test or all(clip.label for clip in test):
    return test
  facts = truth.read(tables, test[0].machine, [clip.name for clip in test])
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


def _check_uniform(clips: Sequence[Clip]) -> None:
  """Refuses several channel counts or rates in one machine."""
  for field, unit in (("num_channels", "channels"), ("sample_rate", "Hz")):
    kinds: dict[int, Clip] = {}
    for clip in clips:
      kinds.setdefault(getattr(clip.header, field), clip)
    (value, first), *others = kinds.items()
    for other, clip in others:
      raise errors.InputError(
        f"{clip.path}: found {other} {unit}, expected {value} {unit} as in "
        f"{first.path} of the same machine"
      )
  num_channels = clips[0].header.num_channels
  if num_channels > _MAX_CHANNELS:
    raise errors.InputError(
      f"{clips[0].path}: found {num_channels} channels, expected 1 or 2 (near "
      "and far)"
    )


def _content_notes(train: Sequence[Clip], test: Sequence[Clip]) -> list[str]:
  """Notes what names and tables leave open."""
  notes = []
  domains = {clip.domain for clip in train}
  if domains == {None}:
    notes.append("domains of the train clips are unknown")
  else:
    for domain in ("source", "target"):
      if domain not in domains:
        notes.append(f"no {domain} clips in train")
  if not test:
    return [*notes, "no test clips"]
  for field in ("label", "domain"):
    unknown = sum(getattr(clip, field) is None for clip in test)
    if unknown:
      notes.append(f"{field}s of {unknown} of {len(test)} test clips unknown")
  trained = sum(truth.split_of(clip.name) == "train" for clip in test)
  if trained:
    notes.append(f"{trained} test clips are named as train clips")
  for section in sorted({c.section for c in test} - {c.section for c in train}):
    notes.append(f"section {section} has test clips but no train clips")
  return notes


def _audio_notes(clips: Sequence[Clip]) -> list[str]:
  """Notes rates, lengths and sample formats that differ from the usual."""
  notes = []
  rate = clips[0].header.sample_rate
  if rate != audio.SAMPLE_RATE:
    notes.append(f"sample rate is {rate} Hz, not {audio.SAMPLE_RATE} Hz")
  seconds = [clip.header.num_samples / rate for clip in clips]
  if min(seconds) != max(seconds):
    notes.append(f"lengths go from {min(seconds):g} to {max(seconds):g} s")
  formats = collections.Counter(clip.header.subtype for clip in clips)
  for name in sorted(set(formats) - {"PCM_16"}):
    notes.append(f"sample format of {formats[name]} clips is {name}")
  return notes
