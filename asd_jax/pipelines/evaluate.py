"""One run: fit and score every machine, then metrics and files."""

import importlib.metadata
import json
import math
import os
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from asd_jax.data import clips, files, submission, submission_meta
from asd_jax.metrics import official, uncertainty
from asd_jax.pipelines import build, detector, features, members, report
from asd_jax.pipelines import progress as progress_lib

Config = dict[str, Any]


class Scored(NamedTuple):
  """Scores of one section's test clips, in clip order.

  Attributes:
    clips: the test clips.
    score: `[Q]` fused scores.
    seeds: `[Q, K]` scores seed by seed.
    decision: `[Q]` bool.
    train: `[N]` training scores that the threshold came from.
    section: fitted state and thresholds.
    notes: odd but fine input.
  """

  clips: Sequence[clips.Clip]
  score: np.ndarray
  seeds: np.ndarray
  decision: np.ndarray
  train: np.ndarray
  section: detector.Section
  notes: list[str]


def read_machines(config: Config) -> list[clips.Machine]:
  """Finds the clips that a config names.

  Args:
    config: `data_dir` with `machines` and `ground_truth`, or `normal` and
      `test`.

  Returns:
    The machines.

  Raises:
    ValueError: for missing or contradicting settings, and bad input.
  """
  plain = config["normal"], config["test"]
  if any(plain):
    if not all(plain) or config["data_dir"]:
      raise ValueError(
        "config: expected either data_dir, or both normal and test; found"
        f" data_dir={config['data_dir']!r}, normal={plain[0]!r},"
        f" test={plain[1]!r}."
      )
    name = Path(plain[0]).resolve().parent.name or "machine"
    return [clips.read_plain(*plain, name=config["machines"] or name)]
  if not config["data_dir"]:
    raise ValueError(
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
    ValueError: if it cannot.
  """
  probe = files.atomic_write_text(folder / ".asd_jax_probe", "")
  probe.unlink()


def thresholds(
  system: build.System,
  state: Any,
  normals: build.Normals,
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
    Rule to value: `conformal`, and `gamma` (the official rule, on batches of
    the first seed) for a system that is one trained encoder.
  """
  spec = dict(config["threshold"])
  rule = spec.pop("name")
  settings = {rule: spec}
  out = {
    "conformal": build.THRESHOLDS["conformal"](
      train_scores, **settings.get("conformal", {})
    )
  }
  if len(system.branches) == 1 and normals.trained:
    values = batch_values(system, state, normals)
    out["gamma"] = build.THRESHOLDS["gamma"](
      values, **settings.get("gamma", {})
    )
  if rule not in out:
    raise ValueError(
      f"config: threshold: found {rule!r}, this system has {sorted(out)}."
    )
  return out


def batch_values(
  system: build.System, state: Any, normals: build.Normals
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
  first = jax.tree.map(lambda x: x[0], state[name]["backend"])
  if not jax.tree.leaves(first):
    return np.asarray(trained.batch_loss[0])
  backend = branch.backend(system.hypers[name])
  score = jax.vmap(lambda r: backend.score(first, r))
  return np.asarray(score(trained.batch_residual[0]))


class Runner:
  """Fits and scores machines with one system; compiles once per clip length.

  Args:
    config: the run's config, plain data.
    progress: where progress is shown.
  """

  def __init__(self, config: Config, progress: progress_lib.Progress) -> None:
    self.config = config
    self.system = build.build(config)
    self._progress = progress
    self._score = features.scorer(self.system)
    self._features = jax.jit(jax.vmap(self.system.features))
    self._fit = jax.jit(self.system.fit_scores)
    self._trainers = members.trainers(self.system)

  def _options(self, label: str, total: int) -> dict[str, Any]:
    return {
      "batch_size": self.config["batch_size"],
      "rate": self.config["sample_rate"],
      "advance": self._progress.task(label, total),
    }

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
    features.check(self.system, train, self.config["sample_rate"])
    options = self._options(f"{label} training clips", len(train))
    normals, notes = features.collect(self._features, train, **options)
    folder = self.config["training_dir"]
    normals = members.train(
      self._trainers,
      self.system,
      normals,
      self.config,
      folder=Path(folder) if folder else None,
      on_epoch=self._progress.epochs(label),
    )
    state, own = self._fit(self.system.hypers, normals)
    train_scores = np.asarray(own)
    if not np.isfinite(train_scores).all():
      raise ValueError(
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
      "num_samples": max(self.system.min_samples, header.num_samples),
      "num_channels": header.num_channels,
      "training_scores": {
        n: b.reference for n, b in self.system.branches.items()
      },
      "train_scores": [float(s) for s in np.sort(train_scores)],
    }
    finite = {k: _finite(v) for k, v in rules.items()}
    return detector.Section(state, finite, rule, facts), train_scores, notes

  def score(
    self, machine: str, test: Sequence[clips.Clip], section: detector.Section
  ) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Scores clips with a fitted section: `[Q]`, `[Q, K]` and notes."""
    features.check(self.system, test, self.config["sample_rate"])
    fused = np.zeros(len(test), np.float32)
    seeds: list[Any] = [None] * len(test)
    notes = []
    options = self._options(f"{machine} test clips", len(test))
    for rows, scores, by_seed, new in features.score(
      self._score, section.state, test, **options
    ):
      fused[rows] = scores
      for row, values in zip(rows, by_seed, strict=True):
        seeds[row] = values
      notes += new
    return fused, np.array(seeds), notes


def _sections(some: Iterable[clips.Clip]) -> list[str]:
  return sorted({c.section for c in some})


def _of(some: Iterable[clips.Clip], section: str) -> list[clips.Clip]:
  return [c for c in some if c.section == section]


def run_machine(runner: Runner, machine: clips.Machine) -> dict[str, Scored]:
  """Fits and scores every section of a machine.

  Args:
    runner: the system.
    machine: its clips.

  Returns:
    Section to scores; a section without test clips is fitted all the same.

  Raises:
    ValueError: for a test section without training clips, and bad input.
  """
  known = _sections(machine.train)
  if odd := sorted(set(_sections(machine.test)) - set(known)):
    raise ValueError(
      f"{machine.name}: found test clips of section {odd}, expected sections"
      f" with training clips: {known}."
    )
  out = {}
  for section in known:
    train = _of(machine.train, section)
    test = _of(machine.test, section)
    fitted, train_scores, notes = runner.fit(machine.name, train, section)
    score, seeds, more = runner.score(machine.name, test, fitted)
    decision = score > fitted.threshold
    out[section] = Scored(
      test, score, seeds, decision, train_scores, fitted, notes + more
    )
  return out


def flags_of(
  some: Sequence[clips.Clip],
) -> tuple[list[bool] | None, list[bool] | None]:
  """Labels and domains of clips, None where any is unknown.

  Args:
    some: test clips.

  Returns:
    is_anomaly and is_target, one a clip.
  """
  labels = [c.label for c in some]
  domains = [c.domain for c in some]
  is_anomaly = None if None in labels else [v == "anomaly" for v in labels]
  is_target = None if None in domains else [v == "target" for v in domains]
  return is_anomaly, is_target


def section_metrics(
  scored: Scored, score: np.ndarray | None = None
) -> dict[str, Any]:
  """Metrics of one section, of its fused scores unless others are given.

  Args:
    scored: the section.
    score: `[Q]` other scores of the same clips; no decisions then.

  Returns:
    What `official.clip_metrics` returns.
  """
  if not scored.clips:
    return official.clip_metrics(np.zeros(0), None)
  flags = flags_of(scored.clips)
  if score is not None:
    return official.clip_metrics(score, *flags)
  return official.clip_metrics(scored.score, *flags, scored.decision)


def _machine_entry(sections: dict[str, Scored]) -> dict[str, Any]:
  metrics = {s: section_metrics(v) for s, v in sections.items()}
  entries = list(metrics.values())
  entry: dict[str, Any] = {
    k: official.official_score([e[k] for e in entries])
    if all(e[k] is not None for e in entries)
    else None
    for k in official.RANKED
  }
  entry["score"] = official.machine_score(entries)
  entry["n_train"] = sum(len(v.train) for v in sections.values())
  entry["n_test"] = sum(len(v.clips) for v in sections.values())
  entry["sections"] = {}
  for section, scored in sections.items():
    is_anomaly, is_target = flags_of(scored.clips)
    interval = None
    if is_anomaly is not None and len(set(is_anomaly)) == 2:
      interval = uncertainty.bootstrap(scored.score, is_anomaly, is_target)
    entry["sections"][section] = {
      **metrics[section],
      "n_train": len(scored.train),
      "n_test": len(scored.clips),
      "threshold": _finite(scored.section.threshold),
      "thresholds": scored.section.thresholds,
      "training_scores": scored.section.facts["training_scores"],
      "num_anomalous": int(scored.decision.sum()),
      "bootstrap": interval,
    }
  return entry


def _finite(value: float) -> float | None:
  return value if math.isfinite(value) else None


def _seed_entries(
  config: Config, scored: dict[str, dict[str, Scored]]
) -> list[dict[str, Any]]:
  """Metrics seed by seed; one entry where nothing is drawn."""
  num = max(
    (s.seeds.shape[1] for m in scored.values() for s in m.values() if s.clips),
    default=0,
  )
  out = []
  for k in range(num):
    machines = {}
    for name, sections in scored.items():
      entries = [
        section_metrics(s, s.seeds[:, k]) for s in sections.values() if s.clips
      ]
      machines[name] = {"sections": entries}
    ranked = official.ranked_values(
      e for m in machines.values() for e in m["sections"]
    )
    out.append(
      {
        "seed": config["seeds"][k] if num > 1 else config["seeds"][0],
        "official_score": official.official_score(ranked),
        "machines": {
          n: {
            **{
              k: official.official_score([e[k] for e in m["sections"]])
              for k in official.RANKED
            },
            "score": official.machine_score(m["sections"]),
          }
          for n, m in machines.items()
        },
      }
    )
  return out


def results_of(
  config: Config,
  machines: Sequence[clips.Machine],
  scored: dict[str, dict[str, Scored]],
  seconds: float,
) -> dict[str, Any]:
  """The content of results.json (fractions; null where something is unknown).

  Args:
    config: the run's config.
    machines: what was read.
    scored: machine to section to scores.
    seconds: duration of the run.

  Returns:
    Plain data.
  """
  entries = {n: _machine_entry(s) for n, s in scored.items()}
  ranked = official.ranked_values(
    e for m in entries.values() for e in m["sections"].values()
  )
  per_seed = _seed_entries(config, scored)
  seed_scores = [s["official_score"] for s in per_seed]
  known = [s for s in seed_scores if s is not None]
  notes = [f"{m.name}: {note}" for m in machines for note in m.notes]
  notes += [x for m in scored.values() for s in m.values() for x in s.notes]
  notes += _general_notes(config, scored)
  return {
    "system": config["system"],
    "config": config,
    "seeds": list(config["seeds"]),
    "machines": entries,
    "official_score": official.official_score(ranked),
    "per_seed": per_seed,
    "seed_summary": uncertainty.seed_summary(known) if known else None,
    "published": config.get("published"),
    "notes": notes,
    "run": run_facts(seconds),
  }


def _general_notes(
  config: Config, scored: dict[str, dict[str, Scored]]
) -> list[str]:
  kinds = {
    kind
    for m in scored.values()
    for s in m.values()
    for kind in s.section.facts["training_scores"].values()
  }
  notes = []
  if config["threshold"]["name"] == "conformal" and "in_sample" in kinds:
    notes.append(
      "thresholds come from in-sample training scores, which are lower than"
      " those of new normal clips: expect more false alarms than the stated"
      f" rate of {config['threshold'].get('false_alarm_rate', 0.1)}"
    )
  return notes


def run_facts(seconds: float) -> dict[str, Any]:
  """Versions, device and time, for the report."""
  names = ("asd_jax", "jax", "jaxlib", "flax", "optax", "numpy", "scipy")
  return {
    "seconds": round(seconds, 2),
    "device": jax.devices()[0].device_kind,
    "num_devices": jax.device_count(),
    "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    "versions": {n: importlib.metadata.version(n) for n in names},
  }


def _rows(scored: Scored) -> list[tuple[str, float, int]]:
  return [
    (c.name, float(s), int(d))
    for c, s, d in zip(scored.clips, scored.score, scored.decision, strict=True)
  ]


def scores_csv(rows: Iterable[tuple[str, float, int]]) -> str:
  """`file,score,decision` with a header."""
  return files.csv_text([("file", "score", "decision"), *rows])


def _write_submission(
  out: Path, config: Config, scored: dict[str, dict[str, Scored]], entries: dict
) -> None:
  spec = config["submission"]
  tables = {
    name: {s: _rows(v) for s, v in sections.items() if v.clips}
    for name, sections in scored.items()
  }
  tables = {name: sections for name, sections in tables.items() if sections}
  if not tables:
    return
  known = {
    n: {k: e[k] for k in official.RANKED}
    for n, e in entries.items()
    if e["score"] is not None
  }
  meta = submission_meta.build(
    spec["label"],
    name=config["system"],
    abbreviation=spec["abbreviation"],
    development=known,
  )
  submission.write(out / "submission", spec["label"], tables, meta)
  expected = {
    name: {s: {r[0] for r in rows} for s, rows in sections.items()}
    for name, sections in tables.items()
  }
  if problems := submission.check(out / "submission", expected=expected):
    raise ValueError(f"{out / 'submission'}: {'; '.join(problems)}")


def write_outputs(
  out: Path,
  config: Config,
  scored: dict[str, dict[str, Scored]],
  results: dict[str, Any],
) -> None:
  """Writes scores, challenge files, report and, last, results.json.

  Args:
    out: output folder.
    config: the run's config.
    scored: machine to section to scores.
    results: content of results.json.
  """
  for name, sections in scored.items():
    rows = [row for s in sections.values() for row in _rows(s)]
    files.atomic_write_text(out / "scores" / f"{name}.csv", scores_csv(rows))
  _write_submission(out, config, scored, results["machines"])
  files.atomic_write_text(out / "report.html", report.page(results, scored))
  text = json.dumps(results, indent=2, allow_nan=False)
  files.atomic_write_text(out / "results.json", text + "\n")


def run(
  config: Config,
  *,
  show: Callable[[str], None],
  progress: progress_lib.Progress,
) -> dict[str, Any]:
  """Evaluates a system on every machine that the config names.

  Args:
    config: plain data, see `configs/common.py`.
    show: prints a line for people.
    progress: where progress is shown.

  Returns:
    The content of results.json.

  Raises:
    ValueError: for bad input; nothing is half-written.
  """
  start = time.perf_counter()
  if not config["output_dir"]:
    raise ValueError("config: expected --config.output_dir=OUT, found none.")
  out = Path(config["output_dir"])
  runner = Runner(config, progress)
  machines = read_machines(config)
  for machine in machines:
    both = (*machine.train, *machine.test)
    features.check(runner.system, both, config["sample_rate"])
  prepare_output(out)
  config["training_dir"] = config["training_dir"] or os.fspath(out / "training")
  scored = {}
  for machine in machines:
    scored[machine.name] = sections = run_machine(runner, machine)
    fitted = {s: v.section for s, v in sections.items()}
    detector.save(
      out / "detectors" / machine.name,
      detector.Detector(machine.name, config, runner.system, fitted),
    )
    show(f"{machine.name}: done")
  results = results_of(config, machines, scored, time.perf_counter() - start)
  write_outputs(out, config, scored, results)
  return results
