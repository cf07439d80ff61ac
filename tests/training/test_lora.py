import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asd_jax.encoders import zoo
from asd_jax.training import lora

# Of three projections in one; `finetune.npz` has three by themselves as well.
KINDS = ("eat",)


@functools.cache
def made(name):
  """A network of one block and its parameters."""
  family = zoo.FAMILIES[name]
  encoder = family(size={**family.sizes["smoke"], "depth": 1})
  return encoder, jax.jit(encoder.init)(jax.random.key(0))


@functools.cache
def adapted(name):
  """One channel twice, heard with pairs attached, merged and dropped."""
  encoder, params = made(name)
  rule = lora.low_rank(rank=3, alpha=6.0, dropout=0.5)
  x = jax.random.normal(jax.random.key(1), (1, 32, encoder.about.num_mels))
  x = jnp.concatenate([x, x])
  hear = lambda params: encoder.apply(params, x, ("output",))["output"].grid

  def run(params):
    new, frozen = rule.init(jax.random.key(2), params, ())
    grow = lambda t: t + 0.3 * jnp.cos(jnp.arange(t.size)).reshape(t.shape)
    trained = jax.tree.map(grow, new)
    where = lora.places(params, lora.TARGETS)
    merged, before = lora.merge(params, trained, where, scale=2.0)
    both = jax.tree.map(lambda *p: jnp.stack(p), params, merged)
    without, with_pairs = jax.vmap(hear)(both)

    def attached(trained, drop):
      with rule.attach(trained, frozen, drop) as params:
        tokens = hear(params)
      return jnp.sum(tokens**2), tokens

    drop = functools.partial(rule.drop, jax.random.key(3))
    grads, found = jax.grad(attached, has_aux=True)(trained, None)
    return {
      "new": new,
      "base": without,
      "attached": found,
      "merged": with_pairs,
      "dropped": attached(trained, drop)[1],
      "restored": lora.unmerge(merged, before),
      "grads": grads,
    }

  return jax.jit(run)(params)


@pytest.mark.parametrize("name", KINDS)
def test_new_pairs_change_nothing(name):
  for path, x in jax.tree_util.tree_leaves_with_path(adapted(name)["new"]):
    assert (np.abs(x).max() > 0) == (path[-1].key == "a")


@pytest.mark.parametrize("name", KINDS)
def test_merged_pairs_do_what_attached_ones_do(name):
  found = adapted(name)
  np.testing.assert_allclose(found["attached"], found["merged"], atol=1e-4)
  assert np.abs(found["attached"] - found["base"]).max() > 0.1


@pytest.mark.parametrize("name", KINDS)
def test_unmerging_restores_every_bit(name):
  found, (_, params) = adapted(name), made(name)
  jax.tree.map(np.testing.assert_array_equal, found["restored"], params)


@pytest.mark.parametrize("name", KINDS)
def test_every_pair_gets_a_gradient_and_nothing_else_does(name):
  found, (encoder, _) = adapted(name), made(name)
  num = 4 * 2 * encoder.about.settings["depth"]
  grads = jax.tree.leaves(found["grads"])
  assert len(grads) == num
  assert all(np.abs(g).max() > 0 for g in grads)


@pytest.mark.parametrize("name", KINDS)
def test_each_channel_has_a_dropout_of_its_own(name):
  near, far = adapted(name)["dropped"]
  assert np.abs(near - far).max() > 1e-3
  # Equal channels, so without dropout they are equal.
  np.testing.assert_allclose(*adapted(name)["attached"], atol=1e-5)


@pytest.mark.parametrize("name", sorted(zoo.FAMILIES))
def test_projections_are_found_in_every_family(name):
  encoder = zoo.FAMILIES[name](size="smoke")
  shapes = jax.eval_shape(encoder.init, jax.random.key(0))
  where = lora.places(shapes, lora.TARGETS)
  settings = encoder.about.settings
  # M2D-CLAP has a block more, and noise-aware layers attend too.
  layers = settings.get("kind", "film") != "film"
  num = 4 * settings["depth"] * (2 if layers else 1)
  assert len(where) in {num, num + 4}
  assert {p.size for p in where} == {settings["width"]}


def test_patterns_name_any_linear_layer():
  _, params = made("eat")
  found = lora.places(params, (r"blocks_0/mlp/fc\d", "q"))
  assert [p.path for p in found] == [
    "blocks_0/attn/qkv/q",
    "blocks_0/mlp/fc1",
    "blocks_0/mlp/fc2",
  ]


def test_a_target_that_matches_nothing_is_told_with_the_names():
  with pytest.raises(ValueError, match=r"\['query'\].*blocks_\\d\+/attn/qkv"):
    lora.places(made("eat")[1], ("q", "query"))


@pytest.mark.parametrize(
  "wrong", [dict(rank=0), dict(alpha=0.0), dict(dropout=1.0)]
)
def test_numbers_out_of_range_are_refused(wrong):
  with pytest.raises(ValueError, match="LoRA: found"):
    lora.low_rank(**wrong)


def test_full_training_leaves_out_what_is_fixed():
  _, params = made("eat")
  rule = lora.full()
  trained, frozen = rule.init(None, params, ("positions",))
  assert list(frozen) == ["positions"]
  assert "positions" not in trained
  jax.tree.map(
    np.testing.assert_array_equal, rule.merge(trained, frozen), params
  )
  assert lora.count(trained) + lora.count(frozen) == lora.count(params)


def test_a_frozen_network_has_nothing_to_train():
  _, params = made("eat")
  trained, frozen = lora.frozen().init(None, params, ())
  assert trained == {}
  assert frozen is params
