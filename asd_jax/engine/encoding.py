"""From a waveform to the features of every branch of a system."""

from collections.abc import Mapping, Sequence
from typing import Any

from asd_jax.data import audio
from asd_jax.engine.branch import Branch
from asd_jax.engine.stages import FITTED
from asd_jax.typing import Array

Tree = Any


def find_sources(branches: Mapping[str, Branch]) -> dict[str, str]:
  """Which branches have weights in common.

  Args:
    branches: by name.

  Returns:
    Branch to the first one with the same weights, of branches with a frozen
    encoder.
  """
  first: dict[Any, str] = {}
  out = {}
  for name, branch in branches.items():
    if branch.frozen:
      about, checkpoint = branch.frozen.encoder.about, branch.frozen.checkpoint
      what = about.family.name, repr(sorted(about.settings.items())), checkpoint
      out[name] = first.setdefault(what, name)
  return out


def _passes(
  branches: Mapping[str, Branch], names: Sequence[str]
) -> list[list[str]]:
  """Groups of branches that share a pass through a network."""
  groups: dict[str, list[str]] = {}
  for name in names:
    frozen = branches[name].frozen
    groups.setdefault(frozen.forward if frozen else name, []).append(name)
  return list(groups.values())


def _encoded(
  branches: Mapping[str, Branch], group: Sequence[str], params: Tree, x: Array
) -> dict[str, Array]:
  """Features of branches that share a pass: near and far, all layers at once.

  Args:
    branches: by name.
    group: names of the branches.
    params: of their frozen encoder; None if they have none.
    x: `[C', ...]` output of their front end.

  Returns:
    Features by branch.
  """
  frozen = branches[group[0]].frozen
  if frozen is None:
    return {n: branches[n].shortened(x) for n in group}
  layer = {n: f.layer for n in group if (f := branches[n].frozen)}
  layers = tuple(dict.fromkeys(layer.values()))
  tokens = frozen.encoder.apply(params, x, layers)
  return {n: branches[n].shortened(tokens[layer[n]].grid) for n in group}


def of_branches(branches: dict[str, Branch]) -> dict[str, Any]:
  """Fields of `System` about what comes before the encoders, and these.

  Args:
    branches: by name.

  Returns:
    `stages`, `front`, `measure`, `fit_front`, `pictures`, `made`, `encoded`,
    `encoders`, `sources`.
  """
  sources = find_sources(branches)

  def measure(stage: str, front: Tree, wave: Array) -> Tree:
    wave = audio.to_float(wave)
    return {
      n: b.front.measure[stage](front[n], wave)
      for n, b in branches.items()
      if stage in b.front.measure
    }

  def fit_front(stage: str, front: Tree, sums: Tree) -> Tree:
    out = dict(front)
    for n, s in sums.items():
      out[n] = {**front[n], stage: branches[n].front.fit[stage](s)}
    return out

  def pictures(
    front: Tree, wave: Array, names: Sequence[str]
  ) -> dict[str, Array]:
    wave = audio.to_float(wave)
    firsts = [group[0] for group in _passes(branches, names)]
    return {n: branches[n].front.apply(front[n], wave) for n in firsts}

  def made(front: Tree, wave: Array, draw: Tree, name: str) -> dict[str, Array]:
    wave = audio.to_float(wave)
    return {name: branches[name].front.made(front[name], wave, draw)}

  def encoded(
    weights: Tree, pictures: Tree, names: Sequence[str]
  ) -> dict[str, Array]:
    out = {}
    for group in _passes(branches, names):
      params = weights.get(sources.get(group[0], ""))
      out |= _encoded(branches, group, params, pictures[group[0]])
    return {n: out[n] for n in names}

  every = branches.values()
  frozen = {n: branches[n].frozen for n in dict.fromkeys(sources.values())}
  return {
    "stages": tuple(
      s for s in FITTED if any(s in b.front.measure for b in every)
    ),
    "front": {n: {s: {} for s in FITTED} for n in branches},
    "measure": measure,
    "fit_front": fit_front,
    "pictures": pictures,
    "made": made,
    "encoded": encoded,
    "sources": sources,
    "encoders": {n: (f.encoder, f.checkpoint) for n, f in frozen.items() if f},
  }
