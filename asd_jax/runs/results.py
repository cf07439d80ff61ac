"""What a run found: the content of results.json."""

import importlib.metadata
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from asd_jax.data import clips
from asd_jax.engine import said
from asd_jax.engine import section as section_lib
from asd_jax.engine import system as system_lib
from asd_jax.metrics import decisions, official, total, uncertainty
from asd_jax.runs import challenge, decided, sift
from asd_jax.scores import fusion

Config = dict[str, Any]


class Scored(NamedTuple):
  """Scores of one section's test clips, in clip order.

  Attributes:
    clips: the test clips; of a long recording the window that speaks for it.
    scores: their scores, leading axis Q.
    decisions: `[Q]` 1 anomalous, 0 normal, -1 where none is possible.
    p_values: `[Q]`, NaN without models of folds.
    train: `[N]` training scores, by models that have not seen the clips where
      there are models of folds.
    section: what was fitted.
    notes: odd but fine input.
    windows: what is said of those of long recordings.
    unread: test files that could not be scored.
  """

  clips: Sequence[clips.Clip]
  scores: fusion.Scores
  decisions: np.ndarray
  p_values: np.ndarray
  train: np.ndarray
  section: section_lib.Section
  notes: list[str]
  windows: said.Windows = said.NO_WINDOWS
  unread: Sequence[clips.Unread] = ()

  @property
  def score(self) -> np.ndarray:
    """`[Q]` fused scores."""
    return np.asarray(self.scores.fused)

  @property
  def seeds(self) -> np.ndarray:
    """`[Q, K]` scores seed by seed."""
    return np.asarray(self.scores.seeds)

  def decided(self) -> np.ndarray | None:
    """`[Q]` decisions; None where none is possible."""
    return None if (self.decisions < 0).any() else self.decisions


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
  # One unknown label leaves no metric: a subset would be another set.
  is_anomaly = None if None in labels else [v == "anomaly" for v in labels]
  is_target = None if None in domains else [v == "target" for v in domains]
  return is_anomaly, is_target


def section_metrics(
  scored: Scored, score: np.ndarray, *, decision: np.ndarray | None = None
) -> dict[str, Any]:
  """Metrics of scores of one section's clips.

  Args:
    scored: the section.
    score: `[Q]` scores of its clips.
    decision: `[Q]` decisions, if there are any.

  Returns:
    What `official.clip_metrics` returns.
  """
  flags = flags_of(scored.clips) if scored.clips else (None, None)
  return official.clip_metrics(score, *flags, decision=decision)


def _noise_transfer(sections: dict[str, Scored]) -> dict[str, float]:
  """Median over frequency (and sections) of each branch's transfer."""
  found: dict[str, list[float]] = {}
  for scored in sections.values():
    for branch, median in scored.section.facts["noise_transfer"].items():
      found.setdefault(branch, []).append(median)
  return {branch: float(np.median(x)) for branch, x in found.items()}


def _machine_entry(sections: dict[str, Scored]) -> dict[str, Any]:
  metrics = {
    s: section_metrics(v, v.score, decision=v.decided())
    for s, v in sections.items()
  }
  entry: dict[str, Any] = total.machine(list(metrics.values()))
  entry["noise_transfer"] = _noise_transfer(sections)
  entry["n_train"] = sum(len(v.train) for v in sections.values())
  entry["n_test"] = sum(len(v.clips) for v in sections.values())
  entry["sections"] = {}
  for section, scored in sections.items():
    is_anomaly, is_target = flags_of(scored.clips)
    interval = None
    # A class that is missing leaves nothing to resample.
    if is_anomaly is not None and len(set(is_anomaly)) == 2:
      interval = uncertainty.bootstrap(scored.score, is_anomaly, is_target)
    entry["sections"][section] = {
      **metrics[section],
      "n_train": len(scored.train),
      "n_test": len(scored.clips),
      # Only a rule on the score has one; p-values have none.
      "threshold": scored.section.limit,
      "training_scores": scored.section.facts["training_scores"],
      "bootstrap": interval,
      **decided.entry(scored, (is_anomaly, is_target)),
      **decided.recordings(
        scored.section, scored.windows, [c.name for c in scored.clips]
      ),
    }
  return entry


def _measured(entries: Mapping[str, Any]) -> dict[str, Any]:
  """Rates of decisions over all sections; empty unless all have them."""
  parts = [p for e in entries.values() for p in e["sections"].values()]
  rates = [p["measured"] for p in parts if p["n_test"]]
  # Over some machines they would be those of another set.
  return decisions.pooled(rates) if all(rates) else {}


def _gaps_of(
  scored: dict[str, dict[str, Scored]],
) -> dict[str, list[total.Gap]]:
  """What the test clips leave unknown, by machine and section with any."""
  return {
    name: [
      total.gap([c.label for c in s.clips], [c.domain for c in s.clips])
      for s in sections.values()
      if s.clips
    ]
    for name, sections in scored.items()
  }


def _entry_of(
  scored: dict[str, dict[str, Scored]], pick: Callable[[Scored], np.ndarray]
) -> dict[str, Any]:
  """Metrics of one seed or member on every machine."""
  entries = {
    name: [section_metrics(s, pick(s)) for s in sections.values() if s.clips]
    for name, sections in scored.items()
  }
  return {
    "official_score": total.total(entries, _gaps_of(scored)).score,
    "machines": {name: total.machine(e) for name, e in entries.items()},
  }


def _seed_entries(
  system: system_lib.System,
  scored: dict[str, dict[str, Scored]],
  *,
  chosen: bool,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
  """Metrics seed by seed, and branch by branch within each seed.

  A system of `chosen` members has no seeds beside them; one that draws
  nothing has one entry, and one of a single branch no members.
  """
  if not any(s.clips for m in scored.values() for s in m.values()):
    return [], []
  members = [
    {
      "branch": branch,
      "seed": seed,
      **_entry_of(scored, lambda s: np.asarray(s.scores.members[branch])[:, k]),  # noqa: B023
    }
    for branch, seeds in system.seeds.items()
    for k, seed in enumerate(seeds)
    if len(system.branches) > 1
  ]
  # Members chosen by label are what the system is made of.
  if chosen and members:
    return members, members
  # Branches that draw nothing count as one seed and repeat it.
  seeds = max(system.seeds.values(), key=len)
  by_seed = [
    {"seed": seed, **_entry_of(scored, lambda s: s.seeds[:, k])}  # noqa: B023
    for k, seed in enumerate(seeds)
  ]
  return by_seed, members


def labels_from(scored: dict[str, dict[str, Scored]]) -> str | None:
  """Where the test clips' labels come from.

  Args:
    scored: machine to section to scores.

  Returns:
    `"names"` (a development set: file names say normal or anomaly),
    `"ground_truth"` (a labelled evaluation set), `"mixed"`, or None without
    labels.
  """
  kinds = {
    c.label_from for m in scored.values() for s in m.values() for c in s.clips
  }
  return kinds.pop() if len(kinds) == 1 else "mixed" if kinds else None


def collect(
  config: Config,
  system: system_lib.System,
  machines: Sequence[clips.Machine],
  scored: dict[str, dict[str, Scored]],
  seconds: float,
  *,
  encoders: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
  """The content of results.json (fractions; null where something is unknown).

  Args:
    config: the run's config.
    system: what was built from it.
    machines: what was read.
    scored: machine to section to scores.
    seconds: duration of the run.
    encoders: what `networks.facts` returns.

  Returns:
    Plain data.
  """
  entries = {n: _machine_entry(s) for n, s in scored.items()}
  found = total.total(
    {
      name: [e["sections"][s] for s, v in scored[name].items() if v.clips]
      for name, e in entries.items()
    },
    _gaps_of(scored),
  )
  chosen = bool(config["members"])
  per_seed, per_member = _seed_entries(system, scored, chosen=chosen)
  # A seed without labels has no score, and no part in the mean.
  seed_scores = [s["official_score"] for s in per_seed]
  known = [s for s in seed_scores if s is not None]
  encoders = encoders or {}
  drawn = system_lib.draws(system)
  chosen_on = sorted(set(config["chosen_on"]) & set(found.machines))
  notes = [
    *_notes(config, machines, scored),
    *encoders.get("notes", []),
    *_score_notes(config, found, drawn=drawn, chosen_on=chosen_on),
  ]
  return {
    "system": config["system"],
    "config": config,
    "seeds": list(config["seeds"]),
    "draws": drawn,
    "machines": entries,
    "official_score": found.score,
    "official_score_over": found.record(),
    "measured": _measured(entries),
    "per_seed": per_seed,
    "per_member": per_member,
    "labels_from": labels_from(scored),
    "members_chosen_on": chosen_on,
    "seed_summary": uncertainty.seed_summary(known) if known else None,
    "published": None if _partly_chosen(config) else config.get("published"),
    "notes": notes,
    "unread": sift.unread(scored),
    "encoders": {k: v for k, v in encoders.items() if k != "notes"},
    "run": run_facts(seconds),
  }


def _score_notes(
  config: Config, found: total.Total, *, drawn: bool, chosen_on: list[str]
) -> list[str]:
  """What to know of the official score and of scores by seed."""
  notes = []
  if len(config["seeds"]) > 1 and not drawn:
    notes.append(
      "seeds have no effect: nothing in this system is drawn at random"
    )
  notes += [n for n in [total.in_words(found.score, found.record())] if n]
  if chosen_on:
    notes.append(
      f"labels of {', '.join(chosen_on)} chose the members of this system: its"
      " scores there are too good"
    )
  return notes


def _collapse(notes: Sequence[str], *, most: int = 5) -> list[str]:
  """Counts notes of one text beyond the first few, `file: text` each."""
  count: dict[str, int] = {}
  last: dict[str, str] = {}
  out = []
  for note in notes:
    # A whole folder with one fault must not bury the other notes.
    # The machine or file before the colon differs, the fault does not.
    text = note.split(": ", 1)[-1]
    # Nor does one whose numbers differ.
    kind = re.sub(r"(?<!channel )\d[\d.]*", "#", text)
    count[kind] = count.get(kind, 0) + 1
    last[kind] = text
    if count[kind] <= most:
      out.append(note)
  out += [f"{n - most} more: {last[k]}" for k, n in count.items() if n > most]
  return out


def _partly_chosen(config: Config) -> str:
  """What a system of chosen members is made of if not of as many; else ""."""
  wanted = (config.get("published") or {}).get("num_members")
  num, which = len(config["members"]), "chosen"
  if not num:
    num, which = len(config["branches"]) * len(config["seeds"]), "all"
  if wanted in (None, num):
    return ""
  return (
    f"{config['system']} is here the mean of {which} {num} (branch, seed)"
    f" members; the published one is that of {wanted}, chosen on labelled"
    " development data (scripts/select_members.py, --config.selection=FILE)"
  )


def _general_notes(
  config: Config, scored: dict[str, dict[str, Scored]]
) -> list[str]:
  notes = [note] if (note := _partly_chosen(config)) else []
  every = [s.section for m in scored.values() for s in m.values()]
  notes += decided.notes(every)
  undecided = [
    f"{name} {section}"
    for name, sections in scored.items()
    for section, s in sections.items()
    if (s.decisions < 0).any()
  ]
  if undecided and challenge.takes(config):
    notes.append(
      "challenge files, which know no other word, have 0 (normal) where no"
      f" decision is possible: {', '.join(undecided)}"
    )
  return notes


def _notes(
  config: Config,
  machines: Sequence[clips.Machine],
  scored: dict[str, dict[str, Scored]],
) -> list[str]:
  """What was odd about the input, then what holds for the whole run."""
  notes = [f"{m.name}: {note}" for m in machines for note in m.notes]
  notes += [x for m in scored.values() for s in m.values() for x in s.notes]
  for files in sift.unread(scored).values():
    notes += [f"not scored: {problem}" for problem in files.values()]
  return _collapse(notes) + _general_notes(config, scored)


def run_facts(seconds: float) -> dict[str, Any]:
  """Versions, device, precision and time, for the report."""
  names = ("asd_jax", "jax", "jaxlib", "flax", "optax", "numpy", "scipy")
  return {
    "seconds": round(seconds, 2),
    "device": jax.local_devices()[0].device_kind,
    "num_devices": jax.local_device_count(),
    "enable_x64": bool(jax.config.read("jax_enable_x64")),
    "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    "versions": {n: importlib.metadata.version(n) for n in names},
  }
