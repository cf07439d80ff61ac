"""Residual scores: goldens, and the same formulas in NumPy."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.covariance

from asd_jax.backends import base, residual
from asd_jax.ops import statistics
from tests.backends.together import compiled


@functools.partial(jax.jit, static_argnums=1)
def moments_of(errors, is_target):
  """Moments of the source and of the target frames, merged from pieces."""
  parts = []
  for domain in (False, True):
    total = statistics.no_moments((errors.shape[1],) * 2)
    rows = np.flatnonzero(np.array(is_target) == domain)
    for piece in np.array_split(rows, 3):
      if len(piece):
        new = statistics.moments(errors[piece])
        total = statistics.merge(total, new)
    parts.append(total)
  return jax.tree.map(lambda *x: jnp.stack(x), *parts)


def bank_of(errors, is_target):
  """A bank of frames whose clips' moments were merged by domain."""
  is_target = np.asarray(is_target, bool)
  moments = moments_of(jnp.asarray(errors, jnp.float32), tuple(is_target))
  return base.bank_of(
    np.zeros((len(errors), 0), np.float32),
    is_target,
    num_target=int(is_target.sum()),
    moments=moments,
  )


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
  get = lambda case, name: z[f"ae/{case}/{name}"]

  def of(case):
    backend = backend_of(json.loads(str(get(case, "params"))))
    is_target = get(case, "in/is_target")  # it decides shapes: not an input

    def run(errors, clip):
      state = backend.fit(bank_of(errors, is_target))
      return backend.score(state, clip), state

    return run, (get(case, "in/train_errors"), get(case, "in/clip_errors"))

  near = dict(rtol=1e-4, atol=1e-4)
  for case, (got, state) in compiled(cases, of):
    np.testing.assert_allclose(
      got, get(case, "out/score"), **near, err_msg=case
    )
    if f"ae/{case}/out/means" in z.files:
      inverse = np.linalg.inv(np.asarray(state.whitener, np.float64))
      covs = inverse @ np.swapaxes(inverse, 1, 2)
      for name, have in (("means", state.mean), ("covs", covs)):
        want = get(case, f"out/{name}")
        np.testing.assert_allclose(have, want, **near, err_msg=case)


BACKENDS = {
  "global": residual.residual_mahalanobis(),
  "domain": residual.domain_residual_mahalanobis(),
}
FIT = jax.jit(BACKENDS["domain"].fit)


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
    alone[:2], [backend.score(state, c) for c in clips[:2]], rtol=1e-5
  )
  batch = jax.jit(jax.vmap(backend.score, (None, 0)))(state, clips)
  np.testing.assert_allclose(alone, batch, rtol=1e-5)
  back = scored(state, clips[0][::-1])
  np.testing.assert_allclose(back, alone[0], rtol=1e-5)
  grad = jax.jit(jax.grad(backend.score, argnums=1))(state, clips[0])
  assert np.isfinite(grad).all()
  assert np.any(grad)


@functools.partial(jax.jit, static_argnums=0)
def fit_and_score(backend, bank, clip):
  return backend.score(backend.fit(bank), clip)


def test_a_blend_of_one_is_the_energy_and_of_zero_the_distance(rng, errors):
  clip = rng.normal(size=(31, 6)).astype(np.float32)
  bank = bank_of(errors, np.zeros(200))
  energy = residual.residual_mahalanobis(alpha=1.0, percentile=80.0)
  got = fit_and_score(energy, bank, clip)
  want = np.percentile(np.square(clip).sum(1), 80)
  np.testing.assert_allclose(got, want, rtol=1e-5)
  distance = residual.residual_mahalanobis(alpha=0.0, ridge=0.0)
  got = fit_and_score(distance, bank, clip)
  diff = clip - errors.mean(0)
  inverse = np.linalg.inv(np.cov(errors.T))
  want = np.percentile(np.einsum("ti,ij,tj->t", diff, inverse, diff), 90)
  np.testing.assert_allclose(got, want, rtol=1e-3)


def test_without_target_frames_the_source_model_stays(rng, errors):
  clip = rng.normal(size=(31, 6)).astype(np.float32)
  bank = bank_of(errors, np.zeros(200))
  assert FIT(bank).usable.tolist() == [True, False]
  only = residual.domain_residual_mahalanobis(shrinkage=0.0)
  want = fit_and_score(only, bank, clip)
  assert float(fit_and_score(BACKENDS["domain"], bank, clip)) == float(want)
  assert np.isfinite(want)


def test_without_source_frames_the_target_model_stays(rng, errors):
  clip = rng.normal(size=(31, 6)).astype(np.float32)
  source, target = (bank_of(errors, f(200)) for f in (np.zeros, np.ones))
  assert FIT(target).usable.tolist() == [False, True]
  found, want = (
    fit_and_score(BACKENDS["domain"], b, clip) for b in (target, source)
  )
  np.testing.assert_allclose(found, want, rtol=1e-5)


def test_full_shrinkage_gives_target_the_source_covariance(errors):
  backend = residual.domain_residual_mahalanobis(shrinkage=1.0)
  state = jax.jit(backend.fit)(bank_of(errors, np.arange(200) >= 190))
  np.testing.assert_allclose(state.whitener[0], state.whitener[1], rtol=1e-5)
  assert not np.allclose(state.mean[0], state.mean[1])


def test_equal_errors_do_not_break_the_covariance():
  bank = bank_of(np.ones((20, 6)), np.zeros(20))
  got = fit_and_score(BACKENDS["global"], bank, np.ones((4, 6), np.float32))
  assert np.isfinite(got)


def test_a_shrunk_covariance_is_that_of_scikit_learn(key):
  x = np.asarray(jax.random.normal(key, (40, 3, 5))) * np.arange(1.0, 6.0)
  frames = (x + 2.0).reshape(-1, 5).astype(np.float32)
  is_target = np.arange(40) > 30
  bank = bank_of(frames, np.repeat(is_target, 3))
  gap = np.square(frames - frames.mean(0)).sum(1)
  backend = residual.residual_mahalanobis(
    alpha=0.0, percentile=100.0, ridge=0.0, ledoit_wolf=True
  )
  state = backend.fit(bank.replace(fourth=jnp.mean(jnp.square(gap))))
  want = sklearn.covariance.LedoitWolf().fit(frames)
  clip = frames[:4] + 1.0
  got = backend.score(state, jnp.asarray(clip))
  np.testing.assert_allclose(got, want.mahalanobis(clip).max(), rtol=1e-4)
