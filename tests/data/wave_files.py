"""Small wave files."""

import dataclasses
import pathlib

import numpy as np
import soundfile

from asd_jax.data import audio


@dataclasses.dataclass(frozen=True)
class File:
  path: pathlib.Path
  header: audio.Header
  start: int = 0
  recording: audio.Header | None = None
  channels: tuple[int, ...] = ()


def noise(num_samples=160, num_channels=2, seed=0):
  rng = np.random.default_rng(seed)
  return rng.integers(-3000, 3000, (num_samples, num_channels), np.int16)


def write(path, samples=None, rate=16_000, subtype="PCM_16"):
  samples = noise() if samples is None else samples
  soundfile.write(path, samples, rate, subtype=subtype)
  return File(path, audio.read_header(path))


def write_many(folder, lengths, **kwargs):
  return [
    write(folder / f"{i}.wav", noise(n, seed=i), **kwargs)
    for i, n in enumerate(lengths)
  ]
