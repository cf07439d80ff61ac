import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from asd_jax.training import state as train_state


def linear(params, extra, key, batch):
  error = batch["x"] @ params["w"] - batch["y"]
  return jnp.mean(jnp.square(error)), (extra + 1, {"most": jnp.max(error)})


@pytest.fixture(scope="module")
def batch():
  rng = np.random.default_rng(0)
  x = rng.normal(size=(8, 3)).astype(np.float32)
  return {"x": x, "y": x[:, 0] * 2}


def stepped(batch, num=3, loss=linear, **more):
  init, step = train_state.make_train(loss, optax.adamw(0.1), **more)

  @jax.jit
  def all_steps(key):
    state = init(key, {"w": jnp.ones(3)}, jnp.zeros(()))
    return jax.lax.scan(lambda s, _: step(s, batch), state, None, num)

  return all_steps(jax.random.key(1))


def test_a_batch_in_pieces_gives_the_gradient_of_the_whole(batch):
  whole, told = stepped(batch, watched=True)
  parts, told_parts = stepped(batch, accumulate=4, watched=True)
  np.testing.assert_allclose(parts.params["w"], whole.params["w"], rtol=1e-6)
  for name in ("loss", "grad_norm"):
    np.testing.assert_allclose(told_parts[name], told[name], rtol=1e-6)
  # What the network keeps has seen every piece.
  assert (int(whole.extra), int(parts.extra)) == (3, 12)
  assert not np.allclose(told_parts["most"], told["most"])


def test_pieces_draw_with_keys_of_their_own(batch):
  def loss(params, extra, key, batch):
    draw = jax.random.uniform(key) * jnp.sum(params["w"])
    return draw, (extra, {})

  _, told = stepped(batch, num=2, loss=loss, watched=True)
  _, parts = stepped(batch, num=2, loss=loss, watched=True, accumulate=2)
  norms = [*np.asarray(told["grad_norm"]), *np.asarray(parts["grad_norm"])]
  assert len(np.unique(norms)) == 4


def test_an_average_follows_the_parameters(batch):
  def average(mean, params, step):
    kept = jnp.where(step < 1, 0.0, 0.5)
    mix = lambda m, p: kept * m + (1 - kept) * p
    return jax.tree.map(mix, mean, params)

  first = stepped(batch, num=1, average=average)[0]
  np.testing.assert_array_equal(first.average["w"], first.params["w"])
  second = stepped(batch, num=2, average=average)[0]
  want = (first.params["w"] + second.params["w"]) / 2
  np.testing.assert_allclose(second.average["w"], want, rtol=1e-6)
  assert stepped(batch)[0].average is None


def test_masters_stay_float32(batch):
  def loss(params, extra, key, batch):
    low = train_state.lowered(params, jnp.bfloat16)
    assert low["w"].dtype == jnp.bfloat16
    x = train_state.lowered(batch, jnp.bfloat16)
    return linear(low, extra, key, x)

  found, told = stepped(batch, num=1, loss=loss)
  whole = stepped(batch, num=1)[0]
  assert found.params["w"].dtype == jnp.float32
  np.testing.assert_allclose(found.params["w"], whole.params["w"], rtol=1e-2)
  assert train_state.lowered({"i": jnp.arange(2)}, jnp.bfloat16)["i"].dtype == (
    jnp.int32
  )
