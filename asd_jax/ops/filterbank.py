"""Mel bands as librosa, torchaudio and Kaldi lay them out.

An encoder hears what its own front end made of the sound while it was trained,
so each toolkit's bands are kept to the last digit.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from asd_jax import errors
from asd_jax.ops import masks, signal
from asd_jax.typing import Array

# Smallest mel power before Kaldi's logarithm: float32 epsilon.
KALDI_FLOOR = float(np.finfo(np.float32).eps)
PRE_EMPHASIS = 0.97
POVEY_POWER = 0.85
INT16_SCALE = 2.0**15


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


def triangles(points: np.ndarray, edge: np.ndarray) -> np.ndarray:
  """Triangles from each edge over the next, where they are one, to the third.

  Args:
    points: `[F]` where they are evaluated.
    edge: `[M + 2]` edges, ascending, in the unit of the points.

  Returns:
    `[F, M]` weights.
  """
  rise = (points[:, None] - edge[None, :-2]) / np.diff(edge)[None, :-1]
  fall = (edge[None, 2:] - points[:, None]) / np.diff(edge)[None, 1:]
  return np.maximum(0.0, np.minimum(rise, fall))


class Layout(NamedTuple):
  """How a toolkit lays out its mel bands.

  Attributes:
    mel: Hz to mel.
    hertz: mel to Hz; the sides of a triangle are straight in Hz.
    finish: (`[F, M]` triangles, `[M + 2]` edges, Hz) to `[F, M]` weights.
  """

  mel: Callable[[np.ndarray], np.ndarray]
  hertz: Callable[[np.ndarray], np.ndarray]
  finish: Callable[[np.ndarray, np.ndarray], np.ndarray]


def _equal_height(weights: np.ndarray, edge: np.ndarray) -> np.ndarray:
  return weights


def _equal_area(weights: np.ndarray, edge: np.ndarray) -> np.ndarray:
  return weights * (2.0 / (edge[2:] - edge[:-2]))[None]


# The encoders were trained on the bands of these and of `kaldi_filters`; they
# differ in every digit.
LAYOUTS = {
  # librosa's `mel` with its defaults: the official baseline's [DCASE26base].
  "slaney": Layout(slaney_mel, slaney_hz, _equal_area),
  # torchaudio's MelSpectrogram with its defaults.
  "htk": Layout(
    lambda hz: 2595.0 * np.log10(1.0 + hz / 700.0),
    lambda mel: 700.0 * (10.0 ** (mel / 2595.0) - 1.0),
    _equal_height,
  ),
}


def mel_filters(
  layout: str,
  num_mels: int,
  *,
  fft_samples: int,
  sample_rate: int,
  low_hz: float = 0.0,
  high_hz: float | None = None,
) -> np.ndarray:
  """Triangular filters whose edges are at equal steps of a mel scale.

  Args:
    layout: a key of `LAYOUTS`.
    num_mels: number of filters M.
    fft_samples: transform length.
    sample_rate: Hz.
    low_hz: lowest edge, Hz.
    high_hz: highest edge, Hz; half the sample rate if None.

  Returns:
    `[fft_samples // 2 + 1, M]` float64 weights.
  """
  kind = LAYOUTS[layout]
  high_hz = sample_rate / 2 if high_hz is None else high_hz
  low, high = kind.mel(np.array([low_hz, high_hz]))
  edge = np.linspace(low, high, num_mels + 2)
  points = np.linspace(0.0, sample_rate / 2, fft_samples // 2 + 1)
  edge = kind.hertz(edge)
  return kind.finish(triangles(points, edge), edge)


def kaldi_filters(
  num_mels: int,
  *,
  fft_samples: int,
  sample_rate: int,
  low_hz: float = 20.0,
  high_hz: float | None = None,
  dtype: Any = np.float32,
) -> np.ndarray:
  """Triangular filters whose sides are straight in mel, as Kaldi has them.

  Narrow bands may hold no bin at all and stay empty.

  Args:
    num_mels: number of filters M.
    fft_samples: transform length.
    sample_rate: Hz.
    low_hz: lowest edge, Hz.
    high_hz: highest edge, Hz; half the sample rate if None.
    dtype: in which mels are computed.

  Returns:
    `[fft_samples // 2 + 1, M]` weights.
  """
  mel = lambda hz: 1127.0 * np.log(1.0 + hz / 700.0)
  low, high = mel(low_hz), mel(sample_rate / 2 if high_hz is None else high_hz)
  # Step by step in the precision of the sound, as in the code that encoders
  # were trained with: exact mels change float32 weights by 1.4e-5, and tokens
  # of deep networks by 1e-3.
  real = np.dtype(dtype).type
  step = real((high - low) / (num_mels + 1))
  edge = real(low) + np.arange(num_mels + 2, dtype=real) * step
  width = real(sample_rate / fft_samples)
  bins = np.arange(fft_samples // 2 + 1, dtype=real) * width
  ratio = np.float64(real(1.0) + bins / real(700.0))
  points = real(1127.0) * np.log(ratio).astype(real)
  weights = triangles(points, edge)
  # Kaldi leaves the bin at half the sample rate out of every band.
  weights[-1] = 0.0
  return weights


def decibel_in_range(
  power: Array, *, top_db: float = 120.0, floor: float = 1e-10
) -> Array:
  """`10 log10` of a clip's mel powers, at most `top_db` below its largest.

  Args:
    power: `[..., T, M]` power; each `[T, M]` has a maximum of its own.
    top_db: largest distance from the maximum, dB.
    floor: smallest power before the logarithm.

  Returns:
    `[..., T, M]` dB.
  """
  level = 10.0 * jnp.log10(jnp.maximum(power, floor))
  top = jnp.max(level, axis=(-2, -1), keepdims=True)
  return jnp.maximum(level, top - top_db)


def kaldi_window(num_samples: int, *, window: str = "povey") -> np.ndarray:
  """Symmetric window of Kaldi's frames.

  Args:
    num_samples: length.
    window: `"hanning"`, or `"povey"`, its 0.85th power.

  Returns:
    `[num_samples]` float64.

  Raises:
    InputError: for another window.
  """
  if window not in {"povey", "hanning"}:
    raise errors.InputError(f"window {window!r}, expected povey or hanning.")
  hann = np.hanning(num_samples)
  return hann**POVEY_POWER if window == "povey" else hann


def kaldi_fbank(
  wave: Array,
  *,
  num_mels: int = 128,
  window: str = "povey",
  sample_rate: int = 16_000,
  low_hz: float = 20.0,
  high_hz: float | None = None,
) -> Array:
  """Logarithms of Kaldi's mel bands of 25 ms every 10 ms, without dither.

  Args:
    wave: `[..., S]` waveform, one frame or longer; only whole frames count.
    num_mels: bands M.
    window: see `kaldi_window`.
    sample_rate: Hz.
    low_hz: lowest edge, Hz.
    high_hz: highest edge, Hz; half the sample rate if None.

  Returns:
    `[..., T, M]` natural logarithms; an empty band is at `ln(KALDI_FLOOR)`.
  """
  size, hop = sample_rate * 25 // 1000, sample_rate // 100
  fft_samples = 1 << (size - 1).bit_length()
  num = signal.num_whole_frames(
    wave.shape[-1], frame_samples=size, hop_samples=hop
  )
  x = signal.frame(wave, num, frame_samples=size, hop_samples=hop)
  x -= jnp.mean(x, axis=-1, keepdims=True)
  before = jnp.concatenate([x[..., :1], x[..., :-1]], axis=-1)
  x -= PRE_EMPHASIS * before
  taper = jnp.asarray(kaldi_window(size, window=window), x.dtype)
  x *= taper.reshape((1,) * (x.ndim - 1) + (-1,))
  power = signal.power(jnp.fft.rfft(x, fft_samples))  # [..., T, F]
  weights = kaldi_filters(
    num_mels,
    fft_samples=fft_samples,
    sample_rate=sample_rate,
    low_hz=low_hz,
    high_hz=high_hz,
    dtype=power.dtype,
  )
  bank = jnp.asarray(weights, power.dtype)
  mel = jnp.matmul(power, bank, precision=jax.lax.Precision.HIGHEST)
  return jnp.log(jnp.maximum(mel, KALDI_FLOOR))


def fit_frames(fbank: Array, num_frames: int) -> Array:
  """Cuts the end off, or puts zeros there, before normalisation.

  Args:
    fbank: `[..., T, M]` bands.
    num_frames: frames wanted.

  Returns:
    `[..., num_frames, M]` bands.
  """
  fbank = fbank[..., :num_frames, :]
  fill = num_frames - fbank.shape[-2]
  return jnp.pad(fbank, [(0, 0)] * (fbank.ndim - 2) + [(0, fill), (0, 0)])


def beats_fbank(wave: Array) -> Array:
  """Normalised bands as BEATs takes them.

  Args:
    wave: `[..., S]` waveform, full scale 1.

  Returns:
    `[..., T, 128]` bands.
  """
  fbank = kaldi_fbank(wave * INT16_SCALE, window="povey")
  return (fbank - 15.41663) / (2.0 * 6.55582)


# Mean and standard deviation of logarithms over AudioSet, as two projects
# rounded them.
EAT_LEVEL = (-4.268, 4.569)
AUDIOMAE_LEVEL = (-4.2677393, 4.5689974)


def eat_fbank(
  wave: Array,
  *,
  num_frames: int | None = None,
  level: tuple[float, float] = EAT_LEVEL,
  num_samples: Array | None = None,
) -> Array:
  """Normalised bands as EAT, SSLAM and, with its level, AudioMAE take them.

  Args:
    wave: `[..., S]` waveform, full scale 1; its mean is taken off.
    num_frames: frames wanted; missing ones are zero before normalisation. All
      there are if None.
    level: mean and standard deviation; the latter counts twice.
    num_samples: `[]` samples that count, one frame or more, the others are
      zero; None for all.

  Returns:
    `[..., T, 128]` bands.
  """
  wave -= masks.mean(wave, num=num_samples, axis=-1)[..., None]
  fbank = kaldi_fbank(wave, window="hanning")
  if num_samples is not None:
    whole = 1 + (num_samples - 400) // 160
    fbank = masks.zeroed(fbank, whole, axis=-2)
  fbank = fbank if num_frames is None else fit_frames(fbank, num_frames)
  mean, deviation = level
  return (fbank - mean) / (2.0 * deviation)
