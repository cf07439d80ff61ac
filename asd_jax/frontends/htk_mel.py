"""Mel bands of centred frames: HTK's, and M2D-CLAP's Slaney bands.

Decibels as DaSheng and CED take them, logarithms of AudioMAE++ and M2D-CLAP.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from asd_jax.frontends.base import Frontend
from asd_jax.frontends.kaldi import fit_samples
from asd_jax.ops import filterbank, masks, signal
from asd_jax.ops.masks import Ragged
from asd_jax.typing import Array

_FFT, _HOP, _RATE = 512, 160, 16_000
# AudioMAE++ and M2D-CLAP: transform, lowest edge in Hz, bands.
_SHORT = dict(fft_samples=400, low_hz=50.0, num_mels=80)
# Frames of a patch of AudioMAE++.
_PP_PATCH = 4
# Spread of a clip's logarithms, below which there is nothing but rounding: one
# unit in the last place of ln(float32 epsilon) is 1e-6.
_LEAST_SPREAD = 1e-4


def mel_power(
  wave: Array,
  *,
  num_mels: int = 64,
  fft_samples: int = _FFT,
  low_hz: float = 0.0,
  layout: str = "htk",
  num_samples: Array | None = None,
) -> Array:
  """Power in mel bands of centred frames every 10 ms, up to 8 kHz.

  Args:
    wave: `[..., S]` waveform, longer than half a frame: it is reflected.
    num_mels: bands M.
    fft_samples: length of a frame.
    low_hz: lowest edge, Hz.
    layout: of the bands, key of `filterbank.LAYOUTS`.
    num_samples: `[]` samples that count, the others are zero; None for all.

  Returns:
    `[..., 1 + floor(S / 160), M]` power, zero where no frame counts.
  """
  # Reflected edges, as torchaudio has them: the encoders were trained on
  # these, while librosa's zeros are right for the baseline's log-mel.
  spectra = signal.stft(
    wave,
    fft_samples=fft_samples,
    hop_samples=_HOP,
    pad_mode="reflect",
    num_samples=num_samples,
  )
  power = signal.power(spectra)
  weights = filterbank.mel_filters(
    layout,
    num_mels,
    fft_samples=fft_samples,
    sample_rate=_RATE,
    low_hz=low_hz,
  )
  bank = jnp.asarray(weights, power.dtype)
  mel = jnp.matmul(power, bank, precision=jax.lax.Precision.HIGHEST)
  return masks.zeroed(mel, _frames_in(num_samples), axis=-2)


def _frames_in(num_samples: Array | None) -> Array | None:
  """Frames that count; None for all."""
  return None if num_samples is None else 1 + num_samples // _HOP


def standardised(logs: Array, *, num_frames: Array | None = None) -> Array:
  """Logarithms of a clip by its own mean and unbiased standard deviation.

  Where all are equal but for rounding, as in digital silence, they become
  zeros, the clip's mean. The published code of AudioMAE++ divides rounding by
  rounding there, which gives about 1 or -1.

  Args:
    logs: `[..., T, M]`; each `[T, M]` is a clip.
    num_frames: `[]` frames that count; None for all.

  Returns:
    `[..., T, M]` of mean 0 and deviation 1, or zeros.
  """
  # Against the first one, equal numbers have a mean without rounding.
  x = logs - logs[..., :1, :1]
  if num_frames is None:
    x -= jnp.mean(x, axis=(-2, -1), keepdims=True)
    spread = jnp.std(x, axis=(-2, -1), ddof=1, keepdims=True)
  else:
    count = num_frames * x.shape[-1]
    total = lambda x: jnp.sum(
      masks.zeroed(x, num_frames, axis=-2), axis=(-2, -1), keepdims=True
    )
    x -= total(x) / count
    spread = jnp.sqrt(total(jnp.square(x)) / (count - 1))
  return jnp.where(spread > _LEAST_SPREAD, x / (spread + 1e-8), 0.0)


def _centred(
  bands: Callable[[Array, Array | None], Array],
  num_samples: int | None,
  *,
  fft_samples: int = _FFT,
  multiple: int = 1,
) -> Frontend:
  """A front end of centred frames, filled with zeros to a multiple of frames.

  The waveform is cut or filled to `num_samples` before `bands`.
  """

  def frames_of(num: int) -> int:
    num = num if num_samples is None else num_samples
    return -(-signal.num_centred_frames(num, _HOP) // multiple) * multiple

  def apply(state: object, wave: Array) -> Array:
    x = bands(fit_samples(wave, num_samples), None)
    return filterbank.fit_frames(x, frames_of(wave.shape[-1]))

  def apply_part(state: object, wave: Array, num: Array) -> Array | Ragged:
    if num_samples is not None:
      return apply(state, wave)
    whole = 1 + num // _HOP
    x = masks.zeroed(bands(wave, num), whole, axis=-2)
    x = filterbank.fit_frames(x, frames_of(wave.shape[-1]))
    return Ragged(x, -(-whole // multiple) * multiple)

  def min_samples(num: int) -> int:
    # The fewest frames that are filled up to `num`. Half a frame is reflected
    # at each edge, and the edge sample itself is not.
    filled = multiple * ((num - 1) // multiple) + 1
    shortest = max(fft_samples // 2 + 1, (filled - 1) * _HOP)
    return shortest if num_samples is None else 1

  return Frontend(
    None,
    None,
    apply,
    frames_of,
    min_samples,
    1,
    sample_rate=_RATE,
    apply_part=apply_part,
  )


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

  def bands(wave: Array, num: Array | None) -> Array:
    # Zero power lies below any other, so frames that do not count change no
    # maximum.
    return filterbank.decibel_in_range(mel_power(wave, num_samples=num))

  return _centred(bands, num_samples)


def audiomaepp_mel(
  *, num_samples: int | None = None, multiple: int = _PP_PATCH
) -> Frontend:
  """Logarithms of 80 bands, standardised over the whole clip, of AudioMAE++.

  Silence at the end of a clip changes all its frames. A channel that is silent
  throughout, or constant, is all zeros (see `standardised`).

  Args:
    num_samples: every waveform is cut or filled with zeros to this first.
    multiple: frames of zeros, the clip's mean, are put at the end up to a
      multiple of this; 4 is the encoder's patch, and it drops what is beyond
      whole patches.

  Returns:
    `[C, S] -> [C, T, 80]` with `T` of `1 + floor(S / 160)` or a few more, each
    channel by itself.

  Source: [AudioMAEpp25]; [LUDO26] has 160000 samples.
  """

  def bands(wave: Array, num: Array | None) -> Array:
    return standardised(
      _logarithms(wave, "htk", num), num_frames=_frames_in(num)
    )

  size = _SHORT["fft_samples"]
  return _centred(bands, num_samples, fft_samples=size, multiple=multiple)


def m2d_mel(*, num_samples: int | None = None) -> Frontend:
  """Natural logarithms of 80 Slaney bands of equal area, of M2D-CLAP.

  Args:
    num_samples: every waveform is cut or filled with zeros to this first.

  Returns:
    `[C, S] -> [C, 1 + floor(S / 160), 80]`, each channel by itself. The
    encoder normalises it, by the statistics of its file.

  Source: [M2DCLAP24]; [LUDO26] has 160000 samples.
  """
  bands = lambda wave, num: _logarithms(wave, "slaney", num)
  return _centred(bands, num_samples, fft_samples=_SHORT["fft_samples"])


def _logarithms(wave: Array, layout: str, num: Array | None) -> Array:
  """Logarithms of 80 bands from 50 Hz, `[..., T, 80]`."""
  power = mel_power(wave, layout=layout, num_samples=num, **_SHORT)
  # Added, where Kaldi's bands have it as a floor.
  return jnp.log(power + filterbank.KALDI_FLOOR)


FRONTENDS = {
  "dasheng_mel": dasheng_mel,
  "audiomaepp_mel": audiomaepp_mel,
  "m2d_mel": m2d_mel,
}
