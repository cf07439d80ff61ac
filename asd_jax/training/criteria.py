"""Criteria of a training by name: a loss with parameters of its own.

Their labels are those of `losses`: rows that are all zero have none.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from asd_jax import errors
from asd_jax.training import adacos as ada
from asd_jax.training import domain, losses, margins
from asd_jax.typing import Array, Key, Scalar

Tree = Any
Criterion = losses.Criterion
Logits = Callable[[Key, Array, Array, Array], Array]


def _of_cosines(logits: Logits) -> Criterion:
  """Cross entropy of `logits(key, x, cos [B, C], y)`, one centre a class."""

  def init(key: Key, num_classes: int, width: int) -> tuple[Tree, Tree]:
    return losses.centres(key, (num_classes, width)), {}

  def apply(
    params: Tree, extra: Tree, x: Array, y: Array, key: Key, progress: Array
  ) -> tuple[Array, Tree]:
    del progress
    cos = margins.cosines(x, params["centres"])
    return losses.cross_entropy(logits(key, x, cos, y), y), extra

  return Criterion(init, apply)


def arcface(
  *, scale: float = 30.0, margin: float = 0.2, monotone: bool = False
) -> Criterion:
  """ArcFace.

  Args:
    scale: of the cosines.
    margin: added to the angle of the labelled class, radians.
    monotone: falls beyond pi too, see `margins.arcface`.

  Returns:
    The criterion.

  Source: [ArcFace19]; the margin is [KonicaMinolta26]'s, the scale our choice.
  """
  return _of_cosines(
    lambda key, x, cos, y: margins.arcface(
      cos, y, scale=scale, margin=margin, monotone=monotone
    )
  )


def cosface(*, scale: float = 30.0, margin: float = 0.35) -> Criterion:
  """CosFace.

  Args:
    scale: of the cosines.
    margin: taken off the cosine of the labelled class.

  Returns:
    The criterion.

  Source: [CosFace18].
  """
  return _of_cosines(
    lambda key, x, cos, y: margins.cosface(cos, y, scale=scale, margin=margin)
  )


def _drawn(key: Key, y: Array, mean: float, deviation: float) -> Array:
  """`[B, 1]` margins, one a clip and step; they are not clipped."""
  draw = jax.random.normal(key, (len(y), 1), y.dtype)
  return mean + deviation * draw


def elasticface_arc(
  *, scale: float = 64.0, margin: float = 0.5, deviation: float = 0.05
) -> Criterion:
  """ElasticFace-Arc: ArcFace whose margins are drawn, one a clip and step.

  Args:
    scale: of the cosines.
    margin: mean of the margins, radians.
    deviation: their standard deviation.

  Returns:
    The criterion.

  Source: [ElasticFace22].
  """
  return _of_cosines(
    lambda key, x, cos, y: margins.arcface(
      cos, y, scale=scale, margin=_drawn(key, y, margin, deviation)
    )
  )


def elasticface_cos(
  *, scale: float = 64.0, margin: float = 0.35, deviation: float = 0.05
) -> Criterion:
  """ElasticFace-Cos: CosFace whose margins are drawn, one a clip and step.

  Args:
    scale: of the cosines.
    margin: mean of the margins.
    deviation: their standard deviation.

  Returns:
    The criterion.

  Source: [ElasticFace22].
  """
  return _of_cosines(
    lambda key, x, cos, y: margins.cosface(
      cos, y, scale=scale, margin=_drawn(key, y, margin, deviation)
    )
  )


def magface(
  *,
  scale: float = 64.0,
  norm_range: tuple[float, float] = (10.0, 110.0),
  margin_range: tuple[float, float] = (0.45, 0.8),
  norm_weight: float = 35.0,
) -> Criterion:
  """MagFace: margins grow with the length of the embedding, which is rewarded.

  Args:
    scale: of the cosines.
    norm_range: lengths between which the margin grows.
    margin_range: margins at these lengths, radians.
    norm_weight: of the term that pulls lengths up.

  Returns:
    The criterion.

  Source: [MagFace21].
  """
  plain = _of_cosines(
    lambda key, x, cos, y: margins.magface(
      cos,
      y,
      margins.magnitudes(x, norm_range=norm_range),
      scale=scale,
      norm_range=norm_range,
      margin_range=margin_range,
    )
  )

  def apply(
    params: Tree, extra: Tree, x: Array, y: Array, key: Key, progress: Array
  ) -> tuple[Array, Tree]:
    loss, extra = plain.apply(params, extra, x, y, key, progress)
    norm = margins.magnitudes(x, norm_range=norm_range)
    cost = margins.magnitude_cost(norm, longest=norm_range[1])
    return loss + norm_weight * losses.mean_of_labelled(cost, y), extra

  return Criterion(plain.init, apply)


class _Scaled(NamedTuple):
  """Parts of a criterion that chooses its own scale.

  Attributes:
    shape: `(num_classes, width)` to that of the centres.
    num_columns: shape of the centres to the number that sets the first scale.
    cosines: `(x, centres) -> cos [B, C, ...]`.
    next_scale: `(cos, y, previous []) -> []`.
    logits: `(cos, scale) -> [B, C]`.
  """

  shape: Callable[[int, int], tuple[int, ...]]
  num_columns: Callable[[tuple[int, ...]], int]
  cosines: Callable[[Array, Array], Array]
  next_scale: Callable[[Array, Array, Array], Array]
  logits: Callable[[Array, Scalar], Array]


def _self_scaled(
  parts: _Scaled, scale: float | None, dynamic: bool, max_scale: float
) -> Criterion:
  first = lambda shape: (
    ada.initial_scale(parts.num_columns(shape)) if scale is None else scale
  )

  def init(key: Key, num_classes: int, width: int) -> tuple[Tree, Tree]:
    params = losses.centres(key, parts.shape(num_classes, width))
    start = first(params["centres"].shape)
    return params, {"scale": jnp.asarray(start)} if dynamic else {}

  def apply(
    params: Tree, extra: Tree, x: Array, y: Array, key: Key, progress: Array
  ) -> tuple[Array, Tree]:
    del key, progress
    cos = parts.cosines(x, params["centres"])
    now: Scalar = first(params["centres"].shape)
    if dynamic:
      now = parts.next_scale(cos, y, extra["scale"])
      now = jnp.minimum(now, max_scale)
      extra = {"scale": now}
    return losses.cross_entropy(parts.logits(cos, now), y), extra

  return Criterion(init, apply)


def adacos(
  *,
  scale: float | None = None,
  dynamic: bool = False,
  max_scale: float = 64.0,
) -> Criterion:
  """AdaCos.

  Args:
    scale: of the cosines, at the start if it is dynamic; None follows from the
      number of classes.
    dynamic: the scale follows the cosines of each step.
    max_scale: most that it may grow to.

  Returns:
    The criterion.

  Source: [AdaCos19].
  """
  parts = _Scaled(
    shape=lambda num_classes, width: (num_classes, width),
    num_columns=lambda shape: shape[0],
    cosines=margins.cosines,
    next_scale=ada.adacos_scale,
    logits=lambda cos, scale: scale * cos,
  )
  return _self_scaled(parts, scale, dynamic, max_scale)


def subcluster_adacos(
  *,
  num_centres: int = 16,
  scale: float | None = None,
  dynamic: bool = False,
  max_scale: float = 64.0,
) -> Criterion:
  """Sub-cluster AdaCos: each class has several centres.

  Args:
    num_centres: centres of a class.
    scale: of the cosines, at the start if it is dynamic; None follows from the
      number of centres of all classes.
    dynamic: the scale follows the cosines of each step. It grows without bound
      once an embedding lies on a centre.
    max_scale: most that it may grow to.

  Returns:
    The criterion.

  Source: [SubClusterAdaCos21]; [MERL26]. That the scale is fixed and centres
  are trained is our choice.
  """
  parts = _Scaled(
    shape=lambda num_classes, width: (num_classes, num_centres, width),
    num_columns=lambda shape: shape[0] * shape[1],
    cosines=margins.cosines,
    next_scale=ada.subcluster_scale,
    logits=ada.subcluster_logits,
  )
  return _self_scaled(parts, scale, dynamic, max_scale)


def adaproj(
  *,
  num_directions: int = 32,
  scale: float | None = None,
  dynamic: bool = False,
  max_scale: float = 64.0,
) -> Criterion:
  """AdaProj: each class has a space of its own, and angles are to that.

  Args:
    num_directions: directions that span the space of a class.
    scale: of the cosines, at the start if it is dynamic; None follows from the
      number of classes.
    dynamic: the scale follows the cosines of each step.
    max_scale: most that it may grow to.

  Returns:
    The criterion.

  Source: [AdaProj24].
  """
  parts = _Scaled(
    shape=lambda num_classes, width: (num_classes, num_directions, width),
    num_columns=lambda shape: shape[0],
    cosines=ada.projected_cosines,
    next_scale=ada.adaproj_scale,
    logits=lambda cos, scale: scale * cos,
  )
  return _self_scaled(parts, scale, dynamic, max_scale)


def softmax() -> Criterion:
  """Plain cross entropy of embeddings that are logits themselves.

  Outputs beyond the classes are never right, and learn so.

  Returns:
    The criterion, without parameters.
  """

  def init(key: Key, num_classes: int, width: int) -> tuple[Tree, Tree]:
    del key
    losses.check_classes(num_classes)
    if num_classes > width:
      raise errors.InputError(
        f"criterion softmax: found {num_classes} classes for {width} outputs of"
        " the head, expected no more (head.num_outputs)."
      )
    return {}, {}

  def apply(
    params: Tree, extra: Tree, x: Array, y: Array, key: Key, progress: Array
  ) -> tuple[Array, Tree]:
    del params, key, progress
    y = jnp.pad(y, ((0, 0), (0, x.shape[1] - y.shape[1])))
    return losses.cross_entropy(x, y), extra

  return Criterion(init, apply)


CRITERIA = {
  "softmax": softmax,
  "arcface": arcface,
  "cosface": cosface,
  "elasticface_arc": elasticface_arc,
  "elasticface_cos": elasticface_cos,
  "magface": magface,
  "adacos": adacos,
  "subcluster_adacos": subcluster_adacos,
  "adaproj": adaproj,
  "dann": domain.dann,
}
