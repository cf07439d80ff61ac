"""`losses.npz`: low-rank pairs, augmentation, averages and schedules."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asd_jax.training import augment, dropout, lora, optimiser

pytestmark = pytest.mark.golden


class Case:
  """One case: `case("in/x")`, `case.params`."""

  def __init__(self, z, name):
    self._z, self.name = z, name
    self.params = json.loads(str(z[f"{name}/params"]))

  def __call__(self, name):
    value = self._z[f"{self.name}/{name}"]
    return value.astype(jax.dtypes.canonicalize_dtype(value.dtype))

  def check(self, found, name, **tolerance):
    tolerance = {"rtol": 1e-5, "atol": 1e-6, **tolerance}
    want = self._z[f"{self.name}/out/{name}"]
    message = f"{self.name} {name}"
    np.testing.assert_allclose(found, want, **tolerance, err_msg=message)


@pytest.fixture
def cases(golden):
  z = golden("losses")

  def of(item):
    names = {k.rsplit("/", 1)[0] for k in z.files if k.endswith("/params")}
    found = [Case(z, n) for n in sorted(names) if n.startswith(f"{item}/")]
    assert found, item
    return found

  return of


def test_pairs_beside_a_linear_layer(cases):
  def of_one(case):
    """What a layer called `out_proj` makes with a pair attached, merged."""
    x, w, bias, a, b, keep = (
      case(f"in/{n}") for n in ("x", "w", "bias", "a", "b", "keep")
    )
    settings = case.params
    scale = settings["alpha"] / settings["r"]
    dense = {"kernel": w.T, "bias": bias}
    params = {"attn": {"out_proj": dense}}
    where = lora.places(params, ("out",))

    class Net(lora.nn.Module):
      @lora.nn.compact
      def __call__(self, x):
        return lora.nn.Dense(w.shape[0], name="out_proj")(x)

    drop = lambda path, x: dropout.kept(keep > 0, x, rate=settings["dropout"])
    if not settings["dropout"]:
      drop = None

    def total(pair):
      adapters = {"attn": {"out_proj": pair}}
      with lora.attached(adapters, where, scale=scale, drop=drop):
        y = Net().apply({"params": params["attn"]}, x)
      return jnp.sum(y), (y, lora.merge(params, adapters, where, scale=scale))

    pair = {"a": a.T, "b": b.T}
    (_, (y, merged)), grad = jax.value_and_grad(total, has_aux=True)(pair)
    return y, merged[0]["attn"]["out_proj"]["kernel"].T, grad

  found = cases("lora")
  for case, (y, merged, grad) in zip(
    found, jax.jit(lambda: [of_one(c) for c in found])(), strict=True
  ):
    case.check(y, "y", atol=1e-4)
    case.check(merged, "merged_w", atol=1e-5)
    case.check(grad["a"].T, "grad_a", rtol=1e-4, atol=1e-4)
    case.check(grad["b"].T, "grad_b", rtol=1e-4, atol=1e-4)


def test_augmentation_of_waveforms(cases):
  (mix,), (channels,) = cases("mixup"), cases("channel_augment")

  def run():
    draws = {n: mix(f"in/{n}") for n in ("perm", "lam", "apply")}
    y = (jnp.asarray(mix("in/y")),)
    wave, labels = augment.mixup().apply(draws, jnp.asarray(mix("in/wave")), y)
    changed = jnp.asarray(channels("in/wave"))
    for name, draw in (
      ("channel_swap", "swap"),
      ("channel_gain", "gain_db"),
      ("channel_dropout", "drop"),
    ):
      change = augment.AUGMENTS[name]()
      changed, _ = change.apply(
        jnp.asarray(channels(f"in/{draw}")), changed, ()
      )
    crops = [
      augment.crop(jnp.asarray(c("in/wave")), **c.params)
      for c in cases("temporal_crop")
    ]
    return wave, labels[0], changed, crops

  wave, labels, changed, crops = jax.jit(run)()
  mix.check(wave, "wave")
  mix.check(labels, "y")
  channels.check(changed, "wave")
  for case, found in zip(cases("temporal_crop"), crops, strict=True):
    case.check(found, "wave", rtol=0, atol=0)


def test_averages_of_weights(cases):
  (case,) = cases("ema")
  values = case("in/values")

  def step(average, told):
    average = optimiser.track(average, *told, **case.params)
    return average, average

  told = (values, jnp.arange(len(values)))
  run = lambda told: jax.lax.scan(step, jnp.zeros(()), told)[1]
  case.check(jax.jit(run)(told), "ema")


def test_the_schedule_counts_from_zero(cases):
  (case,) = cases("schedule")
  rate = optimiser.warmup_constant(
    case.params["peak"],
    warmup=case.params["warmup"],
    num_steps=int(case("in/step").max()),
  )
  case.check(jax.jit(jax.vmap(rate))(case("in/step")), "lr", atol=0)
