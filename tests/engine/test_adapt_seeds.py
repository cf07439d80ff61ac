"""Seeds of an adaptation in one program."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asd_jax.engine import adapt_seeds
from asd_jax.training.job import Job, Validation

START = np.arange(3.0)


def toy(seed):
  """A step that adds its batch and a draw; what is frozen scales both."""

  def init(key, start):
    return {"sum": jax.random.normal(key, (3,))}, {"scale": start}

  def step(state, frozen, batch):
    moved = state["sum"] + frozen["scale"] * batch["x"].mean(0)
    return {"sum": moved}, {"loss": moved.sum()}

  def batch_at(step, rows):
    return {"x": np.full((4, 3), 10.0 * seed + step)[rows]}

  loss = lambda state, frozen, batch: (state["sum"][None] * batch["x"]).sum()
  return Job(
    name=f"seed {seed}",
    init=init,
    step=step,
    batch_at=batch_at,
    batch_size=4,
    num_steps=2,
    start=START,
    validation=Validation(loss, batch_at, 1, 4, 2),
    names=lambda step: [f"{seed}{step}"],
  )


def test_stacked_seeds_do_what_each_does_alone():
  jobs = [toy(1), toy(2)]
  keys = jax.vmap(jax.random.key)(jnp.array([1, 2], jnp.uint32))
  whole = adapt_seeds.stacked(jobs, "both")
  state, frozen = whole.init(keys, START)
  np.testing.assert_array_equal(frozen["scale"], START)  # once for all
  batch = whole.batch_at(1, slice(1, 3))
  assert batch["x"].shape == (2, 2, 3)  # rows first
  state, metrics = whole.step(state, frozen, batch)
  assert whole.names(1) == ["11", "21"]
  held = {"x": np.ones((4, 3))}
  criterion = whole.validation.loss(state, frozen, held)
  for k, job in enumerate(jobs):
    own, same = job.init(keys[k], START)
    own, alone = job.step(own, same, job.batch_at(1, slice(1, 3)))
    np.testing.assert_allclose(state["sum"][k], own["sum"], rtol=1e-6)
    np.testing.assert_allclose(metrics["loss"][k], alone["loss"], rtol=1e-6)
    want = job.validation.loss(own, same, held)
    np.testing.assert_allclose(criterion[k], want, rtol=1e-6)


@pytest.mark.parametrize(
  ("mode", "size", "num", "want"),
  [
    ("always", 10**9, 2, True),
    ("always", 10, 1, False),
    ("never", 10, 4, False),
    ("auto", 10, 1, False),
  ],
)
def test_seeds_share_a_program_as_the_mode_says(mode, size, num, want):
  assert adapt_seeds.at_once(mode, size, num) is want


def test_large_networks_are_trained_in_turn_on_a_cpu(monkeypatch):
  monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
  assert adapt_seeds.at_once("auto", 10**6, 2)
  assert not adapt_seeds.at_once("auto", 2 * 10**6, 2)
