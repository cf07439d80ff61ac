"""Chooses the domain-invariant features that move least between domains."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from asd_jax import errors, files
from asd_jax.data import audio, clips
from asd_jax.frontends import dif
from asd_jax.ops import shift

KIND = "asd_jax feature selection"
MODES = ("count", "threshold")
_EXPECTED = "expected a file that scripts/select_features.py wrote"


def _check(machine: clips.Machine, rate: int) -> None:
  """Refuses training clips that say nothing of a shift."""
  for domain in ("source", "target"):
    if not any(clip.domain == domain for clip in machine.train):
      raise errors.InputError(
        f"{machine.name}: found no training clips of the {domain} domain,"
        " expected both domains."
      )
  least = dif.min_samples()
  for clip in machine.train:
    head = clip.header
    num = head.num_samples * rate // head.sample_rate
    if head.num_channels < 2 or num < least:
      raise errors.InputError(
        f"{clip.path}: found {head.num_channels} channels of {num} samples at"
        f" {rate} Hz, expected 2 (near and far) of {least} or more."
      )


def distances(
  machines: Sequence[clips.Machine], *, batch_size: int = 16
) -> np.ndarray:
  """Shift of every candidate feature, machine by machine.

  Args:
    machines: their training clips are read.
    batch_size: clips in a batch.

  Returns:
    `[machines, 151]` distances between source and target training clips.

  Raises:
    InputError: for clips that cannot be used, before any is decoded.
  """
  rate = audio.SAMPLE_RATE
  for machine in machines:
    _check(machine, rate)
  compute = jax.jit(jax.vmap(lambda x: dif.candidates(audio.to_float(x))))
  measure = jax.jit(shift.domain_shift)
  out = []
  for machine in machines:
    found = np.zeros((len(machine.train), len(dif.NAMES)), np.float32)
    for batch in audio.batches(machine.train, batch_size=batch_size):
      keep = batch.index >= 0
      found[batch.index[keep]] = np.asarray(compute(batch.audio))[keep]
    is_target = np.array([clip.domain == "target" for clip in machine.train])
    out.append(measure(found[~is_target], found[is_target]))
  return np.stack(out)


def _entries(rows: np.ndarray, distance: np.ndarray) -> list[dict[str, Any]]:
  return [
    {"name": name, "distance": float(x)}
    for name, x, row in zip(dif.NAMES, distance, rows, strict=True)
    if row
  ]


def choose(
  data_dir: Path,
  *,
  mode: str = "count",
  num: int = 31,
  limit: float = 0.6,
  machines: Sequence[str] = (),
) -> dict[str, Any]:
  """Chooses features on the training clips of all machines.

  Args:
    data_dir: folders of the challenge.
    mode: `"count"` drops the `num` features with the largest mean distance
      over machines, `"threshold"` those above `limit`.
    num: how many to drop.
    limit: largest mean distance that is kept.
    machines: names; all if empty.

  Returns:
    Content of a selection file.

  Raises:
    InputError: for an impossible setting, or clips that cannot be used.

  Source: [KonicaMinolta26] Sec. 2.1.2.
  """
  if mode not in MODES:
    raise errors.InputError(f"--mode: found {mode!r}, expected one of {MODES}.")
  if not 0 <= num < len(dif.NAMES):
    raise errors.InputError(
      f"--num: found {num}, expected 0 to {len(dif.NAMES) - 1}, of the"
      f" {len(dif.NAMES)} candidates."
    )
  if not (math.isfinite(limit) and limit > 0.0):
    raise errors.InputError(
      f"--limit: found {limit}, expected a number above 0."
    )
  found = clips.read_tree(data_dir, machines=machines)
  each = distances(found)
  mean = each.mean(0)
  if mode == "count":
    keep, implied = (np.asarray(x) for x in shift.drop_largest(mean, num))
    limit = float(implied)
  else:
    keep = np.asarray(shift.drop_above(mean, limit))
  if not keep.any():
    raise errors.InputError(
      f"--limit: found no feature at or below {limit}, expected more than"
      f" {mean.min():.3f}, the smallest distance."
    )
  return {
    "kind": KIND,
    "mode": mode,
    "limit": limit if math.isfinite(limit) else None,
    "machines": [m.name for m in found],
    "kept": _entries(keep, mean),
    "left_out": _entries(~keep, mean),
    "distances": {
      m.name: [float(x) for x in row]
      for m, row in zip(found, each, strict=True)
    },
  }


def write(path: Path, chosen: Mapping[str, Any]) -> None:
  """Writes a selection file.

  Args:
    path: the file.
    chosen: what `choose` returns.
  """
  text = json.dumps(chosen, indent=2, allow_nan=False)
  files.atomic_write_text(Path(path), text + "\n")


def read(path: Path) -> tuple[str, ...]:
  """Reads the names of the kept features of a selection file.

  Args:
    path: the file.

  Returns:
    Names.

  Raises:
    InputError: if it is missing or not such a file.
  """
  found = files.read_json(Path(path))
  if found.get("kind") != KIND:
    raise errors.InputError(f"{path}: found another kind of file, {_EXPECTED}.")
  try:
    names = tuple(entry["name"] for entry in found["kept"])
    dif.chosen(names)
  except (KeyError, TypeError, ValueError):
    raise errors.InputError(f"{path}: found no names, {_EXPECTED}.") from None
  return names


def applied(config: Mapping[str, Any]) -> dict[str, Any]:
  """A config with its selection file read into its front ends.

  Args:
    config: `feature_selection` names a file, or is empty.

  Returns:
    The config, complete without the file.

  Raises:
    InputError: for a bad file, or where no front end takes features.
  """
  if not config.get("feature_selection"):
    return dict(config)
  path = Path(config["feature_selection"])
  features = read(path)
  branches = {}
  for name, spec in config["branches"].items():
    front = dict(spec["frontend"])
    if front["name"] in dif.FRONTENDS:
      front["features"] = features
    branches[name] = {**spec, "frontend": front}
  if not any(
    "features" in spec["frontend"] and spec["frontend"]["features"] == features
    for spec in branches.values()
  ):
    raise errors.InputError(
      "config: found feature_selection, but no branch with frontend 'dif'."
    )
  return {**config, "branches": branches, "feature_selection": ""}
