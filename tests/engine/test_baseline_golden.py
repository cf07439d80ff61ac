"""The official baseline on real recordings, clip by clip.

Parts that need the recordings run where ASD_JAX_REALMINI names their folder.
"""

import csv
import functools
import io
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from asd_jax.backends import mahalanobis
from asd_jax.data import audio
from asd_jax.encoders import autoencoder
from asd_jax.frontends import log_mel
from asd_jax.metrics import official
from asd_jax.ops import pooling
from asd_jax.scores import threshold
from asd_jax.training import reconstruction, windows
from asd_jax.training import state as train_state
from tests.conftest import GOLDENS
from tests.encoders import official_autoencoder
from tests.metrics import official_files

pytestmark = pytest.mark.golden
FILES = sorted((GOLDENS / "systems").glob("baseline_ae_*.npz"))
KINDS = ("mse", "mahala")
NETWORK = autoencoder.autoencoder()


@functools.cache
def arrays(path):
  with np.load(path) as z:
    return dict(z)


def all_cases():
  for path in FILES:
    for machine in arrays(path)["machines"]:
      yield pytest.param(path, str(machine), id=f"{path.stem}-{machine}")


CASES = list(all_cases())


def load(path, machine):
  return {
    k[len(machine) + 1 :]: v
    for k, v in arrays(path).items()
    if k.startswith(machine + "/")
  }


def network_of(z, prefix="param/"):
  state = {k[len(prefix) :]: v for k, v in z.items() if k.startswith(prefix)}
  zero = np.zeros((1, 1), np.float32)
  state = {"cov_source": zero, "cov_target": zero, **state}
  variables, covariance = official_autoencoder.from_official(state)
  variables = jax.tree.map(jnp.asarray, variables)
  params, extra = variables["params"], {"batch_stats": variables["batch_stats"]}
  return params, extra, jnp.asarray(covariance)


def test_there_is_a_reference_file():
  assert FILES


@pytest.mark.parametrize(("path", "machine"), CASES)
@pytest.mark.parametrize("kind", KINDS)
def test_threshold_decisions_and_metrics_follow(path, machine, kind):
  z = load(path, machine)
  score, value = z[f"score_{kind}"], float(z[f"threshold_{kind}"])
  got = threshold.gamma(z[f"gamma_input_{kind}"], quantile=0.9)
  np.testing.assert_allclose(got, value, rtol=1e-3)
  decision = score > value
  np.testing.assert_array_equal(decision, z[f"decision_{kind}"])
  metrics = official.clip_metrics(
    score, z["test_label"], z["test_is_target"], decision=decision
  )
  text = str(z[f"result_csv_{kind}"])
  assert official_files.baseline_csv("00", metrics) == text


def recordings(path):
  folder = os.environ.get("ASD_JAX_REALMINI", "")
  if not folder or not path.stem.endswith(Path(folder).resolve().name):
    pytest.skip("the recordings are not here (ASD_JAX_REALMINI)")
  return Path(folder)


def frames_of(folder, machine, split, names):
  frontend = jax.jit(lambda wave: log_mel.log_mel().apply({}, wave[:1])[0])
  read = lambda n: audio.to_float(audio.read(folder / machine / split / n)[0])
  return [np.asarray(frontend(read(n))) for n in names]


def training_set(path, machine, z):
  clips = frames_of(recordings(path), machine, "train", z["train_file"])
  np.testing.assert_allclose(clips[0], z["train_first_logmel"], atol=1e-3)
  return windows.from_clips(clips, z["train_is_target"], num_context=5)


@pytest.mark.slow
@pytest.mark.parametrize(("path", "machine"), CASES)
def test_clip_scores_from_wav_equal_the_official_csv(path, machine):
  z = load(path, machine)
  folder = recordings(path)
  params, extra, covariance = network_of(z)
  variables = {"params": params, "extra": extra}
  precision = jnp.linalg.inv(covariance)

  @jax.jit
  def score(frames):
    errors = NETWORK.apply(variables, frames)
    mean = pooling.mean_frame(errors)
    both = mahalanobis.selective_distances(precision, mean)
    return pooling.mean_square(errors)[0], both

  clips = frames_of(folder, machine, "test", z["test_file"])
  np.testing.assert_allclose(clips[0], z["test_first_logmel"], atol=1e-3)
  mse, both = (np.array(x) for x in zip(*map(score, clips), strict=True))
  np.testing.assert_allclose(mse, z["score_mse"], rtol=1e-5)
  np.testing.assert_allclose(both[:, 0], z["mahala_source"], rtol=1e-4)
  np.testing.assert_allclose(both[:, 1], z["mahala_target"], rtol=1e-4)
  np.testing.assert_allclose(both.min(1), z["score_mahala"], rtol=1e-4)
  rows = list(csv.reader(io.StringIO(str(z["anomaly_score_csv_mse"]))))
  assert [r[0] for r in rows] == list(z["test_file"])
  np.testing.assert_allclose([float(r[1]) for r in rows], mse, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("path", "machine"), CASES)
def test_statistics_pass_equals_the_official_one(path, machine):
  z = load(path, machine)
  data = training_set(path, machine, z)
  params, extra, covariance = network_of(z)
  run = jax.jit(
    lambda order: reconstruction.evaluate(
      lambda x: NETWORK.errors(params, extra, x),
      data,
      order,
      jnp.asarray(z["valid_index"]),
      batch_size=256,
    )
  )
  cov, _, _ = run(jnp.asarray(z["train_index"][z["cov_order"]]))
  largest = np.abs(covariance).max()
  np.testing.assert_allclose(cov, covariance, atol=1e-4 * largest)
  _, mean, _ = run(jnp.asarray(z["train_index"][z["mahala_order"]]))
  precision = jnp.linalg.inv(covariance)
  values = jax.vmap(
    lambda r: mahalanobis.selective_distances(precision, r).min()
  )(mean)
  np.testing.assert_allclose(values, z["gamma_input_mahala"], rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("path", "machine"), CASES)
def test_training_follows_the_official_losses(path, machine):
  z, whole = load(path, machine), arrays(path)
  if not any(name.startswith("init/") for name in whole):
    pytest.skip("the file has no initial weights")
  data = training_set(path, machine, z)
  params, extra, _ = network_of(whole, "init/")
  loss_fn = lambda p, e, k, b: (lambda o: (o[0], (o[1], {})))(
    NETWORK.loss(p, e, b)
  )
  init, step = train_state.make_train(loss_fn, optax.adam(1e-3))
  state = init(jax.random.key(0), params, extra)

  @jax.jit
  def epoch(state, order):
    return train_state.scan_order(
      step, state, order, batch_size=256, take=data.take
    )

  for number, order in enumerate(z["epoch_order"]):
    state, out = epoch(state, jnp.asarray(z["train_index"][order]))
    got, want = np.asarray(out["loss"]), z["batch_loss"][number]
    if number == 0:
      np.testing.assert_allclose(got[:3], want[:3], rtol=1e-4)
      np.testing.assert_allclose(got, want, rtol=5e-3)
    np.testing.assert_allclose(got.mean(), want.mean(), rtol=0.03)
