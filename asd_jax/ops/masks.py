"""Statistics of the first rows of an array, so that lengths share a program.

`num`, how many rows count, is a number of the program or, where all do, None:
then each function is the plain one.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from asd_jax.typing import Array


class Ragged(NamedTuple):
  """Frames of a clip in an array that has room for more.

  Attributes:
    rows: `[C, T, ...]`; those from `num` on are finite and mean nothing.
    num: `[]` int32, frames that the clip has.
  """

  rows: Array
  num: Array

  @property
  def shape(self) -> tuple[int, ...]:
    """Of `rows`."""
    return self.rows.shape


def inside(x: Array, num: Array, *, axis: int = 0) -> Array:
  """Which places of an axis count.

  Args:
    x: `[...]`.
    num: `[]` how many.
    axis: of `x`.

  Returns:
    Booleans that broadcast against `x`.
  """
  axis %= x.ndim
  shape = [1] * x.ndim
  shape[axis] = -1
  return (jnp.arange(x.shape[axis]) < num).reshape(shape)


def zeroed(x: Array, num: Array | None, *, axis: int = 0) -> Array:
  """Zeros where nothing counts.

  Args:
    x: `[...]`.
    num: `[]` places of the axis that count.
    axis: of `x`.

  Returns:
    `x` with zeros from `num` on.
  """
  return x if num is None else jnp.where(inside(x, num, axis=axis), x, 0)


def mean(x: Array, *, num: Array | None = None, axis: int = 0) -> Array:
  """Mean over an axis.

  Args:
    x: `[...]`.
    num: `[]` places of the axis that count.
    axis: of `x`.

  Returns:
    `x` without that axis.
  """
  if num is None:
    return jnp.mean(x, axis=axis)
  return jnp.sum(zeroed(x, num, axis=axis), axis=axis) / num


def largest(x: Array, *, num: Array | None = None) -> Array:
  """Largest value over the first axis.

  Args:
    x: `[T, ...]`.
    num: `[]` rows that count.

  Returns:
    `[...]`.
  """
  if num is None:
    return jnp.max(x, axis=0)
  return jnp.max(jnp.where(inside(x, num), x, -jnp.inf), axis=0)


def percentile(
  x: Array, percent: float | Array, *, num: Array | None = None
) -> Array:
  """Percentile over the first axis, linear between neighbours.

  Args:
    x: `[T, ...]`.
    percent: 0 to 100.
    num: `[]` rows that count.

  Returns:
    `[...]`, as `jnp.percentile` has it.
  """
  if num is None:
    return jnp.percentile(x, percent, axis=0)
  rising = jnp.sort(jnp.where(inside(x, num), x, jnp.inf), axis=0)
  place = percent / 100.0 * (num - 1).astype(x.dtype)
  below = jnp.floor(place).astype(jnp.int32)
  at = lambda i: jax.lax.dynamic_index_in_dim(rising, i, keepdims=False)
  low, high = at(below), at(jnp.minimum(below + 1, num - 1))
  share = place - below
  return low * (1.0 - share) + high * share
