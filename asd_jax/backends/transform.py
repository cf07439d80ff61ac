"""Transforms of embeddings, fitted on normal training clips."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from asd_jax import errors
from asd_jax.ops import linalg, statistics
from asd_jax.typing import Array, Scalar

State = Any


class Transform(NamedTuple):
  """Maps embeddings to embeddings.

  Attributes:
    fit: `([N, ...], is_target [N]) -> State`.
    apply: `(State, emb) -> emb`, of one clip.
  """

  fit: Callable[[Array, Array], State]
  apply: Callable[[State, Array], Array]


def _constant(emb: Array) -> Array:
  """Dimensions `[D]` of `[N, D]` that vary by no more than rounding does."""
  # Not `== 0`: the mean of equal numbers is rounded, and they differ from it.
  return jnp.std(emb, axis=0) <= 1e-6 * jnp.max(jnp.abs(emb), axis=0)


def identity() -> Transform:
  """Leaves embeddings as they are."""
  return Transform(lambda emb, is_target: {}, lambda state, emb: emb)


def standardise() -> Transform:
  """Subtracts the mean and divides by the standard deviation, by dimension.

  A dimension that is constant on the training clips is only centred.
  """

  def fit(emb: Array, is_target: Array) -> State:
    # Source and target clips have one transform, or their distances could not
    # be compared.
    del is_target
    std = jnp.std(emb, axis=0)
    return {
      "mean": jnp.mean(emb, axis=0),
      "std": jnp.where(_constant(emb), 1.0, std),
    }

  def apply(state: State, emb: Array) -> Array:
    return (emb - state["mean"]) / state["std"]

  return Transform(fit, apply)


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
  known = ("empirical", "ledoit_wolf", "by_rank")
  if covariance not in known:
    raise errors.InputError(f"zca: covariance {covariance!r}; known: {known}.")

  def fit(emb: Array, is_target: Array) -> State:
    del is_target
    # Of shapes only, so that the choice is made once, when it is compiled.
    full = covariance == "by_rank" and emb.shape[0] > emb.shape[1]
    if covariance == "empirical" or full:
      found = statistics.moments(emb)
      mean, cov = found.mean, statistics.covariance(found)
    else:
      ones = jnp.ones(emb.shape[0], emb.dtype)
      mean, cov, _ = statistics.ledoit_wolf(emb, ones)
    keep = ~_constant(emb) if drop_constant else jnp.ones(len(mean), bool)
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


TRANSFORMS = {"identity": identity, "standardise": standardise, "zca": zca}
