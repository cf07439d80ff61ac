import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asd_jax import errors
from asd_jax.encoders import autoencoder
from asd_jax.training import reconstruction, windows

# One program, where each of its operations would be one.
mean_and_std = jax.jit(
  reconstruction.mean_and_std, static_argnames="batch_size"
)


def network(z):
  spec = json.loads(str(z["config_json"]))["ae"]
  net = autoencoder.ResidualAutoencoder(
    spec["input"], spec["width"], spec["bottleneck"], spec["blocks"]
  )
  variables = {"params": {}, "batch_stats": {}}
  for key in z.files:
    if key.startswith("ae/"):
      _, layer, name = key.split("/")
      part = "batch_stats" if name in ("mean", "var") else "params"
      variables[part].setdefault(layer, {})[name] = z[key]
  return net, variables


@pytest.mark.golden
def test_output_and_code_equal_the_reference(golden):
  z = golden("frontends")
  net, variables = network(z)
  apply = jax.jit(functools.partial(net.apply, train=False))
  recon, code = apply(variables, z["ae_x"])
  np.testing.assert_allclose(recon, z["ae_eval"], atol=5e-5)
  np.testing.assert_allclose(code, z["ae_eval_z"], atol=5e-5)


@pytest.mark.golden
def test_a_training_step_equals_the_reference(golden):
  z = golden("frontends")
  net, variables = network(z)
  apply = functools.partial(net.apply, train=True, mutable=["batch_stats"])
  (recon, code), new = jax.jit(apply)(variables, z["ae_x"])
  np.testing.assert_allclose(recon, z["ae_train"], atol=2e-4)
  np.testing.assert_allclose(code, z["ae_train_z"], atol=2e-4)
  after = [k for k in z.files if k.startswith("ae_after/")]
  assert len(after) == 2 * len(variables["batch_stats"])
  for key in after:
    _, layer, name = key.split("/")
    got = new["batch_stats"][layer][name]
    np.testing.assert_allclose(got, z[key], atol=2e-4, err_msg=key)


def test_the_full_size_has_the_published_number_of_parameters():
  encoder = autoencoder.residual_autoencoder()
  one = jax.ShapeDtypeStruct((640,), jnp.float32)
  params, extra = jax.eval_shape(encoder.init, jax.random.key(0), one, one)
  assert sum(x.size for x in jax.tree.leaves(params)) == 4_894_352
  assert params["enc_out"]["kernel"].shape == (512, 16)
  assert extra["mean"].shape == (640,)


def test_windows_are_standardised_with_the_training_statistics():
  encoder = autoencoder.residual_autoencoder(num_hidden=8)
  rng = np.random.default_rng(0)
  clips = [rng.normal(-40, 9, (n, 6)).astype(np.float32) for n in (30, 17)]
  data = windows.from_clips(clips, np.array([False, True]), num_context=5)
  take = jax.jit(lambda data: data.take(jnp.arange(len(data.start))))
  every = np.asarray(take(data))
  mean, std = mean_and_std(data, batch_size=16)
  np.testing.assert_allclose(mean, every.mean(0), rtol=1e-5)
  np.testing.assert_allclose(std, every.std(0), rtol=1e-4)
  params, extra = jax.jit(encoder.init)(jax.random.key(0), mean, std)
  errors = jax.jit(encoder.about.errors)
  got = errors(params, extra, every)
  plain = {**extra, "mean": np.zeros_like(mean), "std": np.ones_like(mean)}
  x = (every - np.asarray(mean)) / np.asarray(std)
  np.testing.assert_allclose(got, errors(params, plain, x), atol=1e-4)
  loss, new = jax.jit(encoder.about.loss)(params, extra, every)
  assert 0.5 < float(loss) < 3.0
  assert set(new) == set(extra)


def test_a_constant_dimension_stays_finite():
  encoder = autoencoder.residual_autoencoder(num_hidden=8)
  clips = [np.full((30, 6), -156.5, np.float32)]
  data = windows.from_clips(clips, np.array([False]), num_context=5)
  stats = mean_and_std(data, batch_size=16)
  params, extra = jax.jit(encoder.init)(jax.random.key(0), *stats)
  variables = {"params": params, "extra": extra}
  run = jax.jit(encoder.apply, static_argnums=2)
  out = run(variables, np.stack(clips), ("output",))["output"]
  assert out.grid.shape == (1, 26, 1, 30)
  assert out.cls is None
  assert np.isfinite(out.grid).all()


def test_tokens_may_be_the_codes():
  settings = dict(num_hidden=8, num_bottleneck=3)
  encoder = autoencoder.residual_autoencoder(**settings, output="code")
  frames = np.random.default_rng(0).normal(size=(9, 6)).astype(np.float32)
  flat = np.stack([frames[i : i + 5].ravel() for i in range(5)])
  net = autoencoder.ResidualAutoencoder(30, **settings)

  def run(key):
    params, extra = encoder.init(key, jnp.full(30, 0.1), jnp.full(30, 2.0))
    variables = {"params": params, "extra": extra}
    found = encoder.apply(variables, frames[None], ("output",))["output"]
    stats = {"params": params, "batch_stats": extra["batch_stats"]}
    return found.grid, net.apply(stats, (flat - 0.1) / 2.0, train=False)[1]

  found, want = jax.jit(run)(jax.random.key(0))
  assert found.shape == (1, 5, 1, 3)
  np.testing.assert_allclose(found[0, :, 0], want, rtol=1e-5, atol=1e-6)


def test_other_tokens_are_refused():
  with pytest.raises(errors.InputError, match="code"):
    autoencoder.residual_autoencoder(output="reconstruction")
