"""What a sweep's programs run over: clips of a section, points of a branch."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.struct
import numpy as np

from asd_jax.engine.normals import Normals
from asd_jax.runs.sweep.grid import Structure
from asd_jax.typing import Array

Path = tuple[str, ...]


class Clips(flax.struct.PyTreeNode):
  """Training and test clips of one section, on the device.

  Attributes:
    normals: the training clips.
    tests: for each shape of features, `{branch: [n, C, ...]}`.
    order: `[Q]` place of each test clip in the concatenation of `tests`.
  """

  normals: Normals
  tests: tuple[dict[str, Array], ...]
  order: Array


class BranchGrid(NamedTuple):
  """The settings that move one branch.

  Attributes:
    paths: leaves of the branch's hyperparameters, swept ones.
    values: `[P]` one array a path: every combination, the first path slowest.
    place: `[points of the structure]` number of the combination of each.
    run: combinations in a row that have the same `view.alpha`.
  """

  paths: tuple[Path, ...]
  values: tuple[np.ndarray, ...]
  place: np.ndarray
  run: int = 1

  @property
  def num(self) -> int:
    """Combinations."""
    return len(self.values[0]) if self.values else 1


def set_leaves(
  tree: Mapping[str, Any], paths: tuple[Path, ...], values: tuple[Any, ...]
) -> dict[str, Any]:
  """A nested dict with some leaves replaced.

  Args:
    tree: nested dicts.
    paths: to the leaves.
    values: new leaves.

  Returns:
    A new dict.
  """
  out = {k: dict(v) if isinstance(v, dict) else v for k, v in tree.items()}
  for path, value in zip(paths, values, strict=True):
    head, *rest = path
    if rest:
      out[head] = set_leaves(out[head], (tuple(rest),), (value,))
    else:
      out[head] = value
  return out


def branch_grid(structure: Structure, name: str) -> BranchGrid:
  """The combinations of floats that one branch sees.

  Args:
    structure: the structure.
    name: of the branch, or "" for weights and fusion.

  Returns:
    The grid; `view.alpha` is its slowest axis, for the quick way.
  """
  shape = [len(a.values) for a in structure.axes]
  owns = lambda full: (
    full.startswith(f"{name}.")
    if name
    else full.startswith(("weight.", "fusion."))
  )
  hits = [
    (i, [m for m in structure.targets[a.key] if owns(m)])
    for i, a in enumerate(structure.axes)
  ]
  hits = [(i, fulls) for i, fulls in hits if fulls]
  # The quick way computes distances once for all settings of one alpha.
  hits.sort(key=lambda hit: not hit[1][0].endswith(".view.alpha"))
  numbers = np.indices(shape).reshape(len(shape), math.prod(shape))
  if not hits:
    return BranchGrid((), (), np.zeros(math.prod(shape), np.int64))
  own = [shape[i] for i, _ in hits]
  place = np.ravel_multi_index([numbers[i] for i, _ in hits], own)
  combos = np.indices(own).reshape(len(own), -1)
  paths, values = [], []
  for (i, fulls), row in zip(hits, combos, strict=True):
    taken = np.asarray(structure.axes[i].values, np.float32)[row]
    for full in fulls:
      path = tuple(full.split("."))
      paths.append(path[1:] if name else path)
      values.append(taken)
  leads = paths[0][-2:] == ("view", "alpha")
  run = math.prod(own[1:] if leads else own)
  return BranchGrid(tuple(paths), tuple(values), place, run)
