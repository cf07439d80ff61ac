"""Sweeps: a system at hundreds of settings, measured and compared."""

import gc
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from asd_jax import errors, files, store
from asd_jax.engine import frozen, identity, settings
from asd_jax.metrics import choice
from asd_jax.report import sweep as report_sweep
from asd_jax.runs import evaluate, folder, results
from asd_jax.runs import progress as progress_lib
from asd_jax.runs.sweep import axis as sweep_axis
from asd_jax.runs.sweep import data as sweep_data
from asd_jax.runs.sweep import engine as sweep_engine
from asd_jax.runs.sweep import grid as sweep_grid
from asd_jax.runs.sweep import points as sweep_points
from asd_jax.runs.sweep import table as sweep_table
from asd_jax.runs.sweep.data import Section

Config = dict[str, Any]
PARTS = "sweep_parts"
# Raised when the meaning of a kept part changes.
_FORMAT = 3
_MAKERS = (
  "data",
  "ops",
  "frontends",
  "encoders",
  "backends",
  "scores",
  "metrics",
  "training",
  "engine",
  "runs/sweep",
)


def open_parts(place: Path) -> store.Store:
  """What a sweep has computed, so that a killed one goes on.

  Args:
    place: a folder, made when the first part is kept.

  Returns:
    The store of its parts.
  """
  code = store.code_version(*_MAKERS)
  return store.Store(place, form=_FORMAT, code=code)


class Sweeper:
  """Computes the ranked values of structures on sections.

  Args:
    structures: what is swept.
    parts: where results are kept.
    progress: where progress is shown.
    fast: whether the quick way is taken where there is one.

  Attributes:
    parts: as given.
    notes: sentences on odd input.
    ways: how many branches and sections went the quick and the plain way.
  """

  def __init__(
    self,
    structures: Sequence[sweep_grid.Structure],
    parts: store.Store,
    progress: progress_lib.Progress,
    *,
    fast: bool = True,
  ) -> None:
    self.structures, self.parts = structures, parts
    self._progress, self._fast = progress, fast
    self._engine: tuple[int, sweep_engine.Engine] | None = None
    self._weights: dict[int, dict[str, str]] = {}
    self.notes: list[str] = []
    self.ways: dict[str, int] = {"quick": 0, "plain": 0}

  def engine(self, number: int) -> sweep_engine.Engine:
    """The compiled programs of one structure; those of the last are let go."""
    if self._engine is None or self._engine[0] != number:
      self.drop_engine()
      made = sweep_engine.Engine(self.structures[number], fast=self._fast)
      self._engine = number, made
    return self._engine[1]

  def drop_engine(self) -> None:
    """Lets go of compiled programs, which take more memory than all else."""
    self._engine = None
    # A compiled method and its object hold each other.
    gc.collect()

  def use_weights(
    self, numbers: Sequence[int], digests: dict[str, str]
  ) -> None:
    """Tells structures the weights of their encoders: results are theirs."""
    if digests:
      self._weights |= dict.fromkeys(numbers, digests)

  def _fingerprint(self, number: int, section: Section) -> str:
    """Names what decides the values of a structure on a section."""
    structure = self.structures[number]
    return store.digest(
      identity.of_system(structure.config),
      [list(a) for a in structure.axes],
      structure.targets,
      section.content(),
      self._fast,
      self._weights.get(number),
    )

  def _scored(
    self, number: int, section: Section, clips: sweep_points.Clips
  ) -> store.Kept:
    """Scores a structure on a section, piece by piece, and measures it.

    Pieces that are on disk are read; those that are computed are kept, so that
    a sweep that is killed goes on.
    """
    engine, place = self.engine(number), self._fingerprint(number, section)
    total = sum(g.num for g in engine.grids.values())
    label = f"{section.name} settings"
    if len(self.structures) > 1:
      label += f" {number + 1}/{len(self.structures)}"
    advance = self._progress.task(label, total)
    out: dict[str, np.ndarray] = {}
    pieces: dict[str, list[tuple[int, int, str]]] = {}
    for name in engine.system.branches:
      scores, pieces[name] = None, []
      for first, last in engine.chunks(name, clips):
        piece = store.digest(place, name, first, last)
        kept = self.parts.get(piece)
        if kept is None:
          part = engine.run(name, clips, (first, last))
          self.parts.put(piece, {"scores": part}, {})
        else:
          part = kept.arrays["scores"]
        # One array for all chunks: a list of them and their whole would be
        # there twice.
        if scores is None:
          shape = (engine.grids[name].num, *part.shape[1:])
          scores = out[name] = np.empty(shape, part.dtype)
        scores[first:last] = part
        pieces[name].append((first, last, piece))
        advance(last - first)
    values = engine.metrics(out, *section.labels)
    quick = [engine.is_fast(n, clips) for n in engine.system.branches]
    arrays = {"values": values, "quick": np.array(quick)}
    facts = {"pieces": pieces}
    self.parts.put(place, arrays, facts)
    engine.forget()
    return store.Kept(arrays, facts, place)

  def _kept(self, number: int, section: Section) -> store.Kept | None:
    """What is kept of a structure on a section, if its scores are, too."""
    kept = self.parts.get(self._fingerprint(number, section))
    if kept is None:
      return None
    pieces = [p for some in kept.facts["pieces"].values() for *_, p in some]
    lost = [p for p in pieces if self.parts.get(p) is None]
    # Computed again now: `scores_at` has no clips to do so.
    for piece in lost:
      self.parts.drop(piece)
    return None if lost else kept

  def values(
    self, number: int, section: Section, collector: sweep_data.Collector
  ) -> np.ndarray:
    """Ranked values of a structure on one section.

    Args:
      number: of the structure; best all sections of one before the next, for
        its programs are held until another one is asked for.
      section: its clips.
      collector: computes the features, if they are needed.

    Returns:
      `[points, 3]`.
    """
    kept = self._kept(number, section)
    if kept is None:
      clips, notes = collector.collect(section)
      self.notes += notes
      own = collector.of_structure(self.structures[number].config, clips)
      kept = self._scored(number, section, own)
    for quick in kept.arrays["quick"]:
      self.ways["quick" if quick else "plain"] += 1
    return kept.arrays["values"]

  def scores_at(
    self, number: int, section: Section, point: int
  ) -> tuple[np.ndarray, np.ndarray]:
    """The system's scores at one point of a structure, and seed by seed."""
    kept = self.parts.get(self._fingerprint(number, section))
    engine, found = self.engine(number), {}
    for name, grid in engine.grids.items():
      row = grid.place[point]
      pieces = kept.facts["pieces"][name] if kept else []
      for first, last, piece in pieces:
        if first <= row < last and (part := self.parts.get(piece)):
          found[name] = part.arrays["scores"][row - first]
    if len(found) < len(engine.grids):
      raise errors.InputError(f"{PARTS}: a part of {section.name} has gone.")
    return engine.scores_at(found, point)


def measure(
  sweeper: Sweeper,
  structures: Sequence[sweep_grid.Structure],
  sections: Sequence[Section],
  progress: progress_lib.Progress,
) -> tuple[list[np.ndarray], dict[str, Any]]:
  """Ranked values of all structures.

  Args:
    sweeper: of the structures.
    structures: what is swept.
    sections: the sections.
    progress: where progress is shown.

  Returns:
    For each structure `[points, S, 3]`, and what `frozen.joined_facts` says.
  """
  configs = [s.config for s in structures]
  groups = [
    (numbers, sweep_data.Collector([configs[i] for i in numbers], progress))
    for numbers in sweep_data.by_passes(configs)
  ]
  for _, collector in groups:
    collector.check(sections)
  values: dict[int, np.ndarray] = {}
  facts = []
  for numbers, collector in groups:
    sweeper.use_weights(numbers, collector.open())
    # A structure's programs serve all sections, and then no other structure.
    for number in numbers:
      own = [sweeper.values(number, some, collector) for some in sections]
      values[number] = np.stack(own, axis=1)
    facts.append(collector.close())
    sweeper.drop_engine()
  every = [values[number] for number in range(len(structures))]
  return every, frozen.joined_facts(facts)


def make_table(
  keys: Sequence[str],
  structures: Sequence[sweep_grid.Structure],
  sections: Sequence[Section],
  values: Sequence[np.ndarray],
) -> tuple[choice.Table, list[tuple[int, int]]]:
  """Puts the structures' values together.

  Args:
    keys: swept keys.
    structures: the structures.
    sections: the sections.
    values: for each structure `[points, S, 3]`.

  Returns:
    The table, and for each of its points the number of its structure and of
    the point in it.
  """
  place = [
    (i, p) for i, s in enumerate(structures) for p in range(s.num_points)
  ]
  found = [structures[i].values(p) for i, p in place]
  # A key that decides the structure of some other branch is not everyone's.
  points = [{k: v[k] for k in keys if k in v} for v in found]
  some = [
    choice.Section(s.machine, s.is_anomaly, s.is_target) for s in sections
  ]
  return choice.make_table(keys, points, some, np.concatenate(values)), place


def _summary(
  config: Config,
  axes: Sequence[sweep_axis.Axis],
  table: choice.Table,
  scores_at: Callable[[int, int], tuple[np.ndarray, np.ndarray]],
  sweeper: Sweeper,
) -> dict[str, Any]:
  return {
    "system": config["system"],
    "sweep": [{"key": a.key, "values": list(a.values)} for a in axes],
    "num_points": len(table.settings),
    "num_structures": len(sweeper.structures),
    "machines": table.machines,
    "ways": sweeper.ways,
    **choice.describe(table, scores_at),
    "notes": sorted(set(sweeper.notes)),
  }


def write(out: Path, found: dict[str, Any], table: choice.Table) -> None:
  """Writes sweep.csv, sweep.parquet (if possible), sweep.html and sweep.json.

  Args:
    out: folder.
    found: content of sweep.json.
    table: every setting.
  """
  rows = sweep_table.rows_of(table)
  files.atomic_write_text(out / "sweep.csv", files.csv_text(rows))
  sweep_table.write_parquet(out / "sweep.parquet", rows)
  page = report_sweep.page(found, table)
  files.atomic_write_text(out / "sweep.html", page)
  text = json.dumps(found, indent=2, allow_nan=False, default=list)
  files.atomic_write_text(out / "sweep.json", text + "\n")


def run(
  config: Config,
  sweeps: Sequence[str],
  *,
  progress: progress_lib.Progress,
  fast: bool = True,
) -> dict[str, Any]:
  """Sweeps a system over settings.

  Args:
    config: plain data, see `configs/common.py`.
    sweeps: texts such as `view.alpha=linspace(-0.5, 1, 31)`; more than one is
      their outer product.
    progress: where progress is shown.
    fast: whether the quick way is taken where there is one.

  Returns:
    The content of sweep.json.

  Raises:
    InputError: for bad input; finished parts stay in the output folder.
  """
  start = time.perf_counter()
  if not sweeps:
    raise errors.InputError(
      "--sweep: an empty grid, expected --sweep='KEY=VALUES' such as"
      " --sweep='view.alpha=linspace(-0.5,1,31)'."
    )
  axes = [sweep_axis.parse(text) for text in sweeps]
  config = settings.prepared(config)
  structures = sweep_grid.structures(config, axes)
  if not config["output_dir"]:
    raise errors.InputError(
      "config: expected --config.output_dir=OUT, found none."
    )
  out = Path(config["output_dir"])
  machines = evaluate.read_machines(config)
  sections = sweep_data.sections(machines)
  settled = {**config, "sweep": [list(a) for a in axes]}
  this = folder.Run(out, "sweep", settled, machines, {})
  folder.check(this)
  evaluate.prepare_output(out)
  kept = folder.training_dir(config)
  structures = [
    s._replace(config={**s.config, "training_dir": kept}) for s in structures
  ]
  parts = open_parts(out / PARTS)
  sweeper = Sweeper(structures, parts, progress, fast=fast)
  values, encoders = measure(sweeper, structures, sections, progress)
  keys = [a.key for a in axes]
  table, place = make_table(keys, structures, sections, values)
  scores_at = lambda i, point: sweeper.scores_at(
    place[point][0], sections[i], place[point][1]
  )
  found = _summary(config, axes, table, scores_at, sweeper)
  found["notes"] += encoders.pop("notes", []) + parts.notes()
  found["encoders"] = encoders
  found["run"] = results.run_facts(time.perf_counter() - start)
  found["config"] = config
  folder.claim(this)
  write(out, found, table)
  return found
