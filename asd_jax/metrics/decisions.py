"""What decisions turned out to be worth where labels are known."""

from collections.abc import Iterable, Mapping
from typing import Any

from numpy.typing import ArrayLike

from asd_jax.metrics import official, uncertainty

KINDS = ("true_alarms", "false_alarms", "misses", "true_normals")


def _share(count: int, num: int) -> float | None:
  return count / num if num else None


def rates(confusion: Mapping[str, int]) -> dict[str, Any]:
  """Rates of counted decisions.

  Args:
    confusion: number of clips of each of `KINDS`; others are ignored.

  Returns:
    The counts under `confusion`; `false_alarm_rate` (of the normal clips),
    `recall` (of the anomalies, the detection rate), each with its 95 % Wilson
    interval under `*_interval`; `precision`, `f1`. Fractions; None where no
    clip is left to count.
  """
  tp, fp, fn, tn = (int(confusion[k]) for k in KINDS)
  return {
    "confusion": dict(zip(KINDS, (tp, fp, fn, tn), strict=True)),
    "false_alarm_rate": _share(fp, fp + tn),
    "false_alarm_rate_interval": uncertainty.wilson(fp, fp + tn),
    "recall": _share(tp, tp + fn),
    "recall_interval": uncertainty.wilson(tp, tp + fn),
    "precision": _share(tp, tp + fp),
    # Without anomalies it would be 0 / 0 or 0, whatever was decided.
    "f1": _share(2 * tp, 2 * tp + fp + fn) if tp + fn else None,
  }


def measured(
  decision: ArrayLike, is_anomaly: ArrayLike, is_target: ArrayLike | None
) -> dict[str, dict[str, Any]]:
  """Rates of one section's decisions, over all clips and by domain.

  Args:
    decision: `[Q]` bool or 0/1.
    is_anomaly: `[Q]` bool.
    is_target: `[Q]` bool; None when there are no domains.

  Returns:
    `rates` under `all` and, with domains, under `source` and `target`, of the
    clips of the domain only.

  Raises:
    InputError: for unequal lengths, and flags other than 0 and 1.
  """
  num = len(official.as_vector("decision", decision))
  decided = official.as_flags("decision", decision, num)
  anomaly = official.as_flags("is_anomaly", is_anomaly, num)
  parts = {"all": anomaly | ~anomaly}
  if is_target is not None:
    target = official.as_flags("is_target", is_target, num)
    parts |= {"source": ~target, "target": target}
  found = (
    decided & anomaly, decided & ~anomaly, ~decided & anomaly,
    ~decided & ~anomaly,
  )  # fmt: skip
  return {
    name: rates(
      {k: int((x & keep).sum()) for k, x in zip(KINDS, found, strict=True)}
    )
    for name, keep in parts.items()
  }


def pooled(
  some: Iterable[Mapping[str, Mapping[str, Any]]],
) -> dict[str, dict[str, Any]]:
  """Rates over the clips of several sections together.

  Args:
    some: what `measured` returns, a section each.

  Returns:
    The same, of those parts that every section has; empty without sections.
  """
  sections = list(some)
  if not sections:
    return {}
  # A domain that one section lacks would be one of other machines.
  names = [k for k in sections[0] if all(k in s for s in sections)]
  return {
    name: rates(
      {k: sum(s[name]["confusion"][k] for s in sections) for k in KINDS}
    )
    for name in names
  }
