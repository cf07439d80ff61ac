"""What the config of a pre-training means: its sounds, its rooms, its job."""

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import grain
import jax
import numpy as np

from asd_jax import errors, store
from asd_jax.data import mixtures, pools, sources
from asd_jax.data.batches import Batches
from asd_jax.encoders import load
from asd_jax.engine import distil_config, distil_networks
from asd_jax.ops import room
from asd_jax.training import distillation, mesh, optimiser
from asd_jax.training import run as run_lib
from asd_jax.training.distillation import Sounds
from asd_jax.training.job import Job, Validation
from asd_jax.typing import Array, Key
from asd_jax.weights import folder as weight_folder

Tree = Any
Config = Mapping[str, Any]
# Settings that decide nothing of what comes out.
PLACES = (
  *("output_dir", "weights_dir", "checkpoint", "seeds", "synthetic"),
  *("target", "noises", "data_dir", "loader"),
)
# The seed of all that is the same in every validation.
_VALID_SEED = 0


class Recordings(NamedTuple):
  """What a pre-training hears.

  Attributes:
    train: of the training.
    valid: of the validation.
  """

  train: sources.Sources
  valid: sources.Sources


def _of(config: Config, split: str) -> sources.Sources:
  """Targets and noises of a split."""
  for key in ("target", "noises"):
    if not config[key]:
      raise errors.InputError(
        f"config: {key}: found none, expected folders of wave files, or some"
        f" of {', '.join(pools.CORPORA)}."
      )
  _check_built(config)
  share = config["holdout"]
  # A pattern of names is no number.
  with contextlib.suppress(ValueError):
    share = float(share)
  where = dict(data_dir=config["data_dir"], split=split, holdout=share)
  noises, notes = pools.of_noise(config["noises"], **where)
  return sources.of(
    pools.opened(config["target"], **where),
    noises,
    crop_seconds=config["seconds"],
    notes=notes,
  )


def _check_built(config: Config) -> None:
  """Refuses corpora where nobody says in which folder they were built."""
  places = (config["target"], *config["noises"])
  named = [p for p in places if p.partition("/")[0] in pools.CORPORA]
  if named and not config["data_dir"]:
    raise errors.InputError(
      "config: data_dir: found none, expected the folder in which"
      f" {', '.join(dict.fromkeys(named))} were built"
      " (scripts/build_corpus.py)."
    )


def recordings(config: Config) -> Recordings:
  """Opens the recordings of a config.

  Args:
    config: complete.

  Returns:
    The recordings.

  Raises:
    InputError: for sources that are missing, or hold too little.
  """
  return Recordings(_of(config, "train"), _of(config, "valid"))


def _facts(found: sources.Sources) -> list[Any]:
  """What tells recordings from others: names and lengths, but no place."""
  return [
    [list(r) for r in pool.recordings]
    for pool in (found.targets, *found.noises)
  ]


class Pretraining:
  """A pre-training that was opened.

  Args:
    config: complete, see `distil_config.prepared`.

  Attributes:
    config: as given.
    networks: student and teacher.
    base: weights of the frozen encoder.
    cells: `[3, I]` image cells of the rooms.
    num_steps: of a training.
    recordings: that it learns from.
    notes: sentences on recordings that are left out.

  Raises:
    InputError: for weights or recordings that are missing or do not fit.
  """

  def __init__(self, config: Config) -> None:
    self.config = config
    self.networks = distil_networks.make(config)
    self._ranges = distil_config.ranges(config)
    self.recordings = recordings(config)
    name = self.networks.base.about.family.name
    origin = load.Origin(Path(config["weights_dir"]), config["random_weights"])
    wanted = {name: (self.networks.base, config["checkpoint"])}
    self.base = load.read(wanted, origin)[name]
    self.notes = [*self.base.notes, *self.recordings.train.notes]
    self.notes += [
      n for n in self.recordings.valid.notes if n not in self.notes
    ]
    self.cells = room.lattice(config["rooms"]["max_order"])
    size = config["batch_size"]
    num = len(self.recordings.train.targets.recordings)
    self._epoch = num / size
    # As many passes as hold the steps that are asked for.
    steps = config["num_steps"]
    self._passes = -(-steps * size // num) if steps else config["num_epochs"]
    self.num_steps = steps or self._passes * num // size

  def digest(self, seed: int) -> str:
    """A name of all that decides a training.

    Args:
      seed: of it.

    Returns:
      32 hex digits.
    """
    kept = {k: v for k, v in self.config.items() if k not in PLACES}
    heard = [_facts(x) for x in self.recordings]
    # Not the code: a training of weeks goes on under a newer version.
    return store.digest(kept, self.base.digest, seed, heard)

  def label(self, seed: int) -> str:
    """What messages and folders call a training."""
    return f"{self.config[distil_config.KIND]}-seed_{seed}"

  def examples(self, seed: int) -> grain.MapDataset:
    """Dry sounds of a training.

    Args:
      seed: of it.

    Returns:
      The examples, by their number.
    """
    return sources.training(
      self.recordings.train,
      seed=seed,
      num_epochs=self._passes,
      microphones=self.config["microphones"],
    )

  def _batches(self, examples: grain.MapDataset) -> Batches:
    loader = self.config["loader"]
    return Batches(examples, self.config["batch_size"], **loader)

  def _valid(self) -> tuple[Batches, int]:
    """Batches of the validation, and their number."""
    found, size = self.recordings.valid, self.config["batch_size"]
    there = len(found.targets.recordings)
    num = -(-min(self.config["valid"]["num"] or there, there) // size)
    # The last batch is filled up with the first mixtures.
    examples = sources.fixed(
      found, seed=_VALID_SEED, microphones=self.config["microphones"]
    )
    return self._batches(examples.repeat(-(-num * size // there))), num

  def _room_key(self, which: str) -> Key:
    seed = self.config["rooms"]["seed"] + (which == "valid")
    return jax.random.key(seed)

  def _num_rooms(self, which: str) -> int:
    """Rooms of a bank; 0 where there is none."""
    rooms = self.config["rooms"]
    if self.config["microphones"] == 1:
      return 0
    return rooms["num"] if which == "train" else rooms["num_valid"]

  def rooms(self, which: str, numbers: Array, cells: Array) -> Array:
    """Simulates rooms.

    Args:
      which: "train" or "valid".
      numbers: `[N]` which rooms of these.
      cells: `[3, I]` image cells.

    Returns:
      `[N, 2, 5, L]` responses.
    """
    key = self._room_key(which)
    return mixtures.rooms(key, numbers, cells, ranges=self._ranges)

  def draws(self, which: str, seed: int, number: Array) -> mixtures.Draw:
    """Draws rooms and ratios of examples.

    Args:
      which: "train" or "valid".
      seed: of the training.
      number: `[B]` of the examples.

    Returns:
      The draws `[B]`.
    """
    draw = functools.partial(
      mixtures.draw,
      jax.random.key(seed),
      num_rooms=self._num_rooms(which),
      snr_db=self._ranges.snr_db,
    )
    return jax.vmap(draw)(number)

  def simulated(
    self,
    which: str,
    seed: int,
    batch: Tree,
    responses: Callable[[Array], Array],
  ) -> tuple[mixtures.Draw, Sounds]:
    """Simulates the recordings of a batch.

    Args:
      which: "train" or "valid".
      seed: of the training.
      batch: of `Batches`.
      responses: numbers of rooms `[B]` to responses `[B, 2, 5, L]`.

    Returns:
      What was drawn `[B]`, and the recordings.
    """
    draws = self.draws(which, seed, batch["number"])
    dry = batch["target"], batch["noise"]
    # Each row by itself: XLA would transform all of them on every device.
    if self.config["microphones"] == 1:
      single = mesh.by_rows(mixtures.mixed_single)
      near, far = single(*dry, draws.snr_db)
      return draws, Sounds(near, far, sources.heard(batch["target"]))
    mix = functools.partial(mixtures.mixed, distance=self._ranges.near)
    found = mesh.by_rows(mix)(*dry, responses(draws.room), draws.snr_db)
    return draws, Sounds(found.near, found.far, found.clean)

  def _sounds(self, which: str, seed: int, frozen: Tree, batch: Tree) -> Sounds:
    """Recordings of a batch, in rooms of the bank if there is one."""
    if which in frozen["rooms"]:
      rooms = lambda numbers: frozen["rooms"][which][numbers]
    else:
      rooms = mesh.by_rows(lambda n: self.rooms(which, n, frozen["cells"]))
    return self.simulated(which, seed, batch, rooms)[1]

  def plan(self, seed: int) -> distillation.Plan:
    """What a step does.

    Args:
      seed: of the training.

    Returns:
      The plan.
    """
    config, front = self.config, self.networks.front
    student = distil_networks.student(self.networks)

    def init(key: Key, start: Tree) -> tuple[Tree, Tree]:
      bank = {
        n: self.rooms(n, numbers, start["cells"])
        for n, numbers in start["rooms"].items()
        if len(numbers)
      }
      frozen = {"base": start["base"], "rooms": bank}
      if len(bank) < len(start["rooms"]):
        frozen["cells"] = start["cells"]
      return student.fresh(key), frozen

    return distillation.Plan(
      init=init,
      sounds=functools.partial(self._sounds, "train", seed),
      valid_sounds=functools.partial(self._sounds, "valid", _VALID_SEED),
      hear=lambda wave: front.apply({}, wave),
      student=student.apply,
      teacher=distil_networks.teacher(self.networks),
      optimiser=optimiser.make(
        config["optimiser"],
        self.num_steps,
        accumulate=config["accumulate"],
        ema=config["ema"],
        ema_start=config["ema_start"],
        grouped=False,
      ),
      cls_weight=config["cls_weight"],
    )

  @contextlib.contextmanager
  def job(self, seed: int) -> Iterator[Job]:
    """The training of a seed, while its batches are open.

    Args:
      seed: of layers, mixtures and order.

    Yields:
      The job; it starts from the frozen encoder.
    """
    config, size = self.config, self.config["batch_size"]
    parts = distillation.make(self.plan(seed))
    valid, num = self._valid()
    with self._batches(self.examples(seed)) as batches, valid:
      yield Job(
        name=self.label(seed),
        init=parts.init,
        step=parts.step,
        batch_at=batches,
        batch_size=size,
        num_steps=self.num_steps,
        start={
          "base": self.base.params,
          "cells": self.cells,
          # Arguments, as the cells are: of constants, XLA would simulate all
          # rooms while it compiles.
          "rooms": {
            n: np.arange(self._num_rooms(n), dtype=np.uint32)
            for n in ("train", "valid")
          },
        },
        validation=Validation(
          loss=parts.loss,
          batch_at=valid,
          num_batches=num,
          batch_size=size,
          every=max(1, round(config["valid"]["every"] * self._epoch)),
        ),
        names=lambda step: self.targets_of(batches(step, slice(0, size))),
        about=self._about(),
        network=lambda frozen: frozen["base"],
      )

  def targets_of(self, batch: Tree) -> list[str]:
    """Names of the targets of a batch of the training."""
    return sources.names(self.recordings.train, batch)

  def _about(self) -> dict[str, str]:
    found = self.recordings.train
    noises = sum(len(rows) for rows in found.usable)
    targets = len(found.targets.recordings)
    about = {"sounds": f"{targets} targets, {noises} noises"}
    if self.config["microphones"] == 1:
      return about
    said = lambda which: str(self._num_rooms(which) or "one an example")
    return {
      **about,
      "rooms": said("train"),
      "rooms of the validation": said("valid"),
    }

  def keep(self, seed: int, trained: run_lib.Trained, folder: Path) -> Path:
    """Writes what a training has come to, as any encoder's weights lie.

    Args:
      seed: of the training.
      trained: its result.
      folder: where the folder of the weights is put.

    Returns:
      That folder, which configs name as a checkpoint.

    Raises:
      InputError: if it cannot be written.
    """
    layers = mesh.on_host(distillation.learned(trained.state))
    params = {"base": self.base.params, "layers": layers}
    params = jax.tree.map(lambda x: np.asarray(x, np.float32), params)
    student = self.networks.student
    found = load.named(student, params, f"{self.label(seed)}, distilled")
    place = Path(folder) / self.label(seed)
    about = {
      "family": student.about.family.name,
      "source": found.origin,
      "encoder": dict(student.about.settings),
      "digest": found.digest,
    }
    # There it is if the run was killed just after it.
    if mesh.is_first() and not weight_folder.is_whole(place, about):
      weight_folder.write(place, params, about)
    return place
