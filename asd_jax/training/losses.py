"""Losses of a batch with labels, and of distillation.

Rows of labels `y` `[B, C]` sum to one (one-hot, or mixed), or are all zero: a
clip without a label of this kind, which has no part in the loss. A loss is the
mean over rows that have a label, zero if there are none: a mean over the whole
batch would scale the gradient with the share of labelled clips.
"""

import jax
import jax.numpy as jnp

from asd_jax.typing import Array


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
