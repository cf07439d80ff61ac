"""Chooses what a config then names: members of a system, or features.

Members (branch, seed) are chosen on labelled development data, features of
`frontends/dif` on normal training clips alone. `engine/settings` reads the
files that are written here.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from asd_jax import errors, files
from asd_jax.data import audio, clips, decode
from asd_jax.engine import settings
from asd_jax.frontends import dif
from asd_jax.ops import shift

MODES = ("count", "threshold")


def ranking(
  results: Mapping[str, Any], path: Path
) -> list[tuple[float, str, int]]:
  """Members of a run by their own official score, best first.

  Args:
    results: content of a results.json.
    path: where it came from, for messages.

  Returns:
    (official score, branch, seed); ties in the order of the config.

  Raises:
    InputError: if members cannot be chosen on it.
  """
  kind = results.get("labels_from")
  if kind != "names":
    found = {None: "no labels", "ground_truth": "labels of an evaluation set"}
    raise errors.InputError(
      f"{path}: found {found.get(kind, kind)}; members are chosen on a labelled"
      " development set only, never on the set that is to be scored."
    )
  entries = results.get("per_member") or []
  if not entries:
    raise errors.InputError(
      f"{path}: found no members, expected a run of several branches, such as"
      " configs/katech_system4.py."
    )
  if any(m["official_score"] is None for m in entries):
    over = results.get("official_score_over") or {}
    why = "; ".join(f"{n}: {w}" for n, w in over.get("missing", {}).items())
    raise errors.InputError(
      f"{path}: found no official score ({why}), expected machines with normal"
      " and anomalous test clips of known domains."
    )
  return sorted(
    ((m["official_score"], m["branch"], m["seed"]) for m in entries),
    key=lambda m: -m[0],
  )


def members(results_file: Path, num: int) -> dict[str, Any]:
  """Chooses the members with the best official score.

  Args:
    results_file: results.json of a run of all members, or its folder.
    num: how many.

  Returns:
    Content of a selection file.

  Raises:
    InputError: see `ranking`; or for a number out of range.
  """
  path = Path(results_file)
  path = path / "results.json" if path.is_dir() else path
  results = files.read_json(path)
  ranked = ranking(results, path)
  if not 1 <= num <= len(ranked):
    raise errors.InputError(
      f"--num: found {num}, expected 1 to {len(ranked)}, the members of {path}."
    )
  entry = lambda m: {"official_score": m[0], "branch": m[1], "seed": m[2]}
  return {
    "kind": settings.MEMBERS.kind,
    "system": results["system"],
    "machines": sorted(results["machines"]),
    "members": [entry(m) for m in ranked[:num]],
    "left_out": [entry(m) for m in ranked[num:]],
  }


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
    # Samples after the rate is changed, known before anything is decoded.
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
    for batch in decode.batches(machine.train, batch_size=batch_size):
      # The last batch is filled up with clips that do not count.
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


def features(
  data_dir: Path,
  *,
  mode: str = "count",
  num: int = 31,
  # Ten target clips are about 0.37 away from the source clips without any
  # shift: a limit below 0.5 would drop features at random.
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
  # Distances are in units of each machine's own source clips, so that none of
  # them decides for all.
  mean = each.mean(0)
  if mode == "count":
    keep, implied = (np.asarray(x) for x in shift.drop_largest(mean, num))
    # What would have dropped the same features, for a reader to compare with.
    limit = float(implied)
  else:
    keep = np.asarray(shift.drop_above(mean, limit))
  if not keep.any():
    raise errors.InputError(
      f"--limit: found no feature at or below {limit}, expected more than"
      f" {mean.min():.3f}, the smallest distance."
    )
  return {
    "kind": settings.FEATURES.kind,
    "mode": mode,
    "limit": limit if math.isfinite(limit) else None,
    "machines": [m.name for m in found],
    "kept": _entries(keep, mean),
    # Beside the kept ones, so that a close decision can be seen.
    "left_out": _entries(~keep, mean),
    "distances": {
      m.name: [float(x) for x in row]
      for m, row in zip(found, each, strict=True)
    },
  }


def write(path: Path, selection: Mapping[str, Any]) -> None:
  """Writes a selection file.

  Args:
    path: the file.
    selection: what `members` or `features` returns.
  """
  text = json.dumps(selection, indent=2, allow_nan=False)
  files.atomic_write_text(Path(path), text + "\n")
