"""What results.json says of a section's decisions."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from asd_jax.engine import said, windowed
from asd_jax.engine import section as section_lib
from asd_jax.metrics import decisions
from asd_jax.report import console, record
from asd_jax.scores import alarm, threshold


def flagged(scored: Any) -> list[dict[str, Any]]:
  """The clips that are called anomalous, the highest score first.

  Args:
    scored: `results.Scored`.

  Returns:
    `file`, `score`, and `p_value` (None if it is unknown) of each.
  """
  rows = np.flatnonzero(np.asarray(scored.decisions) == threshold.ANOMALOUS)
  rows = rows[np.argsort(-scored.score[rows], kind="stable")]
  return [
    {
      "file": scored.clips[i].name,
      "score": float(scored.score[i]),
      "p_value": known(scored.p_values[i]),
    }
    for i in rows
  ]


def known(p_value: float) -> float | None:
  """A p-value, or None for NaN, which stands for an unknown one."""
  return None if math.isnan(p_value) else float(p_value)


def notes(sections: Sequence[section_lib.Section]) -> list[str]:
  """What to know of decisions that keep no promise of a rate, if any.

  Args:
    sections: of a run.

  Returns:
    Sentences.
  """
  every = [record.Decision(**section.about()) for section in sections]
  notes = dict.fromkeys(
    console.unpromised(how.rule)
    for how in every
    if how.possible and not how.promises
  )
  if any(how.in_sample for how in every):
    notes |= {
      "decisions come from scores of clips that the detector has seen, which"
      " are lower than those of new normal clips: expect more false alarms than"
      f" the stated rate of {every[0].false_alarm_rate:g}": None
    }
  return list(notes)


def recordings(
  section: section_lib.Section, found: said.Windows, names: Sequence[str]
) -> dict[str, Any]:
  """What results.json says of long recordings.

  Args:
    section: that scored them.
    found: what is said of their windows.
    names: of the files.

  Returns:
    `recordings`: what makes an `alarm`, and of each file its windows and
    alarms; nothing where there is no long recording.
  """
  if not len(found.file):
    return {}
  how = windowed.alarms_of(section.facts, section.rule)
  files = []
  for i in np.unique(found.file).astype(int):
    own = found.file == i
    start, decision = found.start_seconds[own], found.decision[own]
    spans = [
      [float(start[a]), float(start[b - 1] + how["window_seconds"])]
      for a, b in alarm.alarms(decision, how["after"])
    ]
    possible = not (decision == threshold.UNDECIDED).any()
    files.append(
      {
        "file": names[i],
        "windows": len(start),
        "anomalous_windows": int(np.sum(decision == threshold.ANOMALOUS)),
        "alarms": spans if possible else None,
      }
    )
  return {"recordings": {"alarm": how, "files": files}}


def entry(
  scored: Any,
  flags: tuple[list[bool] | None, list[bool] | None],
) -> dict[str, Any]:
  """All that results.json says of a section's decisions.

  Args:
    scored: `results.Scored`.
    flags: whether each clip is an anomaly, and whether of the target domain;
      None where it is unknown.

  Returns:
    `decision`, `num_anomalous`, `flagged`, and `measured`, which is empty
    without labels or decisions.
  """
  how = scored.section.about()
  is_anomaly, is_target = flags
  decided = np.asarray(scored.decisions) == threshold.ANOMALOUS
  rates = {}
  if scored.clips and how["possible"] and is_anomaly is not None:
    rates = decisions.measured(decided, is_anomaly, is_target)
  return {
    "decision": how,
    "num_anomalous": int(decided.sum()),
    "flagged": flagged(scored),
    "measured": rates,
  }
