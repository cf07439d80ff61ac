import jax
import jax.numpy as jnp
import numpy as np

from asd_jax.encoders import noise_aware, transformer

ROWS, OTHERS, HEADS, WIDTH = 5, 7, 2, 3


def drawn(*shape, seed):
  wave = np.random.default_rng(seed).normal(size=shape)
  return jnp.asarray(wave, jnp.float32)


def test_dropped_weights_leave_the_mean_as_it_is():
  query = drawn(ROWS, HEADS, WIDTH, seed=0)
  rows, value = (drawn(OTHERS, HEADS, WIDTH, seed=i) for i in (1, 2))
  attend = lambda key, rate: noise_aware._attend_in_part(
    key, query, rows, value, rate=rate
  )
  want = transformer.attend(query, rows, value)
  keys = jax.random.split(jax.random.key(0), 4000)
  np.testing.assert_allclose(attend(keys[0], 0.0), want, atol=1e-6)
  many = jax.jit(jax.vmap(lambda key: attend(key, 0.2)))(keys)
  assert np.asarray(many).std(0).min() > 0.01
  np.testing.assert_allclose(np.mean(many, 0), want, atol=0.05)


def test_each_layer_drops_its_own_weights_and_only_with_a_key():
  x, far = drawn(ROWS, 8, seed=0), drawn(OTHERS, 8, seed=1)
  layers = noise_aware.Layers(2, "cross_attention", HEADS, 12, dropout=0.5)
  params = layers.init(jax.random.key(0), x, far)
  # Alike but for their names, and not the identity.
  one = jax.tree.map(
    lambda w: w + 0.3 * jnp.cos(jnp.arange(w.size).reshape(w.shape)),
    params["params"]["layers_0"],
  )
  params = {"params": {"layers_0": one, "layers_1": one}}

  @jax.jit
  def apply(key):
    out = lambda i, keys: layers.apply(
      params, i, x, far, method="one", rngs=keys
    )
    keys = {"dropout": key}
    return out(0, None), out(1, None), out(0, keys), out(1, keys)

  plain, same, first, second = apply(jax.random.key(2))
  np.testing.assert_array_equal(plain, same)
  assert np.abs(np.asarray(first - second)).max() > 1e-3
  assert np.abs(np.asarray(first - plain)).max() > 1e-3
  again = apply(jax.random.key(3))[2]
  assert np.abs(np.asarray(first - again)).max() > 1e-3
