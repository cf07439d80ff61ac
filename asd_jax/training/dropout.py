"""Dropout of what a layer gets, whose draws a network need not hand around."""

import zlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from asd_jax.typing import Array, Key

# `(path of what gets it, input [..., D] of its layer) -> [..., D]`.
Drop = Callable[[str, Array], Array]
# `(one draw, path, input) -> input`: a `Drop` when the draw is given.
DropOf = Callable[[Any, str, Array], Array]


@jax.custom_batching.custom_vmap
def _own_key(key: Key, x: Array) -> Key:
  """A key that is another one for each row of every `vmap` over `x`."""
  del x
  return key


@_own_key.def_vmap
def _own_keys(
  size: int, batched: list[bool], key: Key, x: Array
) -> tuple[Key, bool]:
  # Once more, for the rows of `vmap`s around this one.
  key = _own_key(key, x)
  if batched[0]:
    return key, True
  return jax.random.split(key, size), True


def drops(rate: float) -> DropOf | None:
  """Makes numbers of a layer's input zero, others larger.

  Args:
    rate: share of zeros.

  Returns:
    `(key, path, input) -> input`; every path, and every row of a `vmap` inside
    the network, such as a channel, has a draw of its own. None if the rate is
    zero.
  """
  if not rate:
    return None

  def drop(key: Key, path: str, x: Array) -> Array:
    key = jax.random.fold_in(key, zlib.crc32(path.encode()))
    key = _own_key(key, jax.lax.stop_gradient(x))
    # Of one type, so that draws do not depend on jax_enable_x64.
    keep = jax.random.bernoulli(key, jnp.float32(1.0 - rate), x.shape)
    return kept(keep, x, rate=rate)

  return drop


def kept(keep: Array, x: Array, *, rate: float) -> Array:
  """Numbers that are kept, scaled so that their mean stays.

  Args:
    keep: `[...]` whether a number is kept.
    x: `[...]` numbers.
    rate: share of those that are not.

  Returns:
    `[...]`.
  """
  return jnp.where(keep, x / (1.0 - rate), 0.0)
