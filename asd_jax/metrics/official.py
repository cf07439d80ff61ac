"""The challenge's metrics on the host, exact.

These are the numbers to publish. AUCs and partial AUCs equal scikit-learn's,
in float64, and follow the official evaluator of DCASE Task 2 (2022 to 2026):
the anomalies of both domains stand against the normal clips of each domain.
"""

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import ArrayLike

from asd_jax import errors
from asd_jax.metrics import device, roc

MAX_FPR = device.MAX_FPR
EPS = device.EPS
RANKED = ("auc_source", "auc_target", "pauc")
# AUCs of a domain as some reports give them, against its own anomalies alone.
SAME_DOMAIN = ("auc_source_same", "auc_target_same")
DECISION_METRICS = ("precision", "recall", "f1")
_SUFFIXES = ("_source", "_target")

Metrics = Mapping[str, float | None]


def as_vector(
  name: str, values: ArrayLike, *, num: int | None = None
) -> np.ndarray:
  """Checks that values are one-dimensional, and as many as `num`."""
  array = np.asarray(values)
  if array.ndim != 1 or (num is not None and len(array) != num):
    wanted = "[N]" if num is None else f"({num},) as the scores"
    raise errors.InputError(
      f"{name} has shape {array.shape}, expected {wanted}"
    )
  return array


def as_flags(name: str, values: ArrayLike, num: int) -> np.ndarray:
  """Checks `num` flags (bool, or 0 and 1) and returns them as bool."""
  array = as_vector(name, values, num=num)
  if not np.isin(array, (0, 1)).all():
    raise errors.InputError(f"{name} holds values other than 0 and 1")
  return array.astype(bool)


def as_scores(values: ArrayLike) -> np.ndarray:
  """Checks that scores are finite and returns them as float64 `[N]`."""
  score = as_vector("score", values).astype(np.float64)
  if not np.isfinite(score).all():
    bad = int(np.sum(~np.isfinite(score)))
    raise errors.InputError(f"{bad} of {len(score)} scores are not finite")
  return score


def _area(
  score: np.ndarray,
  is_anomaly: np.ndarray,
  keep: np.ndarray | slice,
  max_fpr: float | None = None,
) -> float | None:
  """AUC or partial AUC of the kept clips, None when a class is missing."""
  label = is_anomaly[keep]
  if label.all() or not label.any():
    return None
  return roc.area(score[keep], label, max_fpr=max_fpr)


def _decision_metrics(
  decision: np.ndarray, is_anomaly: np.ndarray
) -> tuple[float, float, float] | tuple[None, None, None]:
  """Precision, recall and F1 of the clips of one domain."""
  if is_anomaly.all() or not is_anomaly.any():
    return None, None, None
  # As the evaluator has it: epsilon keeps zero alarms from dividing by zero.
  hits = float(np.sum(decision & is_anomaly))
  precision = hits / max(float(np.sum(decision)), EPS)
  recall = hits / max(float(np.sum(is_anomaly)), EPS)
  f1 = 2 * precision * recall / max(precision + recall, EPS)
  return precision, recall, f1


def _unknown(has_decisions: bool) -> dict[str, float | None]:
  """All metrics as None."""
  names = [f"{m}{d}" for m in ("auc", "pauc") for d in ("", *_SUFFIXES)]
  names += SAME_DOMAIN
  if has_decisions:
    names += [f"{m}{d}" for m in DECISION_METRICS for d in _SUFFIXES]
  return dict.fromkeys(names)


def clip_metrics(
  score: ArrayLike,
  is_anomaly: ArrayLike | None,
  is_target: ArrayLike | None,
  *,
  decision: ArrayLike | None = None,
) -> dict[str, float | None]:
  """All metrics of one machine and section.

  Args:
    score: `[N]` finite, higher is more anomalous.
    is_anomaly: `[N]` bool; None when the labels are unknown.
    is_target: `[N]` bool; None when there are no domains (2020).
    decision: `[N]` bool or 0/1; None leaves precision, recall and F1 out.

  Returns:
    Fractions by name: `auc` and `pauc` (all clips), `auc_source`,
    `auc_target` (normal clips of the domain, anomalies of both; ranked, with
    `pauc`), `pauc_source`, `pauc_target`, `auc_source_same`,
    `auc_target_same` (normal clips and anomalies of the domain; not ranked)
    and, with decisions, `precision_`, `recall_`, `f1_` of each domain (clips of
    the domain only). None where labels, domains, or the normal or anomalous
    clips of the domain are missing.

  Raises:
    InputError: unequal lengths, scores not finite, flags other than 0 and 1.
  """
  score = as_scores(score)
  num = len(score)
  flags = lambda name, x: None if x is None else as_flags(name, x, num)
  anomaly = flags("is_anomaly", is_anomaly)
  target = flags("is_target", is_target)
  decided = flags("decision", decision)
  out = _unknown(decided is not None)
  if anomaly is None:
    return out
  out["auc"] = _area(score, anomaly, slice(None))
  out["pauc"] = _area(score, anomaly, slice(None), MAX_FPR)
  if target is None:
    return out
  # The AUC of a domain takes the anomalies of both, the others its own.
  for suffix, inside in zip(_SUFFIXES, (~target, target), strict=True):
    out[f"auc{suffix}"] = _area(score, anomaly, inside | anomaly)
    out[f"auc{suffix}_same"] = _area(score, anomaly, inside)
    out[f"pauc{suffix}"] = _area(score, anomaly, inside, MAX_FPR)
    if decided is not None:
      values = _decision_metrics(decided[inside], anomaly[inside])
      for metric, value in zip(DECISION_METRICS, values, strict=True):
        out[metric + suffix] = value
  return out


def _present(values: Iterable[float | None]) -> np.ndarray:
  """Flattens and drops None."""
  # As objects, or None would become NaN, which is an error of ours.
  flat = np.array(list(values), dtype=object).ravel()
  kept = np.array([v for v in flat if v is not None], np.float64)
  if np.isnan(kept).any():
    raise errors.InputError(
      "a metric is NaN; a value that is missing must be None"
    )
  return kept


def harmonic_mean(values: np.ndarray) -> np.ndarray:
  """Harmonic mean over the last axis, zeros raised to float64 epsilon.

  Args:
    values: `[..., K]` fractions.

  Returns:
    `[...]`; NaN where a value is NaN.
  """
  # The evaluator raises values too: one AUC of zero must not divide by zero.
  return 1 / np.mean(1 / np.maximum(values, EPS), axis=-1)


def arithmetic_mean(values: Iterable[float | None]) -> float | None:
  """Arithmetic mean of the values that are not None; None when none is."""
  kept = _present(values)
  return float(np.mean(kept)) if len(kept) else None


def official_score(values: Iterable[float | None]) -> float | None:
  """Harmonic mean of AUC (source), AUC (target) and pAUC of all machines.

  Args:
    values: fractions in any nesting of equal lengths, usually three a machine
      and section. Values below float64 epsilon are raised to it, so that one
      zero gives almost 0 and no error. None is skipped: a machine without
      domains or without ground truth must not void the score of the others.

  Returns:
    The score; None when every value is None.

  Raises:
    InputError: a value is NaN.
  """
  kept = _present(values)
  if not len(kept):
    return None
  return float(harmonic_mean(kept))


def ranked_values(entries: Iterable[Metrics]) -> list[float | None]:
  """The three ranked values of each entry (machine and section), in a row."""
  return [entry.get(key) for entry in entries for key in RANKED]


def machine_score(sections: Iterable[Metrics]) -> float | None:
  """Score of one machine, None unless all its ranked values are known.

  With one section it is the harmonic mean of three values; the official score
  is also the harmonic mean of the machines' scores.
  """
  values = ranked_values(sections)
  return None if None in values else official_score(values)
