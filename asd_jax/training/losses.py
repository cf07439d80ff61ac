"""What a training minimises: losses of a batch with labels, and criteria.

Rows of labels `y` `[B, C]` sum to one (one-hot, or mixed), or are all zero: a
clip without a label of this kind, which has no part in the loss. A loss is the
mean over rows that have a label, zero if there are none: a mean over the whole
batch would scale the gradient with the share of labelled clips.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from asd_jax import errors
from asd_jax.typing import Array, Key

Tree = Any


class Criterion(NamedTuple):
  """A loss with parameters of its own, which are left behind after training.

  Attributes:
    init: `(key, num_classes, width) -> (params, extra)`; `extra` is state that
      is not trained.
    apply: `(params, extra, x [B, D], y [B, C], key, progress []) -> (loss [],
      extra)`; embeddings before any scaling to length one, and the done share
      of the training.
  """

  init: Callable[[Key, int, int], tuple[Tree, Tree]]
  apply: Callable[[Tree, Tree, Array, Array, Key, Array], tuple[Array, Tree]]


def mean_of_labelled(values: Array, y: Array) -> Array:
  """Mean over rows that have a label.

  Args:
    values: `[B]` values; those of rows without a label do not count.
    y: `[B, C]` labels.

  Returns:
    `[]`, zero if no row has one.
  """
  labelled = jnp.any(y > 0.0, axis=1)
  total = jnp.sum(jnp.where(labelled, values, 0.0))
  return total / jnp.maximum(jnp.sum(labelled), 1)


def cross_entropy(logits: Array, y: Array) -> Array:
  """Cross entropy with one-hot or mixed labels.

  Args:
    logits: `[B, C]`.
    y: `[B, C]` labels.

  Returns:
    `[]` mean over rows that have a label, natural logarithm.
  """
  nats = -jnp.sum(y * jax.nn.log_softmax(logits, axis=1), axis=1)
  return mean_of_labelled(nats, y)


def distillation(
  student: Array,
  teacher: Array,
  *,
  num_cls: int = 0,
  cls_weight: float = 1.0,
) -> Array:
  """Mean squared error to a teacher's tokens.

  Args:
    student: `[B, L, D]` tokens, CLS first where there is one.
    teacher: `[B, L, D]` its tokens of the clean sound.
    num_cls: rows before the patch tokens; they have a mean of their own.
    cls_weight: of that mean.

  Returns:
    `[]`.

  Source: [MERL26].
  """
  square = jnp.square(student - teacher)
  loss = jnp.mean(square[:, num_cls:])
  if num_cls:
    loss += cls_weight * jnp.mean(square[:, :num_cls])
  return loss


def check_classes(num: int) -> None:
  """Raises `InputError` for fewer than two classes."""
  if num < 2:
    raise errors.InputError(
      f"labels of a criterion: found {num} classes, expected 2 or more."
    )


def centres(key: Key, shape: tuple[int, ...]) -> Tree:
  """Draws class weights.

  Args:
    key: consumed.
    shape: `(C, ..., D)`.

  Returns:
    `{"centres": [C, ..., D]}`, Glorot uniform as one matrix of all rows.

  Raises:
    InputError: for fewer than two classes.
  """
  check_classes(shape[0])
  rows = (math.prod(shape[:-1]), shape[-1])
  draw = jax.nn.initializers.glorot_uniform()
  return {"centres": draw(key, rows, jnp.float32).reshape(shape)}
