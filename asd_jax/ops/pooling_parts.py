"""Pooling of the first rows of an array, for clips that share a program.

Each does what the function of that name in `pooling` does to the rows that
count.
"""

import jax.numpy as jnp

from asd_jax.ops import masks
from asd_jax.typing import Array


def mean_time(frames: Array, num: Array) -> Array:
  """Averages over time.

  Args:
    frames: `[T, ...]` frames or token grid of one channel.
    num: `[]` rows that count, here and below.

  Returns:
    `[...]` mean.
  """
  return masks.mean(frames, num=num)


def mean_time_flat(grid: Array, num: Array) -> Array:
  """`[F * D]` means over time of a grid `[T, F, D]`."""
  return mean_time(grid, num).reshape(-1)


def mean_patches(grid: Array, num: Array) -> Array:
  """`[D]` mean over time and bands of a grid `[T, F, D]`."""
  return jnp.mean(mean_time(grid, num), axis=0)


def mean_std(frames: Array, num: Array) -> Array:
  """`[2 * D]` mean and standard deviation over time of `[T, D]`."""
  mean = mean_time(frames, num)
  square = mean_time(jnp.square(frames - mean[None]), num)
  return jnp.concatenate([mean, jnp.sqrt(square)])


def mean_square(frames: Array, num: Array) -> Array:
  """`[1]` mean square of `[T, D]` reconstruction errors."""
  return jnp.mean(mean_time(jnp.square(frames), num)).reshape(1)


def mean_frame(frames: Array, num: Array, *, num_blocks: int = 5) -> Array:
  """`[M]` mean error frame of windows `[T, num_blocks * M]`."""
  return jnp.mean(mean_time(frames, num).reshape(num_blocks, -1), axis=0)


def maximum(frames: Array, num: Array) -> Array:
  """`[...]` largest value over time of `[T, ...]`."""
  return masks.largest(frames, num=num)


def cls(token: Array, num: Array) -> Array:
  """The CLS token, one whatever the length."""
  del num
  return token


PARTS = {
  "mean_time": mean_time,
  "mean_time_flat": mean_time_flat,
  "mean_patches": mean_patches,
  "mean_std": mean_std,
  "mean_square": mean_square,
  "mean_frame": mean_frame,
  "maximum": maximum,
  "cls": cls,
}
