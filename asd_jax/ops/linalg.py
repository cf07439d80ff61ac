"""Matrix factorisations, a matrix at a time.

A batched factorisation on a CPU waits in the thread pool of the program for
tasks of the same pool: two of them at once wait for ever (jaxlib 0.10.2, two
cores). Under `vmap` these functions loop over the batch instead; the matrices
are few and large.
"""

import jax
import jax.numpy as jnp

from asd_jax.typing import Array, Scalar

# Least ridge: a covariance of zeros has an inverse too.
_TINY = 1e-12


def ridge_level(cov: Array, share: Scalar, num: Array | int) -> Array:
  """What a ridge adds to each variance.

  Args:
    cov: `[D, D]` covariance.
    share: of the mean variance.
    num: dimensions that count, at least one does.

  Returns:
    `[]` above zero.
  """
  return jnp.maximum(share * jnp.trace(cov) / jnp.maximum(num, 1), _TINY)


@jax.custom_batching.sequential_vmap
def whitener(cov: Array) -> Array:
  """Inverse of the lower Cholesky factor: `whitener @ x` is white.

  Args:
    cov: `[D, D]` positive definite.

  Returns:
    `[D, D]` lower triangular.
  """
  factor = jnp.linalg.cholesky(cov)
  eye = jnp.eye(cov.shape[0], dtype=cov.dtype)
  return jax.scipy.linalg.solve_triangular(factor, eye, lower=True)


@jax.custom_batching.sequential_vmap
def inverse(x: Array) -> Array:
  """Inverse.

  Args:
    x: `[D, D]`.

  Returns:
    `[D, D]`.
  """
  return jnp.linalg.inv(x)


@jax.custom_batching.sequential_vmap
def inverse_root(cov: Array, ridge: Array) -> Array:
  """Symmetric inverse square root of `cov + ridge I`.

  Args:
    cov: `[D, D]` covariance; eigenvalues that rounding made negative count as
      zero.
    ridge: `[]` above zero.

  Returns:
    `[D, D]` symmetric.
  """
  values, vectors = jnp.linalg.eigh(cov)
  gain = jax.lax.rsqrt(jnp.maximum(values, 0.0) + ridge)
  return jnp.matmul(
    vectors * gain[None], vectors.T, precision=jax.lax.Precision.HIGHEST
  )
