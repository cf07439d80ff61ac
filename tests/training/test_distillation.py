import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from asd_jax.training import distillation, optimiser
from asd_jax.training.distillation import Heard, Sounds

WIDTH, TOKENS = 3, 5
ADAMW = dict(
  learning_rate=1e-4,
  weight_decay=0.01,
  schedule="warmup_constant",
  warmup=0,
)


def heard(rows):
  return Heard(rows[1:], rows[0])


def plan(**more):
  """A frozen matrix, and a trained one that blends the far channel in."""

  def student(trained, frozen, key, pair):
    near, far = pair @ frozen["base"]
    if key is not None:
      near = near * jax.random.bernoulli(key, 0.5, near.shape)
    return heard(near + far @ trained["w"])

  def init(key, start):
    return {"w": jnp.zeros((WIDTH, WIDTH))}, {"base": start["base"]}

  def sounds(frozen, batch):
    return Sounds(batch["near"], batch["far"], batch["clean"])

  settings = dict(
    init=init,
    sounds=sounds,
    valid_sounds=sounds,
    hear=lambda wave: wave.reshape(len(wave), TOKENS, WIDTH),
    student=student,
    teacher=lambda frozen, clean: heard(clean[0] @ frozen["base"]),
    optimiser=optimiser.make(ADAMW, 10, ema=0.5, ema_start=1, grouped=False),
  )
  return distillation.Plan(**(settings | more))


def batch(num=4):
  rng = np.random.default_rng(0)
  shape = (num, TOKENS * WIDTH)
  names = ("near", "far", "clean")
  return {n: rng.normal(size=shape).astype(np.float32) for n in names}


def start():
  base = np.random.default_rng(1).normal(size=(WIDTH, WIDTH))
  return {"base": base.astype(np.float32)}


@pytest.fixture(scope="module")
def parts():
  made = distillation.make(plan())
  return made._replace(
    step=jax.jit(made.step), loss=jax.jit(made.loss), init=jax.jit(made.init)
  )


def test_the_token_of_the_clip_counts_as_much_as_all_patches():
  full = lambda *values: Heard(
    *(
      np.full(shape, value, np.float32)
      for shape, value in zip([(2, 4, 3), (2, 3)], values, strict=True)
    )
  )

  @jax.jit
  def run(found, wanted):
    low = jax.tree.map(lambda x: x.astype(jnp.bfloat16), found)
    bare = Heard(found[0]), Heard(wanted[0])
    return (
      distillation.distance(found, wanted, cls_weight=0.5),
      distillation.distance(*bare, cls_weight=1),
      distillation.distance(low, wanted, cls_weight=1),
    )

  (loss, terms), bare, low = run(full(2.0, 3.0), full(0.0, 0.0))
  assert float(loss) == 4.0 + 0.5 * 9.0
  assert {n: float(x) for n, x in terms.items()} == dict(
    loss_tokens=4.0, loss_cls=9.0
  )
  assert float(bare[0]) == 4.0
  assert not bare[1]
  assert low[0].dtype == "float32"


def test_only_the_layers_have_a_gradient_and_moments(parts):
  state, frozen = parts.init(jax.random.key(0), start())
  assert {*state.params} == {"w"}
  assert {*frozen} == {"base"}
  moments = state.opt_state[0]
  assert {*moments.mu} == {*moments.nu} == {"w"}
  sounds = Sounds(**batch())

  def loss(trained, frozen, sounds):
    return distillation.objective(None, plan(), trained, frozen, sounds)[0]

  some = {"w": np.eye(WIDTH, dtype=np.float32)}
  grads = jax.jit(jax.grad(loss, argnums=(0, 1, 2)))(some, frozen, sounds)
  assert np.abs(np.asarray(grads[0]["w"])).min() > 0
  assert all(not np.asarray(x).any() for x in jax.tree.leaves(grads[1:]))


def test_a_step_is_adamw_and_tells_its_loss():
  made = plan(student=lambda t, f, key, pair: plan().student(t, f, None, pair))
  init, step, *_ = distillation.make(made)

  @jax.jit
  def run(key, start, batch):
    state, frozen = init(key, start)
    value = jax.value_and_grad(
      lambda w: distillation.objective(None, made, w, frozen, Sounds(**batch))[
        0
      ]
    )
    return value(state.params), step(state, frozen, batch)

  found = run(jax.random.key(0), start(), batch())
  (loss, grads), (new, metrics) = jax.device_get(found)
  assert float(metrics["loss"]) == pytest.approx(float(loss), rel=1e-6)
  norm = float(np.linalg.norm(grads["w"]))
  assert float(metrics["grad_norm"]) == pytest.approx(norm, rel=1e-5)
  total = float(metrics["loss_tokens"]) + float(metrics["loss_cls"])
  assert total == pytest.approx(float(loss), rel=1e-6)
  # The first step of AdamW goes by the rate against the gradient's sign.
  np.testing.assert_allclose(
    new.params["w"], -1e-4 * np.sign(grads["w"]), rtol=1e-3
  )


def test_a_validation_drops_nothing_and_looks_at_the_averages(parts):
  state, frozen = parts.init(jax.random.key(0), start())
  first, again = (parts.loss(state, frozen, batch()) for _ in range(2))
  assert float(first) == float(again)
  dropped = parts.step(state, frozen, batch())[1]["loss"]
  assert float(dropped) != pytest.approx(float(first), rel=1e-3)
  for _ in range(4):
    state, _ = parts.step(state, frozen, batch())
  kept = distillation.learned(state)["w"]
  assert np.abs(np.asarray(kept) - np.asarray(state.params["w"])).max() > 0
  own = state.replace(params={"w": kept}, average=None)
  value = parts.loss(state, frozen, batch())
  assert float(value) == float(
    jax.jit(distillation.make(plan()).loss)(own, frozen, batch())
  )


def test_each_step_drops_anew_and_a_state_says_how(parts):
  state, frozen = parts.init(jax.random.key(0), start())
  one = parts.step(state, frozen, batch())[1]["loss"]
  later = state.replace(step=np.int32(int(state.step) + 1))
  other = parts.step(later, frozen, batch())[1]["loss"]
  assert float(one) != float(other)
  assert float(one) == float(parts.step(state, frozen, batch())[1]["loss"])


@pytest.mark.golden
def test_the_optimiser_and_the_averages_agree_with_the_reference(golden):
  data = golden("encoders/nabeats")
  want, grads = data["optim/params"], data["optim/grads"]
  averages, first = data["optim/ema"], int(data["optim/ema_start"])
  num = len(grads)
  made = optimiser.make(ADAMW, num, ema=0.999, ema_start=first, grouped=False)

  def step(carry, grad):
    params, opt, average, i = carry
    updates, opt = made.tx.update(grad, opt, params)
    params = optax.apply_updates(params, updates)
    average = made.average(average, params, i)
    return (params, opt, average, i + 1), (params, average)

  def run(begin, grads):
    carry = (begin, made.tx.init(begin), begin, jnp.int32(0))
    return jax.lax.scan(step, carry, grads)[1]

  params, average = jax.device_get(jax.jit(run)(want[0], grads))
  np.testing.assert_allclose(params, want[1:], rtol=0, atol=1e-4)
  assert len(averages) == num - first
  np.testing.assert_allclose(average[first:], averages, rtol=0, atol=1e-4)
  np.testing.assert_array_equal(average[:first], params[:first])
