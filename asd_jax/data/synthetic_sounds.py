"""Synthetic sounds and noises, to try a pre-training without any corpus."""

import io
from pathlib import Path

import numpy as np
import soundfile

from asd_jax import errors, files
from asd_jax.data import audio

_PEAK = 0.5


def target(seed: int, seconds: float) -> np.ndarray:
  """A sound that comes and goes: partials of a pitch that glides.

  Args:
    seed: of all draws.
    seconds: length.

  Returns:
    `[S]` at `audio.SAMPLE_RATE`.
  """
  rng = np.random.default_rng([1, seed])
  time = np.arange(round(seconds * audio.SAMPLE_RATE)) / audio.SAMPLE_RATE
  low, high = rng.uniform(80, 1200, 2)
  pitch = np.linspace(low, high, len(time))
  phase = 2 * np.pi * np.cumsum(pitch) / audio.SAMPLE_RATE
  size = rng.uniform(0, 1, 5) / np.arange(1, 6)
  wave = sum(a * np.sin((i + 1) * phase) for i, a in enumerate(size))
  beat = 0.5 - 0.5 * np.cos(2 * np.pi * rng.uniform(1, 6) * time)
  wave = wave * beat ** rng.uniform(0.5, 6)
  return _PEAK * wave / np.abs(wave).max()


def noise(seed: int, seconds: float) -> np.ndarray:
  """A hiss in a band of its own.

  Args:
    seed: of all draws.
    seconds: length.

  Returns:
    `[S]` at `audio.SAMPLE_RATE`.
  """
  rng = np.random.default_rng([2, seed])
  num = round(seconds * audio.SAMPLE_RATE)
  hertz = np.fft.rfftfreq(num, 1 / audio.SAMPLE_RATE)
  octaves = np.log2(np.maximum(hertz, 1.0) / rng.uniform(100, 4000))
  gain = np.exp(-np.square(octaves / rng.uniform(0.5, 2.0)))
  spectrum = gain * np.fft.rfft(rng.standard_normal(num))
  wave = np.fft.irfft(spectrum, num)
  return _PEAK * wave / np.abs(wave).max()


def write(folder: Path, *, num_sounds: int, seconds: float) -> None:
  """Writes as many sounds and noises, the same each time.

  Args:
    folder: gets folders `target` and `noise`.
    num_sounds: of either kind.
    seconds: length of each.

  Raises:
    InputError: for numbers out of range, or files that cannot be written.
  """
  if num_sounds < 1 or not 0 < seconds <= 3600:
    raise errors.InputError(
      f"config: synthetic: found {num_sounds} sounds of {seconds} s, expected"
      " at least one, of up to an hour."
    )
  for kind, make in (("target", target), ("noise", noise)):
    for i in range(num_sounds):
      path = Path(folder) / kind / f"{kind}_{i:03d}.wav"
      if path.exists():
        continue
      data = io.BytesIO()
      wave = make(i, seconds)
      soundfile.write(
        data, wave, audio.SAMPLE_RATE, format="WAV", subtype="PCM_16"
      )
      files.atomic_write_bytes(path, data.getvalue())
