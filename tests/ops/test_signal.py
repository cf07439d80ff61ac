import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal

from asd_jax.ops import filterbank, signal

SIZES = [(128, 64, None), (120, 48, None), (128, 50, 100), (64, 80, None)]


def draw(*shape, seed=0):
  wave = np.random.default_rng(seed).normal(size=shape)
  return jnp.asarray(0.1 * wave, jnp.float32)


def reference(wave, fft, hop, window, mode):
  half = fft // 2
  padded = np.pad(np.float64(wave), (half, half), mode=mode)
  taper = np.zeros(fft)
  size = window or fft
  left = (fft - size) // 2
  taper[left : left + size] = scipy.signal.get_window("hann", size)
  num = 1 + len(wave) // hop
  rows = [padded[t * hop : t * hop + fft] * taper for t in range(num)]
  return np.fft.rfft(np.stack(rows))


@pytest.mark.parametrize(("fft", "hop", "window"), SIZES)
@pytest.mark.parametrize("mode", ["constant", "reflect"])
@pytest.mark.parametrize("num", [480])
def test_stft_equals_a_loop_over_frames(fft, hop, window, mode, num):
  wave = draw(2, num)
  settings = dict(fft_samples=fft, hop_samples=hop, window_samples=window)
  found = signal.stft(wave, **settings, pad_mode=mode)
  want = reference(wave[1], fft, hop, window, mode)
  np.testing.assert_allclose(found[1], want, atol=2e-5)


@pytest.mark.parametrize(("fft", "hop", "window"), SIZES[:3])
@pytest.mark.parametrize("mode", ["constant", "reflect"])
@pytest.mark.parametrize("num", [497])
def test_istft_inverts_stft_to_the_last_sample(fft, hop, window, mode, num):
  wave = draw(2, 3, num)
  spectra = signal.stft(
    wave,
    fft_samples=fft,
    hop_samples=hop,
    window_samples=window,
    pad_mode=mode,
  )
  found = signal.istft(
    spectra, num_samples=num, hop_samples=hop, window_samples=window
  )
  # The last sample's squared window is down to 0.01: measured 1.2e-6.
  np.testing.assert_allclose(found, wave, atol=5e-6)


def test_istft_fills_with_zeros_beyond_the_last_frame():
  spectra = signal.stft(draw(400), fft_samples=128, hop_samples=64)
  found = signal.istft(spectra, num_samples=900, hop_samples=64)
  assert found.shape == (900,)
  assert not found[128 * 4 + 64 :].any()


def test_frames_add_up_by_the_transpose():
  wave = draw(300)
  cut = lambda x: signal.frame(x, 5, frame_samples=70, hop_samples=30)
  other = draw(5, 70, seed=1)
  back = signal.overlap_add(other, hop_samples=30)[:300]
  back = jnp.pad(back, (0, 300 - len(back)))
  left, right = jnp.vdot(cut(wave), other), jnp.vdot(wave, back)
  np.testing.assert_allclose(left, right, rtol=1e-4)


def test_bad_sizes_raise():
  wave = draw(50)
  with pytest.raises(ValueError, match="reflection of 64"):
    signal.stft(wave, fft_samples=128, pad_mode="reflect")
  with pytest.raises(ValueError, match="window of 200"):
    signal.stft(wave, fft_samples=128, window_samples=200)
  with pytest.raises(ValueError, match="even"):
    signal.stft(wave, fft_samples=127)
  with pytest.raises(ValueError, match="pad_mode 'edge'"):
    signal.stft(wave, pad_mode="edge")
  with pytest.raises(ValueError, match="one frame needs 400"):
    filterbank.kaldi_fbank(wave)


def test_kaldi_bands_of_a_batch_equal_those_of_a_clip():
  wave = draw(2, 3, 4000)
  found = jax.jit(filterbank.kaldi_fbank)(wave)
  assert found.shape == (
    2,
    3,
    signal.num_whole_frames(4000, frame_samples=400, hop_samples=160),
    128,
  )
  one = filterbank.kaldi_fbank(wave[1, 2])
  np.testing.assert_allclose(found[1, 2], one, atol=2e-3)
  # The fourth of 128 filters holds no bin of a 512-point transform.
  np.testing.assert_allclose(one[:, 3], np.log(2.0**-23), rtol=1e-6)


def test_missing_frames_of_eat_are_zero_before_the_normalisation():
  wave = draw(4000)
  found = filterbank.eat_fbank(wave, num_frames=40)
  have = signal.num_whole_frames(4000, frame_samples=400, hop_samples=160)
  np.testing.assert_allclose(found[have:], 4.268 / 9.138, rtol=1e-5)
  cut = filterbank.eat_fbank(wave, num_frames=10)
  np.testing.assert_allclose(cut, found[:10], atol=1e-5)


def test_decibels_are_limited_for_each_clip_by_itself():
  mel = jnp.stack([jnp.ones((3, 2)), jnp.full((3, 2), 1e-4)])
  mel = mel.at[:, 0, 0].set(1e-9)
  found = filterbank.decibel_in_range(mel, top_db=30.0)
  np.testing.assert_allclose(found[0].min(), -30.0)
  np.testing.assert_allclose(found[1].min(), -70.0, rtol=1e-6)


@pytest.mark.parametrize("num", [1, 7, 20])
def test_filters_are_triangles_between_their_edges(num):
  sizes = dict(fft_samples=512, sample_rate=16_000, low_hz=100.0)
  for weights in (
    filterbank.mel_filters("htk", num, **sizes),
    filterbank.kaldi_filters(num, **sizes),
  ):
    assert weights.shape == (257, num)
    assert weights.min() >= 0.0
    assert weights.max() <= 1.0
    assert not weights[:3].any()


@pytest.mark.parametrize("num", [1, 2, 6, 37])
@pytest.mark.parametrize("percent", [0.0, 20.0, 62.5, 100.0])
def test_percentile_over_time_equals_numpy(num, percent):
  rng = np.random.default_rng(num)
  power = np.square(rng.normal(size=(2, num, 5)).astype(np.float32))
  power[0, : num // 2] = 0.0  # equal values, zeros and tiny ones
  power[1, :, 0] = 1e-12
  power[1, :, 1] = power[1, 0, 1]
  found = signal.percentile_over_time(jnp.asarray(power), percent)
  want = np.percentile(np.float64(power), percent, axis=1)
  np.testing.assert_allclose(found, want, rtol=1e-5)
