"""Finished machines of a run, so that one that was stopped goes on."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from asd_jax import store
from asd_jax.data import clips, decode
from asd_jax.engine import crossfit, identity, said, session
from asd_jax.engine import section as section_lib
from asd_jax.runs import folder as folder_lib
from asd_jax.runs import results
from asd_jax.scores import fusion

_FORM = 3
FOLDER = "finished"


class Records:
  """What results and report need of each finished machine, but its states.

  A record counts only for the same settings, weights, clips and code, and
  only while the machine's detector is as it was written: any other is made
  again, so that a continued run cannot differ from an unbroken one.

  Args:
    out: output folder of the run.
    opened: the system.
  """

  def __init__(self, out: Path, opened: session.Session) -> None:
    self._opened, self._detectors = opened, out / "detectors"
    code = store.code_version(".")
    self._store = store.Store(out / FOLDER, form=_FORM, code=code)
    # Settings once as given, as they are in the detector, once in full.
    outputs = folder_lib.OUTPUTS
    config = {k: v for k, v in opened.config.items() if k not in outputs}
    weights = {s: w.digest for s, w in opened.weights.items()}
    full = identity.of_system(opened.config)
    self._run = store.digest(config, full, weights)
    self._counted = dict(opened.embedder.counts)

  def get(self, machine: clips.Machine) -> dict[str, results.Scored] | None:
    """Scores of a machine that an earlier run finished.

    Args:
      machine: its clips.

    Returns:
      Section to scores without states; None if there is no record that counts.
    """
    kept = self._store.get(machine.name)
    if kept is None or kept.facts["fingerprint"] != self._fingerprint(machine):
      return None
    if kept.facts["detector"] != self._detector_digest(machine.name):
      return None
    # The whole run's counts, as if it had not been stopped.
    for kind, num in kept.facts["counts"].items():
      self._opened.embedder.counts[kind] += num
    self._counted = dict(self._opened.embedder.counts)
    return {
      section: _scored(self._opened, section, facts, kept.arrays, machine)
      for section, facts in kept.facts["sections"].items()
    }

  def put(
    self, machine: clips.Machine, scored: Mapping[str, results.Scored]
  ) -> None:
    """Keeps what was found of a machine whose files are written.

    Args:
      machine: its clips.
      scored: section to scores.

    Raises:
      InputError: if it cannot be written.
    """
    arrays: dict[str, np.ndarray] = {}
    for section, found in scored.items():
      own = {
        "fused": found.scores.fused,
        "seeds": found.scores.seeds,
        "train": found.train,
        "decision": found.decisions,
        "p_value": found.p_values,
        "start": [c.start for c in found.clips],
        **{f"member {n}": m for n, m in found.scores.members.items()},
        **{f"window {n}": x for n, x in found.windows._asdict().items()},
      }
      if folds := found.section.folds:
        own |= {"fold": folds.fold, "is_target": folds.is_target}
      arrays |= {f"{section} {k}": np.asarray(v) for k, v in own.items()}
    now = dict(self._opened.embedder.counts)
    facts = {
      "fingerprint": self._fingerprint(machine),
      "detector": self._detector_digest(machine.name),
      "counts": {k: n - self._counted[k] for k, n in now.items()},
      "sections": {
        section: {
          "notes": found.notes,
          "unread": [list(file) for file in found.unread],
          "threshold": found.section.limit,
          "facts": found.section.facts,
        }
        for section, found in scored.items()
      },
    }
    self._counted = now
    self._store.put(machine.name, arrays, facts)

  def clear(self, machines: list[clips.Machine]) -> None:
    """Forgets the machines of a run that is complete."""
    for machine in machines:
      self._store.drop(machine.name)
    folder = self._store.path("any").parent
    if folder.is_dir() and not any(folder.iterdir()):
      folder.rmdir()

  def notes(self) -> list[str]:
    """A sentence on damaged records, if there were any."""
    return self._store.notes()

  def _fingerprint(self, machine: clips.Machine) -> str:
    every = (*machine.train, *machine.test)
    # Names and order decide rows of csv files, contents all numbers.
    about = [
      [
        *(c.name, c.section, c.split, c.domain, c.attributes),
        decode.digest(c),
      ]
      for c in every
    ]
    return store.digest(self._run, about)

  def _detector_digest(self, machine: str) -> str:
    """A name of a detector's files; "" without any."""
    folder = self._detectors / machine
    if not folder.is_dir():
      return ""
    return store.digest([[p.name, p] for p in sorted(folder.iterdir())])


def _scored(
  opened: session.Session,
  section: str,
  facts: Mapping[str, Any],
  arrays: Mapping[str, np.ndarray],
  machine: clips.Machine,
) -> results.Scored:
  """The scores of one section as they were when they were kept."""
  own: Any = {
    name.removeprefix(f"{section} "): array
    for name, array in arrays.items()
    if name.startswith(f"{section} ")
  }
  members = {
    name.removeprefix("member "): array
    for name, array in own.items()
    if name.startswith("member ")
  }
  scores = fusion.Scores(own["fused"], own["seeds"], members)
  folds = None
  if "fold" in own:
    folds = crossfit.Folds((), own["train"], own["fold"], own["is_target"])
  kept = section_lib.Section(
    None, folds, facts["threshold"], opened.rule, facts["facts"]
  )
  # Labels come with the clips: they are not kept.
  unread = [clips.Unread(*file) for file in facts["unread"]]
  lost = {file.name for file in unread}
  own_clips = [c for c in machine.test if c.section == section]
  plan = kept.plan([c for c in own_clips if c.name not in lost])
  test = [
    next(c for c in plan.clips[r.start : r.stop] if c.start == start)
    for r, start in zip(plan.rows, own["start"], strict=True)
  ]
  windows = {n: own[f"window {n}"] for n in said.Windows._fields}
  return results.Scored(
    test,
    scores,
    own["decision"],
    own["p_value"],
    own["train"],
    kept,
    facts["notes"],
    said.Windows(**windows),
    unread,
  )
