"""What an encoder makes of training clips, before and after it is adapted."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from asd_jax.data import clips
from asd_jax.encoders import adapted, load
from asd_jax.engine import encode, frozen, gather
from asd_jax.engine import system as system_lib
from asd_jax.engine.branch import Adapt
from asd_jax.typing import Array

# Clips of a machine that its near share is the mean of.
_MOST = 10


def _of_clips(
  config: Mapping[str, Any],
  source: str,
  weights: load.Loaded,
  changes: Mapping[str, Any],
  some: Sequence[clips.Clip],
) -> Array:
  """Pooled tokens of clips `[n, ...]`; a branch's stages, some changed."""
  spec = config["branches"][source]
  plain = {k: spec[k] for k in ("denoise", "frontend")} | dict(changes)
  config = {**config, "branches": {source: plain}, "members": ()}
  system = system_lib.build(config)
  embedder = frozen.open_embedder(system, {source: weights}, config)
  front = encode.unfitted(system.branches)
  found, _ = gather.collect(embedder, front, some)
  # A far stream that comes out beside near is no part of what is trained.
  encoder = system.branches[source].encoder
  joint = encoder.scope == "file" and encoder.about.family.input.joint
  own = [g[source][:, :1] if joint else g[source] for g in found.features]
  flat = [g.reshape(len(g), -1) for g in own]
  return jnp.asarray(np.concatenate(flat)[found.order])


def make(
  config: Mapping[str, Any],
  source: str,
  adapt: Adapt,
  published: load.Loaded,
  some: Sequence[clips.Clip],
) -> Callable[[Sequence[int]], Array]:
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
  encoder = dict(config["branches"][source]["encoder"])
  del encoder["adapt"]
  changes = {
    "channels": adapt.channels,
    "encoder": {**encoder, "layer": adapt.recipe.layer},
    "pooling": dict(name="mean_time_flat"),
  }
  return lambda rows: _of_clips(
    config, source, published, changes, [some[i] for i in rows]
  )


def near_shares(
  config: Mapping[str, Any],
  source: str,
  adapt: Adapt,
  weights: load.Loaded,
  train: Sequence[clips.Clip],
) -> dict[str, float]:
  """How much of near a learned blend of channels takes, machine by machine.

  Args:
    config: of the system.
    source: branch whose encoder is adapted.
    adapt: how.
    weights: those that it has come to, of all seeds.
    train: training clips.

  Returns:
    Mean over tokens, seeds and some clips of each machine, as they were heard
    in training; empty where channels are not blended.
  """
  if adapt.head.share is None:
    return {}
  encoder = {**config["branches"][source]["encoder"], "layer": adapted.SHARE}
  changes = dict(
    channels=adapt.channels, encoder=encoder, pooling=dict(name="mean_patches")
  )
  out = {}
  for name in sorted({c.machine for c in train}):
    own = [c for c in train if c.machine == name]
    some = own[:: -(-len(own) // _MOST)]
    found = _of_clips(config, source, weights, changes, some)
    out[name] = float(found.mean())
  return out
