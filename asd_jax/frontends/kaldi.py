"""Kaldi filter banks as BEATs, EAT, SSLAM and AudioMAE take them."""

import jax.numpy as jnp

from asd_jax.frontends.base import Frontend
from asd_jax.ops import filterbank, signal
from asd_jax.ops.masks import Ragged
from asd_jax.typing import Array

_FRAME, _HOP, _RATE = 400, 160, 16_000


def fit_samples(wave: Array, num_samples: int | None) -> Array:
  """Cuts the end of a waveform off, or puts zeros there.

  Args:
    wave: `[..., S]` waveform.
    num_samples: samples wanted; the waveform as it is if None.

  Returns:
    `[..., num_samples]` waveform.
  """
  if num_samples is None:
    return wave
  wave = wave[..., :num_samples]
  fill = num_samples - wave.shape[-1]
  return jnp.pad(wave, [(0, 0)] * (wave.ndim - 1) + [(0, fill)])


def _whole_frames(num_samples: int) -> int:
  return signal.num_whole_frames(
    num_samples, frame_samples=_FRAME, hop_samples=_HOP
  )


def _samples_for(num_frames: int) -> int:
  return _FRAME + _HOP * (max(num_frames, 1) - 1)


def _centred(
  level: tuple[float, float],
  num_samples: int | None,
  num_frames: int | None,
  multiple: int = 1,
) -> Frontend:
  """Bands of a waveform without its mean; see `eat_fbank`."""

  def frames_of(num: int) -> int:
    # The encoder cuts the frames into patches.
    whole = _whole_frames(num if num_samples is None else num_samples)
    return num_frames or -(-whole // multiple) * multiple

  def apply(state: object, wave: Array) -> Array:
    wave = fit_samples(wave, num_samples)
    # Bands are filled with zeros and then normalised, as in the published
    # code: the encoder knows missing frames by that value, not by zero.
    num = frames_of(wave.shape[-1])
    return filterbank.eat_fbank(wave, num_frames=num, level=level)

  def apply_part(state: object, wave: Array, num: Array) -> Array | Ragged:
    if num_samples is not None:
      return apply(state, wave)
    total = frames_of(wave.shape[-1])
    x = filterbank.eat_fbank(
      wave, num_frames=total, level=level, num_samples=num
    )
    if num_frames:
      return x
    whole = 1 + (num - _FRAME) // _HOP
    return Ragged(x, -(-whole // multiple) * multiple)

  def min_samples(num: int) -> int:
    if num_samples is not None:
      return 1
    # The fewest frames that are filled up to `num`.
    filled = 1 if num_frames else multiple * ((num - 1) // multiple) + 1
    return _samples_for(filled)

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


def eat_fbank(
  *,
  num_samples: int | None = None,
  num_frames: int | None = None,
  multiple: int = 16,
) -> Frontend:
  """Normalised 128 bands of EAT and SSLAM.

  Args:
    num_samples: every waveform is cut or filled with zeros to this first.
    num_frames: the output is cut or filled to this; else
    multiple: to the next multiple of this many frames. 1 leaves it.

  Returns:
    `[C, S] -> [C, T, 128]`. A missing frame is at 0.467, digital silence at
    -1.278.

  Source: [EAT24]; [LUDO26] has 160000 samples and 1024 frames, [MERL26] a
  multiple of 32.
  """
  return _centred(filterbank.EAT_LEVEL, num_samples, num_frames, multiple)


def audiomae_fbank(
  *, num_samples: int | None = None, num_frames: int = 1024
) -> Frontend:
  """Normalised 128 bands of AudioMAE, always as many frames.

  Args:
    num_samples: every waveform is cut or filled with zeros to this first; the
      published code does not, and fills the bands alone.
    num_frames: the output is cut or filled to this.

  Returns:
    `[C, S] -> [C, num_frames, 128]`. A missing frame is at 0.467, digital
    silence at -1.278.

  Source: [AudioMAE22].
  """
  return _centred(filterbank.AUDIOMAE_LEVEL, num_samples, num_frames)


def beats_fbank(*, num_samples: int | None = None) -> Frontend:
  """Normalised 128 bands of BEATs.

  Args:
    num_samples: every waveform is cut or filled with zeros to this first.

  Returns:
    `[C, S] -> [C, 1 + floor((S - 400) / 160), 128]`.

  Source: [BEATs23]; [LUDO26] has 160000 samples.
  """

  def apply(state: object, wave: Array) -> Array:
    return filterbank.beats_fbank(fit_samples(wave, num_samples))

  def apply_part(state: object, wave: Array, num: Array) -> Array | Ragged:
    x = apply(state, wave)
    if num_samples is not None:
      return x
    return Ragged(x, 1 + (num - _FRAME) // _HOP)

  return Frontend(
    None,
    None,
    apply,
    lambda num: _whole_frames(num if num_samples is None else num_samples),
    lambda num: _samples_for(num) if num_samples is None else 1,
    1,
    sample_rate=_RATE,
    apply_part=apply_part,
  )


FRONTENDS = {
  "eat_fbank": eat_fbank,
  "audiomae_fbank": audiomae_fbank,
  "beats_fbank": beats_fbank,
}
