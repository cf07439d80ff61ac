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

from asd_jax import files
from asd_jax.engine import encode
from asd_jax.engine.branch import Branch
from asd_jax.engine.normals import Normals
from asd_jax.engine.system import System
from asd_jax.training import reconstruction, windows
from asd_jax.typing import Key

OnEpoch = Callable[[str, int, dict], None]


def seed_keys(seeds: Sequence[int]) -> Key:
  """One key a seed, `[K]`."""
  return jax.vmap(jax.random.key)(jnp.asarray(seeds, jnp.uint32))


def trains(branch: Branch) -> bool:
  """Whether a branch's encoder is trained on one machine's clips."""
  return branch.encoder.scope == "machine"


def trainers(system: System) -> dict[str, Callable]:
  """A compiled trainer for each branch that trains an encoder."""

  def one(branch: Branch) -> Callable:
    encoder = branch.encoder
    network = reconstruction.Network(
      encoder.init, encoder.about.loss, encoder.about.errors
    )
    return reconstruction.Trainer(network, branch.source.recipe)

  return {n: one(b) for n, b in system.branches.items() if trains(b)}


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
  frames = [clip[0] for g in normals.features for clip in np.asarray(g[name])]
  ordered = [frames[i] for i in np.asarray(normals.order)]
  return windows.from_clips(
    ordered,
    np.asarray(normals.is_target),
    num_context=branch.encoder.about.num_context,
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

  A network in `folder` with the same seed, settings and data is read back
  instead, whatever other seeds were trained with it, and an interrupted
  training goes on where it stopped.

  Args:
    fits: what `trainers` returns.
    system: the system.
    normals: training clips of one section.
    config: the system's config, for the branches' settings.
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
    seeds = system.seeds[name]
    fit = functools.partial(
      fit,
      windows=data,
      on_epoch=lambda unit, m, name=name: on_epoch(name, unit, m),
    )
    if folder is None:
      trained[name] = fit(seed_keys(seeds))
      continue
    mark = fingerprint(config["branches"][name]["encoder"], data)
    kept = Kept(folder, mark, system.branches[name].source.recipe)
    trained[name] = kept.get(seeds, fit)
  return normals.replace(trained=trained)


class Kept:
  """Trained networks on disk, a file a seed.

  Args:
    folder: made if missing.
    mark: name of the settings and data.
    recipe: how networks are trained.
  """

  def __init__(
    self, folder: Path, mark: str, recipe: reconstruction.Recipe
  ) -> None:
    self._folder, self._mark, self._recipe = folder, mark, recipe

  def _file(self, seed: int) -> Path:
    return self._folder / f"{self._mark}-{seed}.safetensors"

  def get(self, seeds: Sequence[int], fit: Callable) -> reconstruction.Trained:
    """Reads the networks of some seeds; those that are missing are trained.

    Args:
      seeds: seeds K.
      fit: `(keys, *, checkpoints) -> Trained`.

    Returns:
      Networks in the order of the seeds, leading axis K.
    """
    missing = [s for s in seeds if not self._file(s).exists()]
    if missing:
      self._train(missing, fit)
    read = [safetensors.numpy.load(self._file(s).read_bytes()) for s in seeds]
    flat = jax.tree.map(lambda *x: np.stack(x), *read)
    nested = flax.traverse_util.unflatten_dict(flat, sep="/")
    return reconstruction.Trained(**nested)

  def _train(self, seeds: Sequence[int], fit: Callable) -> None:
    # Orbax takes a second to import, and scoring does not need it.
    from asd_jax.training import checkpoint

    text = "-".join([self._mark, *map(str, seeds)])
    place = self._folder / hashlib.sha256(text.encode()).hexdigest()[:16]
    checkpoints = checkpoint.OrbaxCheckpoints(
      place,
      num_units=self._recipe.num_epochs,
      every=self._recipe.checkpoint_every,
    )
    trained = fit(seed_keys(seeds), checkpoints=checkpoints)
    checkpoints.close()
    fields = {f: getattr(trained, f) for f in trained.__dataclass_fields__}
    flat = flax.traverse_util.flatten_dict(fields, sep="/")
    arrays = {k: np.asarray(v) for k, v in flat.items()}
    for i, seed in enumerate(seeds):
      one = {k: np.ascontiguousarray(v[i]) for k, v in arrays.items()}
      files.atomic_write_bytes(self._file(seed), safetensors.numpy.save(one))
    shutil.rmtree(place)


def abstract_normals(system: System, num_samples: int) -> Normals:
  """Shapes of `Normals` of two clips, to rebuild the structure of a state.

  Args:
    system: the system.
    num_samples: samples in a clip.

  Returns:
    `Normals` of `ShapeDtypeStruct`.
  """

  def blank() -> Normals:
    wave = jnp.zeros(
      (2, encode.num_channels(system.branches), num_samples), jnp.int16
    )
    branches = system.branches
    front = encode.unfitted(branches)
    for stage in encode.stages_of(branches):
      sums = encode.measure(branches, stage, front, wave[0])
      front = encode.fit_front(branches, stage, front, sums)
    weights = {
      n: encoder.init(jax.random.key(0))
      for n, (encoder, _) in encode.encoders(branches).items()
    }
    one = lambda w: encode.clip_features(branches, front, weights, w)
    features = jax.vmap(one)(wave)
    trained = {}
    for name, branch in system.branches.items():
      if trains(branch):
        encoder, seeds = branch.encoder, system.seeds[name]
        width = features[name].shape[-1]
        mean = jnp.zeros(encoder.about.num_context * width)
        init = jax.vmap(encoder.init, in_axes=(0, None, None))
        cov = jnp.zeros((len(seeds), 2, width, width))
        params, extra = init(seed_keys(seeds), mean, mean)
        trained[name] = reconstruction.Trained(params, extra, cov, cov, cov)
    rows = jnp.arange(2, dtype=jnp.int32)
    return Normals(front, (features,), rows, rows > 0, trained, num_target=1)

  return jax.eval_shape(blank)
