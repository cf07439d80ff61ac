"""Calibrators: fitted on normal training scores, applied to one score."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from asd_jax.typing import Array

State = Any
_TINY = 1e-30
# Scores whose logarithms differ by less on average count as equal.
_EQUAL = 1e-7
_NEWTON_STEPS = 8


class Calibrator(NamedTuple):
  """Puts the scores of different branches on one scale.

  Attributes:
    fit: `([N]) -> State`, from the normal training scores of one machine.
    apply: `(State, []) -> []`, on one score.
  """

  fit: Callable[[Array], State]
  apply: Callable[[State, Array], Array]


def _deviation(scores: Array) -> Array:
  """Standard deviation (ddof 0), one where it is zero."""
  std = jnp.std(scores - scores[0])  # equal scores give exactly zero
  return jnp.where(std <= 1e-12, 1.0, std)


def identity() -> Calibrator:
  """Leaves scores as they are."""
  return Calibrator(lambda scores: {}, lambda state, score: score)


def zscore() -> Calibrator:
  """Subtracts the mean and divides by the standard deviation (ddof 0).

  A standard deviation of at most 1e-12 counts as one.

  Source: [KonicaMinolta26].
  """

  def fit(scores: Array) -> State:
    return {"mean": jnp.mean(scores), "std": _deviation(scores)}

  def apply(state: State, score: Array) -> Array:
    return (score - state["mean"]) / state["std"]

  return Calibrator(fit, apply)


def gamma() -> Calibrator:
  """Standardises with the mean and deviation of a fitted gamma distribution.

  Location zero, maximum likelihood; scores must not be negative. An affine
  map, unlike the distribution function: it makes no ties. References that are
  all equal leave the deviation at one.

  Source: [KATECH26] Sec. 3.1; location zero is our choice.
  """

  def fit(scores: Array) -> State:
    mean = jnp.mean(scores)
    # Of scores over their mean, so that equal scores give zero exactly.
    ratio = scores / jnp.where(mean > 0.0, mean, 1.0)
    gap = -jnp.mean(jnp.log(jnp.maximum(ratio, _TINY)))
    equal = (gap <= _EQUAL) | (mean <= 0.0)
    std = mean / jnp.sqrt(gamma_shape(jnp.where(equal, 1.0, gap)))
    return {"mean": mean, "std": jnp.where(equal, 1.0, std)}

  return Calibrator(fit, zscore().apply)


def gamma_shape(gap: Array) -> Array:
  """Shape of a gamma distribution by maximum likelihood, location zero.

  Args:
    gap: `[]` logarithm of the mean minus mean of the logarithms, above 0.

  Returns:
    `[]` shape a with `log a - digamma(a) = gap`, by Newton's method from
    Minka's start.

  Source: [Minka02].
  """
  start = (3.0 - gap + jnp.sqrt(jnp.square(gap - 3.0) + 24.0 * gap)) / (
    12.0 * gap
  )

  def newton(_: int, a: Array) -> Array:
    slope = 1.0 / a - jax.scipy.special.polygamma(1, a)
    error = jnp.log(a) - jax.scipy.special.digamma(a) - gap
    return jnp.maximum(a - error / slope, 0.1 * a)

  return jax.lax.fori_loop(0, _NEWTON_STEPS, newton, start)


def robust_zscore() -> Calibrator:
  """Subtracts the median and divides by the scaled median deviation.

  A median deviation of zero gives way to the standard deviation (ddof 0), and
  that to one.

  Source: [Dongyuan26].
  """

  def fit(scores: Array) -> State:
    median = jnp.median(scores)
    spread = 1.4826 * jnp.median(jnp.abs(scores - median))
    std = jnp.where(spread <= 1e-12, _deviation(scores), spread)
    return {"mean": median, "std": std}

  return Calibrator(fit, zscore().apply)


def percentile() -> Calibrator:
  """Share of the training scores below a score, ties counted half.

  Scores beyond all training scores come out equal.

  Source: [KonicaMinolta26]; mid-ranks for ties are our choice.
  """

  def fit(scores: Array) -> State:
    return {"sorted": jnp.sort(scores)}

  def apply(state: State, score: Array) -> Array:
    refs = state["sorted"]
    below = jnp.searchsorted(refs, score, side="left")
    through = jnp.searchsorted(refs, score, side="right")
    return (below + through) / (2 * refs.shape[0])

  return Calibrator(fit, apply)


CALIBRATORS = {
  "identity": identity,
  "zscore": zscore,
  "gamma": gamma,
  "robust_zscore": robust_zscore,
  "percentile": percentile,
}
