"""Detectors on disk: fitted states, thresholds and the config they need."""

import functools
import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import flax.serialization
import flax.traverse_util
import jax
import numpy as np
import safetensors
import safetensors.numpy

from asd_jax import errors, files
from asd_jax.encoders import load as weights
from asd_jax.engine import encode
from asd_jax.engine import system as system_lib
from asd_jax.engine import train as train_lib

Tree = Any
FORMAT = 3
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
  folder: Path, system: system_lib.System, loaded: Mapping[str, weights.Loaded]
) -> dict[str, str]:
  """Writes the weights that detectors need, each once.

  Args:
    folder: of the run; they go to `encoders` in it.
    system: the system.
    loaded: weights by source.

  Returns:
    Their digests by source.
  """
  encoders = encode.encoders(system.branches)
  for source, found in loaded.items():
    weights.keep(folder / ENCODERS, encoders[source][0], found)
  return {source: found.digest for source, found in loaded.items()}


def read_weights(detector: Detector, folder: Path) -> dict[str, weights.Loaded]:
  """Reads the weights that a detector needs.

  Args:
    detector: the detector.
    folder: where it was read from, `OUT/detectors/<machine>`.

  Returns:
    Weights by source.

  Raises:
    InputError: if they are not in `OUT/encoders`, or damaged.
  """
  beside = Path(folder).absolute().parent.parent / ENCODERS
  encoders = encode.encoders(detector.system.branches)
  return {
    source: weights.read_kept(beside, digest, encoders[source][0])
    for source, digest in detector.encoders.items()
  }


def _flat(state: Tree) -> dict[str, np.ndarray]:
  nested = flax.serialization.to_state_dict(state)
  flat = flax.traverse_util.flatten_dict(nested, sep="/")
  return {k: np.ascontiguousarray(v) for k, v in flat.items() if v is not None}


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
  for name, section in detector.sections.items():
    data = safetensors.numpy.save(_flat(section.state))
    file = f"section_{name}.safetensors"
    files.atomic_write_bytes(folder / file, data)
    index["sections"][name] = {
      "file": file,
      "sha256": hashlib.sha256(data).hexdigest(),
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
    index = json.loads(path.read_text())
  except (OSError, ValueError) as e:
    raise errors.InputError(
      f"{path}: found no detector ({type(e).__name__}), expected a folder like"
      " OUT/detectors/<machine> of an evaluate run."
    ) from None
  if not isinstance(index, dict) or index.get("format") != FORMAT:
    found = index.get("format") if isinstance(index, dict) else None
    raise errors.InputError(
      f"{path}: found detector format {found!r}, this version reads {FORMAT};"
      " run evaluate.py again."
    )
  try:
    config = index["config"]
    system = system_lib.build(config)
    sections = {
      name: _load_section(Path(folder), entry, system)
      for name, entry in index["sections"].items()
    }
    if not sections or any(v.threshold is None for v in sections.values()):
      raise KeyError("sections")
    encoders = index["encoders"]
    if encoders.keys() != encode.encoders(system.branches).keys():
      raise KeyError("encoders")
    return Detector(index["machine"], config, system, sections, encoders)
  except ValueError as e:
    raise errors.InputError(
      e if str(folder) in str(e) else f"{path}: {e}"
    ) from e
  except (KeyError, TypeError, AttributeError) as e:
    raise errors.InputError(
      f"{path}: found damaged content ({e!r}), expected a whole detector."
    ) from e


def _load_section(
  folder: Path,
  entry: Mapping[str, Any],
  system: system_lib.System,
) -> Section:
  path = folder / entry["file"]
  try:
    data = path.read_bytes()
  except OSError as e:
    raise errors.InputError(
      f"{path}: found no readable file ({e.strerror})."
    ) from None
  if hashlib.sha256(data).hexdigest() != entry["sha256"]:
    raise errors.InputError(
      f"{path}: found other bytes than detector.json names."
    )
  normals = train_lib.abstract_normals(system, entry["num_samples"])
  fit = functools.partial(system_lib.fit, system)
  like = jax.eval_shape(fit, system.hypers, normals)
  try:
    flat = safetensors.numpy.load(data)
  except safetensors.SafetensorError as e:
    raise errors.InputError(
      f"{path}: found no safetensors file ({e})."
    ) from None
  state = _unflatten(path, flat, like)
  facts = {
    k: v
    for k, v in entry.items()
    if k not in ("file", "sha256", "thresholds", "rule")
  }
  return Section(state, entry["thresholds"], entry["rule"], facts)


def _unflatten(path: Path, flat: dict[str, np.ndarray], like: Tree) -> Tree:
  nested = flax.serialization.to_state_dict(like)
  want = flax.traverse_util.flatten_dict(nested, sep="/", keep_empty_nodes=True)
  empty = flax.traverse_util.empty_node
  names = {k for k, v in want.items() if v is not empty and v is not None}
  if names != set(flat):
    odd = sorted(names ^ set(flat))[:5]
    raise errors.InputError(
      f"{path}: found other arrays than the config needs: {odd}."
    )
  filled = {k: flat.get(k, v) for k, v in want.items()}
  nested = flax.traverse_util.unflatten_dict(filled, sep="/")
  return flax.serialization.from_state_dict(like, nested)
