"""Decisions of a fitted section: p-values, or a rule on the score."""

import difflib
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

from asd_jax import errors
from asd_jax.scores import p_value, threshold

# Types alone: whoever decides needs no code of a system.
if TYPE_CHECKING:
  from asd_jax.engine import system as system_lib
  from asd_jax.engine.normals import Normals

RULES = ("conformal", "quantile", "gamma")


class Rule(NamedTuple):
  """How clips are called anomalous, as a config says it.

  Attributes:
    name: `conformal` by p-values, `quantile` or `gamma` by a threshold on the
      score, which promises no rate.
    false_alarm_rate: stated rate of `conformal`.
    quantile: of the other two.
    folds: models that are fitted without a part of the training clips, for
      p-values; 0 for none.
    by_domain: the rate holds for normal clips of either domain.
    decide_in_sample: without folds, `conformal` takes a threshold from scores
      of clips that the detector has seen, and keeps no promise.
  """

  name: str = "conformal"
  false_alarm_rate: float = threshold.FALSE_ALARM_RATE
  quantile: float = 0.9
  folds: int = 10
  by_domain: bool = False
  decide_in_sample: bool = False

  @property
  def by_score(self) -> bool:
    """Whether a threshold on the score decides."""
    in_sample = not self.folds and self.decide_in_sample
    return self.name != "conformal" or in_sample


def read_rule(config: Mapping[str, Any]) -> Rule:
  """The rule of a config.

  Args:
    config: `threshold` names it; keys that it does not use are ignored.

  Returns:
    The rule.

  Raises:
    InputError: for an unknown rule or key, or a value out of range.
  """
  spec = dict(config["threshold"])
  known = list(Rule._fields)
  for key in spec:
    if key not in known:
      near = difflib.get_close_matches(key, known, n=1)
      hint = f"did you mean {near[0]!r}?" if near else f"expected {known}."
      raise errors.InputError(f"config: threshold: found {key!r}, {hint}")
  rule = Rule(**spec)
  where = "config: threshold:"
  if rule.name not in RULES:
    raise errors.InputError(
      f"{where} found {rule.name!r}, expected one of {RULES}."
    )
  for key in ("false_alarm_rate", "quantile"):
    value = getattr(rule, key)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0.0 < value < 1.0:
      raise errors.InputError(f"{where} {key} {value!r}, expected in (0, 1).")
  whole = isinstance(rule.folds, int) and not isinstance(rule.folds, bool)
  if not whole or rule.folds < 0 or rule.folds == 1:
    raise errors.InputError(
      f"{where} folds: found {rule.folds!r}, expected 2 or more, or 0 for none."
    )
  return rule


class Decided(NamedTuple):
  """What is said of clips.

  Attributes:
    p_value: `[Q]`, NaN without models of folds.
    decision: `[Q]` int8: `ANOMALOUS`, `NORMAL` or `UNDECIDED` of
      `scores.threshold`.
  """

  p_value: np.ndarray
  decision: np.ndarray


def limit(
  rule: Rule,
  system: "system_lib.System",
  state: Any,
  normals: "Normals",
  train_scores: np.ndarray,
) -> float | None:
  """The threshold on the score, where the rule has one.

  Args:
    rule: the rule.
    system: the system.
    state: its fitted state.
    normals: training clips.
    train_scores: `[N]` scores of the training clips.

  Returns:
    A clip above it is anomalous; None where p-values decide, and where there
    are too few clips.
  """
  if not rule.by_score:
    return None
  if rule.name == "gamma":
    values = batch_values(system, state, normals)
    return threshold.gamma(values, quantile=rule.quantile)
  if rule.name == "quantile":
    return threshold.empirical_quantile(train_scores, quantile=rule.quantile)
  found = threshold.conformal(
    train_scores, false_alarm_rate=rule.false_alarm_rate
  )
  return found if math.isfinite(found) else None


def counts(rule: Rule, num: int, num_target: int) -> dict[str, int]:
  """Training clips that a rate is stated from.

  Args:
    rule: the rule.
    num: training clips.
    num_target: how many of them are of the target domain.

  Returns:
    How many of each kind: of all, or of each domain.
  """
  if rule.by_domain:
    return {"source": num - num_target, "target": num_target}
  return {"normal": num}


def num_needed(rule: Rule) -> int:
  """Fewest training clips (of each domain, if so) for the stated rate.

  Args:
    rule: the rule.

  Returns:
    At least 2: there is no model without the only clip.
  """
  return max(2, p_value.num_needed(rule.false_alarm_rate))


def problem(rule: Rule, limit: float | None, num: int, num_target: int) -> str:
  """Why no clip can be called anomalous.

  Args:
    rule: the rule.
    limit: what `limit` returned.
    num: training clips.
    num_target: how many of them are of the target domain.

  Returns:
    Such as "6 normal clips, 9 needed for 0.1"; "" if decisions are possible.
  """
  if rule.name != "conformal" or limit is not None:
    return ""
  if not rule.folds and not rule.decide_in_sample:
    return (
      "no models of folds (threshold.folds=0), and threshold.decide_in_sample"
      " is not set"
    )
  needed = num_needed(rule)
  few = [
    f"{have} {what} {'clip' if have == 1 else 'clips'}"
    for what, have in counts(rule, num, num_target).items()
    if have < needed
  ]
  if not few:
    return ""
  return f"{' and '.join(few)}, {needed} needed for {rule.false_alarm_rate:g}"


def batch_values(
  system: "system_lib.System", state: Any, normals: "Normals"
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
