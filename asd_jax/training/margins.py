"""Logits of classes by angle, with a margin on the labelled class.

Rows of labels `y` sum to one, or are all zero: such a row has no label. What a
margin does to the labelled class it does to a class of a mixed row by its
share.
"""

import jax.numpy as jnp

from asd_jax.ops import distance
from asd_jax.typing import Array, Scalar

# Cosines stay this far from one, where the gradient of the angle is infinite.
EDGE = 1e-7


def cosines(x: Array, w: Array) -> Array:
  """Cosines between embeddings and class weights.

  Args:
    x: `[B, D]` embeddings of any length.
    w: `[..., D]` class weights, the centres, of any length.

  Returns:
    `[B, ...]`; zero for an embedding of zeros.
  """
  flat = distance.unit(w).reshape(-1, w.shape[-1])
  # Full precision: angles near zero are lost in fewer digits.
  cos = jnp.matmul(distance.unit(x), flat.T, precision="highest")
  return cos.reshape(len(x), *w.shape[:-1])


def clipped(cos: Array) -> Array:
  """Keeps cosines where angles have finite gradients.

  Args:
    cos: `[...]` cosines.

  Returns:
    `[...]` in [-1, 1] less `EDGE` at either end; no gradient beyond.
  """
  return jnp.clip(cos, -1.0 + EDGE, 1.0 - EDGE)


def _by_label(plain: Array, own: Array, y: Array, scale: Scalar) -> Array:
  """Logits: `own` where a class is the label, else `plain`."""
  return scale * (y * own + (1.0 - y) * plain)


def _turned(cos: Array, margin: Scalar, *, monotone: bool) -> Array:
  """Cosine of the angle plus a margin, by the addition theorem."""
  # The product keeps the digits of small angles that `1 - cos**2` loses.
  sin = jnp.sqrt((1.0 - cos) * (1.0 + cos))
  turned = cos * jnp.cos(margin) - sin * jnp.sin(margin)
  if not monotone:
    return turned
  beyond = cos <= -jnp.cos(margin)  # the sum is over pi
  return jnp.where(beyond, cos - margin * jnp.sin(margin), turned)


def arcface(
  cos: Array,
  y: Array,
  *,
  scale: Scalar,
  margin: Scalar,
  monotone: bool = False,
) -> Array:
  """Adds a margin to the angle of the labelled class, and to no other.

  Args:
    cos: `[B, C]` cosines.
    y: `[B, C]` labels.
    scale: of the logits.
    margin: radians, `[]`, or `[B, 1]` one an embedding (ElasticFace).
    monotone: where angle and margin exceed pi, goes on falling with the angle;
      the plain formula turns upwards there.

  Returns:
    `[B, C]` logits.

  Source: [ArcFace19]; [ElasticFace22].
  """
  cos = clipped(cos)
  own = _turned(cos, jnp.asarray(margin, cos.dtype), monotone=monotone)
  return _by_label(cos, own, y, scale)


def cosface(cos: Array, y: Array, *, scale: Scalar, margin: Scalar) -> Array:
  """Takes a margin off the cosine of the labelled class.

  Args:
    cos: `[B, C]` cosines.
    y: `[B, C]` labels.
    scale: of the logits.
    margin: `[]`, or `[B, 1]` one an embedding (ElasticFace).

  Returns:
    `[B, C]` logits.

  Source: [CosFace18]; [ElasticFace22].
  """
  return _by_label(cos, cos - margin, y, scale)


def magface(
  cos: Array,
  y: Array,
  norm: Array,
  *,
  scale: Scalar,
  norm_range: tuple[float, float] = (10.0, 110.0),
  margin_range: tuple[float, float] = (0.45, 0.8),
) -> Array:
  """ArcFace with a margin that grows with the length of the embedding.

  Embeddings more than a right angle off their class have none.

  Args:
    cos: `[B, C]` cosines.
    y: `[B, C]` labels.
    norm: `[B]` lengths, from `magnitudes`.
    scale: of the logits.
    norm_range: lengths where the margin begins and ends to grow.
    margin_range: margins there, radians.

  Returns:
    `[B, C]` logits.

  Source: [MagFace21].
  """
  slope = (margin_range[1] - margin_range[0]) / (norm_range[1] - norm_range[0])
  margin = margin_range[0] + slope * (norm - norm_range[0])
  cos = clipped(cos)
  own = _turned(cos, margin[:, None], monotone=False)
  return _by_label(cos, jnp.where(cos > 0.0, own, cos), y, scale)


def magnitudes(
  x: Array, *, norm_range: tuple[float, float] = (10.0, 110.0)
) -> Array:
  """Lengths of embeddings within bounds; no gradient beyond them.

  Args:
    x: `[B, D]` embeddings, not scaled to length one.
    norm_range: the bounds.

  Returns:
    `[B]`.

  Source: [MagFace21].
  """
  return jnp.clip(distance.root(jnp.sum(jnp.square(x), axis=1)), *norm_range)


def magnitude_cost(norm: Array, *, longest: float = 110.0) -> Array:
  """MagFace's term that pulls lengths up.

  Args:
    norm: `[B]` lengths.
    longest: length of least cost.

  Returns:
    `[B]`.

  Source: [MagFace21].
  """
  return norm / longest**2 + 1.0 / norm
