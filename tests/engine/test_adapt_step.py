import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asd_jax.encoders import heads, zoo
from asd_jax.engine import adapt_step
from asd_jax.training import augment, criteria, domain, lora, optimiser

EAT = zoo.FAMILIES["eat"]
NUM, SAMPLES = 4, 32 * 128


def plan_of(**changes):
  plan = adapt_step.Plan(
    encoder=EAT(size={**EAT.sizes["smoke"], "depth": 1}),
    layer="output",
    trains=lora.low_rank(rank=2, dropout=0.5),
    clean=lambda wave: 0.5 * wave,
    # No front end, which takes seconds to compile.
    hear=lambda wave: wave.reshape(len(wave), -1, 128),
    head=heads.gated_projection(num_outputs=6),
    terms=(
      adapt_step.Term("attribute", criteria.arcface(), 3),
      adapt_step.Term("domain", criteria.adacos(dynamic=True), 2, 0.5),
    ),
    changes=(
      augment.channel_swap(),
      augment.spec_augment(frames=4, bands=4),
      augment.mixup(),
    ),
    mixstyle={"probability": 1.0},
    optimiser=optimiser.make(
      dict(learning_rate=0.1, warmup=0), 8, ema=0.5, ema_start=0
    ),
    num_steps=8,
  )
  return plan._replace(**changes)


@pytest.fixture(scope="module")
def made():
  """Three steps of a plan with everything in it, in one program."""
  plan = plan_of()
  parts = adapt_step.make(plan)
  wave = np.random.default_rng(0).integers(-9999, 9999, (NUM, 2, SAMPLES))
  labels = np.array([[0, 0], [1, 1], [-1, 0], [2, 1]], np.int32)
  batch = {"wave": wave.astype(np.int16), "labels": labels}
  random = np.random.default_rng(1)
  base = jax.tree.map(
    lambda x: random.normal(scale=0.1, size=x.shape).astype(np.float32),
    jax.eval_shape(plan.encoder.init, jax.random.key(0)),
  )

  def run(key, base):
    start, frozen = parts.init(key, base)

    def step(state, again):
      # The last one begins at the start, but for its number.
      first = start.replace(step=state.step)
      state = jax.tree.map(lambda a, b: jnp.where(again, a, b), first, state)
      state, metrics = parts.step(state, frozen, batch)
      return state, (state, metrics)

    again = jnp.array([False, False, True])
    _, (states, metrics) = jax.lax.scan(step, start, again)
    state = jax.tree.map(lambda x: x[1], states)
    return {
      "start": start,
      "merged": parts.merged(start, frozen),
      "state": state,
      "end": parts.merged(state, frozen),
      "metrics": metrics,
      "loss": parts.loss(start, frozen, batch),
    }

  # That of the package has draws that take seconds to compile.
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(domain, "mix_styles", mixed)
    found = jax.device_get(jax.jit(run)(jax.random.key(0), base))
  return {"base": base, **found}


def mixed(key, h, *, probability):
  assert h.shape == (NUM, 2, len(h[0, 0]), 48)
  return (
    h + probability * jax.random.uniform(key, h.shape[:1])[:, None, None, None]
  )


def test_an_encoder_that_no_step_changed_is_its_base(made):
  jax.tree.map(
    np.testing.assert_array_equal, made["merged"]["encoder"], made["base"]
  )


def test_a_step_changes_pairs_head_and_terms(made):
  start, state = made["start"], made["state"]
  assert state.step == 2
  same = jax.tree.map(np.array_equal, start.params, state.params)
  assert not any(jax.tree.leaves(same))
  assert start.extra["terms"][1]["scale"] != state.extra["terms"][1]["scale"]
  changed = made["end"]["encoder"]["blocks_0"]["attn"]["qkv"]["kernel"]
  before = made["base"]["blocks_0"]["attn"]["qkv"]["kernel"]
  assert np.abs(changed - before).max() > 1e-3
  rest = made["end"]["encoder"]["blocks_0"]["mlp"]["fc1"]["kernel"]
  np.testing.assert_array_equal(
    rest, made["base"]["blocks_0"]["mlp"]["fc1"]["kernel"]
  )


def test_what_is_frozen_has_no_state_of_the_optimiser(made):
  trained = lora.count(made["start"].params)
  # Two moments of each number, and counts of steps.
  counts = lora.count(made["start"].opt_state) - 2 * trained
  assert 0 <= counts < 10
  assert trained < 0.3 * lora.count(made["base"])


def test_the_loss_is_the_weighted_sum_of_its_terms(made):
  m = made["metrics"]
  want = m["loss_attribute"] + 0.5 * m["loss_domain"]
  np.testing.assert_allclose(m["loss"], want, rtol=1e-5)
  assert np.isfinite(m["loss"]).all()


def test_each_step_draws_anew(made):
  loss = made["metrics"]["loss"]
  assert abs(loss[2] - loss[0]) > 1e-3 * abs(loss[0])


def test_validation_draws_nothing(made):
  assert np.isfinite(made["loss"])
  assert (np.abs(made["loss"] - made["metrics"]["loss"]) > 1e-3).all()


def test_averages_of_the_weights_are_what_is_kept(made):
  kept = made["end"]["head"]["params"]["proj"]["kernel"]
  raw = made["state"].params["head"]["head"]["proj"]["kernel"]
  assert np.abs(kept - raw).max() > 1e-3


def test_all_that_is_drawn_can_be_given():
  plan = plan_of(trains=lora.frozen())
  drawn = jax.eval_shape(
    lambda key: adapt_step.draw(key, plan, (NUM, 2, SAMPLES)),
    jax.random.key(0),
  )
  assert drawn["dropout"] is None
  assert len(drawn["changes"]) == 3
  assert drawn["terms"].shape == (2,)
  assert drawn["changes"][1]["time"]["start"].shape == (NUM, 2)
