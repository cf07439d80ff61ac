import jax.numpy as jnp
import numpy as np
import pytest
from scipy import fft
from scipy import signal as scipy_signal

from asd_jax.ops import signal, spectral_shape

RATE = 16_000


def draw(*shape, seed=0):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def magnitudes(num=9000, seed=0):
  return np.abs(np.asarray(signal.stft(draw(num, seed=seed))))


def test_cosine_basis_equals_scipy():
  x = draw(7, 40)
  want = fft.dct(np.float64(x), norm="ortho")[:, :14]
  found = x @ spectral_shape.cosine_basis(40, 14)
  np.testing.assert_allclose(found, want, atol=1e-6)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("num", [9, 10, 30])
def test_delta_equals_a_savitzky_golay_filter(order, num):
  x = draw(num, 3)
  want = scipy_signal.savgol_filter(
    np.float64(x), 9, polyorder=order, deriv=order, axis=0, mode="interp"
  )
  found = spectral_shape.delta(x, order=order)
  np.testing.assert_allclose(found, want, atol=1e-6)


@pytest.mark.parametrize(("num", "order"), [(8, 1), (9, 3)])
def test_delta_of_too_few_frames_is_refused(num, order):
  with pytest.raises(ValueError, match="at least 9"):
    spectral_shape.delta(draw(num, 3), order=order)


def plain_contrast(magnitude):
  """Loop over frames and bands, with sorts."""
  freq = np.linspace(0, RATE / 2, magnitude.shape[1])
  edges = [0, *(200 * 2**i for i in range(6)), RATE]
  peaks, valleys = [], []
  for i, (low, high) in enumerate(zip(edges[:-1], edges[1:], strict=True)):
    index = np.flatnonzero((freq >= low) & (freq <= high))
    if i:
      index = np.r_[index[0] - 1, index]
    num = max(int(np.rint(0.02 * len(index))), 1)
    index = index if i == len(edges) - 2 else index[:-1]
    band = np.sort(magnitude[:, index], axis=1)
    valleys.append(band[:, :num].mean(1))
    peaks.append(band[:, -num:].mean(1))
  level = [10 * np.log10(np.maximum(x, 1e-10)) for x in (peaks, valleys)]
  peak, valley = (np.maximum(x, x.max() - 80) for x in level)
  return (peak - valley).T


@pytest.mark.parametrize("case", ["noise", "ties", "silence", "one loud frame"])
def test_contrast_equals_sorting(case):
  magnitude = magnitudes()
  if case == "ties":
    magnitude = np.round(magnitude)
  elif case == "silence":
    magnitude = 0 * magnitude
  elif case == "one loud frame":
    magnitude[3] *= 1e7
  found = spectral_shape.spectral_contrast(magnitude)
  assert found.shape == (len(magnitude), 7)
  np.testing.assert_allclose(found, plain_contrast(magnitude), atol=2e-4)


def test_contrast_bands_cover_the_spectrum_and_overlap_by_a_bin_at_most():
  bands = spectral_shape.contrast_bands(513)
  assert bands[0][0] == 0
  assert bands[-1][1] == 513
  for (_, end, _), (start, _, _) in zip(bands[:-1], bands[1:], strict=True):
    assert end == start


@pytest.mark.parametrize("num", [2, 65, 129, 513])
def test_rolloff_counts_bins_below_the_share(num):
  magnitude = np.abs(draw(20, num))
  magnitude[3] = 0.0
  magnitude[4] = 0.0
  magnitude[4, -1] = 1.0
  total = np.cumsum(np.float64(magnitude), axis=1)
  want = np.sum(total < 0.85 * total[:, -1:], axis=1)
  np.testing.assert_array_equal(spectral_shape.rolloff(magnitude), want)


def test_shape_of_one_line_and_of_a_flat_spectrum():
  flat = np.ones((1, 513), np.float32)
  line = np.zeros((1, 513), np.float32)
  line[0, 128] = 3.0
  centroid, bandwidth, rolloff, flatness = spectral_shape.shape(flat)[0]
  np.testing.assert_allclose(centroid, 0.5, atol=1e-6)
  np.testing.assert_allclose(bandwidth, np.sqrt(1 / 12), atol=1e-3)
  np.testing.assert_allclose(rolloff, 0.85, atol=2e-3)
  np.testing.assert_allclose(flatness, 1.0, atol=1e-5)
  found = spectral_shape.shape(line)[0]
  np.testing.assert_allclose(found[:3], [0.25, 0.0, 0.25], atol=1e-4)
  assert found[3] < 1e-6


def test_entropy_is_one_for_noise_of_equal_power_and_zero_for_a_line():
  power = np.zeros((3, 513), np.float32)
  power[0] = 2.0
  power[1, 7] = 5.0
  found = spectral_shape.entropy(power)
  np.testing.assert_allclose(found, [1.0, 0.0, 0.0], atol=1e-5)


def test_flux_ignores_the_level():
  magnitude = magnitudes()
  gain = 1.0 + np.arange(len(magnitude), dtype=np.float32)
  found = spectral_shape.flux(magnitude * gain[:, None])
  part = magnitude / magnitude.sum(1, keepdims=True)
  want = np.linalg.norm(np.diff(part, axis=0), axis=1)
  np.testing.assert_allclose(found, want, rtol=1e-4)


def test_a_bin_on_an_edge_belongs_to_the_band_above():
  found = spectral_shape.band_matrix((0.0, 125.0, 8000.0), 129)
  assert found.sum() == 129
  assert found[:2, 0].tolist() == [1.0, 1.0]  # 0 and 62.5 Hz
  assert found[2].tolist() == [0.0, 1.0]  # 125 Hz
  assert found[-1].tolist() == [0.0, 1.0]


@pytest.mark.parametrize("lag", [-20, -3, 0, 5, 32])
def test_delay_is_found_and_positive_where_the_near_channel_is_later(lag):
  wave = draw(20_000)
  near, far = np.roll(wave, lag), wave
  spectra = signal.stft(jnp.stack([near, far]))
  found, peak = spectral_shape.gcc_phat(spectra)
  assert int(found) == lag
  assert 0.5 < float(peak) <= 1.0001


def test_coherence_of_equal_and_of_independent_channels():
  near, far = draw(60_000), draw(60_000, seed=1)
  same = spectral_shape.magnitude_squared_coherence(
    signal.stft(jnp.stack([near, -2.0 * near]))
  )
  np.testing.assert_allclose(same, 1.0, atol=1e-4)
  other = spectral_shape.magnitude_squared_coherence(
    signal.stft(jnp.stack([near, far]))
  )
  assert 0.0 < float(jnp.mean(other)) < 0.05
  silent = spectral_shape.magnitude_squared_coherence(
    signal.stft(jnp.stack([near, 0.0 * far]))
  )
  np.testing.assert_array_equal(silent, 0.0)


def test_cepstra_do_not_depend_on_the_level():
  power = np.square(magnitudes())
  found = spectral_shape.mfcc(power)
  louder = spectral_shape.mfcc(power * 100.0)
  np.testing.assert_allclose(louder[:, 1:], found[:, 1:], atol=1e-3)
  gain = 20.0 * np.sqrt(128)
  np.testing.assert_allclose(louder[:, 0] - found[:, 0], gain, rtol=1e-4)
