"""How the network of a family is applied to a clip, or to a part of one."""

import inspect
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from asd_jax import errors
from asd_jax.encoders import tokens
from asd_jax.encoders.tokens import Layers, Tokens
from asd_jax.typing import Array

Tree = Any


def hides(family: Any) -> bool:
  """Whether a network can be told which patches count."""
  known = inspect.signature(family.network.__call__).parameters
  plain = family.input.grid is None and not family.input.joint
  return plain and "padding" in known


def of(module: nn.Module, about: Any) -> Callable[..., Tree]:
  """Applies a network to one channel, or to near and far together."""
  title, extra = about.family.title, about.family.input.num_extra
  joint = about.family.input.joint
  exact = getattr(module, "dtype", jnp.float32) == jnp.float32

  def apply(
    params: Tree, x: Array, layers: Layers, num: Array | None = None
  ) -> dict[str, Tokens]:
    if unknown := [n for n in layers if n not in about.layers]:
      raise errors.InputError(
        f"{title}: found layers {unknown}, expected some of {about.layers}."
      )
    if joint and len(x) != 2:
      raise errors.InputError(
        f"{title}: found {len(x)} channels, expected near and far."
      )
    frames, bands = x.shape[-2:]
    if bands != about.num_mels:
      raise errors.InputError(
        f"{title}: found {bands} bands, expected {about.num_mels}."
      )
    shape = (*about.num_patches(frames), about.width)
    told: dict[str, Any] = {}
    if num is not None:
      num = num // about.family.input.patch[0]  # time patches
      told["padding"] = jnp.arange(shape[0] * shape[1]) // shape[1] >= num
    # Accelerators round the inputs of a float32 product unless told not to.
    with jax.default_matmul_precision("highest" if exact else "default"):
      out: Tree = module.apply({"params": params}, x, **told)
    rows = lambda x: tokens.of_rows(x, shape, extra)._replace(num=num)
    return {
      n: jax.vmap(rows)(out[n]) if joint else rows(out[n]) for n in layers
    }

  return apply
