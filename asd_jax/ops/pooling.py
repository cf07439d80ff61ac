"""Pooling over time: the frames of one clip to one embedding."""

import itertools

import jax.numpy as jnp

from asd_jax import errors
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


def mean_time_flat(grid: Array) -> Array:
  """Averages over time, band by band, and joins the bands.

  Args:
    grid: `[T, F, D]` token grid of one channel.

  Returns:
    `[F * D]` mean, index `f * D + d`.

  Source: [GenRep24], [LUDO26].
  """
  return jnp.mean(grid, axis=0).reshape(-1)


def mean_parts_flat(grid: Array, *, num_parts: int = 2) -> Array:
  """Averages over each part of the time, band by band, and joins all.

  Args:
    grid: `[T, F, D]` token grid of one channel.
    num_parts: P, parts of the time, as equal as whole patches allow.

  Returns:
    `[F * P * D]` means, index `(f * P + p) * D + d`.

  Raises:
    InputError: for fewer time patches than parts.

  Source: [LUDO26], whose embeddings have eight groups whatever the encoder:
  with four bands, two halves of the time.
  """
  num = len(grid)
  if not 0 < num_parts <= num:
    raise errors.InputError(
      f"mean_parts_flat: found {num_parts} parts of {num} time patches,"
      f" expected 1 to {num}."
    )
  ends = [num * i // num_parts for i in range(num_parts + 1)]
  means = [jnp.mean(grid[a:b], axis=0) for a, b in itertools.pairwise(ends)]
  return jnp.stack(means, axis=1).reshape(-1)  # [F, P, D] -> [F * P * D]


def cls(token: Array) -> Array:
  """Takes the CLS token, which an encoder has beside its grid.

  Args:
    token: `[D]` of one channel.

  Returns:
    `[D]`, unchanged.
  """
  return token


def mean_patches(grid: Array) -> Array:
  """Averages over time and bands.

  Args:
    grid: `[T, F, D]` token grid of one channel.

  Returns:
    `[D]` mean.
  """
  return jnp.mean(grid, axis=(0, 1))


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
  # Windows overlap, and the official score does not take that back.
  return jnp.mean(jnp.mean(frames, axis=0).reshape(num_blocks, -1), axis=0)


def maximum(frames: Array) -> Array:
  """Largest value over time, dimension by dimension.

  Args:
    frames: `[T, ...]` frames or token grid of one channel.

  Returns:
    `[...]` maximum.
  """
  return jnp.max(frames, axis=0)


def ranked_mean(frames: Array, *, decay: float = 0.9) -> Array:
  """Weighted mean of the values over time, the largest first.

  Args:
    frames: `[T, ...]` frames or token grid of one channel.
    decay: weight of a rank relative to the one above; 1 is the mean, 0 the
      maximum.

  Returns:
    `[...]` global weighted ranking pooling.
  """
  falling = jnp.flip(jnp.sort(frames, axis=0), axis=0)
  weight = jnp.power(decay, jnp.arange(frames.shape[0], dtype=frames.dtype))
  return jnp.tensordot(weight / jnp.sum(weight), falling, axes=1)


def relative_deviation_weights(frames: Array, *, gamma: float = 4.0) -> Array:
  """Weights that favour the frames furthest from the mean over time.

  Args:
    frames: `[T, ..., D]` frames or token grid of one channel.
    gamma: 0 weighs all frames alike.

  Returns:
    `[T, ...]` weights, one for each frame and frequency; they add up to 1 over
    time.

  Source: [RDP26].
  """
  gap = frames - jnp.mean(frames, axis=0, keepdims=True)
  square = jnp.sum(jnp.square(gap), axis=-1)  # [T, ...]
  # The root has no gradient at zero, where the weight does not need one.
  far = jnp.where(square > 0.0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)
  # Relative to the largest gap, not to the range of gaps: that is another
  # method with other weights, known by the same name.
  top = jnp.max(far, axis=0, keepdims=True)
  share = jnp.where(top > 1e-8, far / jnp.where(top > 1e-8, top, 1.0), 0.0)
  weight = jnp.power(1.0 + share, gamma)
  return weight / jnp.sum(weight, axis=0, keepdims=True)


def relative_deviation(frames: Array, *, gamma: float = 4.0) -> Array:
  """Mean over time that favours the frames furthest from the plain mean.

  Args:
    frames: `[T, ..., D]` frames or token grid of one channel.
    gamma: see `relative_deviation_weights`.

  Returns:
    `[..., D]` pooled.

  Source: [RDP26], [MERL26] with gamma 4, frequency by frequency.
  """
  weight = relative_deviation_weights(frames, gamma=gamma)
  return jnp.sum(weight[..., None] * frames, axis=0)


def generalised_mean(frames: Array, *, power: float = 3.0) -> Array:
  """Power mean over time of what is above zero.

  Args:
    frames: `[T, ...]` frames or token grid of one channel.
    power: 1 is the mean, large powers go to the maximum.

  Returns:
    `[...]` pooled.
  """
  raised = jnp.mean(jnp.power(jnp.maximum(frames, 0.0), power), axis=0)
  return jnp.power(raised, 1.0 / power)


def relative_deviation_generalised(
  frames: Array, *, gamma: float = 4.0, power: float = 3.0
) -> Array:
  """Power mean with the weights of `relative_deviation_weights`.

  Args:
    frames: `[T, ..., D]` frames or token grid of one channel.
    gamma: of the weights.
    power: of the mean.

  Returns:
    `[..., D]` pooled.

  Source: [RDP26].
  """
  weight = relative_deviation_weights(frames, gamma=gamma)
  raised = jnp.power(jnp.maximum(frames, 0.0), power)
  return jnp.power(jnp.sum(weight[..., None] * raised, axis=0), 1.0 / power)


POOLINGS = {
  "frames": frames,
  "mean_time": mean_time,
  "mean_time_flat": mean_time_flat,
  "mean_parts_flat": mean_parts_flat,
  "mean_patches": mean_patches,
  "mean_std": mean_std,
  "mean_square": mean_square,
  "mean_frame": mean_frame,
  "maximum": maximum,
  "ranked_mean": ranked_mean,
  "relative_deviation": relative_deviation,
  "generalised_mean": generalised_mean,
  "relative_deviation_generalised": relative_deviation_generalised,
  "cls": cls,
}
# Those that take the CLS token, not the grid.
OF_CLS = ("cls",)
