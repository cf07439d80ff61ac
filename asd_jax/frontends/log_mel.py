"""Log-mel spectrograms."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from asd_jax.ops import signal
from asd_jax.typing import Array


class FrontEnd(NamedTuple):
  """Turns a waveform into the input of an encoder, nothing is learned.

  Attributes:
    apply: `[..., S] -> [..., T, M]`.
    num_frames: `S -> T`, the number of frames.
    min_samples: `T -> S`, samples needed for `T` frames; at least one whole
      window.
  """

  apply: Callable[[Array], Array]
  num_frames: Callable[[int], int]
  min_samples: Callable[[int], int]


def log_mel(
  *,
  num_mels: int = 128,
  fft_samples: int = 1024,
  hop_samples: int = 512,
  low_hz: float = 0.0,
  high_hz: float | None = None,
  sample_rate: int = 16_000,
) -> FrontEnd:
  """Decibels of Slaney mel bands of centred Hann frames.

  Args:
    num_mels: bands M.
    fft_samples: window length, samples.
    hop_samples: hop, samples.
    low_hz: lowest band edge, Hz.
    high_hz: highest band edge, Hz; half the sample rate if None.
    sample_rate: Hz.

  Returns:
    `[..., S] -> [..., 1 + floor(S / hop_samples), M]` in dB.

  Source: [DCASE26base]; 128 bands of 0-8 kHz are the official features.
  """
  filters = signal.slaney_filters(
    num_mels,
    fft_samples=fft_samples,
    sample_rate=sample_rate,
    low_hz=low_hz,
    high_hz=high_hz,
  )

  def apply(wave: Array) -> Array:
    power = signal.power_spectrogram(
      wave, fft_samples=fft_samples, hop_samples=hop_samples
    )
    bank = jnp.asarray(filters, power.dtype)
    mel = jnp.matmul(power, bank, precision=jax.lax.Precision.HIGHEST)
    return signal.decibel(mel)

  return FrontEnd(
    apply,
    lambda num: signal.num_centred_frames(num, hop_samples),
    lambda num: max(fft_samples, (num - 1) * hop_samples),
  )


FRONTENDS = {"log_mel": log_mel}
