"""Transforms of embeddings, fitted on normal training clips."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp

from asd_jax.typing import Array

State = Any


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


TRANSFORMS = {"identity": identity, "standardise": standardise}
