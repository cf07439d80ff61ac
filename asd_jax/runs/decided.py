"""What results.json says of a section's decisions."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from asd_jax.metrics import decisions
from asd_jax.report import record
from asd_jax.scores import threshold


def facts(scored: Any, config: Mapping[str, Any]) -> dict[str, Any]:
  """How a section's clips are decided.

  Args:
    scored: `results.Scored`.
    config: `threshold`.

  Returns:
    Fields of `record.Decision`.
  """
  spec, section = config["threshold"], scored.section
  rate = spec.get("false_alarm_rate", threshold.FALSE_ALARM_RATE)
  num = len(scored.train)
  # Leaving one clip out is a fold a clip.
  unseen = "in_sample" not in section.facts["training_scores"].values()
  return record.Decision(
    rule=section.rule,
    false_alarm_rate=rate,
    by_domain=False,
    folds=num if unseen else 0,
    num_train=num,
    # Rounded first: 1 / 0.1 may miss 10 by rounding error.
    num_needed=math.ceil(round(1 / rate, 9)) - 1,
    possible=math.isfinite(section.threshold),
  )._asdict()


def flagged(scored: Any) -> list[dict[str, Any]]:
  """The clips that are called anomalous, the highest score first.

  Args:
    scored: `results.Scored`.

  Returns:
    `file`, `score`, and `p_value` (None if it is unknown) of each.
  """
  rows = np.flatnonzero(np.asarray(scored.decisions) == record.ANOMALOUS)
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


def entry(
  scored: Any,
  flags: tuple[list[bool] | None, list[bool] | None],
  config: Mapping[str, Any],
) -> dict[str, Any]:
  """All that results.json says of a section's decisions.

  Args:
    scored: `results.Scored`.
    flags: whether each clip is an anomaly, and whether of the target domain;
      None where it is unknown.
    config: `threshold`.

  Returns:
    `decision`, `num_anomalous`, `flagged`, and `measured`, which is empty
    without labels or decisions.
  """
  how = facts(scored, config)
  is_anomaly, is_target = flags
  decided = np.asarray(scored.decisions) == record.ANOMALOUS
  rates = {}
  if scored.clips and how["possible"] and is_anomaly is not None:
    rates = decisions.measured(decided, is_anomaly, is_target)
  return {
    "decision": how,
    "num_anomalous": int(decided.sum()),
    "flagged": flagged(scored),
    "measured": rates,
  }
