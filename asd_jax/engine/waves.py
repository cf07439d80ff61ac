"""Waveforms of training clips by row, decoded once while memory lasts."""

import concurrent.futures
from collections.abc import Sequence

import numpy as np

from asd_jax.data import audio, decode

_NUM_READERS = 4


class Waves:
  """Clips of one length, any rows of which can be asked for.

  Args:
    some: the clips.
    channels: which of their channels.
    num_samples: length S that clips are cut to, or filled up to with zeros at
      their end.
    sample_rate: Hz; others are resampled.
    most_bytes: of decoded clips that are held.
  """

  def __init__(
    self,
    some: Sequence[decode.Recording],
    *,
    channels: Sequence[int],
    num_samples: int,
    sample_rate: int,
    most_bytes: float,
  ) -> None:
    self._clips, self._channels = some, list(channels)
    self._num_samples, self._rate = num_samples, sample_rate
    heads = [c.header for c in some]
    # A batch has one type: whole numbers if all clips are such at this rate.
    whole = all(
      h.subtype == "PCM_16" and h.sample_rate == sample_rate for h in heads
    )
    self._dtype = np.int16 if whole else np.float32
    size = len(self._channels) * num_samples * np.dtype(self._dtype).itemsize
    # The first clips of the set, whichever are asked for first: every pass
    # asks for all of them once.
    self._num_held = int(min(len(some), most_bytes // size))
    self._held: dict[int, np.ndarray] = {}
    self._pool = concurrent.futures.ThreadPoolExecutor(_NUM_READERS)

  def rows(self, index: Sequence[int] | np.ndarray) -> np.ndarray:
    """Some clips.

    Args:
      index: `[n]` their numbers.

    Returns:
      `[n, C, S]` int16 or float32 samples, the same type whatever is asked.

    Raises:
      InputError: for a clip that cannot be decoded.
    """
    out = np.zeros(
      (len(index), len(self._channels), self._num_samples), self._dtype
    )
    for row, wave in enumerate(self._pool.map(self._one, index)):
      out[row] = wave
    return out

  def _one(self, i: int) -> np.ndarray:
    """One clip `[C, S]`."""
    if (found := self._held.get(i)) is not None:
      return found
    wave, _ = decode.read(self._clips[i], sample_rate=self._rate)
    wave = wave[self._channels, : self._num_samples]
    if self._dtype == np.float32:
      wave = audio.to_float(wave)
    short = self._num_samples - wave.shape[1]
    wave = np.pad(wave, [(0, 0), (0, short)])
    if i < self._num_held:
      self._held[i] = wave
    return wave
