import numpy as np
import pytest
import soundfile

from asd_jax.data import audio, synthetic_sounds


def test_sounds_differ_and_are_the_same_each_time(tmp_path):
  for make in (synthetic_sounds.target, synthetic_sounds.noise):
    one, other = make(0, 0.5), make(1, 0.5)
    assert one.shape == (audio.SAMPLE_RATE // 2,)
    assert np.abs(one).max() == pytest.approx(0.5)
    assert np.abs(one - other).max() > 0.1
    np.testing.assert_array_equal(one, make(0, 0.5))
  synthetic_sounds.write(tmp_path, num_sounds=2, seconds=0.5)
  first = {p.name: p.read_bytes() for p in tmp_path.rglob("*.wav")}
  assert len(first) == 4
  synthetic_sounds.write(tmp_path / "again", num_sounds=2, seconds=0.5)
  again = {p.name: p.read_bytes() for p in (tmp_path / "again").rglob("*.wav")}
  assert first == again
  wave, rate = soundfile.read(tmp_path / "noise" / "noise_001.wav")
  assert rate == audio.SAMPLE_RATE
  np.testing.assert_allclose(wave, synthetic_sounds.noise(1, 0.5), atol=1e-4)


def test_none_and_endless_ones_are_refused(tmp_path):
  for more in (dict(num_sounds=0), dict(seconds=0.0), dict(seconds=1e9)):
    with pytest.raises(ValueError, match="synthetic: found"):
      synthetic_sounds.write(
        tmp_path, **{"num_sounds": 1, "seconds": 1.0, **more}
      )
