"""From a config to a system: its floats, and pure functions of them."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp

from asd_jax import errors
from asd_jax.encoders import family
from asd_jax.engine import encoding
from asd_jax.engine.branch import Branch, Made, OverClips, build_branch
from asd_jax.engine.stages import Hypers, resolve
from asd_jax.scores import fusion, threshold
from asd_jax.training import reconstruction
from asd_jax.typing import Array

Tree = Any
# Rules on the training clips' scores.
SCORE_RULES = {
  "conformal": threshold.conformal,
  "quantile": threshold.empirical_quantile,
}
THRESHOLDS = {**SCORE_RULES, "gamma": threshold.gamma}


class Normals(flax.struct.PyTreeNode):
  """The training clips of one machine and section.

  Attributes:
    front: `{branch: {stage: state}}` of the stages that were fitted first.
    features: for each clip length, `{branch: [n, C, ...]}`.
    order: `[N]` place of each clip in the concatenation of `features`.
    is_target: `[N]` True for target-domain clips.
    trained: `{branch: Trained}` of branches that train an encoder.
    made: `{branch: Made}` of branches that make clips from training clips.
    num_target: number of target-domain clips, a constant of the program.
  """

  front: Tree
  features: tuple[dict[str, Array], ...]
  order: Array
  is_target: Array
  trained: dict[str, reconstruction.Trained]
  made: dict[str, Made] = flax.struct.field(default_factory=dict)
  num_target: int = flax.struct.field(pytree_node=False, default=0)


class Scores(NamedTuple):
  """Scores of one clip.

  Attributes:
    fused: `[]`, the system's score.
    seeds: `[K]` the same seed by seed; of a system that lists its members,
      member by member.
    members: `{branch: [K]}` calibrated scores before fusion.
  """

  fused: Array
  seeds: Array
  members: dict[str, Array]


class System(NamedTuple):
  """A system: floats, and pure functions of them.

  Attributes:
    hypers: `{branch: {stage: {name: value}}, "weight": {branch: value},
      "fusion": {name: value}}`.
    stages: stages that gather statistics of the training clips, in order.
    front: what `measure` and `pictures` need before any stage is fitted.
    measure: `(stage, front, [C, S]) -> sums`, to be added over training clips.
    fit_front: `(stage, front, sums) -> front` with that stage fitted.
    pictures: `(front, [C, S], branches) -> {branch: [C', ...]}`: what front
      ends make of a clip, by the first branch of those that share it; int16 or
      float32 samples.
    made: `(front, [C, S], one draw, branch) -> {branch: [C', ...]}`, the same
      of a clip made from another.
    encoded: `(weights, pictures, branches) -> {branch: [C', ...]}`, features:
      what comes before the encoders that are trained, pooled tokens of
      encoders with published weights.
    encoders: encoders with published weights by source, and the checkpoint
      that the config names for each. `weights` are their parameters, by
      source.
    sources: of each branch with such an encoder, the first branch that has
      the same weights.
    fit: `(hypers, Normals) -> state`; every array of a branch's state has a
      leading seed axis, of length one where nothing is drawn.
    fit_branch: `(branch, hypers, Normals) -> (state, [K, N])` of one branch.
    join: `(hypers, Normals, {branch: what fit_branch returns}) -> (state,
      [N])`: what `fit` returns, and the training clips' scores.
    score: `(hypers, state, features) -> []`, of one clip.
    scores: the same with seeds and members, `Scores`.
    branches: the branches by name.
    seeds: seeds of each branch.
    num_channels: channels that a clip must have.
    min_samples: samples that a clip must have.
    check_length: raises InputError for a number of samples that an encoder
      cannot take.
  """

  hypers: Hypers
  stages: tuple[str, ...]
  front: Tree
  measure: Callable[[str, Tree, Array], Tree]
  fit_front: Callable[[str, Tree, Tree], Tree]
  pictures: Callable[[Tree, Array, Sequence[str]], dict[str, Array]]
  made: Callable[[Tree, Array, Tree, str], dict[str, Array]]
  encoded: Callable[[Tree, Tree, Sequence[str]], dict[str, Array]]
  encoders: dict[str, tuple[family.Encoder, str]]
  sources: dict[str, str]
  fit: Callable[[Hypers, Normals], Tree]
  fit_branch: Callable[[str, Hypers, Normals], tuple[Tree, Array]]
  join: Callable[[Hypers, Normals, Tree], tuple[Tree, Array]]
  score: Callable[[Hypers, Tree, Tree], Array]
  scores: Callable[[Hypers, Tree, Tree], Scores]
  branches: dict[str, Branch]
  seeds: dict[str, tuple[int, ...]]
  num_channels: int
  min_samples: int
  check_length: Callable[[int], None]

  def features(
    self, front: Tree, weights: Tree, wave: Array
  ) -> dict[str, Array]:
    """Features of one clip, of all branches.

    Args:
      front: states of the fitted stages.
      weights: parameters of the frozen encoders by source.
      wave: `[C, S]` int16 or float32 samples.

    Returns:
      `{branch: [C', ...]}`.
    """
    names = tuple(self.branches)
    return self.encoded(weights, self.pictures(front, wave, names), names)


def _over_clips(normals: Normals, name: str) -> OverClips:
  """Ways to go through one branch's features of all training clips."""
  groups = [group[name] for group in normals.features]

  def over(fn: Callable[[Array], Array]) -> Array:
    parts = [jax.lax.map(fn, g, batch_size=min(16, len(g))) for g in groups]
    return jnp.concatenate(parts)[normals.order]

  def fold(step: Callable[[Tree, Array, Array], Tree], carry: Tree) -> Tree:
    is_target = jnp.zeros_like(normals.is_target)
    is_target = is_target.at[normals.order].set(normals.is_target)
    start = 0
    for g in groups:
      rows = (g, is_target[start : start + len(g)])
      carry, _ = jax.lax.scan(lambda c, r: (step(c, *r), None), carry, rows)
      start += len(g)
    return carry

  return OverClips(
    over,
    fold,
    groups[0][0],
    normals.is_target,
    normals.num_target,
    normals.made.get(name),
  )


def _seeds(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
  """Seeds of each branch: all, or those that the config's members name."""
  seeds = tuple(config["seeds"])
  if not config.get("members"):
    return dict.fromkeys(config["branches"], seeds)
  out: dict[str, tuple[int, ...]] = {}
  for member in config["members"]:
    pair = tuple(member) if isinstance(member, list | tuple) else ()
    known = len(pair) == 2 and pair[0] in config["branches"]
    if not known or pair[1] not in seeds:
      raise errors.InputError(
        f"config: members: found {member!r}, expected pairs of a branch of"
        f" {sorted(config['branches'])} and a seed of {seeds}."
      )
    branch, seed = pair
    if seed in out.get(branch, ()):
      raise errors.InputError(f"config: members: found {member!r} twice.")
    out[branch] = (*out.get(branch, ()), seed)
  return out


def build(config: Mapping[str, Any]) -> System:
  """Makes the functions of a whole system.

  Args:
    config: `branches`, `fusion`, `seeds`, `members`; other keys are not read
      here.

  Returns:
    The system.

  Raises:
    InputError: if a name or a keyword is not known.
  """
  config = config.to_dict() if hasattr(config, "to_dict") else dict(config)
  if not config["branches"]:
    raise errors.InputError(
      "config: branches: found none, expected one or more."
    )
  seeds = _seeds(config)
  branches = {n: build_branch(n, config["branches"][n]) for n in seeds}
  fuse_fn, fuse_floats = resolve("fusion", config["fusion"], fusion.FUSIONS)
  hypers: Hypers = {n: b.hypers for n, b in branches.items()}
  # A mean over members: a branch counts once for each of its own.
  chosen = bool(config.get("members"))
  weights = {
    n: float(config["branches"][n]["weight"]) * (len(s) if chosen else 1)
    for n, s in seeds.items()
  }
  hypers |= {"weight": weights, "fusion": fuse_floats}

  def fuse(h: Hypers, scores: dict[str, Array]) -> Array:
    stacked = jnp.stack([scores[n] for n in branches])
    weight = jnp.stack([jnp.asarray(h["weight"][n]) for n in branches])
    return fuse_fn(stacked, weight, **h["fusion"])

  def fit_branch(name: str, h: Hypers, normals: Normals) -> tuple[Tree, Array]:
    branch, clips = branches[name], _over_clips(normals, name)
    member = lambda t: branch.fit(h[name], clips, t)
    if branch.encoder:
      return jax.vmap(member)(normals.trained[name])
    return jax.tree.map(lambda x: x[None], member(None))

  def join(h: Hypers, normals: Normals, fitted: Tree) -> tuple[Tree, Array]:
    state = {n: f[0] for n, f in fitted.items()}
    own = fuse(h, {n: f[1].mean(0) for n, f in fitted.items()})
    return {"front": normals.front, "branches": state}, own

  def fit(h: Hypers, normals: Normals) -> Tree:
    fitted = {n: fit_branch(n, h, normals) for n in branches}
    return join(h, normals, fitted)[0]

  def scores(h: Hypers, state: Tree, x: Tree) -> Scores:
    members = {
      n: jax.vmap(lambda s, n=n, b=b: b.score(h[n], s, x[n]))(
        state["branches"][n]
      )
      for n, b in branches.items()
    }
    fused = fuse(h, {n: s.mean(0) for n, s in members.items()})
    if chosen:
      return Scores(fused, jnp.concatenate(list(members.values())), members)
    num = max(s.shape[0] for s in members.values())
    wide = {n: jnp.broadcast_to(s, (num,)) for n, s in members.items()}
    return Scores(fused, jax.vmap(lambda s: fuse(h, s))(wide), members)

  def check_length(num_samples: int) -> None:
    for branch in branches.values():
      branch.check_length(num_samples)

  return System(
    hypers=hypers,
    **encoding.of_branches(branches),
    fit=fit,
    fit_branch=fit_branch,
    join=join,
    score=lambda h, state, x: scores(h, state, x).fused,
    scores=scores,
    branches=branches,
    seeds={n: s if branches[n].encoder else s[:1] for n, s in seeds.items()},
    num_channels=max(b.front.num_channels for b in branches.values()),
    min_samples=max(b.min_samples for b in branches.values()),
    check_length=check_length,
  )


def compiled_fit(
  system: System,
) -> Callable[[Hypers, Normals], tuple[Tree, Array]]:
  """Compiles the fit, a program a branch.

  Branches in one program run at the same time on a CPU, and their
  factorisations then wait for each other: twenty times slower, and now and
  then for ever (jaxlib 0.10.2, two cores).

  Args:
    system: the system.

  Returns:
    `(hypers, Normals) -> (state, [N])`, the second the training clips' scores.
  """
  fits = {
    n: jax.jit(functools.partial(system.fit_branch, n)) for n in system.branches
  }

  def fit(h: Hypers, normals: Normals) -> tuple[Tree, Array]:
    done = {n: jax.block_until_ready(f(h, normals)) for n, f in fits.items()}
    return system.join(h, normals, done)

  return fit


def has_batch_values(system: System) -> bool:
  """Whether the official rule has values: one autoencoder, scored by clips."""
  if len(system.branches) > 1:
    return False
  ((name, branch),) = system.branches.items()
  frames = branch.backend(system.hypers[name]).over_frames
  return branch.encoder is not None and not frames
