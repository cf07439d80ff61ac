"""Trains the encoders that a system fits on one machine, all seeds at once."""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from asd_jax.pipelines.build import Branch, Normals, System
from asd_jax.training import reconstruction, windows
from asd_jax.typing import Key

OnEpoch = Callable[[str, int, dict], None]


def seed_keys(seeds: Sequence[int]) -> Key:
  """One key a seed, `[K]`."""
  return jax.vmap(jax.random.key)(jnp.asarray(seeds, jnp.uint32))


def network(branch: Branch, num_features: int) -> reconstruction.Network:
  """What training needs of a branch's encoder.

  Args:
    branch: a branch with an encoder to train.
    num_features: width M of a frame.

  Returns:
    The network.
  """
  encoder = branch.encoder
  assert encoder is not None
  init = lambda key: encoder.init(key, num_features)
  return reconstruction.Network(init, encoder.loss, encoder.reconstruct)


def training_windows(
  branch: Branch, name: str, normals: Normals
) -> windows.Windows:
  """The context windows of a branch's first channel, in clip order.

  Args:
    branch: a branch with an encoder to train.
    name: name of the branch.
    normals: training clips.

  Returns:
    Windows resident on the device.
  """
  assert branch.encoder is not None
  frames = [clip[0] for g in normals.features for clip in np.asarray(g[name])]
  ordered = [frames[i] for i in np.asarray(normals.order)]
  return windows.from_clips(
    ordered,
    np.asarray(normals.is_target),
    num_context=branch.encoder.num_context,
  )


def fingerprint(parts: Any, data: windows.Windows) -> str:
  """Names a training run by its settings and the bytes of its data."""
  digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode())
  for array in (data.frames, data.start, data.is_target):
    digest.update(np.ascontiguousarray(array).tobytes())
  return digest.hexdigest()[:16]


def train(
  system: System,
  normals: Normals,
  config: dict[str, Any],
  *,
  folder: Path | None,
  on_epoch: OnEpoch,
) -> Normals:
  """Trains every encoder of the system that learns from these clips.

  A finished run in `folder` with the same settings and data is read back
  instead, and an interrupted one goes on where it stopped.

  Args:
    system: the system.
    normals: training clips of one section.
    config: the system's config, for `seeds` and the branches' settings.
    folder: where checkpoints go; None keeps none.
    on_epoch: called with (branch, epochs done, metrics).

  Returns:
    `normals` with `trained` filled.

  Raises:
    NotFiniteError: if a loss is not finite.
  """
  trained = {}
  for name, branch in system.branches.items():
    if branch.encoder is None:
      continue
    data = training_windows(branch, name, normals)
    checkpoints = None
    if folder:
      # Orbax takes a second to import, and scoring does not need it.
      from asd_jax.training import checkpoint

      settings = config["branches"][name]["encoder"]
      mark = fingerprint([settings, list(config["seeds"])], data)
      checkpoints = checkpoint.OrbaxCheckpoints(
        folder / mark,
        num_units=branch.recipe.num_epochs,
        every=branch.recipe.checkpoint_every,
      )
    trained[name] = reconstruction.fit_members(
      seed_keys(config["seeds"]),
      network(branch, data.frames.shape[1]),
      data,
      branch.recipe,
      checkpoints=checkpoints,
      on_epoch=lambda unit, m, name=name: on_epoch(name, unit, m),
    )
    if checkpoints:
      checkpoints.close()
  return normals.replace(trained=trained)


def abstract_normals(
  system: System, num_seeds: int, num_samples: int
) -> Normals:
  """Shapes of `Normals` of two clips, to rebuild the structure of a state.

  Args:
    system: the system.
    num_seeds: seeds K.
    num_samples: samples in a clip.

  Returns:
    `Normals` of `ShapeDtypeStruct`.
  """
  wave = jax.ShapeDtypeStruct((2, system.num_channels, num_samples), jnp.int16)
  features = jax.eval_shape(jax.vmap(system.features), wave)
  trained = {}
  for name, branch in system.branches.items():
    if branch.encoder is None:
      continue
    width = features[name].shape[-1]
    keys = jax.eval_shape(lambda: seed_keys(range(num_seeds)))
    params, extra = jax.eval_shape(jax.vmap(network(branch, width).init), keys)
    cov = jax.ShapeDtypeStruct((num_seeds, 2, width, width), jnp.float32)
    trained[name] = reconstruction.Trained(params, extra, cov, cov, cov)
  return Normals(
    (features,),
    jax.ShapeDtypeStruct((2,), jnp.int32),
    jax.ShapeDtypeStruct((2,), jnp.bool_),
    trained,
  )
