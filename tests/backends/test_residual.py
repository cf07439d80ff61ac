"""Residual scores: goldens, and the same formulas in NumPy."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asd_jax.backends import base, residual
from asd_jax.ops import statistics


def bank_of(errors, is_target):
  """A bank of frames whose clips' moments were merged by domain."""
  errors, is_target = np.asarray(errors, np.float32), np.asarray(is_target)
  width = errors.shape[1]
  parts = []
  for keep in (~is_target.astype(bool), is_target.astype(bool)):
    total = statistics.no_moments((width, width))
    for piece in np.array_split(errors[keep], 3):
      if len(piece):
        new = statistics.moments(jnp.asarray(piece))
        total = statistics.merge(total, new)
    parts.append(total)
  stacked = jax.tree.map(lambda *x: jnp.stack(x), *parts)
  none = jnp.zeros((len(errors), 0))
  return base.bank_of(none, jnp.asarray(is_target, bool), moments=stacked)


def backend_of(params):
  floats = dict(
    alpha=params["alpha"], percentile=params["q"], ridge=params["ridge_rel"]
  )
  if params["per_domain"]:
    return residual.domain_residual_mahalanobis(
      **floats, shrinkage=params["rho"]
    )
  return residual.residual_mahalanobis(**floats)


@pytest.mark.golden
def test_scores_equal_the_reference(golden):
  z = golden("backends")
  cases = sorted({k.split("/")[1] for k in z.files if k.startswith("ae/")})
  assert cases
  for case in cases:
    get = lambda name, case=case: z[f"ae/{case}/{name}"]
    params = json.loads(str(get("params")))
    backend = backend_of(params)
    state = backend.fit(bank_of(get("in/train_errors"), get("in/is_target")))
    got = backend.score(state, jnp.asarray(get("in/clip_errors")))
    np.testing.assert_allclose(
      got, get("out/score"), rtol=1e-4, atol=1e-4, err_msg=case
    )
    if f"ae/{case}/out/means" in z.files:
      inverse = np.linalg.inv(np.asarray(state.whitener, np.float64))
      covs = inverse @ np.swapaxes(inverse, 1, 2)
      for name, have in (("means", state.mean), ("covs", covs)):
        np.testing.assert_allclose(
          have, get(f"out/{name}"), rtol=1e-4, atol=1e-4, err_msg=case
        )


BACKENDS = {
  "global": residual.residual_mahalanobis(),
  "domain": residual.domain_residual_mahalanobis(),
}


@pytest.fixture
def errors(rng):
  return rng.normal(size=(200, 6)) @ rng.normal(size=(6, 6)) + 0.3


@pytest.fixture
def rng():
  return np.random.default_rng(0)


@pytest.mark.parametrize("name", BACKENDS)
def test_the_frame_backend_contract(name, rng, errors):
  backend = BACKENDS[name]
  assert backend.over_frames
  is_target = np.arange(200) >= 170
  state = jax.jit(backend.fit)(bank_of(errors, is_target))
  clips = jnp.asarray(rng.normal(size=(5, 31, 6)), jnp.float32)
  traces = []

  @jax.jit
  def scored(state, clip):
    traces.append(1)
    return backend.score(state, clip)

  alone = [float(scored(state, c)) for c in clips]
  assert len(traces) == 1
  np.testing.assert_allclose(
    alone, [backend.score(state, c) for c in clips], rtol=1e-5
  )
  batch = jax.vmap(backend.score, in_axes=(None, 0))(state, clips)
  np.testing.assert_allclose(alone, batch, rtol=1e-5)
  back = scored(state, clips[0][::-1])
  np.testing.assert_allclose(back, alone[0], rtol=1e-5)
  grad = jax.grad(backend.score, argnums=1)(state, clips[0])
  assert np.isfinite(grad).all()
  assert np.any(grad)


def test_a_blend_of_one_is_the_energy_and_of_zero_the_distance(rng, errors):
  clip = rng.normal(size=(31, 6)).astype(np.float32)
  bank = bank_of(errors, np.zeros(200))
  energy = residual.residual_mahalanobis(alpha=1.0, percentile=80.0)
  got = energy.score(energy.fit(bank), jnp.asarray(clip))
  want = np.percentile(np.square(clip).sum(1), 80)
  np.testing.assert_allclose(got, want, rtol=1e-5)
  distance = residual.residual_mahalanobis(alpha=0.0, ridge=0.0)
  got = distance.score(distance.fit(bank), jnp.asarray(clip))
  diff = clip - errors.mean(0)
  inverse = np.linalg.inv(np.cov(errors.T))
  want = np.percentile(np.einsum("ti,ij,tj->t", diff, inverse, diff), 90)
  np.testing.assert_allclose(got, want, rtol=1e-3)


def test_without_target_frames_the_source_model_stays(rng, errors):
  clip = jnp.asarray(rng.normal(size=(31, 6)), jnp.float32)
  backend = BACKENDS["domain"]
  state = backend.fit(bank_of(errors, np.zeros(200)))
  assert state.usable.tolist() == [True, False]
  only = residual.domain_residual_mahalanobis(shrinkage=0.0)
  want = only.score(only.fit(bank_of(errors, np.zeros(200))), clip)
  assert float(backend.score(state, clip)) == float(want)
  assert np.isfinite(want)


def test_without_source_frames_the_target_model_stays(rng, errors):
  clip = jnp.asarray(rng.normal(size=(31, 6)), jnp.float32)
  backend = BACKENDS["domain"]
  source = backend.fit(bank_of(errors, np.zeros(200)))
  target = backend.fit(bank_of(errors, np.ones(200)))
  assert target.usable.tolist() == [False, True]
  np.testing.assert_allclose(
    backend.score(target, clip), backend.score(source, clip), rtol=1e-5
  )


def test_full_shrinkage_gives_target_the_source_covariance(errors):
  backend = residual.domain_residual_mahalanobis(shrinkage=1.0)
  state = backend.fit(bank_of(errors, np.arange(200) >= 190))
  np.testing.assert_allclose(state.whitener[0], state.whitener[1], rtol=1e-5)
  assert not np.allclose(state.mean[0], state.mean[1])


def test_equal_errors_do_not_break_the_covariance():
  backend = BACKENDS["global"]
  state = backend.fit(bank_of(np.ones((20, 6)), np.zeros(20)))
  assert np.isfinite(backend.score(state, jnp.ones((4, 6))))
