import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from asd_jax.ops import waveform

SIZES = dict(frame_samples=64, hop_samples=24)


def draw(*shape, seed=0, offset=0.0):
  wave = offset + np.random.default_rng(seed).laplace(size=shape)
  return wave.astype(np.float32)


def rows_of(wave):
  size, hop = SIZES.values()
  num = 1 + (len(wave) - size) // hop
  return np.stack([wave[t * hop : t * hop + size] for t in range(num)])


@pytest.mark.parametrize("num", [1, 511, 512, 1300])
def test_mean_of_any_length(num):
  x = draw(2, num)
  np.testing.assert_allclose(waveform.mean(x), x.mean(1), atol=1e-6)


def test_a_long_mean_keeps_its_digits():
  x = draw(400_000, offset=10.0)
  want = np.float64(x).mean()
  assert float(waveform.mean(x)) == pytest.approx(want, rel=3e-7)
  np.testing.assert_allclose(waveform.mean(waveform.centred(x)), 0.0, atol=1e-7)


@pytest.mark.parametrize("offset", [0.0, 5.0])
def test_correlation_equals_scipy(offset):
  near, far = draw(900, offset=offset), draw(900, seed=1)
  far = 0.01 * (far + 0.3 * near)
  want = stats.pearsonr(near, far).statistic
  assert float(waveform.pearson(near, far)) == pytest.approx(want, abs=1e-5)


@pytest.mark.parametrize("level", [0.0, 0.1, -3.0])
def test_correlation_with_a_constant_is_zero(level):
  near = draw(5000)
  far = np.full(5000, level, np.float32)
  assert float(waveform.pearson(near, far)) == 0.0
  assert float(waveform.pearson(far, near)) == 0.0


def test_frames_and_their_powers():
  wave = draw(1000)
  want = rows_of(wave)
  np.testing.assert_array_equal(waveform.frames(wave, **SIZES), want)
  found = waveform.frame_power(jnp.stack([wave, 2.0 * wave]), **SIZES)
  power = np.mean(np.square(want), axis=1)
  np.testing.assert_allclose(found, [power, 4.0 * power], rtol=1e-5)


def test_zero_counts_as_positive_in_crossings():
  wave = draw(1000)
  wave[::5] = 0.0
  positive = rows_of(wave) >= 0.0
  want = np.mean(positive[:, 1:] != positive[:, :-1], axis=1)
  found = waveform.zero_crossing_rate(wave, **SIZES)
  np.testing.assert_allclose(found, want, atol=1e-6)


def test_impulsiveness_equals_its_formulas():
  wave = draw(3000, offset=0.7)
  u = np.float64(wave) - np.float64(wave).mean()
  size, rms = np.abs(u), u.std()
  rows = np.float64(rows_of(wave))
  kurtosis = stats.kurtosis(rows, axis=1)
  level = np.sqrt(np.mean(rows**2, axis=1))
  want = [
    stats.kurtosis(u),
    size.max() / rms,
    size.max() / size.mean(),
    rms / size.mean(),
    size.max() / np.sqrt(size).mean() ** 2,
    kurtosis.mean(),
    np.percentile(kurtosis, 95),
    level.max() / level.mean(),
  ]
  found = waveform.impulsiveness(wave, **SIZES)
  np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-4)


def test_root_and_deviation_have_gradients_where_nothing_varies():
  assert float(jax.grad(lambda x: waveform.root(x))(0.0)) == 0.0
  same = jnp.ones((5, 2))
  grad = jax.grad(lambda x: jnp.sum(waveform.deviation(x)))(same)
  assert np.isfinite(grad).all()
  np.testing.assert_array_equal(waveform.deviation(same), 0.0)
