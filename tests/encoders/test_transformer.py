"""Parts that several encoders share, against plain loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from jax._src.cudnn import fused_attention_stablehlo

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


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_attention_is_that_of_jax(dtype):
  """Of which cuDNN's has the arithmetic, for numbers of bfloat16."""
  rows = [draw(LENGTH, HEADS, 8, seed=i).astype(dtype) for i in range(3)]
  found = transformer.attend(*rows)
  want = jax.nn.dot_product_attention(*rows, implementation="xla")
  atol = 1e-5 if dtype == "float32" else 0.02
  want = np.float32(want.reshape(found.shape))
  np.testing.assert_allclose(np.float32(found), want, atol=atol)


def test_a_cuda_device_attends_with_cudnn_where_that_fits(monkeypatch):
  """In one program for both: the platform decides when it is lowered."""
  monkeypatch.setattr(transformer, "has_cudnn", lambda: True)
  # Else jax refuses, on a machine without it, to trace what it cannot run.
  monkeypatch.setattr(
    fused_attention_stablehlo, "check_cudnn_version", lambda: 91_000
  )

  def text(platform, width=8, dtype="bfloat16", **more):
    rows = [jnp.zeros((2, 2, 4, HEADS, width), dtype)] * 3  # clips, channels
    attend = lambda *x: transformer.attend(*x, **more)
    traced = jax.jit(jax.vmap(jax.vmap(attend))).trace(*rows)
    return traced.lower(lowering_platforms=(platform,)).as_text()

  assert "cudnn" in text("cuda")
  assert "cudnn" not in text("cpu")
  assert "cudnn" not in text("cuda", dtype="float32")
  assert "cudnn" not in text("cuda", width=12)
  assert "cudnn" not in text("cuda", width=136)
  assert "cudnn" not in text("cuda", keep=jnp.ones(4, bool))
  assert "cudnn" not in text("cuda", bias=jnp.zeros((HEADS, 4, 4)))


def test_without_a_cuda_device_there_is_no_cudnn():
  assert jax.default_backend() == "gpu" or not transformer.has_cudnn()


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
