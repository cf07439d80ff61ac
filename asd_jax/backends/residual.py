"""Scores of the frames of reconstruction errors: Mahalanobis and energy."""

import flax.struct
import jax
import jax.numpy as jnp

from asd_jax.backends import base
from asd_jax.ops import linalg, statistics
from asd_jax.typing import Array, Scalar


class ResidualState(flax.struct.PyTreeNode):
  """Models of normal frames, one or one a domain.

  Attributes:
    mean: `[J, D]` mean error, for the Mahalanobis term.
    centre: `[J, D]` what the energy term subtracts.
    whitener: `[J, D, D]` inverse lower Cholesky factor of each covariance.
    usable: `[J]` False for a model without enough frames.
  """

  mean: Array
  centre: Array
  whitener: Array
  usable: Array


def ridged(cov: Array, ridge: Scalar) -> Array:
  """Adds a ridge relative to the mean variance.

  Args:
    cov: `[D, D]` covariance.
    ridge: share of the mean variance that each variance grows by.

  Returns:
    `[D, D]`.

  Source: [KATECH26] Sec. 3.1; the size of the ridge is our choice.
  """
  dim = cov.shape[0]
  level = linalg.ridge_level(cov, ridge, dim)
  return cov + level * jnp.eye(dim, dtype=cov.dtype)


def _state(
  mean: Array, centre: Array, covs: Array, usable: Array
) -> ResidualState:
  return ResidualState(mean, centre, jax.vmap(linalg.whitener)(covs), usable)


def _score(
  state: ResidualState,
  errors: Array,
  alpha: Scalar,
  percentile: Scalar,
) -> Array:
  """Blend of the two terms under the model that fits the clip best."""

  def model(mean: Array, centre: Array, whitener: Array) -> Array:
    white = jnp.matmul(
      errors - mean[None], whitener.T, precision=jax.lax.Precision.HIGHEST
    )
    # Squared distances without a root, frame by frame. The official baseline's
    # Mahalanobis score, across all pairs of frames, is another one.
    terms = jnp.stack(
      [
        jnp.sum(jnp.square(white), axis=1),
        jnp.sum(jnp.square(errors - centre[None]), axis=1),
      ]
    )
    # Each term has its own percentile: different frames may stand out.
    distance, energy = jnp.percentile(terms, percentile, axis=1)
    return (1.0 - alpha) * distance + alpha * energy

  scores = jax.vmap(model)(state.mean, state.centre, state.whitener)
  return jnp.min(jnp.where(state.usable, scores, jnp.inf))


def residual_mahalanobis(
  *,
  alpha: Scalar = 0.2,
  percentile: Scalar = 90.0,
  ridge: Scalar = 1e-3,
  ledoit_wolf: bool = False,
) -> base.Backend:
  """One Gaussian of all normal frames, blended with the energy.

  Args:
    alpha: weight of the energy term.
    percentile: over the frames of a clip, in per cent.
    ridge: see `ridged`.
    ledoit_wolf: shrinks the covariance before the ridge, which needs a second
      pass over the training clips.

  Returns:
    A backend on `[T, D]` reconstruction errors.

  Source: [KATECH26] eq. 1; [LedoitWolf04].
  """

  def fit(bank: base.Bank) -> ResidualState:
    source, target = base.domain_moments(bank)
    both = statistics.merge(source, target)
    cov = statistics.covariance(both, ddof=0.0 if ledoit_wolf else 1.0)
    if ledoit_wolf:
      assert bank.fourth is not None
      cov, _ = statistics.shrunk(cov, bank.fourth, jnp.maximum(both.num, 1.0))
    cov = ridged(cov, ridge)
    one = lambda x: x[None]
    # Only the Mahalanobis term is centred here: the energy is that of the
    # errors as they are. By domain (below), both are centred.
    centre = jnp.zeros_like(both.mean)
    return _state(one(both.mean), one(centre), one(cov), one(both.num >= 2))

  score = lambda state, errors: _score(state, errors, alpha, percentile)
  return base.Backend(fit, score, over_frames=True, needs_fourth=ledoit_wolf)


def domain_residual_mahalanobis(
  *,
  alpha: Scalar = 0.2,
  percentile: Scalar = 95.0,
  ridge: Scalar = 1e-3,
  shrinkage: Scalar = 0.5,
) -> base.Backend:
  """A Gaussian a domain, both terms centred by domain; smaller score counts.

  The covariance of the target frames is drawn towards that of the source. A
  domain with fewer than two frames has no model.

  Args:
    alpha: weight of the energy term.
    percentile: over the frames of a clip, in per cent.
    ridge: see `ridged`.
    shrinkage: weight of the source covariance in the target's.

  Returns:
    A backend on `[T, D]` reconstruction errors.

  Source: [KATECH26] Sec. 4.2; the weight of the shrinkage and the minimum
  over domains (the domain of a test clip is hidden) are our choice.
  """

  def fit(bank: base.Bank) -> ResidualState:
    source, target = base.domain_moments(bank)
    cov_source = statistics.covariance(source)
    cov_target = statistics.covariance(target)
    # The target frames come from a handful of clips; alone their covariance
    # may lack full rank. Without source frames nothing is drawn anywhere.
    towards = jnp.where(source.num >= 2, cov_source, cov_target)
    cov_target = (1.0 - shrinkage) * cov_target + shrinkage * towards
    covs = jnp.stack([ridged(c, ridge) for c in (cov_source, cov_target)])
    mean = jnp.stack([source.mean, target.mean])
    usable = jnp.stack([source.num, target.num]) >= 2
    return _state(mean, mean, covs, usable)

  score = lambda state, errors: _score(state, errors, alpha, percentile)
  return base.Backend(fit, score, over_frames=True, by_domain=True)


BACKENDS = {
  "residual_mahalanobis": residual_mahalanobis,
  "domain_residual_mahalanobis": domain_residual_mahalanobis,
}
