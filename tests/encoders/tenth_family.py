"""A family of one's own, as a user's file would hold it: nothing else is."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from asd_jax.encoders import family
from asd_jax.weights import rules, sizes


class Network(nn.Module):
  """Bands of two frames through `depth` linear layers, CLS first."""

  width: int
  depth: int
  num_heads: int
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x):
    x = x[: len(x) // 2 * 2].reshape(-1, 8)  # [T, F * 8], one patch a row
    x = nn.Dense(self.width, name="embed")(x)
    cls = self.param("cls", nn.initializers.zeros, (1, self.width))
    x = jnp.concatenate([cls, x])
    out = {"layer_0": x}
    for i in range(self.depth):
      x = out[f"layer_{i + 1}"] = nn.Dense(self.width, name=f"layer_{i}")(x)
    return {**out, "output": x}


def sizes_from(tensors, beside):
  return {
    "width": sizes.shape_of(tensors, "embed.bias", default=(4,))[0],
    "depth": sizes.count_blocks(tensors, r"layers\.(\d+)\.", default=2),
    "num_heads": sizes.count_in(beside, "heads", default=1),
  }


FAMILY = family.Family(
  name="tenth",
  title="The tenth",
  network=Network,
  sizes={"smoke": dict(width=4, depth=2, num_heads=1)},
  input=family.Input(num_mels=4, patch=(2, 4), num_extra=1),
  names=rules.Names(mark=r"embed\.weight", look=r"embed\.weight"),
  rules=(
    rules.Rule("cls", "cls"),
    rules.Rule(r"(embed)\.weight", r"\1/kernel", "linear"),
    rules.Rule(r"(embed)\.bias", r"\1/bias"),
    rules.Rule(r"layers\.(\d+)\.weight", r"layer_\1/kernel", "linear"),
    rules.Rule(r"layers\.(\d+)\.bias", r"layer_\1/bias"),
  ),
  sizes_from=sizes_from,
)
