"""What encoders are adapted to: normal clips of all machines, their classes."""

import collections
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from asd_jax import errors, store
from asd_jax.data import audio, clips, labels, names, windows
from asd_jax.engine import encode, windowed
from asd_jax.engine.branch import Branch
from asd_jax.engine.recipe import Recipe
from asd_jax.engine.waves import Waves
from asd_jax.scores import p_value
from asd_jax.training.job import Order, Validation
from asd_jax.typing import Array

Tree = Any
# Clips that a message or a note names.
_NAMED = 3
_NO_ATTRIBUTES = (
  "; where no clip has attributes, the labels domain, attribute and pseudo tell"
  " machines and domains apart"
)


def clips_of(config: Mapping[str, Any]) -> list[clips.Clip]:
  """Normal clips of all machines that a config names, scored or not.

  Args:
    config: `data_dir`, or `normal` and `test`; `adapt.data_dirs`.

  Returns:
    The clips, each file once; of long recordings their windows.

  Raises:
    InputError: if there are none, and for clips that are to be scored.
  """
  machines: list[clips.Machine] = []
  if config["normal"] and config["test"]:
    machines.append(
      clips.read_plain(
        config["normal"], config["test"], channels=config["recorder_channels"]
      )
    )
  elif config["data_dir"]:
    machines += clips.read_tree(
      config["data_dir"], channels=config["recorder_channels"]
    )
  tests = [c for m in machines for c in m.test]
  for folder in config["adapt"]["data_dirs"]:
    found = clips.read_tree(folder, channels=config["recorder_channels"])
    more = [c for m in found for c in m.train]
    _check_apart(folder, more, tests)
    machines.append(clips.Machine(str(folder), tuple(more), (), ()))
  every = [c for m in machines for c in m.train]
  if not every:
    raise errors.InputError(
      "config: found no clips to adapt an encoder to, expected"
      " --config.data_dir=DIR, --config.normal=DIR --config.test=DIR, or"
      " adapt.data_dirs."
    )
  every = list({os.path.realpath(c.path): c for c in every}.values())
  return list(windowed.training(every, config))


def folds_of(some: Sequence[clips.Clip], num: int) -> np.ndarray:
  """Folds of clips, those that each machine's fit has.

  Args:
    some: normal clips of all machines.
    num: folds.

  Returns:
    `[N]` int32 fold of each clip; -1 for the only clip of a section, which no
    model leaves out.
  """
  groups: dict[tuple[str, str], list[int]] = {}
  for i, clip in enumerate(some):
    groups.setdefault((clip.machine, clip.section), []).append(i)
  out = np.full(len(some), -1, np.int32)
  for rows in groups.values():
    if len(rows) > 1:
      is_target = np.array([some[i].domain == "target" for i in rows])
      order = windows.order([some[i] for i in rows])
      out[rows] = p_value.folds(is_target, num, order=order)
  return out


def _check_apart(
  folder: str, some: Sequence[clips.Clip], tests: Sequence[clips.Clip]
) -> None:
  """Refuses clips to learn from that are to be scored, by path or content."""
  paths = {os.path.realpath(c.path): c for c in tests}
  # Files of other sizes have other contents: most need not be read.
  sizes = {Path(p).stat().st_size for p in paths}
  contents = None
  for clip in some:
    same = paths.get(os.path.realpath(clip.path))
    if same is None and clip.path.stat().st_size in sizes:
      if contents is None:
        contents = {store.remembered_digest(c.path): c for c in tests}
      same = contents.get(store.remembered_digest(clip.path))
    if same is not None:
      raise errors.InputError(
        f"config: adapt.data_dirs: {folder}: found {clip.path}, which is the"
        f" test clip {same.path}; expected no clip that is scored."
      )


class Classes(NamedTuple):
  """Classes of training clips, one set a criterion.

  Attributes:
    id: `[N, L]` int32, -1 for none.
    sets: the classes of each criterion.
    notes: what is odd about them.
  """

  id: np.ndarray
  sets: tuple[labels.Labels, ...]
  notes: list[str]

  @property
  def num(self) -> tuple[int, ...]:
    """Number of classes of each criterion."""
    return tuple(len(s.classes) for s in self.sets)


def classes_of(
  where: str,
  recipe: Recipe,
  some: Sequence[clips.Clip],
  features: labels.Features,
) -> Classes:
  """Classes of clips by the rules of a recipe's criteria.

  Args:
    where: place in the config, for messages.
    recipe: how an encoder is adapted.
    some: training clips N.
    features: of the rows of clips, for rules that group by sound.

  Returns:
    The classes.

  Raises:
    InputError: for fewer than two classes, or unknown rules.
  """
  sets, notes = [], []
  for criterion in recipe.criteria:
    rule = criterion["labels"]
    found = labels.of(rule, some, features=features)
    if len(found.classes) < 2:
      only = f"one class ({found.classes[0]})" if found.classes else "no class"
      other = "" if found.classes else _NO_ATTRIBUTES
      raise errors.InputError(
        f"{where}: labels {rule!r}: found {only} in {len(some)} training clips,"
        " expected two or more to tell apart: clips of several machines,"
        f" domains or attributes{other}."
      )
    counts = collections.Counter(i for i in found.id.tolist() if i >= 0)
    single = [found.classes[i] for i, num in sorted(counts.items()) if num == 1]
    if single:
      notes.append(
        f"{where}: labels {rule!r}: {len(single)} of {len(found.classes)}"
        f" classes have one clip ({_some(single)})"
      )
    sets.append(found)
  told = {
    c.machine for c in some if c.domain or names.attribute_pairs(c.attributes)
  }
  if silent := sorted({c.machine for c in some} - told):
    notes.append(
      f"{where}: found no attributes and no domains of {_some(silent)}: all"
      " clips of such a machine are one class"
    )
  ids = np.stack([s.id for s in sets], axis=1).astype(np.int32)
  return Classes(ids, tuple(sets), notes)


def told(about: Mapping[str, Any]) -> dict[str, str]:
  """Facts of an adaptation for people.

  Args:
    about: see `Adapter.about`.

  Returns:
    Texts by what they tell.
  """
  num = [sum(c["name"] is not None for c in s) for s in about["classes"]]
  return {
    "trains": about["trains"],
    "clips": f"{about['num_clips']} normal clips of"
    f" {len(about['machines'])} machines",
    "classes": f"{' and '.join(map(str, num))} classes",
  }


def _some(found: Sequence[str]) -> str:
  more = len(found) - _NAMED
  shown = ", ".join(found[:_NAMED])
  return f"{shown} and {more} more" if more > 0 else shown


def num_samples(
  where: str,
  branch: Branch,
  recipe: Recipe,
  some: Sequence[clips.Clip],
  rate: int,
) -> int:
  """Samples of all clips in training.

  Args:
    where: place in the config, for messages.
    branch: whose front end hears them.
    recipe: how its encoder is adapted.
    some: training clips.
    rate: Hz.

  Returns:
    Samples of a channel.

  Raises:
    InputError: if the encoder does not take that length, and for clips with
      too few channels.
  """
  least = 1 + max(recipe.channels or branch.channels)
  for clip in some:
    if clip.header.num_channels < least:
      raise errors.InputError(
        f"{clip.path}: found {clip.header.num_channels} channel, expected"
        f" {least}, which {where} learns from."
      )
  longest = max(audio.num_samples_at(c.header, rate) for c in some)
  num = round(recipe.seconds * rate) or longest
  try:
    encode.check_length({"": branch}, num)
    fewest = encode.min_samples({"": branch})
    if num < fewest:
      raise errors.InputError(f"found {num} samples, expected {fewest} or more")
  except errors.InputError as e:
    raise errors.InputError(f"{where}: clips of {num / rate:g} s: {e}") from e
  return num


class Batches:
  """Batches of training clips by their number.

  Args:
    where: place in the config, for messages.
    recipe: how an encoder is adapted.
    waves: waveforms of all clips.
    classes: `[N, L]` int32.
    some: the clips.
    seed: of their order.

  Attributes:
    num_steps: batches in all.
    epoch: batches of a pass, rounded up.

  Raises:
    InputError: if a batch is larger than the set.
  """

  def __init__(
    self,
    where: str,
    recipe: Recipe,
    waves: Waves,
    classes: np.ndarray,
    some: Sequence[clips.Clip],
    seed: int,
  ) -> None:
    self._waves, self._classes, self._clips = waves, classes, some
    self._size = recipe.batch_size
    held = round(recipe.valid_fraction * len(some))
    # The same for all seeds, whose criteria can be compared then.
    mixed = np.random.default_rng(0).permutation(len(some))
    self._valid, self._own = np.sort(mixed[:held]), np.sort(mixed[held:])
    num, size = len(self._own), self._size
    epochs = recipe.num_epochs
    if recipe.num_steps:
      epochs = -(-recipe.num_steps * size // num)
    try:
      self._order = Order(num, batch_size=size, num_epochs=epochs, seed=seed)
    except errors.InputError as e:
      raise errors.InputError(f"{where}: {e}") from e
    self.num_steps = recipe.num_steps or self._order.num_steps
    self.epoch = -(-num // size)

  def _at(self, index: np.ndarray) -> Tree:
    return {"wave": self._waves.rows(index), "labels": self._classes[index]}

  def at(self, step: int, rows: slice) -> Tree:
    """Rows of a batch: `wave` `[b, C, S]` and `labels` `[b, L]`."""
    return self._at(self._own[self._order.at(step)[rows]])

  def names(self, step: int) -> list[str]:
    """Names of the clips of a batch."""
    return [self._clips[i].name for i in self._own[self._order.at(step)]]

  def validation(self, loss: Callable[..., Array]) -> Validation | None:
    """Which state is the best, by the clips that are held out; None if none."""
    if not len(self._valid):
      return None
    size = min(self._size, len(self._valid))
    at = lambda i, rows: self._at(self._valid[i * size :][:size][rows])
    return Validation(loss, at, len(self._valid) // size, size, self.epoch)
