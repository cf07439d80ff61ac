"""Mean and scatter of rows that arrive in pieces."""

import flax.struct
import jax.numpy as jnp

from asd_jax.typing import Array


class Moments(flax.struct.PyTreeNode):
  """Count, mean and scatter of rows; pieces are put together by `merge`.

  Attributes:
    num: `[]` rows.
    mean: `[D]` mean.
    scatter: sum of squared deviations from the mean, `[D, D]` of all pairs or
      `[D]` dimension by dimension.
  """

  num: Array
  mean: Array
  scatter: Array


def mean_of(x: Array, valid: Array | None) -> Array:
  """Mean over rows that count.

  Args:
    x: `[n, ...]` rows; those that do not count may hold anything.
    valid: `[n]` False for rows that do not count; None if all do.

  Returns:
    `[...]`, zero if no row counts.
  """
  if valid is None:
    return jnp.mean(x, axis=0)
  total = jnp.sum(jnp.where(_wide(valid, x), x, 0), axis=0)
  return total / jnp.maximum(jnp.sum(valid.astype(x.dtype)), 1)


def _wide(valid: Array, x: Array) -> Array:
  """`[n]` to the axes of `[n, ...]`."""
  return valid.reshape(-1, *[1] * (x.ndim - 1))


def _centred(x: Array, valid: Array | None) -> tuple[Array, Array, Array]:
  """Number of rows, their mean, and `[n, D]` deviations, zero in others."""
  mean = mean_of(x, valid)
  if valid is None:
    return jnp.asarray(x.shape[0], x.dtype), mean, x - mean[None]
  num = jnp.sum(valid.astype(x.dtype))
  return num, mean, jnp.where(valid[:, None], x - mean[None], 0)


def moments(x: Array, *, valid: Array | None = None) -> Moments:
  """Moments with the scatter of all pairs of dimensions.

  Args:
    x: `[n, D]` rows.
    valid: `[n]` rows that count; None if all.

  Returns:
    Moments, scatter `[D, D]`.
  """
  num, mean, centred = _centred(x, valid)
  # Full precision: accelerators would round the products to bfloat16.
  scatter = jnp.matmul(centred.T, centred, precision="highest")
  return Moments(num, mean, scatter)


def diagonal_moments(x: Array, *, valid: Array | None = None) -> Moments:
  """Moments of each dimension by itself.

  Args:
    x: `[n, D]` rows.
    valid: `[n]` rows that count; None if all.

  Returns:
    Moments, scatter `[D]`.
  """
  num, mean, centred = _centred(x, valid)
  return Moments(num, mean, jnp.sum(jnp.square(centred), axis=0))


def no_moments(scatter_shape: tuple[int, ...]) -> Moments:
  """Moments of no rows, what `merge` leaves others unchanged by.

  Args:
    scatter_shape: `(D, D)` or `(D,)`.

  Returns:
    Zeros.
  """
  zero = jnp.zeros
  return Moments(zero(()), zero(scatter_shape[-1:]), zero(scatter_shape))


def merge(a: Moments, b: Moments) -> Moments:
  """Moments of the rows of both; stable, and the order hardly matters.

  Args:
    a: moments.
    b: moments of the same dimensions.

  Returns:
    Moments of all rows.

  Source: [Chan83].
  """
  num = a.num + b.num
  # Nothing merged with nothing is nothing, and not 0 / 0.
  share = b.num / jnp.maximum(num, 1.0)
  delta = b.mean - a.mean
  cross = delta * delta
  if a.scatter.ndim == 2:
    cross = delta[:, None] * delta[None, :]
  return Moments(
    num,
    a.mean + delta * share,
    a.scatter + b.scatter + cross * (a.num * share),
  )


def covariance(m: Moments, *, ddof: float = 1.0) -> Array:
  """Covariance (variance, for a diagonal scatter) of the rows.

  Args:
    m: moments.
    ddof: subtracted from the count; the divisor is at least one.

  Returns:
    The scatter's shape.
  """
  return m.scatter / jnp.maximum(m.num - ddof, 1.0)


def ledoit_wolf(x: Array, weight: Array) -> tuple[Array, Array, Array]:
  """Covariance shrunk towards a multiple of the identity.

  Args:
    x: `[N, D]` rows.
    weight: `[N]` one for rows that count, else zero.

  Returns:
    `[D]` mean, `[D, D]` covariance and `[]` shrinkage.

  Source: [LedoitWolf04]; scikit-learn's `LedoitWolf`.
  """
  num = jnp.maximum(jnp.sum(weight), 1.0)
  mean = jnp.matmul(weight, x, precision="highest") / num
  centred = (x - mean[None]) * weight[:, None]
  cov = jnp.matmul(centred.T, centred, precision="highest") / num
  fourth = jnp.sum(jnp.square(jnp.sum(jnp.square(centred), axis=1))) / num
  return mean, *shrunk(cov, fourth, num)


def shrunk(cov: Array, fourth: Array, num: Array) -> tuple[Array, Array]:
  """Shrinks a covariance towards a multiple of the identity.

  Args:
    cov: `[D, D]` covariance (ddof 0).
    fourth: `[]` mean of the fourth power of the rows' distance from the mean.
    num: `[]` rows.

  Returns:
    `[D, D]` covariance and `[]` shrinkage.

  Source: [LedoitWolf04].
  """
  dim = cov.shape[0]
  mu = jnp.trace(cov) / dim
  eye = jnp.eye(dim, dtype=cov.dtype)
  delta = jnp.sum(jnp.square(cov - mu * eye)) / dim
  beta = (fourth - jnp.sum(jnp.square(cov))) / (num * dim)
  beta = jnp.clip(beta, 0.0, delta)
  # Equal rows, or one dimension, leave nothing to shrink.
  tiny = (delta <= 0.0) | (dim == 1)
  shrinkage = jnp.where(tiny, 0.0, beta / jnp.where(tiny, 1.0, delta))
  return (1.0 - shrinkage) * cov + shrinkage * mu * eye, shrinkage
