"""Trains the encoders that a system fits on one machine, all seeds at once."""

import functools
import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy

from asd_jax.data import files
from asd_jax.pipelines.build import Branch, Normals, System
from asd_jax.training import reconstruction, windows
from asd_jax.typing import Key

OnEpoch = Callable[[str, int, dict], None]


def seed_keys(seeds: Sequence[int]) -> Key:
  """One key a seed, `[K]`."""
  return jax.vmap(jax.random.key)(jnp.asarray(seeds, jnp.uint32))


def trainers(system: System) -> dict[str, Callable]:
  """A compiled trainer for each branch that trains an encoder."""

  def one(branch: Branch) -> Callable:
    e = branch.encoder
    assert e is not None
    network = reconstruction.Network(e.init, e.loss, e.reconstruct)
    return reconstruction.trainer(network, branch.recipe)

  return {n: one(b) for n, b in system.branches.items() if b.encoder}


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
  fits: Mapping[str, Callable],
  system: System,
  normals: Normals,
  config: Mapping[str, Any],
  *,
  folder: Path | None,
  on_epoch: OnEpoch,
) -> Normals:
  """Trains every encoder of the system that learns from these clips.

  A finished run in `folder` with the same settings and data is read back
  instead, and an interrupted one goes on where it stopped.

  Args:
    fits: what `trainers` returns.
    system: the system.
    normals: training clips of one section.
    config: the system's config, for `seeds` and the branches' settings.
    folder: where results and checkpoints go; None keeps none.
    on_epoch: called with (branch, epochs done, metrics).

  Returns:
    `normals` with `trained` filled.

  Raises:
    NotFiniteError: if a loss is not finite.
  """
  trained = {}
  for name, fit in fits.items():
    data = training_windows(system.branches[name], name, normals)
    mark = fingerprint(
      [config["branches"][name]["encoder"], list(config["seeds"])], data
    )
    fit = functools.partial(
      fit,
      seed_keys(config["seeds"]),
      data,
      on_epoch=lambda unit, m, name=name: on_epoch(name, unit, m),
    )
    recipe = system.branches[name].recipe
    trained[name] = _kept(folder / mark, recipe, fit) if folder else fit()
  return normals.replace(trained=trained)


def _kept(
  place: Path, recipe: reconstruction.Recipe, fit: Callable
) -> reconstruction.Trained:
  """Reads a finished training, or runs it with checkpoints and keeps it."""
  result = place.with_suffix(".safetensors")
  if result.exists():
    flat = safetensors.numpy.load(result.read_bytes())
    return reconstruction.Trained(
      **flax.traverse_util.unflatten_dict(flat, sep="/")
    )
  # Orbax takes a second to import, and scoring does not need it.
  from asd_jax.training import checkpoint

  checkpoints = checkpoint.OrbaxCheckpoints(
    place, num_units=recipe.num_epochs, every=recipe.checkpoint_every
  )
  trained = fit(checkpoints=checkpoints)
  checkpoints.close()
  fields = {f: getattr(trained, f) for f in trained.__dataclass_fields__}
  flat = flax.traverse_util.flatten_dict(fields, sep="/")
  flat = {k: np.ascontiguousarray(v) for k, v in flat.items()}
  files.atomic_write_bytes(result, safetensors.numpy.save(flat))
  shutil.rmtree(place)
  return trained


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

  def blank() -> Normals:
    wave = jnp.zeros((2, system.num_channels, num_samples), jnp.int16)
    features = jax.vmap(system.features)(wave)
    trained = {}
    for name, branch in system.branches.items():
      if branch.encoder:
        width = features[name].shape[-1]
        init = jax.vmap(lambda k, e=branch.encoder: e.init(k, width))  # noqa: B023
        cov = jnp.zeros((num_seeds, 2, width, width))
        trained[name] = reconstruction.Trained(
          *init(seed_keys(range(num_seeds))), cov, cov, cov
        )
    rows = jnp.arange(2, dtype=jnp.int32)
    return Normals((features,), rows, rows > 0, trained)

  return jax.eval_shape(blank)
