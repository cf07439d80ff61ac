"""Logarithms of linear frequency bins at any sample rate, as FISHER takes them.

The window is a fixed time, so a bin is about 40 Hz wide at every rate and a
higher rate only adds bins on top.
"""

import jax.numpy as jnp

from asd_jax import errors
from asd_jax.frontends.base import Frontend
from asd_jax.frontends.kaldi import fit_samples
from asd_jax.ops import filterbank, masks, signal
from asd_jax.ops.masks import Ragged
from asd_jax.typing import Array

# 25 ms and 10 ms, in samples a kilohertz.
_WINDOW, _HOP = 25, 10
_LOWEST_RATE = 1000
# Of the training data; the published code divides by two deviations.
_MEAN, _DEVIATION = -3.017344307886898, 2.1531635155379805
_FLOOR = 1e-10
# The published code cuts longer clips.
_MOST_FRAMES = 1024
_BAND_WIDTH = 100


def log_spectrum(
  wave: Array, *, sample_rate: int, num_samples: Array | None = None
) -> Array:
  """Normalised logarithms of the magnitudes of whole frames.

  Args:
    wave: `[..., S]` waveform, one frame or longer; its mean is taken off.
    sample_rate: Hz.
    num_samples: `[]` samples that count, the others are zero; None for all.

  Returns:
    `[..., T, F]`; digital silence is at -4.646.
  """
  size, hop = _samples(sample_rate)
  # Frames keep their own means, so that of the clip matters.
  wave -= masks.mean(wave, num=num_samples, axis=-1)[..., None]
  num = signal.num_whole_frames(
    wave.shape[-1], frame_samples=size, hop_samples=hop
  )
  x = signal.frame(wave, num, frame_samples=size, hop_samples=hop)
  window = jnp.asarray(signal.periodic_hann(size), x.dtype)
  spectra = jnp.fft.rfft(x * window.reshape((1,) * (x.ndim - 1) + (-1,)))
  return (jnp.log(jnp.abs(spectra) + _FLOOR) - _MEAN) / (2.0 * _DEVIATION)


def _samples(sample_rate: int) -> tuple[int, int]:
  """Samples of a window and of a hop."""
  return _WINDOW * sample_rate // 1000, _HOP * sample_rate // 1000


def fisher_spectrum(
  *,
  sample_rate: int = 16_000,
  seconds: float | None = None,
  num_frames: int | None = None,
  band_width: int = _BAND_WIDTH,
) -> Frontend:
  """Normalised log magnitudes of linear bins.

  A clip that ends in zeros has, once its mean is taken off, a constant part
  whose spectrum is rounding noise that the logarithm makes visible: two
  correct transforms differ there by 0.5, and embeddings by 0.1.

  Args:
    sample_rate: Hz, 1 kHz or more; nothing is resampled here.
    seconds: every waveform is cut or filled with zeros to this first.
    num_frames: the output is cut, or filled with zeros after normalisation, to
      this; the first 1024 at most if None, as the encoder was published.
    band_width: bins that the encoder takes at once; where there are fewer,
      zeros follow after normalisation.

  Returns:
    `[C, S] -> [C, T, F]`, F = `25 sample_rate / 1000 / 2 + 1` bins or
    `band_width`.

  Raises:
    InputError: for a lower rate, or less than a window.

  Source: [FISHER25]; [LUDO26] has 10 s, the authors' benchmark 1024 frames.
  """
  size, hop = _samples(sample_rate)
  num_samples = None if seconds is None else round(seconds * sample_rate)
  if sample_rate < _LOWEST_RATE:
    raise errors.InputError(
      f"fisher_spectrum: found a sample rate of {sample_rate} Hz, expected"
      f" {_LOWEST_RATE} or more."
    )
  if num_samples is not None and num_samples < size:
    raise errors.InputError(
      f"fisher_spectrum: found {seconds} seconds, expected"
      f" {_WINDOW / 1000} or more."
    )

  def frames_of(num: int) -> int:
    num = num if num_samples is None else num_samples
    whole = signal.num_whole_frames(num, frame_samples=size, hop_samples=hop)
    return num_frames or min(whole, _MOST_FRAMES)

  def apply(state: object, wave: Array, num: Array | None = None) -> Array:
    wave = fit_samples(wave, num_samples)
    x = log_spectrum(wave, sample_rate=sample_rate, num_samples=num)
    if num is not None:
      x = masks.zeroed(x, 1 + (num - size) // hop, axis=-2)
    x = filterbank.fit_frames(x, frames_of(wave.shape[-1]))
    fill = max(0, band_width - x.shape[-1])
    return jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, fill)])

  def apply_part(state: object, wave: Array, num: Array) -> Array | Ragged:
    if num_samples is not None:
      return apply(state, wave)
    x = apply(state, wave, num)  # [C, T, F]
    if num_frames:
      return x
    return Ragged(x, jnp.minimum(1 + (num - size) // hop, _MOST_FRAMES))

  def min_samples(num: int) -> int:
    if num_samples is not None:
      return 1
    return size if num_frames else size + hop * (max(num, 1) - 1)

  return Frontend(
    None,
    None,
    apply,
    frames_of,
    min_samples,
    1,
    sample_rate=sample_rate,
    apply_part=apply_part,
  )


FRONTENDS = {"fisher_spectrum": fisher_spectrum}
