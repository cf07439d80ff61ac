"""Facts of a machine's recordings that reports explain their scores with."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from asd_jax.data import audio, clips, decode
from asd_jax.frontends import denoise
from asd_jax.ops import coherence, signal, waveform
from asd_jax.typing import Array

# Clips that are heard of a machine, and how much of each: what is averaged
# over a hundred clips hardly moves any more.
MAX_CLIPS = 100
MAX_SECONDS = 10.0
_MIN_SAMPLES = 2048
_FLOOR = 0.2  # of the mask, [KonicaMinolta26]


def _spectra(wave: Array, fft_samples: int, hop_samples: int) -> Array:
  """`[2, T, F]` complex spectra of `[2, S]` samples."""
  return signal.stft(
    wave, fft_samples=fft_samples, hop_samples=hop_samples, pad_mode="reflect"
  )


def of_clip(wave: Array) -> dict[str, Any]:
  """What one clip tells, to be averaged over clips.

  Args:
    wave: `[2, S]` samples, near first, in [-1, 1).

  Returns:
    `correlation` at lag zero; `near` and `far` power; mean `coherence` and
    `share_at_floor` of the mask of [KonicaMinolta26]; `floors`, what the noise
    transfer of [KATECH26] is fitted to.
  """
  mask, gamma = coherence.coherence_mask(_spectra(wave, 400, 160), floor=_FLOOR)
  power = jnp.mean(jnp.square(wave), axis=-1)
  return {
    "correlation": waveform.pearson(wave[0], wave[1]),
    "near": power[0],
    "far": power[1],
    "coherence": jnp.mean(gamma),
    "share_at_floor": jnp.mean((mask <= _FLOOR).astype(jnp.float32)),
    "floors": denoise.measure_floors(_spectra(wave, 1024, 512)),
  }


_of_clip = jax.jit(of_clip)


def _chosen(some: Sequence[clips.Clip]) -> list[clips.Clip]:
  """At most `MAX_CLIPS` clips, from the first to the last."""
  places = np.linspace(0, len(some) - 1, min(len(some), MAX_CLIPS))
  return [some[int(i)] for i in places]


def of_machine(
  train: Sequence[clips.Clip], *, sample_rate: int
) -> dict[str, float]:
  """Facts of a machine's training clips.

  Args:
    train: its training clips.
    sample_rate: Hz.

  Returns:
    `correlation`, `power_ratio_db`, `coherence` and `share_at_floor` (means
    over clips; the ratio that of the mean powers), `noise_transfer` (median
    over frequency); nothing of clips of one channel or too short.

  Raises:
    InputError: for a file that cannot be read.
  """
  some = [c for c in _chosen(train) if c.header.num_channels >= 2]
  lengths = [audio.num_samples_at(c.header, sample_rate) for c in some]
  # One length, so that one program is compiled for all clips.
  most = round(MAX_SECONDS * sample_rate)
  num_samples = min([most, *lengths])
  if not some or num_samples < _MIN_SAMPLES:
    return {}
  waves = (decode.read(c, sample_rate=sample_rate)[0] for c in some)
  each = (_of_clip(audio.to_float(w[:2, :num_samples])) for w in waves)
  total = functools.reduce(lambda a, b: jax.tree.map(jnp.add, a, b), each)
  mean = jax.tree.map(lambda x: np.asarray(x, np.float64) / len(some), total)
  transfer = denoise.fit_transfer(total["floors"])["transfer"]
  ratio = (mean["near"] + 1e-12) / (mean["far"] + 1e-12)
  return {
    "correlation": float(mean["correlation"]),
    "power_ratio_db": float(10 * np.log10(ratio)),
    "coherence": float(mean["coherence"]),
    "share_at_floor": float(mean["share_at_floor"]),
    "noise_transfer": float(jnp.median(transfer)),
  }
