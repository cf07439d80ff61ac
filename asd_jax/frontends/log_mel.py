"""Log-mel spectrograms, of a denoised near channel where asked for."""

from typing import Any

import jax
import jax.numpy as jnp

from asd_jax.frontends import base
from asd_jax.ops import filterbank, signal
from asd_jax.ops.masks import Ragged
from asd_jax.typing import Array

Tree = Any


def log_mel(
  *,
  num_mels: int = 128,
  fft_samples: int = 1024,
  hop_samples: int = 512,
  low_hz: float = 0.0,
  high_hz: float | None = None,
  sample_rate: int = 16_000,
  denoiser: base.Frontend | None = None,
) -> base.Frontend:
  """Decibels of Slaney mel bands of centred Hann frames.

  Args:
    num_mels: bands M.
    fft_samples: window length, samples.
    hop_samples: hop, samples.
    low_hz: lowest band edge, Hz.
    high_hz: highest band edge, Hz; half the sample rate if None.
    sample_rate: Hz.
    denoiser: makes one channel of two: the near channel's power, denoised with
      channel 1 as reference; every channel as it is if None.

  Returns:
    `[C, S] -> [C', 1 + floor(S / hop_samples), M]` in dB, C' = 1 with a
    denoiser.

  Source: [DCASE26base]; 128 bands of 0-8 kHz are the official features.
  [KATECH26]: denoised power goes to the bands as it is.
  """
  # Once and in double precision, not in every program that uses them.
  filters = filterbank.mel_filters(
    "slaney",
    num_mels,
    fft_samples=fft_samples,
    sample_rate=sample_rate,
    low_hz=low_hz,
    high_hz=high_hz,
  )

  def spectra_of(wave: Array) -> Array:  # [C, T, F]
    return signal.stft(wave, fft_samples=fft_samples, hop_samples=hop_samples)

  def power_of(state: Tree, wave: Array) -> Array:
    if denoiser is None:
      return signal.power(spectra_of(wave))
    return denoiser.apply(state, spectra_of(wave[:2]))[None]  # [1, T, F]

  def apply(state: Tree, wave: Array) -> Array:
    power = power_of(state, wave)
    bank = jnp.asarray(filters, power.dtype)
    # The few digits that accelerators multiply with by default would show in
    # decibels, above all where a band is quiet.
    mel = jnp.matmul(power, bank, precision=jax.lax.Precision.HIGHEST)
    return signal.decibel(mel)

  def apply_part(state: Tree, wave: Array, num: Array) -> Ragged:
    # Beyond its end a clip is zero anyway.
    return Ragged(apply(state, wave), 1 + num // hop_samples)

  measure = denoiser.measure if denoiser else None
  return base.Frontend(
    measure and (lambda wave: measure(spectra_of(wave[:2]))),
    denoiser.fit if denoiser else None,
    apply,
    lambda num: signal.num_centred_frames(num, hop_samples),
    # Centred frames exist for any length; one that is mostly padding says
    # little.
    lambda num: max(fft_samples, (num - 1) * hop_samples),
    2 if denoiser else 1,
    sample_rate=sample_rate,
    apply_part=None if denoiser else apply_part,
  )


FRONTENDS = {"log_mel": log_mel}
