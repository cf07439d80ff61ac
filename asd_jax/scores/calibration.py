"""Calibrators: fitted on normal training scores, applied to one score."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from asd_jax.ops import statistics
from asd_jax.typing import Array

State = Any
_TINY = 1e-30
# Scores whose logarithms differ by less on average count as equal.
_EQUAL = 1e-7
_NEWTON_STEPS = 8


class Calibrator(NamedTuple):
  """Puts the scores of different branches on one scale.

  Attributes:
    fit: `([N], valid [N]) -> State`, from the normal training scores of one
      machine; scores that are not valid must not count, and may be infinite;
      None if all are valid.
    apply: `(State, []) -> []`, on one score.
  """

  fit: Callable[[Array, Array | None], State]
  apply: Callable[[State, Array], Array]


def _deviation(scores: Array, valid: Array | None) -> Array:
  """Standard deviation (ddof 0), one where it is zero."""
  first = 0 if valid is None else jnp.argmax(valid)
  gap = scores - scores[first]  # equal scores give exactly zero
  centred = gap - statistics.mean_of(gap, valid)
  std = jnp.sqrt(statistics.mean_of(jnp.square(centred), valid))
  return jnp.where(std <= 1e-12, 1.0, std)


def _median(scores: Array, valid: Array | None) -> Array:
  """Median of the scores that count."""
  if valid is None:
    return jnp.median(scores)
  ordered = jnp.sort(jnp.where(valid, scores, jnp.inf))
  num = jnp.sum(valid)
  return 0.5 * ordered[(num - 1) // 2] + 0.5 * ordered[num // 2]


def identity() -> Calibrator:
  """Leaves scores as they are."""
  return Calibrator(lambda scores, valid: {}, lambda state, score: score)


def zscore() -> Calibrator:
  """Subtracts the mean and divides by the standard deviation (ddof 0).

  A standard deviation of at most 1e-12 counts as one.

  Source: [KonicaMinolta26].
  """

  def fit(scores: Array, valid: Array | None) -> State:
    mean = statistics.mean_of(scores, valid)
    return {"mean": mean, "std": _deviation(scores, valid)}

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

  def fit(scores: Array, valid: Array | None) -> State:
    mean = statistics.mean_of(scores, valid)
    # Of scores over their mean, so that equal scores give zero exactly.
    ratio = scores / jnp.where(mean > 0.0, mean, 1.0)
    gap = -statistics.mean_of(jnp.log(jnp.maximum(ratio, _TINY)), valid)
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

  def fit(scores: Array, valid: Array | None) -> State:
    median = _median(scores, valid)
    spread = 1.4826 * _median(jnp.abs(scores - median), valid)
    std = jnp.where(spread <= 1e-12, _deviation(scores, valid), spread)
    return {"mean": median, "std": std}

  return Calibrator(fit, zscore().apply)


def percentile() -> Calibrator:
  """Share of the training scores below a score, ties counted half.

  Scores beyond all training scores come out equal.

  Source: [KonicaMinolta26]; mid-ranks for ties are our choice.
  """

  def fit(scores: Array, valid: Array | None) -> State:
    # Those that do not count go behind all others; NaN tells them from a score
    # that is infinite.
    if valid is not None:
      scores = jnp.where(valid, scores, jnp.nan)
    return {"sorted": jnp.sort(scores)}

  def apply(state: State, score: Array) -> Array:
    refs = state["sorted"]
    num = jnp.sum(~jnp.isnan(refs)).astype(jnp.int32)
    below = jnp.searchsorted(refs, score, side="left")
    through = jnp.searchsorted(refs, score, side="right")
    return (below + through) / (2 * num)

  return Calibrator(fit, apply)


CALIBRATORS = {
  "identity": identity,
  "zscore": zscore,
  "gamma": gamma,
  "robust_zscore": robust_zscore,
  "percentile": percentile,
}
