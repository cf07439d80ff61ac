"""Parts that several encoders share, against plain loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from asd_jax.encoders import transformer

LENGTH, HEADS, WIDTH = 7, 3, 4


def draw(*shape, seed=0):
  x = np.random.default_rng(seed).normal(size=shape)
  return jnp.asarray(x, jnp.float32)


def looped(query, key_rows, value, bias, gate, keep):
  out = np.zeros((LENGTH, HEADS, WIDTH))
  for h in range(HEADS):
    for i in range(LENGTH):
      logits = np.float64(key_rows[:, h]) @ np.float64(query[i, h])
      logits /= np.sqrt(WIDTH)
      if bias is not None:
        logits += bias[h, i] * (1.0 if gate is None else gate[h, i])
      if keep is not None:
        logits = np.where(keep, logits, -np.inf)
      out[i, h] = scipy.special.softmax(logits) @ np.float64(value[:, h])
  return out.reshape(LENGTH, HEADS * WIDTH)


@pytest.mark.parametrize("platform", ["cpu", "default"])
@pytest.mark.parametrize("given", ["", "bias", "bias gate", "keep", "all"])
def test_attention_equals_a_loop(given, platform, monkeypatch):
  monkeypatch.setattr(
    jax.lax,
    "platform_dependent",
    lambda heads, **branches: branches[platform](heads),
  )
  rows = [draw(LENGTH, HEADS, WIDTH, seed=i) for i in range(3)]
  has = lambda name: given == "all" or name in given.split()
  more = {
    "bias": draw(HEADS, LENGTH, LENGTH, seed=3) if has("bias") else None,
    "gate": draw(HEADS, LENGTH, seed=4) if has("gate") else None,
    "keep": jnp.arange(LENGTH) != 2 if has("keep") else None,
  }
  found = transformer.attend(*rows, **more)
  np.testing.assert_allclose(found, looped(*rows, **more), atol=1e-5)
  gradient = jax.grad(lambda q: transformer.attend(q, *rows[1:], **more).sum())
  assert np.isfinite(gradient(rows[0])).all()


def test_sequences_do_not_see_each_other():
  attention = transformer.Attention(HEADS)
  x = draw(2, LENGTH, HEADS * WIDTH)
  params = attention.init(jax.random.key(0), x[0])
  run = jax.jit(attention.apply)
  found = run(params, x)
  for one, want in zip(found, x, strict=True):
    np.testing.assert_allclose(one, run(params, want), atol=1e-6)


def test_gelu_is_exact():
  x = np.linspace(-6.0, 6.0, 101)
  want = x * 0.5 * (1.0 + scipy.special.erf(x / np.sqrt(2.0)))
  found = transformer.gelu(jnp.asarray(x, jnp.float32))
  np.testing.assert_allclose(found, want, atol=1e-6)


def test_patches_are_a_convolution():
  embed = transformer.PatchEmbed(5, (2, 3))
  picture = draw(7, 10)
  params = embed.init(jax.random.key(0), picture)
  params["params"]["bias"] = draw(5, seed=1)
  found = embed.apply(params, picture)
  assert found.shape == (3, 3, 5)
  want = jax.lax.conv_general_dilated(
    picture[None, :, :, None],
    params["params"]["kernel"],
    (2, 3),
    "VALID",
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
  )[0]
  want += params["params"]["bias"][None, None]
  np.testing.assert_allclose(found, want, atol=1e-5)
