import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from asd_jax.ops import coherence


def draw(*shape, seed=0):
  real, imag = np.random.default_rng(seed).normal(size=(2, *shape))
  return jnp.asarray(real + 1j * imag, jnp.complex64)


@pytest.mark.parametrize("initial", coherence.INITIAL)
@pytest.mark.parametrize("smoothing", [0.0, 0.8, 0.9])
def test_recursive_mean_equals_a_loop(initial, smoothing):
  values = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
  rows = round(1 / (1 - smoothing))
  first = {
    "first": values[0],
    "zero": np.zeros(4),
    "mean": values[:rows].mean(0),
  }
  mean, want = first[initial], []
  for value in values:
    mean = smoothing * mean + (1 - smoothing) * value
    want.append(mean)
  got = coherence.recursive_mean(
    jnp.asarray(values), smoothing=smoothing, initial=initial
  )
  np.testing.assert_allclose(got, want, atol=1e-6)


@pytest.mark.parametrize("num_frames", [1, 2, 17])
def test_recursive_mean_keeps_a_constant(num_frames):
  values = jnp.full((num_frames, 3), 2.5)
  for initial in ("first", "mean"):
    got = coherence.recursive_mean(values, initial=initial)
    np.testing.assert_allclose(got, values, rtol=1e-6)


def test_coherence_is_one_for_a_filtered_copy_and_low_for_other_noise():
  near, other = draw(2, 400, 8)
  copy = jnp.stack([near, (0.3 - 2j) * near])
  msc = coherence.coherence_gain(copy)[1]
  np.testing.assert_allclose(msc, 1.0, atol=1e-5)
  msc = coherence.coherence_gain(jnp.stack([near, other]))[1]
  # Two independent noises with a memory of ten frames: 1 / 19.
  assert abs(float(msc[50:].mean()) - 1 / 19) < 0.02


def test_coherence_does_not_depend_on_the_order_of_the_channels():
  spectra = draw(2, 50, 8)
  first = coherence.coherence_gain(spectra)[1]
  second = coherence.coherence_gain(spectra[::-1])[1]
  np.testing.assert_allclose(first, second, atol=1e-5)


def test_the_mask_stays_between_its_floor_and_one():
  mask, gamma = coherence.coherence_mask(draw(2, 50, 8), floor=0.3)
  assert mask.min() >= 0.3
  assert mask.max() <= 1.0
  assert gamma.min() >= 0.0
  assert gamma.max() <= 1.0


def test_the_mask_opens_for_a_louder_near_channel():
  near, far = draw(2, 200, 8)
  loud, _ = coherence.coherence_mask(jnp.stack([10 * near, far]))
  soft, _ = coherence.coherence_mask(jnp.stack([near, 10 * far]))
  assert loud[20:].mean() > 0.9
  np.testing.assert_allclose(soft, 0.2)


def test_exponential_integral_equals_scipy_with_a_finite_gradient():
  x = np.geomspace(1e-8, 60.0, 300).astype(np.float32)
  got = jax.jit(coherence.exponential_integral)(x)
  np.testing.assert_allclose(got, scipy.special.exp1(np.float64(x)), rtol=2e-6)
  # Above 50 the fit's own factors reach the end of float32.
  x = x[x < 50.0]
  slope = jax.vmap(jax.grad(coherence.exponential_integral))(jnp.asarray(x))
  np.testing.assert_allclose(slope, -np.exp(-x) / x, rtol=1e-4)


def test_gains_rise_with_the_prior_ratio_and_stay_below_one():
  prior = jnp.geomspace(1e-3, 1e4, 50)
  for rule in (coherence.wiener_gain, coherence.log_amplitude_gain):
    gain = rule(prior, jnp.full(50, 2.0))
    assert (jnp.diff(gain) >= 0.0).all()
    assert gain.max() <= 1.0


def test_adaptive_factor_falls_from_its_limit_by_the_slope():
  near = 10.0 ** (jnp.array([-30.0, 0.0, 10.0, 50.0]) / 10.0)
  got = coherence.adaptive_factor(near, jnp.ones(4))
  np.testing.assert_allclose(got, [4.0, 3.0, 2.0, 1.0], atol=1e-5)


def test_amplitude_gain_is_the_root_and_one_in_silence():
  near = jnp.array([4.0, 4.0, 0.0, 1.0])
  gain = coherence.amplitude_gain(jnp.array([1.0, 0.0, 0.0, 1.0]), near)
  np.testing.assert_allclose(gain, [0.5, 0.0, 1.0, 1.0])
