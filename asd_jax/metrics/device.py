"""AUC and partial AUC as pure functions for jit and vmap.

Counts of clip pairs are exact integers, so ties come out as in scikit-learn
for the same float values; only the last divisions round. One sort serves all
domains. Use `metrics.official` for numbers that are published.
"""

import jax.numpy as jnp
import numpy as np
from jax import lax

from asd_jax import errors
from asd_jax.typing import Array

MAX_FPR = 0.1
EPS = float(np.finfo(np.float64).eps)


def _tie_blocks(
  score: Array, is_positive: Array, is_negative: Array
) -> tuple[Array, Array, Array]:
  """Counts for every clip the negatives above it and tied with it.

  Args:
    score: `[N]`, higher is more anomalous.
    is_positive: `[N]` bool.
    is_negative: `[J, N]` bool, J sets of negatives (at most 30).

  Returns:
    In descending order of the score: is_positive `[N]` bool, above `[J, N]`
    int32, tied `[J, N]` int32. A negative counts itself as tied.
  """
  bits = jnp.arange(1, len(is_negative) + 1, dtype=jnp.int32)[:, None]
  code = jnp.sum(is_negative.astype(jnp.int32) << bits, axis=0)  # [N]
  code = code + is_positive.astype(jnp.int32)
  key, code = lax.sort((-score, code), num_keys=1)
  negative = (code[None] >> bits) & 1  # [J, N]
  through = jnp.cumsum(negative, axis=1)  # [J, N]
  change = key[1:] != key[:-1]
  edge = jnp.ones(1, bool)
  is_first = jnp.concatenate([edge, change])[None]  # [1, N]
  is_last = jnp.concatenate([change, edge])[None]
  # Both counts only grow, so a running extreme carries them over a block.
  above = lax.cummax(jnp.where(is_first, through - negative, 0), axis=1)
  through = lax.cummin(
    jnp.where(is_last, through, len(score)), axis=1, reverse=True
  )
  return (code & 1).astype(bool), above, through - above


def _ratio(numerator: Array, denominator: Array) -> Array:
  """Divides; NaN where the denominator is 0 (a class is missing)."""
  safe = jnp.where(denominator > 0, denominator, 1)
  return jnp.where(denominator > 0, numerator / safe, jnp.nan)


def _auc(is_positive: Array, above: Array, tied: Array) -> Array:
  """Area under the ROC curve of one set of negatives, all `[N]`."""
  num_negative = above[-1] + tied[-1]
  doubled = 2 * (num_negative - above) - tied  # wins of a clip, a tie is half
  wins = jnp.sum(jnp.where(is_positive, doubled, 0))
  return _ratio(wins, 2 * num_negative * jnp.sum(is_positive))


def _pauc(is_positive: Array, above: Array, tied: Array) -> Array:
  """McClish-standardised area up to `MAX_FPR` of one set, all `[N]`.

  A positive adds to the curve a step at its false-positive rate or, when
  tied with negatives, a straight line over the width of the tie.
  """
  num_negative = above[-1] + tied[-1]
  width = MAX_FPR * num_negative  # in clips, not rounded
  room = jnp.maximum(width - above, 0)
  whole = room - 0.5 * tied
  cut = room**2 / jnp.maximum(2 * tied, 1)
  area = jnp.where(above + tied <= width, whole, cut)
  total = jnp.sum(jnp.where(is_positive, area, 0))
  share = _ratio(total, width * jnp.sum(is_positive))  # of the best area
  chance = MAX_FPR / 2
  return 0.5 * (1 + (share - chance) / (1 - chance))


def _prepare(score: Array, valid: Array | None) -> tuple[Array, Array, Array]:
  """Returns float scores with masked clips at 0, the mask, and all finite?"""
  score = jnp.asarray(score)
  score = score.astype(jnp.promote_types(score.dtype, jnp.float32))
  if score.ndim != 1:
    raise errors.InputError(
      f"score has shape {score.shape}, expected [N]; use vmap"
    )
  valid = jnp.ones(score.shape, bool) if valid is None else valid
  score = jnp.where(valid, score, 0)
  return score, valid, jnp.logical_not(jnp.any(jnp.isnan(score)))


def domain_metrics(
  score: Array,
  is_anomaly: Array,
  is_target: Array,
  *,
  valid: Array | None = None,
) -> Array:
  """The three ranked values of a machine.

  Args:
    score: `[N]`, higher is more anomalous.
    is_anomaly: `[N]` bool.
    is_target: `[N]` bool; of anomalies it is not used, since the anomalies of
      both domains stand against the normal clips of each.
    valid: `[N]` bool, clips that count; None for all.

  Returns:
    `[3]`: AUC (source), AUC (target), pAUC; NaN where a class is missing.
  """
  score, valid, usable = _prepare(score, valid)
  normal = ~is_anomaly & valid
  negatives = jnp.stack([normal & ~is_target, normal & is_target])  # [2, N]
  positive, above, tied = _tie_blocks(score, is_anomaly & valid, negatives)
  values = jnp.stack(
    [
      _auc(positive, above[0], tied[0]),
      _auc(positive, above[1], tied[1]),
      _pauc(positive, above[0] + above[1], tied[0] + tied[1]),
    ]
  )  # [3]
  return jnp.where(usable, values, jnp.nan)
