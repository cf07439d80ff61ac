"""Scores and labels of the clips of two runs, for a test over clips."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from asd_jax import errors
from asd_jax.data import folders, score_table, truth, truth_table
from asd_jax.metrics import official, paired, paired_clips
from asd_jax.report import seeds as report_seeds
from asd_jax.report import text

# What says where a run's clips came from.
_DATA = ("data_dir", "normal", "test", "ground_truth", "synthetic")


class Source(NamedTuple):
  """Where a run's scores are.

  Attributes:
    folder: of results.json.
    results: its content.
  """

  folder: Path
  results: Mapping[str, Any]


class Found(NamedTuple):
  """A comparison over clips; `why` says so if there is none.

  Attributes:
    official: record of the official score.
    machines: records by machine.
    notes: what a reader must know.
    why: reason why there is no record.
  """

  official: paired.Comparison | None
  machines: dict[str, paired.Comparison]
  notes: list[str]
  why: str = ""


def data_notes(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
  """Says where two runs may have seen other clips.

  Args:
    a: content of a results.json.
    b: content of the other.

  Returns:
    Notes.
  """
  notes = []
  one, two = (r["machines"] for r in (a, b))
  for key, what in (("n_train", "training"), ("n_test", "test")):
    # A difference may come from the clips and not from the system.
    counts = {n: (one[n].get(key), two[n].get(key)) for n in one if n in two}
    if other := [f"{n} {x} and {y}" for n, (x, y) in counts.items() if x != y]:
      notes.append(
        f"other data, {what} clips in A and B: {report_seeds.named(other)}"
      )
  configs = [r.get("config") for r in (a, b)]
  configs = [c if isinstance(c, dict) else {} for c in configs]
  for key in _DATA:
    first, second = (c.get(key) or "nothing" for c in configs)
    if first != second:
      notes.append(
        f"the data may differ: {key} is {text.visible(first)} in A and"
        f" {text.visible(second)} in B"
      )
  return notes


def read_labels(
  config: Mapping[str, Any], machine: str, clips: Sequence[str]
) -> dict[str, truth.Truth]:
  """Finds labels and domains as evaluate.py does, without reading clips.

  Args:
    config: of the run.
    machine: name of the machine.
    clips: its test clips.

  Returns:
    What the clips' names say, else the ground-truth tables; of plain folders
    what their table says.

  Raises:
    InputError: a label is not to be found.
  """
  if config.get("normal"):  # names of plain folders say nothing
    if not config.get("ground_truth"):
      raise errors.InputError(
        f"{machine}: found no labels of its plain folders"
      )
    return truth.read_own(config["ground_truth"], clips)
  # Names say it in development sets; tables are read only where they do not.
  known = {c: truth.from_name(Path(c)) for c in clips}
  if all(t.label for t in known.values()):
    return known
  given = Path(config.get("ground_truth") or config.get("data_dir") or "")
  tables = [given] if given.is_file() else []
  if not tables and given.is_dir():
    tables = truth.find(folders.walk(given))
  facts = truth.read(tables, machine, clips)
  for clip in clips:
    fact = facts.get(clip, truth.Truth())
    known[clip] = truth_table.merge(clip, clip, known[clip], fact)
  if missing := [c for c, t in known.items() if not t.label]:
    raise errors.InputError(
      f"{missing[0]}: found no label in its name or in {given}"
    )
  return known


def _section(
  clips: Sequence[str],
  labels: Mapping[str, truth.Truth],
  a: Mapping[str, float],
  b: Mapping[str, float],
) -> paired_clips.Section:
  # One unknown domain leaves none to stratify by.
  domains = [labels[c].domain for c in clips]
  return paired_clips.Section(
    np.array([a[c] for c in clips]),
    np.array([b[c] for c in clips]),
    np.array([labels[c].label == "anomaly" for c in clips]),
    None if None in domains else np.array([d == "target" for d in domains]),
  )


def _sections(
  clips: Sequence[str],
  labels: Mapping[str, truth.Truth],
  a: Mapping[str, float],
  b: Mapping[str, float],
) -> list[paired_clips.Section]:
  by_section: dict[str, list[str]] = {}
  for clip in sorted(clips):
    by_section.setdefault(truth.section_of(clip), []).append(clip)
  return [_section(by_section[s], labels, a, b) for s in sorted(by_section)]


def _check(source: Source, machine: str, sections: Sequence[Any]) -> None:
  """Scores and labels must give the metrics that the run wrote."""
  entries = [
    official.clip_metrics(s.a, s.is_anomaly, s.is_target) for s in sections
  ]
  for key in official.RANKED:
    values = [e[key] for e in entries]
    found = None if None in values else official.official_score(values)
    wrote = source.results["machines"][machine].get(key)
    # The scores may be of another run than results.json, left in its folder.
    same = found is wrote or None not in (found, wrote)
    if not same or (found is not None and abs(found - wrote) > 1e-6):
      raise errors.InputError(
        f"{source.folder}: found {key} {found} of {machine} from the scores of"
        f" its clips, expected {wrote} as in results.json"
      )


def _machine(
  a: Source, b: Source, name: str
) -> tuple[list[paired_clips.Section], str]:
  """The common clips of a machine, and a note where they are not all."""
  places = [s.folder / "scores" / f"{name}.csv" for s in (a, b)]
  scores = [score_table.read(place) for place in places]
  labels = {}
  for source, own in zip((a, b), scores, strict=True):
    config = source.results.get("config")
    config = config if isinstance(config, dict) else {}
    labels = read_labels(config, name, sorted(own))
    _check(source, name, _sections(sorted(own), labels, own, own))
  common = [c for c in scores[0] if c in scores[1]]
  if not common:
    raise errors.InputError(f"{name}: found no test clip that both runs scored")
  note = ""
  if len(common) < max(map(len, scores)):
    first, second = map(len, scores)
    note = (
      f"{name}: the test over clips takes the {len(common)} clips that both"
      f" scored, of {first} in A and {second} in B"
    )
  return _sections(common, labels, *scores), note


def compare(
  a: Source, b: Source, machines: Sequence[str], *, domains: bool = True
) -> Found:
  """Compares two runs over their common test clips.

  Args:
    a: the first run.
    b: the second.
    machines: what both scored.
    domains: whether AUCs of domains count, or the pAUC of all clips alone.

  Returns:
    Records of B - A; none, and why, where a file or a label is missing.
  """
  try:
    read = [_machine(a, b, name) for name in machines]
    every = [sections for sections, _ in read]
    if not domains:
      every = [[s._replace(is_target=None) for s in some] for some in every]
    total, rows = paired_clips.by_clip(every)
  except errors.InputError as e:
    return Found(None, {}, [], " ".join(str(e).split()))
  notes = [note for _, note in read if note]
  return Found(total, dict(zip(machines, rows, strict=True)), notes)
