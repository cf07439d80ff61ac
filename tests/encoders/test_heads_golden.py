"""Reference cases of `losses.npz`: poolings, projection head, gated fusion."""

import jax
import numpy as np
import pytest

from asd_jax.encoders import heads
from asd_jax.ops import distance
from tests import quick
from tests.backends.together import compiled
from tests.cases import of_item

pytestmark = pytest.mark.golden


def linear(case, w, b=None):
  layer = {"kernel": case.inp(w).T}
  return layer if b is None else {**layer, "bias": case.inp(b)}


def norm(case, name):
  params = {k: case.inp(f"p.{name}.{k}") for k in ("scale", "bias")}
  return params, {k: case.inp(f"p.{name}.{k}") for k in ("mean", "var")}


def attentive_stats(case):
  score = {"kernel": case.inp("v")[:, None]}
  params = {"dense": linear(case, "w", "b"), "score": score}
  pool = heads.AttentiveStatistics(len(case.inp("v")))
  y = lambda h: pool.apply({"params": params}, h)
  return y, (case.inp("h"),), ("h",)


def context_attentive_stats(case):
  params, stats = {}, {}
  for i in (1, 2, 3):
    params[f"dense_{i - 1}"] = linear(case, f"p.w{i}", f"p.b{i}")
    name = f"norm_{i - 1}"
    params[name], stats[name] = norm(case, f"bn{i}")
  pool = heads.ContextStatistics(len(case.inp("p.b1")))
  y = lambda h: pool.apply(
    {"params": params, "batch_stats": stats},
    h,
    train=case.params["train"],
    mutable=["batch_stats"],
  )[0]
  return y, (case.inp("h"),), ("h",)


def projection_head(case):
  params = {
    f"dense_{i - 1}": linear(case, f"p.w{i}", f"p.b{i}") for i in (1, 2)
  }
  params["norm"], stats = norm(case, "bn")
  head = heads.Projection(len(case.inp("p.b1")), len(case.inp("p.b2")))
  y = lambda x: distance.unit(
    head.apply(
      {"params": params, "batch_stats": {"norm": stats}},
      x,
      train=case.params["train"],
      mutable=["batch_stats"],
    )[0]
  )
  return y, (case.inp("x"),), ("x",)


def gated_fusion(case):
  gate = heads.Gate(by_dimension=len(case.inp("b")) > 1)

  def y(near, far, w, b):
    return gate.apply({"params": {"kernel": w.T, "bias": b}}, near, far)

  names = ("h1", "h2", "w", "b")
  return y, tuple(map(case.inp, names)), ("h1", "h2", "w", "b")


ITEMS = {
  "attentive_stats": attentive_stats,
  "context_attentive_stats": context_attentive_stats,
  "projection_head": projection_head,
  "gated_fusion": gated_fusion,
}


# One item compiles as users do; all of them would take twice as long.
WHOLE = ("context_attentive_stats",)


@pytest.mark.parametrize("whole", [True, False])
def test_values_and_gradients(golden, whole):
  options = None if whole else quick.OPTIONS
  items = [name for name in ITEMS if (name in WHOLE) == whole]
  cases = [c for item in items for c in of_item(golden("losses"), item)]

  def of(case):
    y, inputs, given = ITEMS[case.name.split("/")[0]](case)

    def run(*x):
      value, pull = jax.vjp(y, *x)
      if not case.has("in/cotangent"):
        return value, {}
      return value, dict(zip(given, pull(case.inp("cotangent")), strict=True))

    return run, inputs

  for case, (y, gradients) in compiled(cases, of, options):
    case.check(y, "y", 1e-5, 1e-5)
    names = [n for n in gradients if case.has(f"out/grad_{n}")]
    assert bool(names) == bool(gradients)
    for name in names:
      case.check(gradients[name], f"grad_{name}", 1e-3, 1e-5)


def test_a_new_gate_weighs_near_by_its_bias_alone(golden):
  (case,) = [
    c for c in of_item(golden("losses"), "gated_fusion") if c.has("out/gate")
  ]
  near, far = case.inp("h1"), case.inp("h2")
  gate = heads.Gate()

  def run(key):
    params = gate.init(key, near, far)
    return params["params"]["bias"][0], gate.apply(params, near, far)

  bias, y = jax.jit(run)(jax.random.key(3))
  case.check(1.0 / (1.0 + np.exp(-bias)), "gate", 1e-6, 0.0)
  case.check(y, "y", 1e-5, 1e-5)
