"""Every front end obeys the same contract."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from transformers import audio_utils

from asd_jax.frontends import log_mel
from asd_jax.ops import signal

CASES = {
  "official": log_mel.log_mel(),
  "plain": log_mel.log_mel(num_mels=64),
  "small": log_mel.log_mel(num_mels=8, fft_samples=128, hop_samples=50),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("num", [1024, 1025, 1535, 1536, 5000])
def test_front_end_contract(name, num, key):
  frontend = CASES[name]
  wave = jax.random.normal(key, (3, 2, num))
  out = jax.jit(frontend.apply)(wave)
  assert out.shape[:3] == (3, 2, frontend.num_frames(num))
  np.testing.assert_allclose(
    out[1, 0], frontend.apply(wave[1, 0]), rtol=1e-5, atol=1e-4
  )
  grad = jax.grad(lambda w: frontend.apply(w).sum())(wave[0])
  assert np.isfinite(grad).all()


@pytest.mark.parametrize("num_frames", [1, 2, 5])
def test_min_samples_is_enough_for_the_frames(num_frames):
  for frontend in CASES.values():
    assert frontend.num_frames(frontend.min_samples(num_frames)) >= num_frames


def test_silence_is_the_floor():
  out = CASES["official"].apply(jnp.zeros(2048))
  np.testing.assert_allclose(out, -156.5356, atol=1e-3)


@pytest.mark.parametrize(
  ("num", "fft", "rate"), [(128, 1024, 16000), (40, 512, 8000)]
)
def test_slaney_filters_equal_transformers(num, fft, rate):
  want = audio_utils.mel_filter_bank(
    fft // 2 + 1, num, 0.0, rate / 2, rate, norm="slaney", mel_scale="slaney"
  )
  got = signal.slaney_filters(num, fft_samples=fft, sample_rate=rate)
  np.testing.assert_allclose(got, want, atol=1e-9)
