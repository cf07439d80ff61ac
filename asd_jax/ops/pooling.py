"""Pooling over time: the frames of one clip to one embedding."""

import jax.numpy as jnp

from asd_jax.typing import Array


def frames(frames: Array) -> Array:
  """Keeps all frames, for backends that score frames.

  Args:
    frames: `[T, ...]` frames of one channel.

  Returns:
    `[T, ...]`, unchanged.
  """
  return frames


def mean_time(frames: Array) -> Array:
  """Averages over time.

  Args:
    frames: `[T, ...]` frames or token grid of one channel.

  Returns:
    `[...]` mean.
  """
  return jnp.mean(frames, axis=0)


def mean_std(frames: Array) -> Array:
  """Mean and standard deviation over time, side by side.

  Args:
    frames: `[T, D]` frames of one channel.

  Returns:
    `[2 * D]`, means first; the deviation has no correction (ddof 0).
  """
  return jnp.concatenate([jnp.mean(frames, axis=0), jnp.std(frames, axis=0)])


def mean_square(frames: Array) -> Array:
  """Mean square over all elements.

  Args:
    frames: `[T, D]` reconstruction errors of one channel.

  Returns:
    `[1]` mean square, the official MSE score.

  Source: [DCASE26base].
  """
  return jnp.mean(jnp.square(frames)).reshape(1)


def mean_frame(frames: Array, *, num_blocks: int = 5) -> Array:
  """Averages all frames of all windows of reconstruction errors.

  Frames inside the clip count once for each window that holds them.

  Args:
    frames: `[T, num_blocks * M]` errors of windows.
    num_blocks: frames in a window.

  Returns:
    `[M]` mean error frame.

  Source: [DCASE26base], the official Mahalanobis score's mean residual.
  """
  return jnp.mean(jnp.mean(frames, axis=0).reshape(num_blocks, -1), axis=0)


POOLINGS = {
  "frames": frames,
  "mean_time": mean_time,
  "mean_std": mean_std,
  "mean_square": mean_square,
  "mean_frame": mean_frame,
}
