"""Statistics of samples: how impulsive a waveform is, how two go together."""

import math

import jax.numpy as jnp

from asd_jax.ops import masks, signal
from asd_jax.typing import Array

TINY = 1e-12
# Samples that are summed before their sums are: float32 keeps its digits.
_BLOCK = 512
# A deviation below this share of the largest magnitude is rounding.
_CONSTANT = 1e-6


def root(x: Array) -> Array:
  """Square root, whose gradient at zero is zero.

  Args:
    x: `[...]` numbers, none negative.

  Returns:
    `[...]` roots.
  """
  positive = x > 0.0
  return jnp.where(positive, jnp.sqrt(jnp.where(positive, x, 1.0)), 0.0)


def deviation(x: Array, *, num: Array | None = None) -> Array:
  """Standard deviation (ddof 0) over the first axis.

  Args:
    x: `[T, ...]` values.
    num: `[]` rows that count, as everywhere in this module; None for all.

  Returns:
    `[...]` deviations.
  """
  centred = x - masks.mean(x, num=num)[None]
  return root(masks.mean(jnp.square(centred), num=num))


def mean(x: Array, *, num_samples: Array | None = None) -> Array:
  """Mean of a long row, summed in blocks.

  Args:
    x: `[..., S]` samples.
    num_samples: `[]` samples that count; the others are zero. None for all.

  Returns:
    `[...]` means.
  """
  num = x.shape[-1]
  pad = [(0, 0)] * (x.ndim - 1) + [(0, -num % _BLOCK)]
  blocks = jnp.pad(x, pad).reshape(*x.shape[:-1], -1, _BLOCK)
  total = jnp.sum(jnp.sum(blocks, axis=-1), axis=-1)
  return total / (num if num_samples is None else num_samples)


def centred(x: Array, *, num_samples: Array | None = None) -> Array:
  """Takes the mean off, twice: a constant row becomes zero.

  Args:
    x: `[..., S]` samples.
    num_samples: see `mean`.

  Returns:
    `[..., S]` samples of mean zero.
  """
  for _ in range(2):
    x = x - mean(x, num_samples=num_samples)[..., None]
    x = masks.zeroed(x, num_samples, axis=-1)
  return x


def decibel(ratio: Array) -> Array:
  """`10 log10` of a ratio.

  Args:
    ratio: `[...]` above zero.

  Returns:
    `[...]` dB.
  """
  return 10.0 * jnp.log10(ratio)


def level_difference(near: Array, far: Array) -> Array:
  """Level of one power above another, finite for silence.

  Args:
    near: `[...]` power.
    far: `[...]` power of the same shape.

  Returns:
    `[...]` dB.
  """
  return decibel((near + TINY) / (far + TINY))


def pearson(
  near: Array, far: Array, *, num_samples: Array | None = None
) -> Array:
  """Pearson correlation of two waveforms at lag zero.

  Args:
    near: `[S]` waveform.
    far: `[S]` waveform.
    num_samples: see `mean`.

  Returns:
    `[]` correlation; 0 where one of them is constant.
  """
  both = jnp.stack([near, far])
  rest = centred(both, num_samples=num_samples)
  rms = root(mean(jnp.square(rest), num_samples=num_samples))
  constant = rms <= _CONSTANT * jnp.max(jnp.abs(both), axis=1)
  unit = rest / jnp.where(constant, 1.0, rms)[:, None]
  found = mean(unit[0] * unit[1], num_samples=num_samples)
  return jnp.where(jnp.any(constant), 0.0, found)


def frames(
  wave: Array, *, frame_samples: int = 1024, hop_samples: int = 512
) -> Array:
  """Cuts a waveform into its whole frames.

  Args:
    wave: `[..., S]` waveform of at least one frame.
    frame_samples: length of a frame.
    hop_samples: from one frame to the next, samples.

  Returns:
    `[..., T, frame_samples]` frames.
  """
  sizes = dict(frame_samples=frame_samples, hop_samples=hop_samples)
  num = signal.num_whole_frames(wave.shape[-1], **sizes)
  return signal.frame(wave, num, **sizes)


def frame_power(
  wave: Array, *, frame_samples: int = 1024, hop_samples: int = 512
) -> Array:
  """Mean square of each whole frame, from sums of what frames share.

  Args:
    wave: `[..., S]` waveform of at least one frame.
    frame_samples: length of a frame.
    hop_samples: from one frame to the next, samples.

  Returns:
    `[..., T]` powers.
  """
  # Frames overlap by whole blocks of this size, so each is summed once.
  size = math.gcd(frame_samples, hop_samples)
  step, width = hop_samples // size, frame_samples // size
  num = signal.num_whole_frames(
    wave.shape[-1], frame_samples=frame_samples, hop_samples=hop_samples
  )
  blocks = (num - 1) * step + width
  square = jnp.square(wave[..., : blocks * size])
  sums = jnp.sum(square.reshape(*wave.shape[:-1], blocks, size), axis=-1)
  parts = [sums[..., i : i + (num - 1) * step + 1 : step] for i in range(width)]
  return sum(parts[1:], start=parts[0]) / frame_samples


def excess_kurtosis(x: Array, *, num_samples: Array | None = None) -> Array:
  """Fourth moment over the squared second one, less three.

  Args:
    x: `[..., S]` samples of mean zero.
    num_samples: see `mean`.

  Returns:
    `[...]`; -3 for silence.
  """
  square = jnp.square(x)
  second = jnp.square(mean(square, num_samples=num_samples))
  fourth = mean(jnp.square(square), num_samples=num_samples)
  return fourth / (second + TINY**2) - 3.0


def _num_frames(
  num_samples: Array | None, *, frame_samples: int, hop_samples: int
) -> Array | None:
  """Whole frames of the samples that count; None for all."""
  if num_samples is None:
    return None
  return 1 + (num_samples - frame_samples) // hop_samples


def impulsiveness(
  wave: Array,
  *,
  frame_samples: int = 1024,
  hop_samples: int = 512,
  num_samples: Array | None = None,
) -> Array:
  """Eight measures of how impulsive a waveform is.

  Args:
    wave: `[S]` waveform of at least one frame.
    frame_samples: length of a frame.
    hop_samples: from one frame to the next, samples.
    num_samples: see `mean`.

  Returns:
    `[8]`: excess kurtosis; crest, impulse, shape and margin factor; mean and
    95th percentile of the frames' excess kurtosis; largest over mean frame
    level.

  Source: [KonicaMinolta26] names the group; its members are our choice.
  """
  average_of = lambda x: mean(x, num_samples=num_samples)
  x = centred(wave, num_samples=num_samples)
  size = jnp.abs(x)
  peak, rms = jnp.max(size), root(average_of(jnp.square(x)))
  average = average_of(size)
  sizes = dict(frame_samples=frame_samples, hop_samples=hop_samples)
  num = _num_frames(num_samples, **sizes)
  level = root(frame_power(wave, **sizes))
  rows = frames(wave, **sizes)
  # Each frame has its own mean: slow drifts are no impulses.
  rest = rows - jnp.mean(rows, axis=-1, keepdims=True)
  kurtosis = excess_kurtosis(rest)
  return jnp.stack(
    [
      excess_kurtosis(x, num_samples=num_samples),
      peak / (rms + TINY),
      peak / (average + TINY),
      rms / (average + TINY),
      peak / (jnp.square(average_of(root(size))) + TINY),
      masks.mean(kurtosis, num=num),
      masks.percentile(kurtosis, 95.0, num=num),
      masks.largest(level, num=num) / (masks.mean(level, num=num) + TINY),
    ]
  )


def zero_crossing_rate(
  wave: Array, *, frame_samples: int = 1024, hop_samples: int = 512
) -> Array:
  """Share of neighbouring samples of different sign; zero is positive.

  Args:
    wave: `[S]` waveform of at least one frame.
    frame_samples: length of a frame.
    hop_samples: from one frame to the next, samples.

  Returns:
    `[T]` a frame.
  """
  sizes = dict(frame_samples=frame_samples, hop_samples=hop_samples)
  num = signal.num_whole_frames(wave.shape[-1], **sizes)
  positive = wave >= 0.0
  crossing = (positive[1:] != positive[:-1]).astype(wave.dtype)
  rows = signal.frame(
    crossing, num, frame_samples=frame_samples - 1, hop_samples=hop_samples
  )
  return jnp.mean(rows, axis=-1)
