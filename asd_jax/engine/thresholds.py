"""Thresholds of a fitted section, by every rule that applies."""

import math
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from asd_jax.engine import system as system_lib
from asd_jax.engine.normals import Normals


def thresholds(
  system: system_lib.System,
  state: Any,
  normals: Normals,
  train_scores: np.ndarray,
  config: Mapping[str, Any],
) -> dict[str, float | None]:
  """Thresholds by every rule that applies.

  Args:
    system: the system.
    state: its fitted state.
    normals: training clips.
    train_scores: `[N]` scores of the training clips.
    config: `threshold` names the rule in force and its settings.

  Returns:
    Rule to value, None if it is infinite: `conformal`, the rule in force, and
    `gamma` (the official rule, on batches of the first seed) for a system that
    is one trained encoder.
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
  # JSON has no infinity: None stands for it.
  return {k: v if math.isfinite(v) else None for k, v in out.items()}


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
