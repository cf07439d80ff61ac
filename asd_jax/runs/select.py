"""Chooses members (branch, seed) of a system on labelled development data."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from asd_jax import errors, files

KIND = "asd_jax member selection"
_EXPECTED = "expected a file that scripts/select_members.py wrote"

Members = tuple[tuple[str, int], ...]


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
  members = results.get("per_member") or []
  if not members:
    raise errors.InputError(
      f"{path}: found no members, expected a run of several branches, such as"
      " configs/katech_system4.py."
    )
  return sorted(
    ((m["official_score"], m["branch"], m["seed"]) for m in members),
    key=lambda m: -m[0],
  )


def choose(results_file: Path, num: int) -> dict[str, Any]:
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
    "kind": KIND,
    "system": results["system"],
    "machines": sorted(results["machines"]),
    "members": [entry(m) for m in ranked[:num]],
    "left_out": [entry(m) for m in ranked[num:]],
  }


def write(path: Path, selection: Mapping[str, Any]) -> None:
  """Writes a selection file.

  Args:
    path: the file.
    selection: what `choose` returns.
  """
  text = json.dumps(selection, indent=2, allow_nan=False)
  files.atomic_write_text(Path(path), text + "\n")


def read(path: Path) -> Members:
  """Reads the members of a selection file.

  Args:
    path: the file.

  Returns:
    (branch, seed) pairs.

  Raises:
    InputError: if it is missing or not a selection file.
  """
  found = files.read_json(path)
  if found.get("kind") != KIND:
    raise errors.InputError(f"{path}: found another kind of file, {_EXPECTED}.")
  try:
    members = tuple((m["branch"], m["seed"]) for m in found["members"])
  except (KeyError, TypeError):
    members = ()
  if not members:
    raise errors.InputError(f"{path}: found no members, {_EXPECTED}.")
  return members


def applied(config: Mapping[str, Any]) -> dict[str, Any]:
  """A config with its selection file read into its members.

  Args:
    config: `selection` names a file, or is empty.

  Returns:
    The config, complete without the file.

  Raises:
    InputError: for a bad file, or if members are given besides.
  """
  if not config.get("selection"):
    return dict(config)
  if config["members"]:
    raise errors.InputError(
      "config: found both members and selection, expected one of them."
    )
  members: Sequence[Any] = read(Path(config["selection"]))
  return {**config, "members": tuple(members), "selection": ""}
