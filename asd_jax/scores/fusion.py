"""Fusion: the scores of a system's branches to one score."""

import jax.numpy as jnp

from asd_jax.typing import Array


def weighted_mean(scores: Array, weights: Array) -> Array:
  """Mean of the branches' scores, weighted.

  Args:
    scores: `[K, ...]` one a branch.
    weights: `[K]` weight of each branch.

  Returns:
    `[...]` fused score.

  Source: [MERL26], [LUDO26] (equal weights).
  """
  total = jnp.tensordot(weights, scores, axes=1)
  return total / jnp.sum(weights)


FUSIONS = {"weighted_mean": weighted_mean}
