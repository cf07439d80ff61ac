import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from asd_jax.scores import calibration


@pytest.mark.golden
def test_gamma_standardisation_equals_the_reference(golden):
  z = golden("backends")
  cases = sorted({k.split("/")[1] for k in z.files if k.startswith("gamma/")})
  assert cases
  gamma = calibration.gamma()
  for case in cases:
    get = lambda name, case=case: z[f"gamma/{case}/{name}"]
    state = gamma.fit(jnp.asarray(get("in/reference")), None)
    got = gamma.apply(state, jnp.asarray(get("in/scores"), jnp.float32))
    np.testing.assert_allclose(
      got, get("out/z"), rtol=1e-4, atol=1e-4, err_msg=case
    )
    for name in ("mean", "std"):
      if f"gamma/{case}/out/{name}" in z.files:
        want = get(f"out/{name}")
        np.testing.assert_allclose(state[name], want, rtol=1e-4)


@pytest.mark.parametrize("shape", [0.05, 0.7, 3.0, 400.0])
def test_gamma_shape_equals_scipy(shape):
  draws = scipy.stats.gamma.rvs(shape, scale=2.0, size=300, random_state=1)
  want = scipy.stats.gamma.fit(draws, floc=0)[0]
  gap = np.log(draws.mean()) - np.log(draws).mean()
  got = jax.jit(calibration.gamma_shape)(jnp.float32(gap))
  np.testing.assert_allclose(got, want, rtol=2e-3)


@pytest.mark.parametrize("name", calibration.CALIBRATORS)
def test_calibration_keeps_the_order_and_survives_odd_references(name):
  cal = calibration.CALIBRATORS[name]()
  scores = jnp.array([0.5, 1.0, 4.0])
  for refs in ([1.0, 2.0, 3.0], [2.0, 2.0, 2.0], [1.0], [0.0, 0.0]):
    state = jax.jit(cal.fit)(jnp.array(refs), None)
    out = np.asarray(cal.apply(state, scores))
    assert np.isfinite(out).all()
    # Percentiles saturate beyond the references; the others never tie.
    assert (np.diff(out) >= 0).all()
    assert name == "percentile" or (np.diff(out) > 0).all()
