"""Features and trained encoders of a sweep, computed once where shared."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from asd_jax import errors
from asd_jax.data import clips, decode
from asd_jax.engine import session, stages
from asd_jax.runs import progress as progress_lib
from asd_jax.runs import results
from asd_jax.runs.sweep.points import Clips

Config = dict[str, Any]
# Features that are held for the structures to come, bytes; what is beyond is
# computed again, where no cache has it.
_MOST_HELD = 2**30
# Stages behind the features.
_SCORING = (*stages.SWEPT, "key")


class Section(NamedTuple):
  """The clips of one section with what is known about the test clips.

  Attributes:
    machine: machine type.
    section: two digits.
    train: training clips.
    test: test clips.
    is_anomaly: `[Q]` bool.
    is_target: `[Q]` bool, or None if the domains are unknown.
  """

  machine: str
  section: str
  train: tuple[clips.Clip, ...]
  test: tuple[clips.Clip, ...]
  is_anomaly: np.ndarray
  is_target: np.ndarray | None

  @property
  def name(self) -> str:
    """Machine and section."""
    return f"{self.machine} {self.section}"

  @property
  def labels(self) -> tuple[np.ndarray, np.ndarray]:
    """`[Q]` anomaly and target flags; unknown domains count as source."""
    target = self.is_target
    none = np.zeros(len(self.is_anomaly), bool)
    return self.is_anomaly, none if target is None else target

  def content(self) -> list[Any]:
    """What the clips and labels are: bytes, not names and times.

    Returns:
      Plain data; a copy of the same recordings elsewhere has the same.
    """
    some = (*self.train, *self.test)
    told = [[decode.digest(c), c.domain, c.label] for c in some]
    return [self.machine, self.section, len(self.train), told]


def sections(machines: Sequence[clips.Machine]) -> list[Section]:
  """All sections that can be measured.

  Args:
    machines: clips of each machine.

  Returns:
    Sections with labelled test clips of both classes.

  Raises:
    InputError: if there is a section whose labels are unknown, or none at all.
  """
  out = []
  for machine in machines:
    for section in sorted({c.section for c in machine.test}):
      train = tuple(c for c in machine.train if c.section == section)
      test = tuple(c for c in machine.test if c.section == section)
      if not train:
        raise errors.InputError(
          f"{machine.name}: found test clips of section {section} without"
          " training clips."
        )
      is_anomaly, is_target = results.flags_of(test)
      if is_anomaly is None:
        raise errors.InputError(
          f"{machine.name} {section}: found test clips without labels, and a"
          " sweep compares settings by their metrics; give"
          " --config.ground_truth=DIR, or --config.machines=... with labels."
        )
      if len(set(is_anomaly)) < 2:
        continue
      target = None if is_target is None else np.array(is_target)
      out.append(
        Section(
          machine.name, section, train, test, np.array(is_anomaly), target
        )
      )
  if not out:
    raise errors.InputError(
      "found no section with normal and anomalous test clips, so no setting"
      " can be measured."
    )
  return out


def feature_key(config: Config) -> str:
  """Names what decides the features and trained encoders of a config."""
  kept = {
    name: {
      key: spec[key]
      for key in (*stages.TABLES, "channels")
      if key not in _SCORING
    }
    for name, spec in config["branches"].items()
  }
  return stages.text_of(kept)


def _of_passes(config: Config) -> Config:
  """What decides the passes through frozen encoders, and other features.

  A pass gives all layers of a network, however they are pooled.
  """
  kept = {}
  if config["members"]:  # seeds belong to branches by their names
    return config
  for name, spec in config["branches"].items():
    encoder = dict(spec["encoder"])
    if "layer" in encoder:
      del encoder["layer"]
      spec = {**spec, "encoder": encoder, "pooling": None}
    kept[name] = spec
  return {**config, "branches": kept}


def by_passes(configs: Sequence[Config]) -> Iterator[list[int]]:
  """Groups of structures whose features come from the same passes.

  Args:
    configs: one a structure.

  Yields:
    Numbers of the structures of a group.
  """
  groups: dict[str, list[int]] = {}
  for i, config in enumerate(configs):
    groups.setdefault(feature_key(_of_passes(config)), []).append(i)
  yield from groups.values()


def _merged(configs: Sequence[Config]) -> tuple[Config, list[dict[str, str]]]:
  """One config with the features of several.

  Args:
    configs: of structures.

  Returns:
    The config, and for each structure its branches' names in there.
  """
  known: dict[str, str] = {}
  branches, places = {}, []
  for config in configs:
    place = {}
    for name, spec in config["branches"].items():
      own_key = feature_key({"branches": {name: spec}})
      own = known.setdefault(own_key, f"{name} {len(known)}")
      branches.setdefault(own, spec)
      place[name] = own
    places.append(place)
  if len(configs) == 1:  # trained encoders are kept by their branch
    return configs[0], [{n: n for n in configs[0]["branches"]}]
  return {**configs[0], "branches": branches, "members": ()}, places


class Collector:
  """Computes features of sections for some structures; compiles once.

  Args:
    configs: of the structures.
    progress: where progress is shown.
  """

  def __init__(
    self, configs: Sequence[Config], progress: progress_lib.Progress
  ) -> None:
    unique = list({feature_key(c): c for c in configs}.values())
    self._config, places = _merged(unique)
    keys = [feature_key(c) for c in unique]
    self._places = dict(zip(keys, places, strict=True))
    self._progress = progress
    self._opened = session.of_config(self._config, tell=progress.adaptation)
    self._held: dict[str, Clips] = {}
    self._room = _MOST_HELD

  def open(self) -> dict[str, str]:
    """Reads the weights of frozen encoders.

    Returns:
      Their digests by source.
    """
    return {n: w.digest for n, w in self._opened.weights.items()}

  def close(self) -> dict[str, Any]:
    """Lets go of weights, programs and features.

    Returns:
      What `frozen.facts` says.
    """
    facts = self._opened.facts()
    del self._opened, self._held
    return facts

  def check(self, some: Sequence[Section]) -> None:
    """Refuses clips that the system cannot use."""
    for section in some:
      self._opened.check((*section.train, *section.test))

  def collect(self, section: Section) -> tuple[Clips, list[str]]:
    """Features of one section, for all structures.

    Args:
      section: its clips.

    Returns:
      Clips on the device, and notes of the first time.
    """
    found, notes = self._held.get(section.name), []
    if found is None:
      found, notes = self._computed(section)
      size = sum(x.nbytes for x in jax.tree.leaves(found))
      if size <= self._room:
        self._held[section.name] = found
        self._room -= size
    # On the device: chunk after chunk of settings uses them.
    return jax.device_put(found), notes

  def _computed(self, section: Section) -> tuple[Clips, list[str]]:
    """Features of one section on the host, and notes."""
    total = len(section.train) + len(section.test)
    advance = self._progress.task(f"{section.name} features", total)
    normals, notes = self._opened.normals(
      section.train,
      advance=advance,
      on_epoch=self._progress.epochs(section.name),
    )
    tests, more = self._opened.features(
      normals.front, section.test, section.train, advance
    )
    found = jax.device_get(Clips(normals, tests.features, tests.order))
    return found, notes + more

  def of_structure(self, config: Config, found: Clips) -> Clips:
    """The features that one structure needs.

    Args:
      config: of the structure.
      found: what `collect` returns.

    Returns:
      The same with this structure's branches.
    """
    place = self._places[feature_key(config)]
    own = lambda tree: {n: tree[p] for n, p in place.items() if p in tree}
    normals = found.normals.replace(
      front=own(found.normals.front),
      features=tuple(own(g) for g in found.normals.features),
      trained=own(found.normals.trained),
      augmented=own(found.normals.augmented),
    )
    return Clips(normals, tuple(own(g) for g in found.tests), found.order)
