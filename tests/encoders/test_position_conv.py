import jax
import numpy as np
import pytest

from asd_jax.encoders import position_conv
from tests import quick


@pytest.mark.optimised
def test_the_last_clip_of_a_batch_has_the_bytes_of_any_other():
  conv = position_conv.PositionConv(num_taps=16, num_groups=4)
  x = np.random.default_rng(0).normal(size=(56, 48)).astype(np.float32)
  params = quick.jit(conv.init)(jax.random.key(1), x)
  batch = np.repeat(x[None], 4, axis=0)  # [B, L, D]
  out = np.asarray(jax.jit(jax.vmap(lambda y: conv.apply(params, y)))(batch))
  for clip in out[1:]:
    assert clip.tobytes() == out[0].tobytes()


@pytest.mark.parametrize(("length", "taps"), [(30, 16), (9, 16), (30, 5)])
def test_gradients_are_those_of_the_sum_that_it_is(length, taps):
  # out[l, d] = sum of kernel[d, c, t] x[l + t - taps // 2, group of d, c].
  groups, own = 3, 4
  rng = np.random.default_rng(taps)
  with jax.enable_x64(True):
    x = rng.normal(size=(2, length, groups * own))
    kernel = rng.normal(size=(groups * own, own, taps))
    grad = rng.normal(size=x.shape)

    def of_clips(x, kernel):
      one = lambda x: position_conv.grouped_conv(x, kernel, groups)
      return jax.vmap(one)(x)

    found, back = jax.vjp(of_clips, x, kernel)
    grad_x, grad_kernel = back(grad)
  want, want_x = np.zeros_like(x), np.zeros_like(x)
  want_kernel = np.zeros_like(kernel)
  of_group = lambda a: a.reshape(2, -1, groups, own)
  for t in range(taps):
    for row in range(length):
      there = row + t - taps // 2
      if not 0 <= there < length:
        continue
      by_group = kernel[..., t].reshape(groups, own, own)
      seen, told = of_group(x)[:, there], of_group(grad)[:, row]
      of_group(want)[:, row] += np.einsum("gdc,bgc->bgd", by_group, seen)
      of_group(want_x)[:, there] += np.einsum("gdc,bgd->bgc", by_group, told)
      part = np.einsum("bgd,bgc->gdc", told, seen)
      want_kernel[..., t] += part.reshape(groups * own, own)
  for a, b in [(found, want), (grad_x, want_x), (grad_kernel, want_kernel)]:
    np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)
