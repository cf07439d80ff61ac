"""Detectors on disk: fitted states, thresholds and the config they need."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from asd_jax import errors, files, store
from asd_jax.encoders import load as weights
from asd_jax.engine import decide, identity, sources, structure
from asd_jax.engine import section as section_lib
from asd_jax.engine import system as system_lib

Tree = Any
FORMAT = 5
# Folder of encoder weights beside the detectors of a run.
ENCODERS = "encoders"


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
  sections: dict[str, section_lib.Section]
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
    # The models of folds share most arrays with the whole: each is kept once.
    both = {"state": section.state, "folds": section.folds}
    arrays, nesting = structure.flatten(both, records)
    digest = kept.put(_key(name), arrays, {"state": nesting})
    index["sections"][name] = {
      "digest": digest,
      "threshold": section.limit,
      "rule": section.rule._asdict(),
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
    num = sources.num_folds(config)
    wanted = sources.encoders(system.branches, num_folds=num)
    if encoders.keys() != wanted.keys():
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
) -> dict[str, section_lib.Section]:
  records = _records(index["config"])
  sections = {}
  for name, entry in index["sections"].items():
    both = _read_state(folder, name, entry["digest"], records)
    state, folds = both["state"], both["folds"]
    if state["branches"].keys() != system.branches.keys():
      raise KeyError("branches")
    told = ("digest", "threshold", "rule")
    facts = {k: v for k, v in entry.items() if k not in told}
    rule = decide.read_rule({"threshold": entry["rule"]})
    sections[name] = section_lib.Section(
      state, folds, entry["threshold"], rule, facts
    )
    sections[name].about()  # which misses what an edited index has lost
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
