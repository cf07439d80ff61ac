"""Frames, spectra and mel filter banks."""

import jax.numpy as jnp
import numpy as np

from asd_jax.typing import Array

# Smallest power before the logarithm: float64 epsilon, -156.5356 dB.
POWER_FLOOR = float(np.finfo(np.float64).eps)


def num_centred_frames(num_samples: int, hop_samples: int) -> int:
  """Counts the frames of `power_spectrogram`: `1 + floor(S / hop)`."""
  return 1 + num_samples // hop_samples


def periodic_hann(num_samples: int) -> np.ndarray:
  """Makes a periodic Hann window, `[num_samples]` float64."""
  phase = 2.0 * np.pi * np.arange(num_samples) / num_samples
  return 0.5 - 0.5 * np.cos(phase)


def power_spectrogram(
  wave: Array, *, fft_samples: int = 1024, hop_samples: int = 512
) -> Array:
  """Squared magnitude of centred, Hann-windowed frames.

  Args:
    wave: `[..., S]` waveform; half a window of zeros is put on each side.
    fft_samples: window and transform length, samples; even.
    hop_samples: hop, samples.

  Returns:
    `[..., T, fft_samples // 2 + 1]` power, `T = 1 + floor(S / hop_samples)`.

  Source: [DCASE26base], librosa's centred frames with zero padding.
  """
  num_frames = num_centred_frames(wave.shape[-1], hop_samples)
  half = fft_samples // 2
  pad = [(0, 0)] * (wave.ndim - 1) + [(half, half)]
  start = np.arange(num_frames)[:, None] * hop_samples
  frames = jnp.pad(wave, pad)[..., start + np.arange(fft_samples)[None]]
  window = jnp.asarray(periodic_hann(fft_samples), wave.dtype)
  window = window.reshape((1,) * wave.ndim + (-1,))
  spectrum = jnp.fft.rfft(frames * window)  # [..., T, F]
  return jnp.square(spectrum.real) + jnp.square(spectrum.imag)


def slaney_mel(freq: np.ndarray) -> np.ndarray:
  """Converts Hz to Slaney mel: linear below 1 kHz, logarithmic above."""
  step = np.log(6.4) / 27.0
  log = 15.0 + np.log(np.maximum(freq, 1000.0) / 1000.0) / step
  return np.where(freq < 1000.0, 3.0 * freq / 200.0, log)


def slaney_hz(mel: np.ndarray) -> np.ndarray:
  """Converts Slaney mel to Hz, the inverse of `slaney_mel`."""
  step = np.log(6.4) / 27.0
  log = 1000.0 * np.exp(step * (np.maximum(mel, 15.0) - 15.0))
  return np.where(mel < 15.0, 200.0 * mel / 3.0, log)


def slaney_filters(
  num_mels: int,
  *,
  fft_samples: int,
  sample_rate: int,
  low_hz: float = 0.0,
  high_hz: float | None = None,
) -> np.ndarray:
  """Triangular filters of equal area on the Slaney mel scale.

  Args:
    num_mels: number of filters M.
    fft_samples: transform length.
    sample_rate: Hz.
    low_hz: lowest edge, Hz.
    high_hz: highest edge, Hz; half the sample rate if None.

  Returns:
    `[fft_samples // 2 + 1, M]` float64 weights, each triangle divided by half
    its width in Hz.

  Source: [DCASE26base]; librosa's `mel` with its defaults.
  """
  high_hz = sample_rate / 2 if high_hz is None else high_hz
  ends = slaney_mel(np.array([low_hz, high_hz]))
  edge = slaney_hz(np.linspace(ends[0], ends[1], num_mels + 2))
  freq = np.linspace(0.0, sample_rate / 2, fft_samples // 2 + 1)[:, None]
  rise = (freq - edge[None, :-2]) / np.diff(edge)[None, :-1]
  fall = (edge[None, 2:] - freq) / np.diff(edge)[None, 1:]
  triangle = np.maximum(0.0, np.minimum(rise, fall))
  return triangle * (2.0 / (edge[2:] - edge[:-2]))[None]


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
