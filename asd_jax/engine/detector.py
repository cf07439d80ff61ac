"""Detectors on disk: fitted states, thresholds and the config they need."""

import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from asd_jax import errors, files, store
from asd_jax.encoders import load as weights
from asd_jax.engine import encode, identity, structure
from asd_jax.engine import system as system_lib

Tree = Any
FORMAT = 4
# Folder of encoder weights beside the detectors of a run.
ENCODERS = "encoders"


class Section(NamedTuple):
  """One section of a machine, ready to score.

  Attributes:
    state: fitted state of the system.
    thresholds: rule to value, each from training clips; None is infinite.
    rule: the one in force.
    facts: what the file says besides, such as `num_train`.
  """

  state: Tree
  thresholds: dict[str, float | None]
  rule: str
  facts: dict[str, Any]

  @property
  def threshold(self) -> float:
    """The value in force; a greater score is anomalous."""
    value = self.thresholds[self.rule]
    return math.inf if value is None else value


class Detector(NamedTuple):
  """A machine's detector.

  Attributes:
    machine: machine type.
    config: config of the system, plain data.
    system: built from the config.
    sections: section to fitted state and thresholds.
    encoders: digests of the weights of its frozen encoders, by source.
  """

  machine: str
  config: dict[str, Any]
  system: system_lib.System
  sections: dict[str, Section]
  encoders: dict[str, str]


def keep_weights(
  folder: Path, loaded: Mapping[str, weights.Loaded]
) -> dict[str, str]:
  """Writes the weights that detectors need, each once.

  Args:
    folder: of the run; they go to `encoders` in it.
    loaded: weights by source.

  Returns:
    Their digests by source.
  """
  for found in loaded.values():
    weights.keep(folder / ENCODERS, found)
  return {source: found.digest for source, found in loaded.items()}


def weights_of(detector: Detector, folder: Path) -> weights.Origin:
  """Where the weights are that a detector needs.

  Args:
    detector: the detector.
    folder: where it was read from, `OUT/detectors/<machine>`.

  Returns:
    Their place, `OUT/encoders`.
  """
  beside = Path(folder).absolute().parent.parent / ENCODERS
  return weights.Origin(beside, kept=detector.encoders)


def _store(folder: Path) -> store.Store:
  # Without the version of the code: a detector outlives it, and says itself
  # what it is made of.
  return store.Store(folder, form=FORMAT)


def _key(section: str) -> str:
  return f"section_{section}"


def _records(config: Mapping[str, Any]) -> list[type]:
  """Types that a state may be made of: ours, and those of own stages."""
  ours = [m for n, m in sys.modules.items() if n.startswith("asd_jax.")]
  return structure.records([*ours, *identity.own_modules(config["branches"])])


def save(folder: Path, detector: Detector) -> None:
  """Writes a detector; the index comes last, so a torn one is noticed.

  Args:
    folder: made if missing.
    detector: what to write.

  Raises:
    InputError: if the folder cannot be written.
  """
  index: dict[str, Any] = {
    "format": FORMAT,
    "machine": detector.machine,
    "config": detector.config,
    "encoders": detector.encoders,
    "sections": {},
  }
  kept, records = _store(folder), _records(detector.config)
  for name, section in detector.sections.items():
    # How the arrays are nested lies beside them: nothing need be fitted again
    # to know it.
    arrays, nesting = structure.flatten(section.state, records)
    digest = kept.put(_key(name), arrays, {"state": nesting})
    index["sections"][name] = {
      "digest": digest,
      "thresholds": section.thresholds,
      "rule": section.rule,
      **section.facts,
    }
  text = json.dumps(index, indent=2, allow_nan=False)
  files.atomic_write_text(folder / "detector.json", text)


def load(folder: Path) -> Detector:
  """Reads a detector.

  Args:
    folder: written by `save`.

  Returns:
    The detector.

  Raises:
    InputError: if a file is missing, damaged or of another format.
  """
  path = Path(folder) / "detector.json"
  try:
    index = files.read_json(path)
  except errors.InputError as e:
    kind = type(e.__cause__ or e).__name__
    raise errors.InputError(
      f"{path}: found no detector ({kind}), expected a folder like"
      " OUT/detectors/<machine> of an evaluate run."
    ) from None
  if index.get("format") != FORMAT:
    raise errors.InputError(
      f"{path}: found detector format {index.get('format')!r}, this version"
      f" reads {FORMAT}; run evaluate.py again."
    )
  try:
    config = index["config"]
    system = system_lib.build(config)
    sections = _read_sections(Path(folder), index, system)
    encoders = index["encoders"]
    if encoders.keys() != encode.encoders(system.branches).keys():
      raise KeyError("encoders")
    return Detector(index["machine"], config, system, sections, encoders)
  except errors.InputError as e:
    raise errors.InputError(
      e if str(folder) in str(e) else f"{path}: {e}"
    ) from e
  # An index that somebody edited may hold anything where a value is expected.
  except (AttributeError, LookupError, TypeError, ValueError) as e:
    raise errors.InputError(
      f"{path}: found damaged content ({e!r}), expected a whole detector."
    ) from e


def _read_sections(
  folder: Path, index: Mapping[str, Any], system: system_lib.System
) -> dict[str, Section]:
  records = _records(index["config"])
  sections = {}
  for name, entry in index["sections"].items():
    state = _read_state(folder, name, entry["digest"], records)
    if state["branches"].keys() != system.branches.keys():
      raise KeyError("branches")
    told = ("digest", "thresholds", "rule")
    facts = {k: v for k, v in entry.items() if k not in told}
    section = Section(state, entry["thresholds"], entry["rule"], facts)
    if section.threshold is None:
      raise KeyError("thresholds")
    sections[name] = section
  if not sections:
    raise KeyError("sections")
  return sections


def _read_state(
  folder: Path, section: str, digest: str, records: list[type]
) -> Tree:
  kept = _store(folder)
  path, found = kept.path(_key(section)), kept.get(_key(section))
  if found is None or found.digest != digest:
    what = "another state than detector.json names"
    if found is None:
      what = "damaged content" if kept.damaged else "no state"
    raise errors.InputError(
      f"{path}: found {what}, expected what evaluate.py wrote; run it again."
    )
  try:
    return structure.rebuild(found.arrays, found.facts["state"], records)
  except errors.InputError as e:
    raise errors.InputError(f"{path}: {e}") from e
