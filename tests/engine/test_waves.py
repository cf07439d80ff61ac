"""Waveforms of training clips by row."""

import numpy as np
import pytest
import soundfile

from asd_jax.data import audio
from asd_jax.engine import waves


class Recording:
  def __init__(self, path):
    self.path, self.header = path, audio.read_header(path)
    self.start, self.recording, self.channels = 0, None, ()


@pytest.fixture
def some(tmp_path):
  rng = np.random.default_rng(0)
  out = []
  for i, num in enumerate((60, 100, 80)):
    samples = rng.integers(-(2**15), 2**15, (num, 2)).astype(np.int16)
    path = tmp_path / f"{i}.wav"
    soundfile.write(path, samples, 16_000, subtype="PCM_16")
    out.append((Recording(path), samples.T))
  return out


def test_clips_are_cut_or_filled_with_zeros_at_their_end(some):
  found = waves.Waves(
    [r for r, _ in some],
    channels=(1, 0),
    num_samples=80,
    sample_rate=16_000,
    most_bytes=0,
  ).rows([2, 0, 1, 0])
  assert found.dtype == np.int16
  for row, i in zip(found, [2, 0, 1, 0], strict=True):
    want = some[i][1][::-1, :80]
    np.testing.assert_array_equal(row[:, : want.shape[1]], want)
    assert not row[:, want.shape[1] :].any()


def test_clips_are_held_as_far_as_memory_goes(some):
  size = 80 * np.dtype(np.int16).itemsize
  held = waves.Waves(
    [r for r, _ in some],
    channels=(0,),
    num_samples=80,
    sample_rate=16_000,
    most_bytes=2 * size,
  )
  before = held.rows([0, 1, 2])
  for recording, _ in some[:2]:
    recording.path.unlink()
  np.testing.assert_array_equal(held.rows([1, 0]), before[[1, 0]])
  some[2][0].path.unlink()
  with pytest.raises(ValueError, match="2.wav"):
    held.rows([2])


def test_one_clip_of_floats_makes_all_of_them_floats(some, tmp_path):
  path = tmp_path / "float.wav"
  soundfile.write(path, np.full((50, 2), 0.25), 16_000, subtype="FLOAT")
  found = waves.Waves(
    [some[0][0], Recording(path)],
    channels=(0,),
    num_samples=50,
    sample_rate=16_000,
    most_bytes=1e9,
  )
  for _ in range(2):
    both = found.rows([0, 1])
    assert both.dtype == np.float32
    want = some[0][1][:1, :50].astype(np.float32) / 2**15
    np.testing.assert_array_equal(both[0], want)
    np.testing.assert_array_equal(both[1], np.float32(0.25))
