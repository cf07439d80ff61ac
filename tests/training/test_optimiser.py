import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asd_jax.training import optimiser

SETTINGS = dict(
  learning_rate=0.01, head_learning_rate=0.1, warmup=2, weight_decay=0.5
)


def trained(made, num, *, grad=1.0):
  """Parameters and state after some steps of one gradient."""
  params = {"backbone": {"w": jnp.ones(3)}, "head": {"w": jnp.ones(2)}}
  grads = jax.tree.map(lambda x: jnp.full_like(x, grad), params)

  def step(carry, _):
    params, state = carry
    updates, state = made.tx.update(grads, state, params)
    params = jax.tree.map(jnp.add, params, updates)
    return (params, state), params

  run = lambda params: jax.lax.scan(
    step, (params, made.tx.init(params)), None, length=num
  )
  return jax.jit(run)(params)


def adamw(rates, grad, decay):
  w = 1.0
  m = v = 0.0
  out = []
  for t, rate in enumerate(rates):
    m = 0.9 * m + 0.1 * grad
    v = 0.999 * v + 0.001 * grad**2
    ahead = m / (1 - 0.9 ** (t + 1))
    size = np.sqrt(v / (1 - 0.999 ** (t + 1))) + 1e-8
    w -= rate * (ahead / size + decay * w)
    out.append(w)
  return out


def test_each_group_has_its_rate_and_all_of_it_decays():
  made = optimiser.make(SETTINGS, 6)
  rate = lambda t: t / 2 if t < 2 else (1 + np.cos(np.pi * (t - 2) / 4)) / 2
  for grad in (1.0, 0.0):
    _, path = trained(made, 6, grad=grad)
    for group, peak in (("backbone", 0.01), ("head", 0.1)):
      want = adamw([peak * rate(t) for t in range(6)], grad, 0.5)
      np.testing.assert_allclose(path[group]["w"][:, 0], want, rtol=1e-5)
  found = jax.vmap(made.rates)(jnp.arange(6))
  want = [0.1 * rate(t) for t in range(6)]
  np.testing.assert_allclose(found["head"], want, atol=1e-8)


def test_averages_are_kept_if_asked_for():
  made = optimiser.make(SETTINGS, 6, ema=0.5, ema_start=1)
  old, new = ({"w": np.full(2, x, np.float32)} for x in (1.0, 3.0))
  for step, want in ((0, 3.0), (1, 3.0), (2, 2.0)):
    found = made.average(old, new, jnp.asarray(step))
    np.testing.assert_array_equal(found["w"], want)
  assert optimiser.make(SETTINGS, 6).average is None


def test_a_warmup_below_one_is_a_share_of_the_run():
  made = optimiser.make(dict(learning_rate=1.0, warmup=0.1), 50)
  rates = jax.vmap(made.rates)(jnp.arange(7))["backbone"]
  assert np.argmax(rates) == 5


@pytest.mark.parametrize(
  ("wrong", "told"),
  [
    (dict(rate=1.0), "'rate'"),
    (dict(schedule="cosine"), "'cosine'"),
    (dict(learning_rate=-1.0), "learning_rate: found -1.0"),
    (dict(weight_decay=float("nan")), "weight_decay: found nan"),
    (dict(warmup=10), "warmup of 10 steps"),
  ],
)
def test_wrong_settings_are_told(wrong, told):
  with pytest.raises(ValueError, match=told):
    optimiser.make(wrong, 10)
