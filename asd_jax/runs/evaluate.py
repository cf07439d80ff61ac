"""One run: fit and score every machine, then metrics and files."""

import math
import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from asd_jax import errors, files
from asd_jax.data import audio, clips
from asd_jax.engine import detector, encode, gather, session, settings
from asd_jax.engine import system as system_lib
from asd_jax.engine.normals import Normals
from asd_jax.runs import examples, results
from asd_jax.runs import progress as progress_lib

Config = dict[str, Any]


def read_machines(config: Config) -> list[clips.Machine]:
  """Finds the clips that a config names.

  Args:
    config: `data_dir` with `machines` and `ground_truth`, or `normal` and
      `test`.

  Returns:
    The machines.

  Raises:
    InputError: for missing or contradicting settings, and bad input.
  """
  plain = config["normal"], config["test"]
  if any(plain):
    if not all(plain) or config["data_dir"]:
      raise errors.InputError(
        "config: expected either data_dir, or both normal and test; found"
        f" data_dir={config['data_dir']!r}, normal={plain[0]!r},"
        f" test={plain[1]!r}."
      )
    name = Path(plain[0]).resolve().parent.name or "machine"
    return [clips.read_plain(*plain, name=config["machines"] or name)]
  if not config["data_dir"]:
    raise errors.InputError(
      "config: found no data, expected --config.data_dir=DIR (challenge"
      " folders), or --config.normal=DIR --config.test=DIR (plain folders)."
    )
  names = [m.strip() for m in config["machines"].split(",") if m.strip()]
  return clips.read_tree(
    config["data_dir"],
    machines=names,
    ground_truth=config["ground_truth"] or None,
  )


def prepare_output(folder: Path) -> None:
  """Makes the output folder and proves that it can be written.

  Args:
    folder: the output folder.

  Raises:
    InputError: if it cannot.
  """
  probe = files.atomic_write_text(folder / ".asd_jax_probe", "")
  probe.unlink()


def thresholds(
  system: system_lib.System,
  state: Any,
  normals: Normals,
  train_scores: np.ndarray,
  config: Config,
) -> dict[str, float]:
  """Thresholds by every rule that applies.

  Args:
    system: the system.
    state: its fitted state.
    normals: training clips.
    train_scores: `[N]` scores of the training clips.
    config: `threshold` names the rule in force and its settings.

  Returns:
    Rule to value: `conformal`, the rule in force, and `gamma` (the official
    rule, on batches of the first seed) for a system that is one trained
    encoder.
  """
  spec = dict(config["threshold"])
  rule = spec.pop("name")
  given = {rule: spec}
  out = {
    name: make(train_scores, **given.get(name, {}))
    for name, make in system_lib.SCORE_RULES.items()
    if name in ("conformal", rule)
  }
  if system_lib.has_batch_values(system):
    values = batch_values(system, state, normals)
    out["gamma"] = system_lib.THRESHOLDS["gamma"](
      values, **given.get("gamma", {})
    )
  return out


def batch_values(
  system: system_lib.System, state: Any, normals: Normals
) -> np.ndarray:
  """What the official baseline fits its threshold to, for the first seed.

  Args:
    system: a system of one branch with a trained encoder.
    state: its fitted state.
    normals: training clips.

  Returns:
    `[n]` scores of the mean residuals of training and validation batches, or
    the batches' losses where the embedding itself is the score.

  Source: [DCASE26base].
  """
  ((name, branch),) = system.branches.items()
  trained = normals.trained[name]
  first = jax.tree.map(lambda x: x[0], state["branches"][name]["backend"])
  if not jax.tree.leaves(first):
    return np.asarray(trained.batch_loss[0])
  backend = branch.detect.backend(system.hypers[name])
  score = jax.vmap(lambda r: backend.score(first, r))
  return np.asarray(score(trained.batch_residual[0]))


def domain_notes(
  system: system_lib.System, label: str, train: Sequence[clips.Clip]
) -> list[str]:
  """Says so where a system that fits domains apart has one domain only.

  Args:
    system: the system.
    label: machine and section.
    train: training clips.

  Returns:
    Notes.
  """
  apart = any(
    b.detect.backend(system.hypers[n]).by_domain
    for n, b in system.branches.items()
  )
  target = [c.domain == "target" for c in train]
  if not apart or (any(target) and not all(target)):
    return []
  domain = "source" if any(target) else "target"
  return [
    f"{label}: found no training clips of the {domain} domain; terms by domain"
    " are those of all clips"
  ]


class Runner:
  """Fits and scores machines with one system; compiles once per clip length.

  Args:
    config: the run's config, plain data.
    progress: where progress is shown.
  """

  def __init__(self, config: Config, progress: progress_lib.Progress) -> None:
    self.config = config
    self.system = system_lib.build(config)
    loaded = session.read_weights(self.system, config)
    self.embedder = session.open_embedder(self.system, loaded, config)
    # Those on the device, so that there is one copy of gigabytes.
    params = self.embedder.programs.weights
    self.weights = {n: w._replace(params=params[n]) for n, w in loaded.items()}
    self._progress = progress
    self._gather = gather.Gatherer(self.embedder, config)
    self._fit = system_lib.compiled_fit(self.system)

  def fit(
    self, machine: str, train: Sequence[clips.Clip], section: str
  ) -> tuple[detector.Section, np.ndarray, list[str]]:
    """Fits one section.

    Args:
      machine: machine type, for progress and checkpoints.
      train: its training clips.
      section: two digits.

    Returns:
      The fitted section, `[N]` training scores, and notes.
    """
    label = f"{machine} {section}"
    gather.check(self.system, train, self.config["sample_rate"])
    advance = self._progress.task(f"{label} training clips", len(train))
    normals, notes = self._gather.normals(
      train, advance=advance, on_epoch=self._progress.epochs(label)
    )
    notes += domain_notes(self.system, label, train)
    state, own = self._fit(self.system.hypers, normals)
    train_scores = np.asarray(own)
    if not np.isfinite(train_scores).all():
      raise errors.InputError(
        f"{label}: found training scores that are not finite; the bank is too"
        " small or degenerate for this backend."
      )
    rules = thresholds(self.system, state, normals, train_scores, self.config)
    rule = self.config["threshold"]["name"]
    if math.isinf(rules[rule]):
      notes.append(
        f"{label}: {len(train)} training clips are too few for the false-alarm"
        " rate, no clip can be called anomalous"
      )
    header = train[0].header
    facts = {
      "num_train": len(train),
      "num_samples": max(
        encode.min_samples(self.system.branches),
        audio.num_samples_at(header, self.config["sample_rate"]),
      ),
      "num_channels": header.num_channels,
      "training_scores": {
        n: b.detect.reference for n, b in self.system.branches.items()
      },
      "train_scores": [float(s) for s in np.sort(train_scores)],
    }
    finite = {k: results.finite(v) for k, v in rules.items()}
    return detector.Section(state, finite, rule, facts), train_scores, notes

  def score(
    self, machine: str, test: Sequence[clips.Clip], section: detector.Section
  ) -> tuple[system_lib.Scores, list[str]]:
    """Scores clips with a fitted section: leading axis Q, and notes."""
    gather.check(self.system, test, self.config["sample_rate"])
    parts, order, notes = [], [], []
    advance = self._progress.task(f"{machine} test clips", len(test))
    for rows, scores, new in gather.score(
      self.embedder, section.state, test, advance=advance
    ):
      parts.append(scores)
      order.append(rows)
      notes += new
    if not parts:
      return system_lib.Scores(jnp.zeros(0), jnp.zeros((0, 1)), {}), notes
    back = np.argsort(np.concatenate(order))
    return jax.tree.map(lambda *x: np.concatenate(x)[back], *parts), notes


def _sections(some: Iterable[clips.Clip]) -> list[str]:
  return sorted({c.section for c in some})


def _of(some: Iterable[clips.Clip], section: str) -> list[clips.Clip]:
  return [c for c in some if c.section == section]


def run_machine(
  runner: Runner, machine: clips.Machine
) -> dict[str, results.Scored]:
  """Fits and scores every section of a machine.

  Args:
    runner: the system.
    machine: its clips.

  Returns:
    Section to scores; a section without test clips is fitted all the same.

  Raises:
    InputError: for a test section without training clips, and bad input.
  """
  known = _sections(machine.train)
  if odd := sorted(set(_sections(machine.test)) - set(known)):
    raise errors.InputError(
      f"{machine.name}: found test clips of section {odd}, expected sections"
      f" with training clips: {known}."
    )
  out = {}
  for section in known:
    train = _of(machine.train, section)
    test = _of(machine.test, section)
    fitted, train_scores, notes = runner.fit(machine.name, train, section)
    scores, more = runner.score(machine.name, test, fitted)
    decision = np.asarray(scores.fused) > fitted.threshold
    out[section] = results.Scored(
      test, scores, decision, train_scores, fitted, notes + more
    )
  return out


def run(config: Config, *, progress: progress_lib.Progress) -> dict[str, Any]:
  """Evaluates a system on every machine that the config names.

  Args:
    config: plain data, see `configs/common.py`.
    progress: where progress is shown.

  Returns:
    The content of results.json.

  Raises:
    InputError: for bad input; nothing is half-written.
  """
  start = time.perf_counter()
  config = settings.prepared(config)
  if not config["output_dir"]:
    raise errors.InputError(
      "config: expected --config.output_dir=OUT, found none."
    )
  out = Path(config["output_dir"])
  runner = Runner(config, progress)
  machines = read_machines(config)
  for machine in machines:
    both = (*machine.train, *machine.test)
    gather.check(runner.system, both, config["sample_rate"])
  prepare_output(out)
  digests = detector.keep_weights(out, runner.system, runner.weights)
  config["training_dir"] = config["training_dir"] or os.fspath(out / "training")
  scored = {}
  for machine in machines:
    scored[machine.name] = run_machine(runner, machine)
  for name, sections in scored.items():
    fitted = {s: v.section for s, v in sections.items()}
    detector.save(
      out / "detectors" / name,
      detector.Detector(name, config, runner.system, fitted, digests),
    )
  seconds = time.perf_counter() - start
  programs = runner.embedder.programs
  found = results.collect(
    config,
    runner.system,
    machines,
    scored,
    seconds,
    encoders=session.facts(runner.embedder, runner.weights),
  )
  record = examples.record_of(programs, machines, scored, found, config)
  results.write(out, config, scored, record)
  return found
