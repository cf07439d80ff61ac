"""Trains the encoders that a system fits on one machine, all seeds at once."""

import functools
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from asd_jax import store
from asd_jax.engine import identity, structure
from asd_jax.engine.branch import Branch
from asd_jax.engine.normals import Normals
from asd_jax.engine.system import System
from asd_jax.ops.masks import Ragged
from asd_jax.training import reconstruction, windows
from asd_jax.typing import Key

OnEpoch = Callable[[str, int, dict], None]
# Raised when the meaning of a kept network changes.
_FORMAT = 2
_MAKERS = ("ops", "encoders", "training", "engine/train.py")


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
    Windows of the clips that count, resident on the device.
  """
  frames = [clip for g in normals.features for clip in _frames(g[name])]
  every = np.ones(len(frames), bool)
  valid = every if normals.valid is None else np.asarray(normals.valid)
  ordered = [frames[i] for i in np.asarray(normals.order)[valid]]
  return windows.from_clips(
    ordered,
    np.asarray(normals.is_target)[valid],
    num_context=branch.encoder.about.num_context,
  )


def _frames(features: Any) -> list[np.ndarray]:
  """`[F, M]` frames of each clip's first channel."""
  if not isinstance(features, Ragged):
    return list(np.asarray(features)[:, 0])
  rows, num = map(np.asarray, features)
  return [x[0, :n] for x, n in zip(rows, num, strict=True)]


def train(
  fits: Mapping[str, Callable],
  system: System,
  normals: Normals,
  config: Mapping[str, Any],
  *,
  folder: Path | None,
  on_epoch: OnEpoch,
) -> tuple[Normals, list[str]]:
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
    `normals` with `trained` filled, and notes on what had to be made again.

  Raises:
    NotFiniteError: if a loss is not finite.
  """
  trained, notes = {}, []
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
    about = identity.of_encoder(config["branches"][name]["encoder"])
    about.pop("output", None)  # one network has errors and codes
    place = store.digest(about, data.frames, data.start, data.is_target)
    kept = Kept(folder, place, system.branches[name].source.recipe)
    trained[name] = kept.get(seeds, fit)
    notes += kept.notes()
  return normals.replace(trained=trained), notes


class Kept:
  """Trained networks on disk, a file a seed.

  Args:
    folder: made if missing.
    place: name of the settings and data.
    recipe: how networks are trained.
  """

  def __init__(
    self, folder: Path, place: str, recipe: reconstruction.Recipe
  ) -> None:
    self._folder, self._place, self._recipe = folder, place, recipe
    self._code = store.code_version(*_MAKERS)
    self._store = store.Store(folder, form=_FORMAT, code=self._code)
    self._notes: list[str] = []

  def notes(self) -> list[str]:
    """Sentences on files that were damaged."""
    return self._store.notes() + self._notes

  def _read(self, seed: int) -> reconstruction.Trained | None:
    kept = self._store.get(f"{self._place}-{seed}")
    if kept is None:
      return None
    nesting = kept.facts["network"]
    return structure.rebuild(kept.arrays, nesting, [reconstruction.Trained])

  def get(self, seeds: Sequence[int], fit: Callable) -> reconstruction.Trained:
    """Reads the networks of some seeds; those that are missing are trained.

    Args:
      seeds: seeds K.
      fit: `(keys, *, checkpoints) -> Trained`.

    Returns:
      Networks in the order of the seeds, leading axis K.
    """
    found = {s: self._read(s) for s in seeds}
    if missing := [s for s in seeds if found[s] is None]:
      found |= self._train(missing, fit)
    return jax.tree.map(lambda *x: np.stack(x), *(found[s] for s in seeds))

  def _train(
    self, seeds: Sequence[int], fit: Callable
  ) -> dict[int, reconstruction.Trained]:
    # Orbax takes a second to import, and scoring does not need it.
    from asd_jax.training import checkpoint

    # A checkpoint of older code would go on to another network.
    place = self._folder / store.digest(self._place, list(seeds), self._code)
    checkpoints = checkpoint.OrbaxCheckpoints(
      place,
      num_units=self._recipe.num_epochs,
      every=self._recipe.checkpoint_every,
    )
    trained = fit(seed_keys(seeds), checkpoints=checkpoints)
    checkpoints.close()
    self._notes += checkpoints.notes
    on_host = jax.tree.map(np.asarray, trained)
    out = {}
    for i, seed in enumerate(seeds):
      out[seed] = jax.tree.map(lambda x: x[i], on_host)  # noqa: B023
      arrays, nesting = structure.flatten(out[seed], [reconstruction.Trained])
      key = f"{self._place}-{seed}"
      self._store.put(key, arrays, {"network": nesting})
    # Only now: until the networks are kept, the checkpoint is all there is.
    shutil.rmtree(place)
    return out
