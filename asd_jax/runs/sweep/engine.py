"""Scores of many settings of one structure: one program a branch.

Each branch is scored at the settings that move it, in chunks of one size, so
that a program is traced once whatever the values are. The points of a chunk
are spread over all devices. A last program fuses the branches and measures.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from asd_jax.engine import system as system_lib
from asd_jax.engine.normals import Normals
from asd_jax.metrics import device
from asd_jax.runs.sweep import fast as sweep_fast
from asd_jax.runs.sweep import points as sweep_points
from asd_jax.runs.sweep.grid import Structure
from asd_jax.runs.sweep.points import Clips
from asd_jax.training import mesh
from asd_jax.typing import Array

Tree = Any
Path = tuple[str, ...]
_LEAST_CHUNK = 64  # points; fewer would make many small files
_FAST_CHUNK = 4096
_FUSED_AT_ONCE = 64
_NONE: Any = np.zeros(0, int)
# Fusion sees scores alone.
_NO_CLIPS = Normals({}, (), _NONE, _NONE, {})
_BUDGET = 128 * 2**20  # bytes of points that run at once, on a CPU


def _budget() -> int:
  stats = jax.local_devices()[0].memory_stats() or {}
  return stats.get("bytes_limit", 4 * _BUDGET) // 4


def points_at_once(clips: Clips, name: str) -> int:
  """Points that run together within the memory budget.

  Args:
    clips: of one section.
    name: of the branch.

  Returns:
    At least one.
  """
  groups = [*clips.normals.features, *clips.tests]
  size = sum(math.prod(g[name].shape) for g in groups)
  num = clips.normals.is_target.shape[0] * clips.order.shape[0]
  return int(np.clip(_budget() // (8 * (size + num)), 1, 256))


class Engine:
  """Compiled programs of one structure.

  Args:
    structure: what is swept.
    fast: whether the quick way is taken where there is one.
  """

  def __init__(self, structure: Structure, *, fast: bool = True) -> None:
    self.structure = structure
    self.system = system_lib.build(structure.config)
    self.grids = {
      n: sweep_points.branch_grid(structure, n) for n in self.system.branches
    }
    self.traces = dict.fromkeys([*self.system.branches, "metrics"], 0)
    self._joint = sweep_points.branch_grid(structure, "")
    self._devices = mesh.local()
    plans = {
      n: sweep_fast.plan(structure.config["branches"][n], g.paths)
      for n, g in self.grids.items()
      if fast
    }
    self._plans = {n: p for n, p in plans.items() if p is not None}
    self._generic = jax.jit(self._scores, static_argnums=(0, 1))
    self._quick = jax.jit(self._quick_scores, static_argnums=0)
    self._prepare = jax.jit(
      lambda n, clips: sweep_fast.prepare(self._plans[n], n, clips),
      static_argnums=0,
    )
    self._prepared: dict[str, tuple[Clips, Tree]] = {}
    self._metrics = jax.jit(self._measure)

  def is_fast(self, name: str, clips: Clips) -> bool:
    """Whether a branch takes the quick way on these clips."""
    plan = self._plans.get(name)
    return plan is not None and sweep_fast.fits(
      plan, self.grids[name], clips.normals, clips.tests, name
    )

  def _single(
    self, name: str, base: Tree, clips: Clips
  ) -> Callable[[tuple[Array, ...]], Array]:
    """A function of one point's values to `[K, Q]` scores."""
    system, paths = self.system, self.grids[name].paths

    def one(values: tuple[Array, ...]) -> Array:
      h = sweep_points.set_leaves(base, paths, values)
      state, _ = system_lib.fit_branch(system, name, {name: h}, clips.normals)
      score = lambda x: system_lib.branch_scores(system, name, h, state, x)
      parts = [jax.vmap(score)(group[name]) for group in clips.tests]
      return jnp.concatenate(parts)[clips.order].T

    return one

  def _scores(
    self, name: str, at_once: int, base: Tree, points: Tree, clips: Clips
  ) -> Array:
    """`[p]` values a path to `[p, K, Q]` scores of one branch."""
    self.traces[name] += 1

    def local(base: Tree, clips: Clips, points: Tree) -> Array:
      one = self._single(name, base, clips)
      return jax.lax.map(one, points, batch_size=at_once)

    # Nothing that is swept moves this branch: it is scored once.
    if not points:
      return self._single(name, base, clips)(())[None]
    return self._spread(local)(base, clips, points)

  def _quick_scores(
    self, name: str, base: Tree, points: Tree, blocks: Tree
  ) -> Array:
    """`[a, r]` values a path to `[a, r, Q]` scores of one branch."""
    self.traces[name] += 1
    plan, paths = self._plans[name], self.grids[name].paths

    def local(base: Tree, blocks: Tree, points: Tree) -> Array:
      return sweep_fast.scores(plan, base, points, paths, blocks)

    if not points:
      return local(base, blocks, points)
    return self._spread(local)(base, blocks, points)

  def _spread(self, fn: Callable[..., Array]) -> Callable[..., Array]:
    """Runs `(base, data, points)` with the points cut over the devices."""
    return mesh.spread(fn, self._devices, num_shared=2)

  def _shape(self, name: str, clips: Clips) -> tuple[int, int, int]:
    """Runs a chunk, points a run, and points at once of the plain way."""
    grid, devices = self.grids[name], self._devices.size
    if self.is_fast(name, clips):
      # A run shares one alpha; with few of them each point is a run.
      length = grid.run if grid.num // grid.run >= devices else 1
      most = max(1, _FAST_CHUNK // (length * devices))
      at_once = 0
    else:
      length, at_once = 1, points_at_once(clips, name)
      most = max(1, _LEAST_CHUNK // (at_once * devices)) * at_once
    share = -(-grid.num // (length * devices))  # runs a device
    most = min(most, share)
    if at_once:
      batches = -(-most // at_once)
      at_once = -(-most // batches)
      most = at_once * batches
    return most * devices, length, at_once

  def chunks(self, name: str, clips: Clips) -> list[tuple[int, int]]:
    """First and last point of each chunk of a branch's grid.

    Args:
      name: of the branch.
      clips: of one section.

    Returns:
      Ranges that cover the grid, all of one size but the last.
    """
    num = self.grids[name].num
    runs, length, _ = self._shape(name, clips)
    size = runs * length
    return [(i, min(i + size, num)) for i in range(0, num, size)]

  def run(self, name: str, clips: Clips, chunk: tuple[int, int]) -> np.ndarray:
    """Scores of one chunk.

    Args:
      name: of the branch.
      clips: of one section.
      chunk: one of `chunks`.

    Returns:
      `[points, K, Q]` scores seed by seed.
    """
    grid, base = self.grids[name], self.system.hypers[name]
    runs, length, at_once = self._shape(name, clips)
    rows = np.arange(chunk[0], chunk[0] + runs * length)
    # The last chunk is filled up with rows that exist, whole runs of them: a
    # chunk of another size would be another program.
    rows = np.minimum(rows, grid.num - length + rows % length)
    values = [v[rows] for v in grid.values]
    if not at_once:
      values = [v.reshape(runs, length) for v in values]
    points = tuple(map(jnp.asarray, values))
    if at_once:
      found = self._generic(name, at_once, base, points, clips)
    else:
      found = self._quick(name, base, points, self._blocks(name, clips))
    num = len(self.system.seeds[name])
    flat = np.asarray(found).reshape(-1, num, clips.order.shape[0])
    return flat[: chunk[1] - chunk[0]]

  def _blocks(self, name: str, clips: Clips) -> Tree:
    """The quick way's blocks, computed once a section."""
    kept = self._prepared.get(name)
    if kept is None or kept[0] is not clips:
      kept = clips, self._prepare(name, clips)
      self._prepared[name] = kept
    return kept[1]

  def forget(self) -> None:
    """Drops what is kept of the last section."""
    self._prepared.clear()

  def _fused(self, values: Tree, members: Mapping[str, Array]) -> Array:
    """`{branch: [K, Q]}` to `[Q]` at one setting of weights and fusion."""
    h = sweep_points.set_leaves(self.system.hypers, self._joint.paths, values)
    fitted = {n: (None, s) for n, s in members.items()}
    return system_lib.join(self.system, h, _NO_CLIPS, fitted)[1]

  def _measure(
    self, points: Tree, scores: Tree, is_anomaly: Array, is_target: Array
  ) -> Array:
    """Fuses and measures `{branch: [P, K, Q]}` at every point."""
    self.traces["metrics"] += 1

    def one(at: tuple[Any, dict[str, Array]]) -> Array:
      values, place = at
      fused = self._fused(values, {n: scores[n][i] for n, i in place.items()})
      found = device.domain_metrics(fused, is_anomaly, is_target)
      # Ranks of NaN would be a number, and could even be the best one.
      return jnp.where(jnp.all(jnp.isfinite(fused)), found, jnp.nan)

    size = min(_FUSED_AT_ONCE, self.structure.num_points)
    return jax.lax.map(one, points, batch_size=size)

  def metrics(
    self,
    scores: Mapping[str, np.ndarray],
    is_anomaly: np.ndarray,
    is_target: np.ndarray,
  ) -> np.ndarray:
    """Ranked values at every point.

    Args:
      scores: `{branch: [P, K, Q]}` at the points of the branch's own grid.
      is_anomaly: `[Q]` bool.
      is_target: `[Q]` bool.

    Returns:
      `[points, 3]` AUC (source), AUC (target), pAUC; NaN where a score is not
      finite or a class is missing.
    """
    joint = self._joint
    values = tuple(jnp.asarray(v[joint.place]) for v in joint.values)
    place = {n: jnp.asarray(g.place) for n, g in self.grids.items()}
    labels = jnp.asarray(is_anomaly), jnp.asarray(is_target)
    found = self._metrics((values, place), dict(scores), *labels)
    return np.asarray(found)

  def scores_at(
    self, scores: Mapping[str, np.ndarray], point: int
  ) -> tuple[np.ndarray, np.ndarray]:
    """The system's scores at one point.

    Args:
      scores: `{branch: [K, Q]}` at this point.
      point: its number.

    Returns:
      `[Q]` scores, and `[K, Q]` seed by seed (member by member of a system
      that lists its members).
    """
    joint = self._joint
    values = tuple(v[joint.place[point]] for v in joint.values)
    at = {n: jnp.asarray(s) for n, s in scores.items()}
    fused = self._fused(values, at)
    if self.structure.config.get("members"):
      return np.asarray(fused), np.concatenate(list(at.values()))
    num = max(len(s) for s in at.values())
    wide = {n: jnp.broadcast_to(s, (num, s.shape[1])) for n, s in at.items()}
    seeds = [
      self._fused(values, {n: s[k][None] for n, s in wide.items()})
      for k in range(num)
    ]
    return np.asarray(fused), np.stack(list(map(np.asarray, seeds)))
