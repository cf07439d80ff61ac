"""One run: fit and score every machine, then metrics and files."""

import dataclasses
import functools
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from asd_jax import errors, files
from asd_jax.data import clips, windows
from asd_jax.engine import detector, session, windowed
from asd_jax.report import text
from asd_jax.runs import (
  challenge,
  examples,
  finished,
  folder,
  outputs,
  results,
  sift,
)
from asd_jax.runs import progress as progress_lib

Config = dict[str, Any]


def read_machines(config: Config) -> list[clips.Machine]:
  """Finds the clips that a config names.

  Args:
    config: `data_dir` with `machines`, or `normal` and `test`; either with
      `ground_truth`.

  Returns:
    The machines; of long recordings to learn from their windows.

  Raises:
    InputError: for missing or contradicting settings, and bad input.
  """
  return [_windowed(machine, config) for machine in _read(config)]


def _windowed(machine: clips.Machine, config: Config) -> clips.Machine:
  """A machine with its long training recordings cut."""
  train = windowed.training(machine.train, config)
  cut = [c for c in train if c.recording is not None]
  if not cut:
    return machine
  seconds = sorted({f"{windows.seconds(c):g}" for c in cut})
  note = (
    f"{text.plural(len({c.path for c in cut}), 'recording')} to learn from"
    f" cut into {text.plural(len(cut), 'window')} of {' and '.join(seconds)} s"
  )
  notes = (*machine.notes, note)
  return dataclasses.replace(machine, train=train, notes=notes)


def _read(config: Config) -> list[clips.Machine]:
  """Finds the files that a config names."""
  plain = config["normal"], config["test"]
  ground_truth = config["ground_truth"] or None
  channels = tuple(config["recorder_channels"])
  if any(plain):
    if not all(plain) or config["data_dir"]:
      raise errors.InputError(
        "config: expected either data_dir, or both normal and test; found"
        f" data_dir={config['data_dir']!r}, normal={plain[0]!r},"
        f" test={plain[1]!r}."
      )
    name = Path(plain[0]).resolve().parent.name or "machine"
    name = config["machines"] or name
    found = clips.read_plain(
      *plain, name=name, ground_truth=ground_truth, channels=channels
    )
    return [found]
  if not config["data_dir"]:
    raise errors.InputError(
      "config: found no data, expected --config.data_dir=DIR (challenge"
      " folders), or --config.normal=DIR --config.test=DIR (plain folders)."
    )
  names = [m.strip() for m in config["machines"].split(",") if m.strip()]
  return clips.read_tree(
    config["data_dir"],
    machines=names,
    ground_truth=ground_truth,
    channels=channels,
  )


def prepare_output(out: Path) -> None:
  """Makes the output folder and proves that it can be written.

  Args:
    out: the output folder.

  Raises:
    InputError: if it cannot.
  """
  probe = files.atomic_write_text(out / ".asd_jax_probe", "")
  probe.unlink()


def section_names(some: Iterable[clips.Clip]) -> list[str]:
  """Sections of clips, sorted."""
  return sorted({c.section for c in some})


def of_section(some: Iterable[clips.Clip], section: str) -> list[clips.Clip]:
  """The clips of a section."""
  return [c for c in some if c.section == section]


def run_machine(
  opened: session.Session,
  machine: clips.Machine,
  progress: progress_lib.Progress,
) -> dict[str, results.Scored]:
  """Fits and scores every section of a machine.

  Args:
    opened: the system.
    machine: its clips.
    progress: where progress is shown.

  Returns:
    Section to scores; a section without test clips is fitted all the same.

  Raises:
    InputError: for a test section without training clips, and bad input.
  """
  known = section_names(machine.train)
  if odd := sorted(set(section_names(machine.test)) - set(known)):
    raise errors.InputError(
      f"{machine.name}: found test clips of section {odd}, expected sections"
      f" with training clips: {known}."
    )
  out = {}
  for section in known:
    train, test = (
      of_section(machine.train, section),
      of_section(machine.test, section),
    )
    label = f"{machine.name} {section}"
    fitted = opened.fit(
      label,
      train,
      advance=progress.task(f"{label} training clips", len(train)),
      on_epoch=progress.epochs(label),
    )
    num = len(fitted.section.plan(test).clips)
    score = functools.partial(
      opened.score,
      fitted.section,
      advance=progress.task(f"{machine.name} test clips", num),
    )
    judged, sifted = sift.scored(score, test)
    unread = [f for f in machine.unread if f.section == section]
    if section == known[0]:  # those of no section that there is
      unread += [f for f in machine.unread if f.section not in known]
    out[section] = results.Scored(
      judged.clips,
      judged.scores,
      judged.decisions,
      judged.p_values,
      fitted.train_scores,
      fitted.section,
      fitted.notes + judged.notes,
      judged.windows,
      (*unread, *sifted.unread),
    )
  return out


def _finish(
  out: Path,
  opened: session.Session,
  machine: str,
  scored: dict[str, results.Scored],
  digests: dict[str, str],
) -> dict[str, results.Scored]:
  """Writes what a machine leaves; its states, which may be large, are let go.

  The detector comes first: it is what no later step can make again.
  """
  sections = {s: v.section for s, v in scored.items()}
  found = detector.Detector(
    machine, opened.config, opened.system, sections, digests
  )
  detector.save(out / "detectors" / machine, found)
  outputs.write_machine(out, opened.config, machine, scored)
  return {
    s: v._replace(section=v.section.without_models()) for s, v in scored.items()
  }


def state_reader(out: Path) -> Callable[[str, str], Any]:
  """Reads fitted states back, one machine's at a time.

  Args:
    out: output folder.

  Returns:
    `(machine, section) -> state`.
  """
  # The report asks machine by machine: one detector is held.
  load = functools.lru_cache(maxsize=1)(
    lambda machine: detector.load(out / "detectors" / machine)
  )
  return lambda machine, section: load(machine).sections[section].state


def _open(
  config: Config, progress: progress_lib.Progress
) -> tuple[session.Session, list[clips.Machine]]:
  """The system of a run and the clips it will see, all of them checked."""
  config = {**config, "training_dir": folder.training_dir(config)}
  opened = session.open(config, tell=progress.adaptation)
  if not config["output_dir"]:
    raise errors.InputError(
      "config: expected --config.output_dir=OUT, found none."
    )
  return opened, read_usable(opened)


def read_usable(opened: session.Session) -> list[clips.Machine]:
  """Finds the clips of a config that its system can use.

  Args:
    opened: the system.

  Returns:
    The machines; files to score that it cannot use are among the `unread`.

  Raises:
    InputError: for bad input, and training clips that it cannot use.
  """
  # All headers first: a bad clip of the last machine costs no hour.
  return [_usable(opened, m) for m in read_machines(opened.config)]


def _usable(opened: session.Session, machine: clips.Machine) -> clips.Machine:
  """A machine without the test clips that the system cannot use."""
  opened.check(machine.train)
  rules = {
    section: windowed.rule(of_section(machine.train, section), opened.config)
    for section in section_names(machine.train)
  }

  def check(some: Sequence[clips.Clip]) -> None:
    for clip in some:
      plan = windows.cut([clip], rules.get(clip.section))
      opened.check([plan.clips[own.start] for own in plan.rows])

  good, unread = sift.checked(check, machine.test)
  return dataclasses.replace(
    machine,
    test=tuple(machine.test[i] for i in good),
    unread=(*machine.unread, *unread),
  )


def run(config: Config, *, progress: progress_lib.Progress) -> dict[str, Any]:
  """Evaluates a system on every machine that the config names.

  Each machine's files are written when it is done. A run that was stopped and
  is started again, with the same config, clips and code, goes on with the
  machines that are missing; the folder of any other run is refused.

  Args:
    config: plain data, see `configs/common.py`.
    progress: where progress is shown.

  Returns:
    The content of results.json.

  Raises:
    InputError: for bad input; no file is half-written.
  """
  start = time.perf_counter()
  opened, machines = _open(config, progress)
  config, out = opened.config, Path(opened.config["output_dir"])
  this = folder.Run(out, "evaluate", config, machines, opened.inputs())
  folder.check(this)
  prepare_output(out)
  # Encoders are adapted now. Before any fit: a disk that is too small for
  # their weights is noticed at once.
  digests = detector.keep_weights(out, opened.kept)
  records = finished.Records(out, opened)

  def done(machine: clips.Machine) -> dict[str, results.Scored]:
    if kept := records.get(machine):
      return kept
    fresh = run_machine(opened, machine, progress)
    left = _finish(out, opened, machine.name, fresh, digests)
    folder.claim(this)
    records.put(machine, left)
    return left

  scored = {machine.name: done(machine) for machine in machines}
  found = results.collect(
    config,
    opened.system,
    machines,
    scored,
    time.perf_counter() - start,
    encoders=opened.facts(),
  )
  found["notes"] += records.notes()
  programs, states = opened.embedder.programs, state_reader(out)
  record = examples.record_of(
    programs, machines, scored, found, config, states=states
  )
  found["total_parameters"] = challenge.total_parameters(
    opened.system,
    sum(w.size for w in opened.weights.values()),
    lambda: states(machines[0].name, min(scored[machines[0].name])),
  )
  outputs.write(out, config, opened.system, scored, record)
  # Only what was stopped is continued; a complete run is made anew.
  records.clear(machines)
  return found
