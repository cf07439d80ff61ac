import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from asd_jax.backends import mahalanobis
from asd_jax.encoders import autoencoder
from asd_jax.frontends import log_mel
from asd_jax.ops import pooling, signal
from asd_jax.scores import threshold
from asd_jax.training import reconstruction
from asd_jax.training import state as train_state
from tests.encoders import official_autoencoder

OURS = {
  f"{p}.{i}": (p, n)
  for p in ("encoder", "decoder")
  for n, i in enumerate(official_autoencoder.OFFICIAL_INDEX)
}


def part(z, prefix):
  return {k[len(prefix) :]: z[k] for k in z.files if k.startswith(prefix)}


@pytest.fixture(scope="module")
def official(golden):
  z = golden("baseline_ae")
  variables, covariance = official_autoencoder.from_official(part(z, "param/"))
  return z, jax.tree.map(jnp.asarray, variables), jnp.asarray(covariance)


def split(variables):
  return variables["params"], {"batch_stats": variables["batch_stats"]}


def vectors(z):
  frontend = log_mel.log_mel(sample_rate=int(z["sample_rate"]))
  one = lambda w: signal.context_windows(frontend.apply({}, w[:1])[0])
  return jax.jit(jax.vmap(one))(z["waveform"])


@pytest.mark.golden
def test_vectors_equal_the_official_front_end(official):
  z = official[0]
  got = vectors(z)
  assert got.shape == z["vectors"].shape
  np.testing.assert_allclose(got, z["vectors"], atol=1e-4)


@pytest.mark.golden
def test_reconstruction_and_code_equal_the_official_network(official):
  z, variables, _ = official
  net = autoencoder.Autoencoder(z["vectors"].shape[-1])
  run = lambda x: net.apply(variables, x, train=False)
  recon, code = jax.jit(jax.vmap(run))(z["vectors"])
  np.testing.assert_allclose(recon, z["reconstruction"], atol=1e-3)
  np.testing.assert_allclose(code, z["bottleneck"], atol=1e-3)


@pytest.mark.golden
def test_clip_scores_equal_the_official_ones(official):
  z, variables, covariance = official
  params, extra = split(variables)
  encoder = autoencoder.autoencoder()

  @jax.jit
  def scores(vectors):
    errors = jax.vmap(lambda x: encoder.about.errors(params, extra, x))(vectors)
    mse = jax.vmap(pooling.mean_square)(errors)[:, 0]
    precision = jnp.linalg.inv(covariance)
    mean = jax.vmap(pooling.mean_frame)(errors)
    one = lambda r: mahalanobis.selective_distances(precision, r)
    return mse, jax.vmap(one)(mean)

  mse, both = scores(z["vectors"])
  np.testing.assert_allclose(mse, z["score_mse"], rtol=1e-5)
  np.testing.assert_allclose(both[:, 0], z["mahala_source"], rtol=1e-3)
  np.testing.assert_allclose(both[:, 1], z["mahala_target"], rtol=1e-3)
  np.testing.assert_allclose(both.min(1), z["score_mahala"], rtol=1e-3)


@pytest.mark.golden
def test_covariances_equal_the_official_pass(official):
  z = official[0]
  block = int(z["cov/block_size"])
  total = 0.0, 0.0
  scatter_of = jax.jit(reconstruction.batch_scatter)
  for batch in np.unique(z["cov/batch"]):
    rows = z["cov/batch"] == batch
    error = z["cov/reconstruction"][rows] - z["cov/x"][rows]
    frames = error.reshape(-1, block)
    target = np.float32(z["cov/is_target"][rows])
    scatter, num = scatter_of(frames, np.stack([1.0 - target, target]))
    total = total[0] + np.asarray(scatter), total[1] + np.asarray(num)
  cov = jax.jit(reconstruction.covariances)(*total)
  np.testing.assert_allclose(cov[0], z["cov/cov_source"], atol=1e-4)
  np.testing.assert_allclose(cov[1], z["cov/cov_target"], atol=1e-4)


@pytest.mark.golden
def test_training_steps_equal_the_official_ones(official):
  z, variables, _ = official
  x = jnp.asarray(z["vectors"][:, z["train/vector_index"]])
  x = x.reshape(-1, x.shape[-1])
  encoder = autoencoder.autoencoder()
  grads = jax.jit(jax.grad(lambda p, e: encoder.about.loss(p, e, x)[0]))(
    *split(variables)
  )
  zero = jnp.zeros((2, 1, 1))
  gradient = official_autoencoder.to_official(
    {"params": grads, "batch_stats": variables["batch_stats"]}, zero
  )
  wanted_grads = part(z, "train/grad_step1/")
  assert wanted_grads
  for key, want in wanted_grads.items():
    atol = 1e-3 * np.abs(want).max()
    np.testing.assert_allclose(gradient[key], want, atol=atol, err_msg=key)
  loss_fn = lambda p, e, k, b: (lambda out: (out[0], (out[1], {})))(
    encoder.about.loss(p, e, b)
  )
  init, step = train_state.make_train(loss_fn, optax.adam(1e-3))
  state, step = init(jax.random.key(0), *split(variables)), jax.jit(step)
  for number, want_loss in enumerate(z["train/losses"], 1):
    state, metrics = step(state, x)
    np.testing.assert_allclose(metrics["loss"], want_loss, rtol=1e-4)
    found = {"params": state.params, **state.extra}
    got = official_autoencoder.to_official(found, zero)
    for key, want in part(z, f"train/after_step{number}/").items():
      if key.endswith("num_batches_tracked"):
        continue
      big = np.ones(want.shape, bool)
      if key in wanted_grads:
        size = np.abs(wanted_grads[key])
        big = size > 1e-3 * size.max()
      np.testing.assert_allclose(
        got[key][big], want[big], rtol=1e-4, atol=1e-4, err_msg=key
      )


@pytest.mark.golden
def test_gamma_threshold_equals_the_official_one(official):
  z = official[0]
  got = threshold.gamma(z["threshold/batch_scores"], quantile=0.9)
  np.testing.assert_allclose(got, z["threshold/value_q0.9"], rtol=1e-3)


@pytest.mark.golden
def test_official_weights_survive_a_round_trip(official):
  z, variables, covariance = official
  back = official_autoencoder.to_official(variables, covariance)
  want = part(z, "param/")
  for key, value in back.items():
    np.testing.assert_array_equal(value, want[key], err_msg=key)
  left = set(want) - set(back)
  assert all(k.endswith("num_batches_tracked") for k in left)


@pytest.mark.golden
def test_a_missing_or_unknown_key_is_named(official):
  state = part(official[0], "param/")
  one = dict(state)
  del one["decoder.3.weight"]
  with pytest.raises(ValueError, match=r"decoder\.3\.weight"):
    official_autoencoder.from_official(one)
  with pytest.raises(ValueError, match="surplus"):
    official_autoencoder.from_official({**state, "surplus": np.zeros(1)})


def test_windows_of_a_clip_are_time_major(key):
  frames = jax.random.normal(key, (9, 4))
  out = signal.context_windows(frames, num_context=3)
  assert out.shape == (7, 12)
  np.testing.assert_array_equal(out[2].reshape(3, 4), frames[2:5])
