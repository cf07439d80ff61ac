"""Decibels of HTK mel bands, as DaSheng and CED take them."""

import jax
import jax.numpy as jnp

from asd_jax.frontends.base import Frontend
from asd_jax.frontends.kaldi import fit_samples
from asd_jax.ops import filterbank, signal
from asd_jax.typing import Array

_FFT, _HOP, _RATE = 512, 160, 16_000


def mel_power(wave: Array, *, num_mels: int = 64) -> Array:
  """Power in HTK mel bands of centred frames of 32 ms every 10 ms.

  Args:
    wave: `[..., S]` waveform, longer than half a frame: it is reflected.
    num_mels: bands M.

  Returns:
    `[..., 1 + floor(S / 160), M]` power.
  """
  # Reflected edges, as torchaudio has them: the encoders were trained on
  # these, while librosa's zeros are right for the baseline's log-mel.
  spectra = signal.stft(
    wave, fft_samples=_FFT, hop_samples=_HOP, pad_mode="reflect"
  )
  power = signal.power(spectra)
  weights = filterbank.mel_filters(
    "htk", num_mels, fft_samples=_FFT, sample_rate=_RATE
  )
  bank = jnp.asarray(weights, power.dtype)
  return jnp.matmul(power, bank, precision=jax.lax.Precision.HIGHEST)


def dasheng_mel(*, num_samples: int | None = None) -> Frontend:
  """Decibels of 64 bands, at most 120 dB below the clip's largest.

  The published code takes the largest of a batch; a clip here never depends on
  another. The two differ where a clip is below another's range.

  Args:
    num_samples: every waveform is cut or filled with zeros to this first.

  Returns:
    `[C, S] -> [C, 1 + floor(S / 160), 64]`, each channel by itself. The
    encoder normalises it.

  Source: [DaSheng24]; [LUDO26] has 160000 samples.
  """

  def apply(state: object, wave: Array) -> Array:
    wave = fit_samples(wave, num_samples)
    return filterbank.decibel_in_range(mel_power(wave))

  def frames_of(num: int) -> int:
    num = num if num_samples is None else num_samples
    return signal.num_centred_frames(num, _HOP)

  def min_samples(num: int) -> int:
    # Half a frame is reflected at each edge, and the edge sample itself is
    # not.
    shortest = max(_FFT // 2 + 1, (num - 1) * _HOP)
    return shortest if num_samples is None else 1

  return Frontend(
    None, None, apply, frames_of, min_samples, 1, sample_rate=_RATE
  )


FRONTENDS = {"dasheng_mel": dasheng_mel}
