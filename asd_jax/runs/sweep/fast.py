"""The quick way through a sweep: all distances from three Gram blocks.

Nearest neighbours of near or residual embeddings, with or without mixed rows,
need inner products of the features only once (`ops.gram`), whatever alpha and
lambda are. Results are those of the plain way, which the tests compare.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from asd_jax.backends import knn
from asd_jax.engine import stages
from asd_jax.engine.normals import Normals
from asd_jax.ops import distance, gram
from asd_jax.runs.sweep.points import BranchGrid, Clips
from asd_jax.typing import Array, Scalar

Tree = Any
Path = tuple[str, ...]
_INNER_AT_ONCE = 16
_MOST_VALUES = 2**24  # of distances that are held at once
_ALPHA, _LAM = ("view", "alpha"), ("bank", "lam")


class Plan(NamedTuple):
  """What a branch does, if the quick way knows it.

  Attributes:
    residual: the view subtracts the far channel.
    mixes: the bank has mixed rows.
    k: neighbours.
    weights: of the neighbours; empty for the mean.
    metric: of squared distances.
    by_domain: one bank a domain.
    calibration: the calibrator's function.
    calibrates: whether training scores matter.
    leave_out: training scores leave their own clip out.
  """

  residual: bool
  mixes: bool
  k: int
  weights: tuple[float, ...]
  metric: distance.Metric
  by_domain: bool
  calibration: Any
  calibrates: bool
  leave_out: bool


class Prepared(flax.struct.PyTreeNode):
  """What all settings of a section share.

  Attributes:
    queries: blocks of the test clips against the training clips, `[Q, N]`.
    own: those of the training clips, `[N, N]`, or None if they do not matter.
    between: those of the target clips, `[T, N]`, or None without mixing.
    target: `[T]` numbers of the target clips.
    known: `[T]` False where there are fewer.
    is_target: `[N]` of the training clips.
  """

  queries: gram.Blocks
  own: gram.Blocks | None
  between: gram.Blocks | None
  target: Array
  known: Array
  is_target: Array


def plan(spec: Mapping[str, Any], paths: Sequence[Path]) -> Plan | None:
  """Finds out whether a branch can take the quick way.

  Args:
    spec: settings of the branch.
    paths: its swept floats.

  Returns:
    The plan, or None.
  """
  wrappers = [
    w if isinstance(w, str) else dict(w).get("name") for w in spec["wrappers"]
  ]
  backend = dict(spec["backend"])
  metric = backend.get("metric", "euclidean")
  names = {s: spec[s]["name"] for s in stages.TABLES}
  known = (
    names["encoder"] == "identity"
    and names["view"] in ("near", "residual")
    and names["transform"] == "identity"
    and names["bank"] in ("plain", "memmixup")
    and names["backend"] == "knn"
    and metric in ("euclidean", "sqeuclidean")
    and wrappers in ([], ["per_domain"])
  )
  swept = all(p in (_ALPHA, _LAM) or p[0] == "calibration" for p in paths)
  if not known or not swept:
    return None
  return Plan(
    residual=names["view"] == "residual",
    mixes=names["bank"] == "memmixup",
    k=backend.get("k", 1),
    weights=tuple(backend.get("weights", ())),
    metric=distance.METRICS[metric],
    by_domain=bool(wrappers),
    calibration=stages.resolve(
      "calibration", spec["calibration"], stages.TABLES["calibration"]
    )[0],
    calibrates=names["calibration"] != "identity",
    leave_out=spec["reference"] == "loo",
  )


def fits(
  found: Plan,
  grid: BranchGrid,
  normals: Normals,
  tests: Sequence[Mapping[str, Array]],
  name: str,
) -> bool:
  """Whether the clips and the values allow the quick way.

  Args:
    found: the plan.
    grid: settings of the branch.
    normals: training clips.
    tests: features of the test clips, by shape.
    name: of the branch.

  Returns:
    False for made clips, embeddings that are no vectors, and shares outside
    [0, 1], where a mixed row is not between its parents.
  """
  shapes = {g[name].shape[1:] for g in (*normals.features, *tests)}
  lam = [v for p, v in zip(grid.paths, grid.values, strict=True) if p == _LAM]
  return (
    name not in normals.augmented
    and len(shapes) == 1
    and len(min(shapes)) == 2
    and min(shapes)[0] >= 1 + found.residual
    and all(np.all((v >= 0.0) & (v <= 1.0)) for v in lam)
  )


def prepare(found: Plan, name: str, clips: Clips) -> Prepared:
  """Computes the blocks.

  Args:
    found: the plan.
    name: of the branch.
    clips: of one section.

  Returns:
    What all settings share.
  """
  channels = 1 + found.residual
  join = lambda groups, order: jnp.concatenate(
    [g[name][:, :channels] for g in groups]
  )[order]
  normals = clips.normals
  rows = join(normals.features, normals.order)  # [N, C, D]
  centre = jnp.mean(rows, axis=0, keepdims=True)
  # Distances do not change, and squares of small numbers round less.
  rows = rows - centre
  tests = join(clips.tests, clips.order) - centre
  blocks = jax.vmap(gram.difference_blocks, in_axes=(0, None))
  num = normals.is_target.shape[0]
  target = jnp.nonzero(
    normals.is_target, size=normals.num_target, fill_value=num
  )[0]
  known = target < num
  target = jnp.minimum(target, num - 1)
  return Prepared(
    queries=blocks(tests, rows),
    own=blocks(rows, rows) if found.calibrates else None,
    between=blocks(rows[target], rows) if found.mixes else None,
    target=target,
    known=known,
    is_target=normals.is_target,
  )


class _Distances(NamedTuple):
  """Squared distances at one alpha."""

  queries: Array  # [Q, N]
  own: Array | None  # [N, N]
  between: Array | None  # [T, N]


def _at_alpha(blocks: Prepared, alpha: Scalar) -> _Distances:
  at = lambda b: gram.squared_distances(b, alpha)
  return _Distances(
    at(blocks.queries),
    at(blocks.own) if blocks.own else None,
    at(blocks.between) if blocks.between else None,
  )


def _clip_score(
  found: Plan, blocks: Prepared, between: Array | None, lam: Scalar,
  clip: tuple[Array, Array],
) -> Array:  # fmt: skip
  """Raw score of one clip: its `[N]` distances, and rows that count."""
  to_rows, usable = clip

  def nearest(rows: Array, mixed: bool) -> Array:
    near = gram.smallest(
      jnp.where(rows, to_rows, jnp.inf), min(found.k, rows.shape[0])
    )
    if mixed and between is not None:
      more = gram.smallest_mixed(
        jnp.where(blocks.is_target, jnp.inf, to_rows),
        jnp.where(blocks.known, to_rows[blocks.target], jnp.inf),
        between,
        lam,
        found.k,
      )
      near = jnp.sort(jnp.concatenate([near, more]))[: found.k]
    squared = found.metric.of_squared(near)
    return knn.reduce_neighbours(squared, found.weights)

  # A mixed row lies between domains; of banks by domain it is target.
  if not found.by_domain:
    return nearest(usable, True)
  source = nearest(usable & ~blocks.is_target, False)
  return jnp.minimum(source, nearest(usable & blocks.is_target, True))


def _calibrated(
  found: Plan, blocks: Prepared, at: _Distances, h: Mapping[str, Any]
) -> Array:
  """`[Q]` scores at one setting, given the distances at its alpha."""
  one = functools.partial(
    _clip_score, found, blocks, at.between, h["bank"].get("lam", 0.0)
  )
  num = at.queries.shape[1]

  def over(to_rows: Array, usable: Array) -> Array:
    width = num * (1 if found.k == 1 else max(1, len(blocks.target)))
    size = min(len(to_rows), max(1, _MOST_VALUES // width))
    if size == len(to_rows):
      return jax.vmap(one)((to_rows, usable))
    return jax.lax.map(one, (to_rows, usable), batch_size=size)

  raw = over(at.queries, jnp.ones(at.queries.shape, bool))
  if at.own is None:
    return raw
  # A clip must not be its own neighbour, unless the source says so.
  others = ~jnp.eye(num, dtype=bool) if found.leave_out else None
  usable = jnp.ones((num, num), bool) if others is None else others
  calibration = found.calibration(**h["calibration"])
  state = calibration.fit(over(at.own, usable), None)
  return jax.vmap(lambda s: calibration.apply(state, s))(raw)


def scores(
  found: Plan,
  base: Mapping[str, Any],
  points: tuple[Array, ...],
  paths: Sequence[Path],
  blocks: Prepared,
) -> Array:
  """Scores of the test clips at many settings.

  Args:
    found: the plan.
    base: hyperparameters of the branch.
    points: an array `[a, r]` a path: a runs of r settings, of which all in a
      run have the same alpha.
    paths: leaves that are swept.
    blocks: what `prepare` returns.

  Returns:
    `[a, r, Q]`.
  """
  values = dict(zip(paths, points, strict=True))
  fixed = base["view"].get("alpha", 0.0)

  def one(at: _Distances, picked: Mapping[Path, Array]) -> Array:
    h = {stage: dict(base[stage]) for stage in ("bank", "calibration")}
    for (stage, key), value in picked.items():
      if stage in h:
        h[stage][key] = value
    return _calibrated(found, blocks, at, h)

  def run(picked: Mapping[Path, Array]) -> Array:  # a run of r settings
    alpha = picked[_ALPHA][0] if _ALPHA in picked else fixed
    at = _at_alpha(blocks, alpha)
    num = jax.tree.leaves(picked)[0].shape[0]
    size = min(num, _INNER_AT_ONCE if found.k == 1 else 1)
    # A loop, and no vmap alone: it keeps the distances at this alpha.
    return jax.lax.map(lambda p: one(at, p), picked, batch_size=size)

  if not values:
    return one(_at_alpha(blocks, fixed), {})[None, None]
  return jax.lax.map(run, values)
