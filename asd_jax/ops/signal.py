"""Frames, spectra and levels; mel bands are in `filterbank`."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from asd_jax import errors
from asd_jax.typing import Array

# Smallest power before the logarithm: float64 epsilon, -156.5356 dB.
POWER_FLOOR = float(np.finfo(np.float64).eps)


def num_centred_frames(num_samples: int, hop_samples: int) -> int:
  """Counts the frames of `stft`: `1 + floor(S / hop)`."""
  return 1 + num_samples // hop_samples


def num_whole_frames(
  num_samples: int, *, frame_samples: int, hop_samples: int
) -> int:
  """Counts frames without padding: `1 + floor((S - frame) / hop)`.

  Args:
    num_samples: samples S of a clip.
    frame_samples: length of a frame.
    hop_samples: from one frame to the next, samples.

  Returns:
    The number of frames.

  Raises:
    InputError: for a clip shorter than one frame.
  """
  if num_samples < frame_samples:
    raise errors.InputError(
      f"found {num_samples} samples, one frame needs {frame_samples}."
    )
  return 1 + (num_samples - frame_samples) // hop_samples


def periodic_hann(num_samples: int) -> np.ndarray:
  """Makes a periodic Hann window, `[num_samples]` float64."""
  phase = 2.0 * np.pi * np.arange(num_samples) / num_samples
  return 0.5 - 0.5 * np.cos(phase)


def hann_of(fft_samples: int, window_samples: int | None) -> np.ndarray:
  """Periodic Hann window in the middle of a transform's length.

  Args:
    fft_samples: transform length.
    window_samples: window length, at most `fft_samples`; all of it if None.

  Returns:
    `[fft_samples]` float64, zeros on both sides of a shorter window.
  """
  window_samples = fft_samples if window_samples is None else window_samples
  if not 0 < window_samples <= fft_samples or fft_samples % 2:
    raise errors.InputError(
      f"window of {window_samples} samples in a transform of {fft_samples}:"
      " expected a window that fits an even transform."
    )
  left = (fft_samples - window_samples) // 2
  right = fft_samples - window_samples - left
  return np.pad(periodic_hann(window_samples), (left, right))


def frame(
  wave: Array, num_frames: int, *, frame_samples: int, hop_samples: int
) -> Array:
  """Cuts a waveform into frames; what is missing at the end is zero.

  Blocks of one hop are laid side by side, so that nothing is gathered.

  Args:
    wave: `[..., S]` waveform.
    num_frames: frames T.
    frame_samples: length of a frame.
    hop_samples: from one frame to the next, samples.

  Returns:
    `[..., T, frame_samples]` frames.
  """
  *lead, num = wave.shape
  # A frame is so many hops long, the last perhaps in part.
  parts = -(-frame_samples // hop_samples)
  blocks = num_frames + parts - 1
  wave = wave[..., : blocks * hop_samples]
  fill = blocks * hop_samples - wave.shape[-1]
  wave = jnp.pad(wave, [(0, 0)] * len(lead) + [(0, fill)])
  wave = wave.reshape(*lead, blocks, hop_samples)
  rows = [wave[..., j : j + num_frames, :] for j in range(parts)]
  rows[-1] = rows[-1][..., : frame_samples - (parts - 1) * hop_samples]
  return jnp.concatenate(rows, axis=-1)


def overlap_add(frames: Array, *, hop_samples: int) -> Array:
  """Adds frames up where they came from, the transpose of `frame`.

  Args:
    frames: `[..., T, n]` frames.
    hop_samples: from one frame to the next, samples.

  Returns:
    `[..., (T - 1 + ceil(n / hop_samples)) * hop_samples]` waveform.
  """
  *lead, num_frames, num = frames.shape
  parts = -(-num // hop_samples)
  keep = [(0, 0)] * (len(lead) + 1)
  frames = jnp.pad(frames, [*keep, (0, parts * hop_samples - num)])
  rows = jnp.split(frames, parts, axis=-1)
  rows = [
    jnp.pad(row, [*keep[1:], (j, parts - 1 - j), (0, 0)])
    for j, row in enumerate(rows)
  ]
  total = sum(rows[1:], start=rows[0])  # [..., T + parts - 1, hop]
  return total.reshape(*lead, (num_frames + parts - 1) * hop_samples)


def stft(
  wave: Array,
  *,
  fft_samples: int = 1024,
  hop_samples: int = 512,
  window_samples: int | None = None,
  pad_mode: str = "constant",
  num_samples: Array | None = None,
) -> Array:
  """Spectra of centred, Hann-windowed frames.

  Args:
    wave: `[..., S]` waveform; half a transform is put on each side.
    fft_samples: transform length, samples; even.
    hop_samples: hop, samples.
    window_samples: window length, at most `fft_samples`, its default.
    pad_mode: `"constant"` for zeros or `"reflect"`.
    num_samples: `[]` samples that count, the others are zero; None for all.
      Frames beyond `1 + floor(num_samples / hop_samples)` mean nothing.

  Returns:
    `[..., T, F]` complex spectra without scaling, `F = fft_samples // 2 + 1`
    and `T = 1 + floor(S / hop_samples)`.

  Raises:
    InputError: for another mode, or where a reflection is longer than the
      waveform.

  Source: [DCASE26base], librosa's centred frames; they are padded with zeros,
  PyTorch's by reflection.
  """
  half = fft_samples // 2
  if pad_mode not in {"constant", "reflect"}:
    raise errors.InputError(
      f"pad_mode {pad_mode!r}, expected constant or reflect."
    )
  if pad_mode == "reflect" and wave.shape[-1] <= half:
    raise errors.InputError(
      f"found {wave.shape[-1]} samples, a reflection of {half} needs more."
    )
  pad = [(0, 0)] * (wave.ndim - 1) + [(half, half)]
  if pad_mode == "reflect" and num_samples is not None:
    padded = _reflected(wave, half, num_samples)
  else:
    padded = jnp.pad(wave, pad, mode=pad_mode)
  frames = frame(
    padded,
    num_centred_frames(wave.shape[-1], hop_samples),
    frame_samples=fft_samples,
    hop_samples=hop_samples,
  )
  window = jnp.asarray(hann_of(fft_samples, window_samples), wave.dtype)
  window = window.reshape((1,) * wave.ndim + (-1,))
  return jnp.fft.rfft(frames * window)  # [..., T, F]


def _reflected(wave: Array, half: int, num_samples: Array) -> Array:
  """Reflects the first samples before themselves, the last ones behind."""
  lead = [(0, 0)] * (wave.ndim - 1)
  out = jnp.pad(wave, [*lead, (half, 0)], mode="reflect")
  out = jnp.pad(out, [*lead, (0, half)])
  # All but the last sample itself, backwards.
  last = jax.lax.dynamic_slice_in_dim(
    wave, num_samples - 1 - half, half, axis=-1
  )
  return jax.lax.dynamic_update_slice_in_dim(
    out, jnp.flip(last, -1), num_samples + half, axis=-1
  )


def istft(
  spectrum: Array,
  *,
  num_samples: int,
  hop_samples: int = 512,
  window_samples: int | None = None,
) -> Array:
  """Waveform of centred, Hann-windowed frames, the inverse of `stft`.

  Args:
    spectrum: `[..., T, F]` complex spectra; `F` sets the transform length.
    num_samples: length of the waveform; zeros beyond the last frame.
    hop_samples: hop, samples.
    window_samples: window length, that of the transform if None.

  Returns:
    `[..., num_samples]` waveform: windowed overlap-add, divided by the
    overlap-added squared window where that is above 1e-11.
  """
  *lead, num_frames, bins = spectrum.shape
  size = 2 * (bins - 1)
  window = hann_of(size, window_samples)
  frames = jnp.fft.irfft(spectrum, size)
  shape = (1,) * (frames.ndim - 1) + (-1,)
  frames *= jnp.asarray(window, frames.dtype).reshape(shape)
  wave = overlap_add(frames, hop_samples=hop_samples)
  # On the host: it depends on sizes alone and is a constant of the program.
  weight = np.zeros(wave.shape[-1])
  for t in range(num_frames):
    weight[t * hop_samples : t * hop_samples + size] += window**2
  weight = np.where(weight > 1e-11, weight, 1.0)
  wave /= jnp.asarray(weight, wave.dtype).reshape((1,) * len(lead) + (-1,))
  wave = wave[..., size // 2 :][..., :num_samples]
  fill = num_samples - wave.shape[-1]
  return jnp.pad(wave, [(0, 0)] * len(lead) + [(0, fill)])


def power(spectrum: Array) -> Array:
  """Squared magnitude, with a gradient at zero.

  Args:
    spectrum: `[...]` complex.

  Returns:
    `[...]` power.
  """
  return jnp.square(spectrum.real) + jnp.square(spectrum.imag)


def _order_statistic(bits: Array, below: int) -> Array:
  """Value with `below` others under it, `[..., F]` of `[..., T, F]` int32.

  The upper half of the bits is settled first, then the lower one among equal
  upper halves: 16-bit numbers go through the processor twice as fast.
  """
  count = jnp.int16 if bits.shape[-2] < 2**15 else jnp.int32
  num_less = lambda x, limit: jnp.sum(
    (x < limit[..., None, :]).astype(count), axis=-2, dtype=count
  )
  upper = (bits >> 16).astype(jnp.int16)

  def settle_upper(i: Array, found: Array) -> Array:
    trial = found | (jnp.int16(1) << (14 - i).astype(jnp.int16))
    return jnp.where(num_less(upper, trial) <= below, trial, found)

  first = jnp.zeros_like(upper[..., 0, :])
  high = jax.lax.fori_loop(0, 15, settle_upper, first)
  less = num_less(upper, high)
  # Lower halves, shifted into the range of int16; others count as largest.
  same = upper == high[..., None, :]
  lower = jnp.where(same, (bits & 0xFFFF) - 2**15, 2**15 - 1)
  lower = lower.astype(jnp.int16)

  def settle_lower(i: Array, found: Array) -> Array:
    trial = found | (jnp.int32(1) << (15 - i))
    limit = (trial - 2**15).astype(jnp.int16)
    return jnp.where(less + num_less(lower, limit) <= below, trial, found)

  low = jnp.zeros_like(bits[..., 0, :])
  low = jax.lax.fori_loop(0, 16, settle_lower, low)
  return (high.astype(jnp.int32) << 16) | low


def percentile_over_time(power: Array, percent: float) -> Array:
  """Percentile over frames, linear between order statistics.

  Bits of positive numbers sort like the numbers, so 31 counts find an order
  statistic exactly, in a small part of the time of a sort on a CPU.

  Args:
    power: `[..., T, F]` numbers of float32, none negative.
    percent: 0 to 100.

  Returns:
    `[..., F]` percentiles, at position `percent / 100 * (T - 1)`.
  """
  place = percent / 100.0 * (power.shape[-2] - 1)
  below = math.floor(place)
  bits = jax.lax.bitcast_convert_type(power, jnp.int32)
  found = _order_statistic(bits, below)
  low = jax.lax.bitcast_convert_type(found, power.dtype)
  found = found[..., None, :]
  num_up_to = jnp.sum(bits <= found, axis=-2)
  above = jnp.min(jnp.where(bits > found, power, jnp.inf), axis=-2)
  high = jnp.where((num_up_to > below + 1) | (place == below), low, above)
  return low + (place - below) * (high - low)


def decibel(power: Array) -> Array:
  """`10 log10` of a power, floored at `POWER_FLOOR`.

  Args:
    power: `[...]` power.

  Returns:
    `[...]` dB.
  """
  return 10.0 * jnp.log10(jnp.maximum(power, POWER_FLOOR))


def context_windows(frames: Array, *, num_context: int = 5) -> Array:
  """Joins each frame with the ones that follow it.

  Args:
    frames: `[T, M]` frames.
    num_context: frames in a window.

  Returns:
    `[T - num_context + 1, num_context * M]`, the first frame's values first.

  Source: [DCASE26base], time-major 640-dimensional vectors.
  """
  num = frames.shape[0] - num_context + 1
  parts = [frames[k : k + num] for k in range(num_context)]
  return jnp.concatenate(parts, axis=-1)
