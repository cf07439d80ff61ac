"""Distances between embeddings."""

import jax
import jax.numpy as jnp

from asd_jax.typing import Array


def unit(x: Array) -> Array:
  """Scales rows to length one; a zero row stays zero.

  Args:
    x: `[..., D]` rows.

  Returns:
    `[..., D]` unit rows.
  """
  norm = jnp.linalg.norm(x, axis=-1, keepdims=True)
  return x / jnp.maximum(norm, 1e-12)


def cosine(x: Array, rows: Array) -> Array:
  """One minus the cosine, in [0, 2].

  Args:
    x: `[D]` unit query.
    rows: `[N, D]` unit rows.

  Returns:
    `[N]` distances.
  """
  return 1.0 - jnp.matmul(rows, x, precision=jax.lax.Precision.HIGHEST)


def euclidean(x: Array, rows: Array) -> Array:
  """Euclidean distances by difference, exact for near-duplicates.

  Args:
    x: `[D]` query.
    rows: `[N, D]` rows.

  Returns:
    `[N]` distances.
  """
  return jnp.sqrt(jnp.sum(jnp.square(rows - x[None]), axis=-1))
