"""Fusion: the scores of a system's branches to one score."""

from typing import NamedTuple

import jax.numpy as jnp

from asd_jax.typing import Array


class Scores(NamedTuple):
  """Scores of one clip.

  Attributes:
    fused: `[]`, the system's score.
    seeds: `[K]` the same seed by seed; of a system that lists its members,
      member by member.
    members: `{branch: [K]}` calibrated scores before fusion.
  """

  fused: Array
  seeds: Array
  members: dict[str, Array]


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
