"""What a published encoder makes of clips, to group those that sound alike."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from asd_jax.data import clips, labels
from asd_jax.encoders import load
from asd_jax.engine import encode, frozen, gather
from asd_jax.engine import system as system_lib
from asd_jax.engine.branch import Adapt
from asd_jax.typing import Array


def make(
  config: Mapping[str, Any],
  source: str,
  adapt: Adapt,
  published: load.Loaded,
  some: Sequence[clips.Clip],
) -> labels.Features:
  """Features of the rows of clips, of the encoder before it is adapted.

  Args:
    config: of the system.
    source: branch whose encoder is adapted.
    adapt: how.
    published: its weights.
    some: training clips.

  Returns:
    Numbers of clips n to `[n, D]`: tokens averaged over time, channels and
    bands side by side. They are kept with all embeddings.

  Source: [MERL26] Sec. 3.1.
  """
  spec = config["branches"][source]
  encoder = {k: v for k, v in spec["encoder"].items() if k != "adapt"}
  plain = {
    "channels": adapt.channels,
    "denoise": spec["denoise"],
    "frontend": spec["frontend"],
    "encoder": {**encoder, "layer": adapt.recipe.layer},
    "pooling": dict(name="mean_time_flat"),
  }
  config = {**config, "branches": {source: plain}, "members": ()}

  def of(rows: Sequence[int]) -> Array:
    system = system_lib.build(config)
    embedder = frozen.open_embedder(system, {source: published}, config)
    front = encode.unfitted(system.branches)
    found, _ = gather.collect(embedder, front, [some[i] for i in rows])
    flat = [g[source].reshape(len(g[source]), -1) for g in found.features]
    return jnp.asarray(np.concatenate(flat)[found.order])

  return of
