"""Reference cases of `losses.npz`: criteria, distillation, DANN, MixStyle."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asd_jax.training import adacos, criteria, domain, losses, margins
from tests import quick
from tests.backends.together import compiled
from tests.cases import of_item

pytestmark = pytest.mark.golden
KEY = jax.random.key(0)


def criterion(case, name, extra=None, **settings):
  """Loss of a criterion at the weights of the case."""
  chosen = criteria.CRITERIA[name](**settings)

  def loss(x, w):
    params, y = {"centres": w}, case.inp("y")
    value, after = chosen.apply(params, extra or {}, x, y, KEY, 0.0)
    return value, {"s": after["scale"]} if after else {}

  return loss, (case.inp("x"), case.inp("w")), ("grad_x", "grad_w")


def with_logits(case, name, logits, **settings):
  loss, inputs, names = criterion(case, name, **settings)

  def both(x, w):
    cos = margins.cosines(x, w)
    return loss(x, w)[0], {"logits": logits(cos, case.inp("y"), **settings)}

  return both, inputs, names


def arcface(case):
  p = case.params
  settings = dict(
    scale=p["s"], margin=p["m"], monotone=p.get("monotone", False)
  )
  return with_logits(case, "arcface", margins.arcface, **settings)


def cosface(case):
  settings = dict(scale=case.params["s"], margin=case.params["m"])
  return with_logits(case, "cosface", margins.cosface, **settings)


def elasticface(case):
  logits = margins.arcface if case.name.endswith("arc") else margins.cosface

  def loss(x, w):
    cos, y = margins.cosines(x, w), case.inp("y")
    margin = case.inp("margin")[:, None]
    z = logits(cos, y, scale=case.params["s"], margin=margin)
    return losses.cross_entropy(z, y), {}

  return loss, (case.inp("x"), case.inp("w")), ("grad_x", "grad_w")


def magface(case):
  p = case.params
  return criterion(
    case,
    "magface",
    scale=p["s"],
    norm_range=(p["l_a"], p["u_a"]),
    margin_range=(p["l_m"], p["u_m"]),
    norm_weight=p["lambda_g"],
  )


def self_scaled(case):
  name = case.name.split("/")[0]
  if "s" in case.params:
    loss, *rest = criterion(case, name, scale=case.params["s"])
    if not case.has("out/cos"):
      return loss, *rest
    cos = adacos.projected_cosines
    return lambda x, w: (loss(x, w)[0], {"cos": cos(x, w)}), *rest
  extra = {"scale": np.float32(case.params["s_prev"])}
  return criterion(case, name, extra, dynamic=True, max_scale=np.inf)


def two_head(case):
  chosen = criteria.arcface(scale=case.params["s"], margin=case.params["m"])

  def loss(x, *weights):
    total = 0.0
    for w, kind in zip(weights, ("attr", "dom"), strict=True):
      y = jax.nn.one_hot(case.inp(kind), len(w))  # -1 is a row of zeros
      total += chosen.apply({"centres": w}, {}, x, y, KEY, 0.0)[0]
    return total, {}

  names = ("x", "w_attr", "w_dom")
  return loss, tuple(map(case.inp, names)), tuple(f"grad_{n}" for n in names)


def distillation(case):
  settings = dict(
    num_cls=case.params["n_cls"], cls_weight=case.params["cls_weight"]
  )
  loss = lambda x: (
    losses.distillation(x, case.inp("teacher"), **settings),
    {},
  )
  return loss, (case.inp("student"),), ("grad",)


ITEMS = {
  "arcface": arcface,
  "cosface": cosface,
  "elasticface": elasticface,
  "magface": magface,
  "adacos": self_scaled,
  "subcluster_adacos": self_scaled,
  "adaproj": self_scaled,
  "two_head": two_head,
  "distillation": distillation,
}


# One item compiles as users do; all of them would take three times as long.
WHOLE = ("two_head",)


@pytest.mark.parametrize("whole", [True, False])
def test_losses_and_gradients(golden, whole):
  z = golden("losses")
  options = None if whole else quick.OPTIONS
  # The cases that run the scale on by itself have no loss.
  items = [name for name in ITEMS if (name in WHOLE) == whole]
  cases = [c for item in items for c in of_item(z, item) if c.has("out/loss")]
  names = {}

  def of(case):
    loss, inputs, names[case.name] = ITEMS[case.name.split("/")[0]](case)
    places = tuple(range(len(inputs)))
    return jax.value_and_grad(loss, places, has_aux=True), inputs

  for case, ((value, aux), gradients) in compiled(cases, of, options):
    # An angle of nearly 0 or pi has fewer digits than its cosine.
    edge = "edges" in case.name
    case.check(value, "loss", 1e-5, 0.0)
    for name, found in aux.items():
      size = np.abs(case.out(name)).max()
      case.check(found, name, 1e-5, (1e-4 if edge else 1e-6) * size)
    for name, found in zip(names[case.name], gradients, strict=True):
      case.check(found, name, 1e-2 if edge else 1e-3, 1e-5)


def test_scales_of_many_steps(golden):
  cases = of_item(golden("losses"), "subcluster_adacos")
  cases = [c for c in cases if not c.has("out/loss")]
  assert cases

  def of(case):
    def run(cos, y):
      step = lambda s, _: (adacos.subcluster_scale(cos, y, s),) * 2
      start = jnp.float32(case.params["s_prev"])
      return jax.lax.scan(step, start, length=len(case.out("s")))[1]

    return run, (case.inp("cos"), case.inp("y"))

  for case, found in compiled(cases, of):
    case.check(found, "s", 1e-5, 0.0)


def test_first_scales(golden):
  (case,) = of_item(golden("losses"), "scale")
  floor = case.params["floor"]
  found = [adacos.initial_scale(n, floor=floor) for n in case.inp("n")]
  np.testing.assert_allclose(found, case.out("s"), rtol=1e-12)


def test_reversal_weights_and_mixed_styles(golden):
  z = golden("losses")
  (dann,), (style,) = of_item(z, "dann"), of_item(z, "mixstyle")
  gain = dann.params["gain"]
  inputs = [style.inp(name) for name in ("h", "lam", "perm")]
  run = lambda progress, h, share, partner: (
    domain.reversal_weight(progress, gain=gain),
    domain.mix_style(h, share, partner),
  )
  weight, mixed = jax.jit(run)(dann.inp("progress"), *inputs)
  dann.check(weight, "value", 1e-5, 1e-6)
  style.check(mixed, "y", 1e-5, 1e-5)
