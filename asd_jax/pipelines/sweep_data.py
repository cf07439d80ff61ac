"""Features and trained encoders of a sweep, computed once where shared."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from asd_jax.data import clips
from asd_jax.pipelines import build, features, gather, results, stages
from asd_jax.pipelines import progress as progress_lib
from asd_jax.pipelines.sweep_engine import Clips

Config = Mapping[str, Any]
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

  def mark(self) -> list[Any]:
    """What the clips and labels are, for a fingerprint."""
    files = [
      [str(c.path), s.st_size, s.st_mtime_ns, c.domain, c.label]
      for c in (*self.train, *self.test)
      for s in [c.path.stat()]
    ]
    return [self.machine, self.section, files]


def sections(machines: Sequence[clips.Machine]) -> list[Section]:
  """All sections that can be measured.

  Args:
    machines: clips of each machine.

  Returns:
    Sections with labelled test clips of both classes.

  Raises:
    ValueError: if there is a section whose labels are unknown, or none at all.
  """
  out = []
  for machine in machines:
    for section in sorted({c.section for c in machine.test}):
      train = tuple(c for c in machine.train if c.section == section)
      test = tuple(c for c in machine.test if c.section == section)
      if not train:
        raise ValueError(
          f"{machine.name}: found test clips of section {section} without"
          " training clips."
        )
      is_anomaly, is_target = results.flags_of(test)
      if is_anomaly is None:
        raise ValueError(
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
    raise ValueError(
      "found no section with normal and anomalous test clips, so no setting"
      " can be measured."
    )
  return out


def feature_mark(config: Config) -> str:
  """Names what decides the features and trained encoders of a config."""
  kept = {
    name: {
      key: spec[key]
      for key in (*stages.TABLES, "channels")
      if key not in _SCORING
    }
    for name, spec in config["branches"].items()
  }
  return json.dumps(kept, sort_keys=True, default=str)


class Collector:
  """Computes features of sections; compiles once.

  Args:
    config: of a structure.
    progress: where progress is shown.
  """

  def __init__(self, config: Config, progress: progress_lib.Progress) -> None:
    self._config, self._progress = config, progress
    self.system = build.build(config)
    self._gather = gather.Gatherer(self.system, config, progress)

  def check(self, some: Sequence[Section]) -> None:
    """Refuses clips that the system cannot use."""
    for section in some:
      both = (*section.train, *section.test)
      features.check(self.system, both, self._config["sample_rate"])

  def collect(self, section: Section) -> tuple[Clips, list[str]]:
    """Features of one section.

    Args:
      section: its clips.

    Returns:
      Clips on the device, and notes.
    """
    total = len(section.train) + len(section.test)
    advance = self._progress.task(f"{section.name} features", total)
    normals, notes = self._gather.normals(section.name, section.train, advance)
    tests, more = self._gather.clips(normals.front, section.test, advance)
    order = jnp.asarray(tests.order)
    return Clips(normals, tests.features, order), notes + more


def by_features(configs: Sequence[Config]) -> Iterator[list[int]]:
  """Groups of structures that share their features.

  Args:
    configs: one a structure.

  Yields:
    Numbers of the structures of a group.
  """
  groups: dict[str, list[int]] = {}
  for i, config in enumerate(configs):
    groups.setdefault(feature_mark(config), []).append(i)
  yield from groups.values()
