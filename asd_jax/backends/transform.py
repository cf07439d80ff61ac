"""Transforms of embeddings, fitted on normal training clips."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from asd_jax import errors
from asd_jax.ops import distance, linalg, statistics
from asd_jax.typing import Array, Scalar

State = Any


class Transform(NamedTuple):
  """Maps embeddings to embeddings.

  Attributes:
    fit: `([N, ...], is_target [N], valid [N]) -> State`; rows that are not
      valid must not count, as if they were not there; None if all are valid.
    apply: `(State, emb) -> emb`, of one clip.
  """

  fit: Callable[[Array, Array, Array | None], State]
  apply: Callable[[State, Array], Array]


def _deviation(emb: Array, valid: Array | None) -> tuple[Array, Array]:
  """Standard deviation (ddof 0) of each dimension, and which are constant.

  Those that vary by no more than rounding does count as constant.
  """
  centred = emb - statistics.mean_of(emb, valid)[None]
  std = jnp.sqrt(statistics.mean_of(jnp.square(centred), valid))
  size = jnp.abs(emb)
  if valid is not None:
    inside = valid.reshape(-1, *[1] * (emb.ndim - 1))
    size = jnp.where(inside, size, 0.0)
  # Not `== 0`: the mean of equal numbers is rounded, and they differ from it.
  return std, std <= 1e-6 * jnp.max(size, axis=0)


def identity() -> Transform:
  """Leaves embeddings as they are."""
  return Transform(lambda *clips: {}, lambda state, emb: emb)


def standardise() -> Transform:
  """Subtracts the mean and divides by the standard deviation, by dimension.

  A dimension that is constant on the training clips is only centred.
  """

  def fit(emb: Array, is_target: Array, valid: Array | None) -> State:
    # Source and target clips have one transform, or their distances could not
    # be compared.
    del is_target
    std, constant = _deviation(emb, valid)
    return {
      "mean": statistics.mean_of(emb, valid),
      "std": jnp.where(constant, 1.0, std),
    }

  def apply(state: State, emb: Array) -> Array:
    return (emb - state["mean"]) / state["std"]

  return Transform(fit, apply)


def _empirical(emb: Array, valid: Array | None) -> tuple[Array, Array]:
  found = statistics.moments(emb, valid=valid)
  return found.mean, statistics.covariance(found)


def _ledoit_wolf(emb: Array, valid: Array | None) -> tuple[Array, Array]:
  weight = jnp.ones(len(emb)) if valid is None else valid
  return statistics.ledoit_wolf(emb, weight.astype(emb.dtype))[:2]


def _by_rank(emb: Array, valid: Array | None) -> tuple[Array, Array]:
  if valid is None:
    # Of shapes only, so that the choice is made once, when it is compiled.
    full = emb.shape[0] > emb.shape[1]
    return (_empirical if full else _ledoit_wolf)(emb, valid)
  # By the rows that count: a fold may lack the rank that all clips have.
  enough = jnp.sum(valid) > emb.shape[1]
  return jax.lax.cond(enough, _empirical, _ledoit_wolf, emb, valid)


# Mean and covariance of rows, by name.
_GAUSSIANS = {
  "empirical": _empirical,
  "ledoit_wolf": _ledoit_wolf,
  "by_rank": _by_rank,
}


def zca(
  *,
  covariance: str = "empirical",
  ridge: Scalar = 1e-5,
  drop_constant: bool = False,
) -> Transform:
  """Whitens without turning the axes.

  Args:
    covariance: `"empirical"` (ddof 1), `"ledoit_wolf"`, or `"by_rank"`: the
      empirical one if there are more rows than dimensions, else the other. A
      covariance without full rank would blow up what it knows nothing of.
    ridge: share of the mean variance that is added to each.
    drop_constant: makes zero of the dimensions that are constant on the
      training clips; else the ridge alone keeps them finite.

  Returns:
    The transform of `[D]` embeddings.

  Raises:
    InputError: for another covariance.

  Source: [KonicaMinolta26]; the ridge and the covariance are our choice.
  """
  if covariance not in _GAUSSIANS:
    raise errors.InputError(
      f"zca: covariance {covariance!r}; known: {tuple(_GAUSSIANS)}."
    )

  def fit(emb: Array, is_target: Array, valid: Array | None) -> State:
    del is_target
    mean, cov = _GAUSSIANS[covariance](emb, valid)
    keep = jnp.ones(len(mean), bool)
    if drop_constant:
      keep = ~_deviation(emb, valid)[1]
    # Emptied before the decomposition, so that what is dropped leaves no trace
    # in the directions of the others.
    both = keep[:, None] & keep[None, :]
    cov = jnp.where(both, cov, 0.0)
    # Relative, because features differ in their units by orders of magnitude.
    level = linalg.ridge_level(cov, ridge, jnp.sum(keep))
    matrix = linalg.inverse_root(cov, level)
    # The ridge alone gives dropped dimensions the largest gain of all.
    return {"mean": mean, "matrix": jnp.where(both, matrix, 0.0)}

  def apply(state: State, emb: Array) -> Array:
    return jnp.matmul(
      emb - state["mean"], state["matrix"], precision=jax.lax.Precision.HIGHEST
    )

  return Transform(fit, apply)


def unit() -> Transform:
  """Scales embeddings to length one; nothing is fitted."""
  scaled = lambda emb: distance.unit(emb.reshape(-1)).reshape(emb.shape)
  return Transform(lambda *clips: {}, lambda state, emb: scaled(emb))


def _aligned(*, scale: bool) -> Transform:
  """Takes off a domain's mean, and divides by its deviation if `scale`."""

  def one(emb: Array, valid: Array) -> State:
    std, constant = _deviation(emb, valid)
    return {
      "mean": statistics.mean_of(emb, valid),
      "std": jnp.where(constant, 1.0, std),
      "usable": jnp.any(valid),
    }

  def fit(emb: Array, is_target: Array, valid: Array | None) -> State:
    every = jnp.ones(len(emb), bool) if valid is None else valid
    by_domain = jnp.stack([every & ~is_target, every & is_target])
    return jax.vmap(one, (None, 0))(emb, by_domain)

  def apply(state: State, emb: Array) -> Array:
    # The domain of a clip is hidden; it is taken to be the nearer one.
    gap = jnp.square(emb[None] - state["mean"]).reshape(2, -1).sum(axis=1)
    nearer = jnp.argmin(jnp.where(state["usable"], gap, jnp.inf))
    moved = emb - state["mean"][nearer]
    return moved / state["std"][nearer] if scale else moved

  return Transform(fit, apply)


def domain_mean() -> Transform:
  """Subtracts the mean of the domain whose mean is nearer.

  Returns:
    The transform.

  Source: [KonicaMinolta26] names mean shift only; this form is our choice.
  """
  return _aligned(scale=False)


def domain_zscore() -> Transform:
  """Standardises by the domain whose mean is nearer, by dimension.

  A dimension that is constant on the clips of a domain is only centred.

  Returns:
    The transform.

  Source: [KonicaMinolta26] names Z-score only; this form is our choice.
  """
  return _aligned(scale=True)


TRANSFORMS = {
  "identity": identity,
  "standardise": standardise,
  "zca": zca,
  "unit": unit,
  "domain_mean": domain_mean,
  "domain_zscore": domain_zscore,
}
