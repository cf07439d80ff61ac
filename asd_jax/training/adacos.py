"""Losses that choose their own scale: AdaCos and what came of it.

Weights of sub-clusters are `[C, S, D]`: class by class, each with its centres.
"""

import math

import jax
import jax.numpy as jnp

from asd_jax.ops import distance
from asd_jax.training import margins
from asd_jax.typing import Array, Scalar


def initial_scale(num: int, *, floor: float = 0.5) -> float:
  """The scale to begin with, or to keep.

  Args:
    num: columns: classes, times the sub-clusters of each.
    floor: least scale; two columns would give zero, which learns nothing.

  Returns:
    `sqrt(2) ln(num - 1)`, or the floor.

  Source: [AdaCos19]; the floor is [MERL26]'s.
  """
  return max(math.sqrt(2.0) * math.log(max(num - 1, 1)), floor)


def _next_scale(
  logits: Array, angle: Array, has_label: Array, previous: Array
) -> Array:
  """A scale from the sum over columns and the median angle.

  Args:
    logits: `[B, n]` at the previous scale; -inf where a column does not count.
    angle: `[B]` angles to the labelled class, in proportion to its share.
    has_label: `[B]` rows that count.
    previous: `[]` what the scale stays at if there are none.

  Returns:
    `[]` without gradient.
  """
  num = jnp.sum(has_label)
  total = jnp.where(has_label[:, None], logits, -jnp.inf)
  log_mean = jax.nn.logsumexp(total) - jnp.log(jnp.maximum(num, 1))
  # The lower middle one of an even number, as PyTorch has it.
  ordered = jnp.sort(jnp.where(has_label, angle, jnp.inf))
  median = ordered[jnp.maximum(num - 1, 0) // 2]
  found = log_mean / jnp.cos(jnp.minimum(math.pi / 4, median))
  found = jnp.where(num > 0, jnp.maximum(found, 1e-12), previous)
  return jax.lax.stop_gradient(found)


def adacos_scale(cos: Array, y: Array, previous: Array) -> Array:
  """The scale of this step, from cosines at the scale of the last one.

  Args:
    cos: `[B, C]` cosines.
    y: `[B, C]` labels; the sum leaves the labelled class out, where no other
      has a share.
    previous: `[]` scale of the last step.

  Returns:
    `[]` without gradient.

  Source: [AdaCos19].
  """
  logits = jnp.where(y < 1.0, previous * cos, -jnp.inf)
  angle = jnp.sum(y * jnp.arccos(margins.clipped(cos)), axis=1)
  return _next_scale(logits, angle, jnp.any(y > 0.0, axis=1), previous)


def subcluster_scale(cos: Array, y: Array, previous: Array) -> Array:
  """The scale of this step, from cosines at the scale of the last one.

  It settles only while all cosines stay below `1 / sqrt(2)`, and grows without
  bound once an embedding lies on a centre: cap it.

  Args:
    cos: `[B, C, S]` cosines with the centres of each class.
    y: `[B, C]` labels.
    previous: `[]` scale of the last step.

  Returns:
    `[]` without gradient.

  Source: [SubClusterAdaCos21].
  """
  own = jnp.sum(jnp.arccos(margins.clipped(cos)), axis=2)  # [B, C]
  angle = jnp.sum(y * own, axis=1)
  logits = previous * cos.reshape(len(cos), -1)
  return _next_scale(logits, angle, jnp.any(y > 0.0, axis=1), previous)


def adaproj_scale(cos: Array, y: Array, previous: Array) -> Array:
  """The scale of this step, from cosines at the scale of the last one.

  Args:
    cos: `[B, C]` cosines with projections, see `projected_cosines`.
    y: `[B, C]` labels; the labelled class counts as a cosine of zero, where no
      other has a share.
    previous: `[]` scale of the last step.

  Returns:
    `[]` without gradient.

  Source: [AdaProj24].
  """
  logits = jnp.where(y < 1.0, previous * cos, 0.0)
  angle = jnp.sum(y * jnp.arccos(margins.clipped(cos)), axis=1)
  return _next_scale(logits, angle, jnp.any(y > 0.0, axis=1), previous)


def subcluster_logits(cos: Array, scale: Scalar) -> Array:
  """Logits of classes whose probability is that of all their centres.

  Args:
    cos: `[B, C, S]` cosines with the centres of each class.
    scale: of the cosines.

  Returns:
    `[B, C]`; their softmax is the sum over each class's centres of the softmax
    over all centres.

  Source: [SubClusterAdaCos21].
  """
  return jax.nn.logsumexp(scale * cos, axis=2)


def projected_cosines(x: Array, w: Array) -> Array:
  """Cosines between embeddings and their projections by each class.

  Args:
    x: `[B, D]` embeddings.
    w: `[C, K, D]` directions of each class, of any length and not at right
      angles; the projection is the sum of those on each.

  Returns:
    `[B, C]`.

  Source: [AdaProj24].
  """
  part = margins.cosines(x, w)  # [B, C, K]
  directions = distance.unit(w)
  projection = jnp.einsum(
    "bck,ckd->bcd", part, directions, precision=jax.lax.Precision.HIGHEST
  )
  return jnp.einsum(
    "bd,bcd->bc",
    distance.unit(x),
    distance.unit(projection),
    precision=jax.lax.Precision.HIGHEST,
  )
