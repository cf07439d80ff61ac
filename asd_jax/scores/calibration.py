"""Calibrators: fitted on normal training scores, applied to one score."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp

from asd_jax.typing import Array

State = Any


class Calibrator(NamedTuple):
  """Puts the scores of different branches on one scale.

  Attributes:
    fit: `([N]) -> State`, from the normal training scores of one machine.
    apply: `(State, []) -> []`, on one score.
  """

  fit: Callable[[Array], State]
  apply: Callable[[State, Array], Array]


def identity() -> Calibrator:
  """Leaves scores as they are."""
  return Calibrator(lambda scores: {}, lambda state, score: score)


def zscore() -> Calibrator:
  """Subtracts the mean and divides by the standard deviation (ddof 0).

  A standard deviation of at most 1e-12 counts as one.

  Source: [KonicaMinolta26].
  """

  def fit(scores: Array) -> State:
    std = jnp.std(scores)
    return {
      "mean": jnp.mean(scores),
      "std": jnp.where(std <= 1e-12, 1.0, std),
    }

  def apply(state: State, score: Array) -> Array:
    return (score - state["mean"]) / state["std"]

  return Calibrator(fit, apply)


CALIBRATORS = {"identity": identity, "zscore": zscore}
