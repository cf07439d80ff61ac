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
    num: `[]` rows that count.

  Returns:
    `[...]` mean.
  """
  return masks.mean(frames, num=num)


def mean_time_flat(grid: Array, num: Array) -> Array:
  """Averages over time, band by band, and joins the bands.

  Args:
    grid: `[T, F, D]` token grid of one channel.
    num: `[]` rows that count.

  Returns:
    `[F * D]` mean.
  """
  return mean_time(grid, num).reshape(-1)


def mean_patches(grid: Array, num: Array) -> Array:
  """Averages over time and bands.

  Args:
    grid: `[T, F, D]` token grid of one channel.
    num: `[]` rows that count.

  Returns:
    `[D]` mean.
  """
  return jnp.mean(mean_time(grid, num), axis=0)


def mean_std(frames: Array, num: Array) -> Array:
  """Mean and standard deviation over time, side by side.

  Args:
    frames: `[T, D]` frames of one channel.
    num: `[]` rows that count.

  Returns:
    `[2 * D]`, means first.
  """
  mean = mean_time(frames, num)
  square = mean_time(jnp.square(frames - mean[None]), num)
  return jnp.concatenate([mean, jnp.sqrt(square)])


def mean_square(frames: Array, num: Array) -> Array:
  """Mean square over all elements.

  Args:
    frames: `[T, D]` reconstruction errors of one channel.
    num: `[]` rows that count.

  Returns:
    `[1]` mean square.
  """
  return jnp.mean(mean_time(jnp.square(frames), num)).reshape(1)


def mean_frame(frames: Array, num: Array, *, num_blocks: int = 5) -> Array:
  """Averages all frames of all windows of reconstruction errors.

  Args:
    frames: `[T, num_blocks * M]` errors of windows.
    num: `[]` rows that count.
    num_blocks: frames in a window.

  Returns:
    `[M]` mean error frame.
  """
  return jnp.mean(mean_time(frames, num).reshape(num_blocks, -1), axis=0)


def maximum(frames: Array, num: Array) -> Array:
  """Largest value over time, dimension by dimension.

  Args:
    frames: `[T, ...]` frames or token grid of one channel.
    num: `[]` rows that count.

  Returns:
    `[...]` maximum.
  """
  return masks.largest(frames, num=num)


def cls(token: Array, num: Array) -> Array:
  """Takes the CLS token, one whatever the length.

  Args:
    token: `[D]` of one channel.
    num: `[]` rows that count.

  Returns:
    `[D]`, unchanged.
  """
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
