"""Mahalanobis distances to normal data."""

import flax.struct
import jax
import jax.numpy as jnp

from asd_jax.backends import base
from asd_jax.ops import linalg
from asd_jax.typing import Array


class MahalanobisState(flax.struct.PyTreeNode):
  """A Gaussian.

  Attributes:
    mean: `[D]` mean.
    whitener: `[D, D]` inverse lower Cholesky factor of the covariance.
  """

  mean: Array
  whitener: Array


def ledoit_wolf(x: Array, weight: Array) -> tuple[Array, Array, Array]:
  """Covariance shrunk towards a multiple of the identity.

  Args:
    x: `[N, D]` rows.
    weight: `[N]` one for rows that count, else zero.

  Returns:
    `[D]` mean, `[D, D]` covariance and `[]` shrinkage.

  Source: [LedoitWolf04]; scikit-learn's `LedoitWolf`.
  """
  dim = x.shape[1]
  num = jnp.maximum(jnp.sum(weight), 1.0)
  mean = weight @ x / num
  centred = (x - mean[None]) * weight[:, None]
  cov = jnp.matmul(centred.T, centred, precision="highest") / num
  mu = jnp.trace(cov) / dim
  eye = jnp.eye(dim, dtype=x.dtype)
  delta = jnp.sum(jnp.square(cov - mu * eye)) / dim
  fourth = jnp.sum(jnp.square(jnp.sum(jnp.square(centred), axis=1))) / num
  beta = (fourth - jnp.sum(jnp.square(cov))) / (num * dim)
  beta = jnp.clip(beta, 0.0, delta)
  tiny = (delta <= 0.0) | (dim == 1)
  shrinkage = jnp.where(tiny, 0.0, beta / jnp.where(tiny, 1.0, delta))
  return mean, (1.0 - shrinkage) * cov + shrinkage * mu * eye, shrinkage


def mahalanobis() -> base.Backend:
  """Mahalanobis distance with a Ledoit-Wolf covariance of all bank rows.

  Training rows have in-sample scores only.

  Returns:
    A backend on `[D]` embeddings.

  Source: [LedoitWolf04].
  """

  def fit(bank: base.Bank) -> MahalanobisState:
    weight = bank.valid.astype(bank.emb.dtype)
    mean, cov, _ = ledoit_wolf(bank.emb, weight)
    return MahalanobisState(mean, linalg.whitener(cov))

  def score(state: MahalanobisState, emb: Array) -> Array:
    white = jnp.matmul(
      state.whitener, emb - state.mean, precision=jax.lax.Precision.HIGHEST
    )
    return jnp.linalg.norm(white)

  return base.Backend(fit, score)


class SelectiveState(flax.struct.PyTreeNode):
  """Inverse covariances.

  Attributes:
    precision: `[2, M, M]` of source and target.
  """

  precision: Array


def selective_mahalanobis() -> base.Backend:
  """The official baseline's score: smaller of two squared lengths.

  Embeddings are mean residual frames `r`; the score is the minimum over the
  two domains of `r' precision r`, with the covariances that training gathered
  (`Bank.covariance`).

  Returns:
    A backend on `[M]` mean residuals.

  Source: [DCASE26base].
  """

  def fit(bank: base.Bank) -> SelectiveState:
    if bank.covariance is None:
      raise ValueError(
        "backend selective_mahalanobis: found an encoder that is not trained"
        " per machine, expected one (autoencoder)."
      )
    return SelectiveState(jax.vmap(linalg.inverse)(bank.covariance))

  def score(state: SelectiveState, emb: Array) -> Array:
    return jnp.min(selective_distances(state.precision, emb))

  return base.Backend(fit, score)


def selective_distances(precision: Array, emb: Array) -> Array:
  """Squared Mahalanobis length for each domain.

  Args:
    precision: `[2, M, M]` inverse covariances.
    emb: `[M]` mean residual frame.

  Returns:
    `[2]` source and target values.
  """
  highest = jax.lax.Precision.HIGHEST
  return jnp.matmul(jnp.matmul(precision, emb, precision=highest), emb)


BACKENDS = {
  "mahalanobis": mahalanobis,
  "selective_mahalanobis": selective_mahalanobis,
}
