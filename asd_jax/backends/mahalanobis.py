"""Mahalanobis distances to normal data."""

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from asd_jax import errors
from asd_jax.backends import base
from asd_jax.ops import linalg, statistics
from asd_jax.typing import Array


class MahalanobisState(flax.struct.PyTreeNode):
  """A Gaussian.

  Attributes:
    mean: `[D]` mean.
    whitener: `[D, D]` inverse lower Cholesky factor of the covariance.
    usable: `[]` False for a bank that is too small or without variance.
  """

  mean: Array
  whitener: Array
  usable: Array


# Two rows have a covariance of rank one that is not shrunk at all: everything
# is near them, and they would win each minimum over domains.
MIN_ROWS = 3


def mahalanobis() -> base.Backend:
  """Mahalanobis distance with a Ledoit-Wolf covariance of all bank rows.

  Training rows have in-sample scores only. A bank of fewer than three rows, or
  without variance, gives infinite scores: its distances would be near zero.

  Returns:
    A backend on `[D]` embeddings.

  Source: [LedoitWolf04].
  """

  def fit(bank: base.Bank) -> MahalanobisState:
    weight = bank.valid.astype(bank.emb.dtype)
    mean, cov, _ = statistics.ledoit_wolf(bank.emb, weight)
    # Told from the rows: the mean of equal rows is rounded, so that their
    # covariance may be a little more than zero.
    inside = bank.valid[:, None]
    highest = jnp.max(jnp.where(inside, bank.emb, -jnp.inf), axis=0)
    lowest = jnp.min(jnp.where(inside, bank.emb, jnp.inf), axis=0)
    varies = jnp.any(highest > lowest) & (jnp.trace(cov) > 0.0)
    usable = (jnp.sum(weight) >= MIN_ROWS) & varies
    # The factor of a covariance of zeros is not a number.
    safe = jnp.where(usable, cov, jnp.eye(cov.shape[0], dtype=cov.dtype))
    return MahalanobisState(mean, linalg.whitener(safe), usable)

  def score(state: MahalanobisState, emb: Array) -> Array:
    white = jnp.matmul(
      state.whitener, emb - state.mean, precision=jax.lax.Precision.HIGHEST
    )
    return jnp.where(state.usable, jnp.linalg.norm(white), jnp.inf)

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
      raise errors.InputError(
        "backend selective_mahalanobis: found an encoder that is not trained"
        " per machine, expected one (autoencoder)."
      )
    # Without a ridge, as the official code has it. A nearly singular
    # covariance of few target frames then gives scores far below zero.
    return SelectiveState(jax.vmap(linalg.inverse)(bank.covariance))

  def score(state: SelectiveState, emb: Array) -> Array:
    return jnp.min(selective_distances(state.precision, emb))

  return base.Backend(fit, score, by_domain=True, notes=indefinite)


def indefinite(state: SelectiveState, num: base.NumClips) -> list[str]:
  """Says which covariances leave squared lengths below zero.

  Args:
    state: fitted, on the host.
    num: training clips of each domain.

  Returns:
    A note a domain whose inverse covariance is not positive definite.
  """
  notes = []
  for domain, precision in zip(num._fields, state.precision, strict=True):
    count = getattr(num, domain)
    # Of the numbers that the scores are made of, more exactly than they are.
    half = np.asarray(precision, np.float64) / 2
    # A domain without clips has the other one's covariance.
    if count and np.linalg.eigvalsh(half + half.T)[0] <= 0.0:
      notes.append(
        f"covariance not positive definite: {count} {domain}"
        f" clip{'s' * (count != 1)}; scores may be far below zero"
      )
  return notes


def selective_distances(precision: Array, emb: Array) -> Array:
  """Squared Mahalanobis length for each domain.

  Args:
    precision: `[2, M, M]` inverse covariances.
    emb: `[M]` mean residual frame.

  Returns:
    `[2]` source and target values.
  """
  # The official code averages `r' precision s` over all pairs of frames of a
  # clip, which is this for the mean frame. The mean over frames of their own
  # distances is another score, and not the published one.
  highest = jax.lax.Precision.HIGHEST
  return jnp.matmul(jnp.matmul(precision, emb, precision=highest), emb)


BACKENDS = {
  "mahalanobis": mahalanobis,
  "selective_mahalanobis": selective_mahalanobis,
}
