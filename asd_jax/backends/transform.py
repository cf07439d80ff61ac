"""Transforms of embeddings, fitted on normal training clips."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from asd_jax.ops import linalg, statistics
from asd_jax.typing import Array, Scalar

State = Any
_TINY = 1e-12


class Transform(NamedTuple):
  """Maps embeddings to embeddings.

  Attributes:
    fit: `([N, ...], is_target [N]) -> State`.
    apply: `(State, emb) -> emb`, of one clip.
  """

  fit: Callable[[Array, Array], State]
  apply: Callable[[State, Array], Array]


def identity() -> Transform:
  """Leaves embeddings as they are."""
  return Transform(lambda emb, is_target: {}, lambda state, emb: emb)


def standardise() -> Transform:
  """Subtracts the mean and divides by the standard deviation, by dimension.

  A dimension that is constant on the training clips is only centred.
  """

  def fit(emb: Array, is_target: Array) -> State:
    del is_target
    std = jnp.std(emb, axis=0)
    constant = std <= 1e-6 * jnp.max(jnp.abs(emb), axis=0)
    return {
      "mean": jnp.mean(emb, axis=0),
      "std": jnp.where(constant, 1.0, std),
    }

  def apply(state: State, emb: Array) -> Array:
    return (emb - state["mean"]) / state["std"]

  return Transform(fit, apply)


def zca(*, covariance: str = "empirical", ridge: Scalar = 1e-5) -> Transform:
  """Whitens without turning the axes.

  Args:
    covariance: `"empirical"` (ddof 1) or `"ledoit_wolf"`, for fewer rows than
      dimensions.
    ridge: share of the mean variance that is added to each.

  Returns:
    The transform of `[D]` embeddings.

  Raises:
    ValueError: for another covariance.

  Source: [KonicaMinolta26]; the ridge is our choice.
  """
  if covariance not in ("empirical", "ledoit_wolf"):
    raise ValueError(
      f"zca: covariance {covariance!r}; known: empirical, ledoit_wolf."
    )

  def fit(emb: Array, is_target: Array) -> State:
    del is_target
    if covariance == "empirical":
      found = statistics.moments(emb)
      mean, cov = found.mean, statistics.covariance(found)
    else:
      ones = jnp.ones(emb.shape[0], emb.dtype)
      mean, cov, _ = statistics.ledoit_wolf(emb, ones)
    level = jnp.maximum(ridge * jnp.trace(cov) / cov.shape[0], _TINY)
    return {"mean": mean, "matrix": linalg.inverse_root(cov, level)}

  def apply(state: State, emb: Array) -> Array:
    return jnp.matmul(
      emb - state["mean"], state["matrix"], precision=jax.lax.Precision.HIGHEST
    )

  return Transform(fit, apply)


TRANSFORMS = {"identity": identity, "standardise": standardise, "zca": zca}
