"""Many systems on the same recordings: each run once, then one table.

What was finished is not run again: beside the results of a system stands a
name of all that they depend on. The table is written anew after each system,
so that a run that is stopped leaves what it found.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax

from asd_jax import errors, files, store
from asd_jax.data import audio, clips, decode
from asd_jax.encoders import places
from asd_jax.engine import adapt_data, settings, sources
from asd_jax.engine import system as system_lib
from asd_jax.report import seeds, systems, systems_page
from asd_jax.runs import (
  compare,
  evaluate,
  examples,
  folder,
  recordings,
  select,
)
from asd_jax.runs import progress as progress_lib

Config = Mapping[str, Any]
PAGE, CSV = "systems.html", "systems.csv"
_DONE = "complete.json"
_KEPT_PROGRAMS = 5  # systems
NOT_HERE = "not in this version"


class Entry(NamedTuple):
  """A system of a table.

  Attributes:
    name: what to call it.
    config: plain data, None of a system that is not here; writes below the
      folder of the table.
    published: what is published of it.
  """

  name: str
  config: Config | None
  published: Mapping[str, Any] = {}


def entries(
  here: Sequence[Config],
  known: Mapping[str, Mapping[str, Any]],
  *,
  chosen: Sequence[str] = (),
) -> list[Entry]:
  """Systems in the order of the published tables, then the others.

  Args:
    here: configs of systems.
    known: system to what is published of it, whether it is here or not.
    chosen: names of those to take; all if empty.

  Returns:
    The systems.

  Raises:
    InputError: for an unknown name.
  """
  configs = {c["system"]: c for c in here}
  every = list(dict.fromkeys([*known, *configs]))
  if unknown := sorted(set(chosen) - set(every)):
    raise errors.InputError(
      f"flags: found systems {unknown}, expected some of {', '.join(every)}."
    )
  return [
    Entry(n, configs.get(n), known.get(n, {}))
    for n in every
    if n in (chosen or every)
  ]


def _weights(config: Config) -> dict[str, str]:
  """Names of the content of a system's weights, which are not read.

  Raises:
    InputError: for weights that are not at hand.
  """
  system, digests = system_lib.build(config), {}
  if any(b.source.adapt for b in system.branches.values()):
    some = [decode.digest(c) for c in adapt_data.clips_of(config)]
    digests["adapted to"] = store.digest(some)
  if config["random_weights"]:
    return digests
  wanted = sources.published(system.branches)
  found = places.find(wanted, folder=Path(config["weights_dir"]))
  for name, place in found.items():
    parts = []
    for path in place.paths():
      inside = sorted(p for p in path.rglob("*") if p.is_file())
      parts += inside or [path]
    digests[name] = store.digest([store.remembered_digest(p) for p in parts])
  return digests


def _fingerprint(
  config: Config, machines: Sequence[clips.Machine], weights: Mapping[str, str]
) -> str:
  """A name of all that the results of a system depend on."""
  out = Path(config["output_dir"])
  this = folder.Run(out, "evaluate", config, machines, weights)
  return store.digest(folder.digest(this), store.code_version("."))


def _kept(out: Path, fingerprint: str) -> dict[str, Any] | None:
  """Results of an earlier run of the same system, clips and code."""
  done = out / _DONE
  if not done.exists() or not (out / "results.json").exists():
    return None
  if files.read_json(done).get("fingerprint") != fingerprint:
    return None
  return files.read_json(out / "results.json")


def _results(
  entry: Entry,
  config: Config,
  machines: Sequence[clips.Machine],
  progress: progress_lib.Progress,
) -> dict[str, Any]:
  """What a system found, in this run or an earlier one."""
  out = Path(config["output_dir"])
  fingerprint = _fingerprint(config, machines, _weights(config))
  if kept := _kept(out, fingerprint):
    progress.line(f"{entry.name}: kept")
    return kept
  found = evaluate.run(dict(config), progress=progress)
  text = json.dumps({"fingerprint": fingerprint})
  files.atomic_write_text(out / _DONE, text + "\n")
  return found


def _chosen(
  entry: Entry,
  config: Config,
  machines: Sequence[clips.Machine],
  progress: progress_lib.Progress,
) -> Config:
  """The config of a system of chosen members, once all were run and compared.

  It is left as it is where members cannot be chosen: without labels, on an
  evaluation set, or with too few of them.
  """
  wanted = (config["published"] or {}).get("num_members")
  if not wanted or config["members"]:
    return config
  out = f"{config['output_dir']}_all"
  _results(entry, {**config, "output_dir": out}, machines, progress)
  try:
    found = select.members(Path(out), wanted)
  except errors.InputError as error:
    progress.line(f"{entry.name}: {error}")
    return config
  file = Path(out) / "members.json"
  select.write(file, found)
  return settings.prepared({**config, "selection": str(file)})


def _run_one(
  entry: Entry, machines: Sequence[clips.Machine], out: Path
) -> systems.System:
  """One system of the table, with its results or the reason for none."""
  row = systems.System(entry.name, published=entry.published)
  if entry.config is None:
    return row._replace(why=NOT_HERE)
  try:
    config = settings.prepared(entry.config)
    with progress_lib.Progress() as bars:
      config = _chosen(entry, config, machines, bars)
      found = _results(entry, config, machines, bars)
  except errors.InputError as error:
    # One that cannot be run leaves the others as they are.
    return row._replace(why=" ".join(str(error).split()))
  page = Path(config["output_dir"]) / "report.html"
  link = page.relative_to(out).as_posix()
  # Made of other members than the published system, it has no such number.
  known = entry.published if found.get("published") else {}
  return row._replace(results=found, published=known, link=link)


def compared(
  some: Sequence[systems.System], at: Mapping[str, Path]
) -> list[systems.System]:
  """The systems with their difference to the best of them.

  Args:
    some: systems.
    at: name to its results.json, or its folder.

  Returns:
    The same; without a difference where there are no labels, or one system.
  """
  scores = {s.name: (s.results or {}).get("official_score") for s in some}
  scored = [s for s in some if scores[s.name] is not None]
  if len(scored) < 2:
    return list(some)
  best = max(scored, key=lambda s: scores[s.name] or 0.0)
  first = compare.read(at[best.name])
  out = []
  for system in some:
    if system in scored and system is not best:
      try:
        found = compare.compare(first, compare.read(at[system.name]))
        system = system._replace(to_best=found.rows[0])
      except errors.InputError:  # no machine in common
        pass
    out.append(system)
  return systems.corrected(out)


NOTES = (
  "To the best: over the test clips that both scored, so it says what other"
  " test clips would do, and nothing about training again. The best was chosen"
  " on these clips, which flatters it.",
  "A published number stands beside ours of the same kind: an ensemble beside"
  " an ensemble, single runs beside single runs, AUCs of a domain against the"
  " same anomalies.",
  f"Recordings: at most {recordings.MAX_CLIPS} training clips of a machine,"
  f" {recordings.MAX_SECONDS:g} s of each.",
)


def of_runs(paths: Sequence[str], page: str | None) -> systems.Table:
  """The table of runs that are there already.

  Args:
    paths: of results.json, or of the folders that hold them.
    page: file that will hold the page, None without one.

  Returns:
    The table.

  Raises:
    InputError: for a file that is no results.json with scores.
  """
  rows, at = [], {}
  for path in paths:
    run = compare.read(path)
    if run.official is None:
      raise errors.InputError(
        f"{run.file}: found {compare.why_no_score(run)}, expected an official"
        " score (a table of labels with a column domain gives one; two runs"
        " are compared without)."
      )
    name = str(run.results["system"])
    # Two runs of one system are told apart by their folders.
    name = f"{name} ({run.file.parent})" if name in at else name
    at[name] = run.file
    report = run.file.parent / "report.html"
    link = ""
    if page and report.exists():
      link = examples.link_to(report, Path(page).parent)
    known = run.results.get("published") or {}
    rows.append(systems.System(name, run.results, known, "", link))
  table = systems.Table(compared(rows, at), notes=NOTES[:2])
  if not table.machines:
    raise errors.InputError(
      f"{paths[-1]}: found no machine that all runs scored, expected one or"
      " more."
    )
  every = {m for s in rows for m in (s.results or {})["machines"]}
  if others := sorted(every - set(table.machines)):
    note = f"not scored by all, left out: {seeds.named(others)}"
    table = table._replace(notes=(*table.notes, note))
  return table


def write(out: Path, table: systems.Table) -> Path:
  """Writes the page and the csv.

  Args:
    out: folder for both.
    table: the systems.

  Returns:
    The page.
  """
  files.atomic_write_text(out / CSV, systems.csv(table))
  return files.atomic_write_text(out / PAGE, systems_page.page(table))


def run(
  entries: Sequence[Entry],
  out: Path,
  *,
  machines: Sequence[clips.Machine],
  known: Mapping[str, Mapping[str, float]],
  done: Callable[[systems.System], None],
) -> systems.Table:
  """Runs systems one after the other and writes their table.

  Args:
    entries: the systems; those that are here write below `out`.
    out: folder for everything.
    machines: the recordings that their configs name.
    known: machine to published facts of its recordings.
    done: called with each system, once its results are there or not to be had.

  Returns:
    The table, also written to `out`.

  Raises:
    InputError: if nothing can be written.
  """
  rows: list[systems.System] = []
  table = systems.Table(rows, known=known, notes=NOTES)
  for entry in entries:
    rows.append(_run_one(entry, machines, out))
    done(rows[-1])
    # Programs of one system are of little use to the next, and large.
    if len(rows) % _KEPT_PROGRAMS == 0:
      jax.clear_caches()
    if rows[-1].results:
      write(out, table)
  facts = {
    m.name: recordings.of_machine(m.train, sample_rate=audio.SAMPLE_RATE)
    for m in machines
  }
  at = {e.name: Path(e.config["output_dir"]) for e in entries if e.config}
  table = table._replace(
    systems=compared(rows, at),
    recordings={m: f for m, f in facts.items() if f},
  )
  write(out, table)
  return table
