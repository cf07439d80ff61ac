"""From a config to a system: its floats, and pure functions of them."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from asd_jax import errors
from asd_jax.engine import detect, effects, encode, normals, sources, stages
from asd_jax.engine.branch import WHEN, Branch
from asd_jax.engine.normals import Normals
from asd_jax.engine.stages import Hypers
from asd_jax.scores import fusion
from asd_jax.scores.fusion import Scores
from asd_jax.typing import Array

Tree = Any


class System(NamedTuple):
  """A system: floats, and what the functions of this module need beside them.

  Attributes:
    branches: the branches by name.
    hypers: `{branch: {stage: {name: value}}, "weight": {branch: value},
      "fusion": {name: value}}`.
    fuse: `([B, ...] scores, [B] weights, **scalars) -> [...]`.
    seeds: seeds of each branch, one where nothing is drawn.
    lists_members: the config lists (branch, seed) pairs, each of which counts
      alike.
  """

  branches: dict[str, Branch]
  hypers: Hypers
  fuse: Callable[..., Array]
  seeds: dict[str, tuple[int, ...]]
  lists_members: bool


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


def build_branch(
  name: str, spec: Mapping[str, Any], *, seeds: tuple[int, ...] = (0,)
) -> tuple[Branch, Hypers]:
  """Makes one branch.

  Args:
    name: name of the branch, for messages.
    spec: its settings; what it leaves out is `stages.DEFAULTS`.
    seeds: of the branch, one or more.

  Returns:
    The branch, and the scalars of its stages.

  Raises:
    InputError: if a name, keyword or combination is not known.
  """
  spec = stages.completed(name, spec)
  bound = stages.bind(name, spec)
  channels = tuple(spec["channels"])
  front = encode.build_front(name, channels, bound.fns)
  encoder, source = sources.build(name, spec, front, bound, seeds)
  branch = Branch(
    channels=channels,
    front=front,
    crops=encode.build_crops(name, bound.fns["tta"], encoder),
    encoder=encoder,
    source=source,
    detect=detect.build(spec, bound.fns),
    when=spec["when"],
  )
  backend = branch.detect.backend(bound.hypers)
  detect.check(name, spec, backend)
  effects.check_branch(name, spec, branch, backend)
  return branch, bound.hypers


def build(config: Mapping[str, Any]) -> System:
  """Makes a whole system.

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
  # Branches that no member names are left out altogether.
  seeds = _seeds(config)
  built = {
    n: build_branch(n, config["branches"][n], seeds=s) for n, s in seeds.items()
  }
  branches = {n: branch for n, (branch, _) in built.items()}
  fuse, fuse_floats = stages.resolve("fusion", config["fusion"], fusion.FUSIONS)
  lists_members = bool(config.get("members"))
  # A mean over members: a branch counts once for each of its own.
  weights = {
    n: float(config["branches"][n].get("weight", 1.0))
    * (len(s) if lists_members else 1)
    for n, s in seeds.items()
  }
  hypers = {n: h for n, (_, h) in built.items()}
  drawn = {n: _draws(b) for n, b in branches.items()}
  return System(
    branches=branches,
    hypers={**hypers, "weight": weights, "fusion": fuse_floats},
    fuse=fuse,
    seeds={n: s if drawn[n] else s[:1] for n, s in seeds.items()},
    lists_members=lists_members,
  )


def _draws(branch: Branch) -> bool:
  return branch.encoder.scope in ("machine", "run")


def draws(system: System) -> bool:
  """Whether anything in a system is drawn at random, so that seeds matter.

  Args:
    system: the system.

  Returns:
    True if a branch has a network that is trained, on the clips of a machine
    or of all.
  """
  return any(map(_draws, system.branches.values()))


def _fused(
  system: System, h: Hypers, scores: Mapping[str, Array], state: Tree
) -> Array:
  """One score of the branches', `{branch: [...]}` to `[...]`."""
  stacked = jnp.stack([scores[n] for n in system.branches])
  weight = jnp.stack([jnp.asarray(h["weight"][n]) for n in system.branches])
  if "used" in state:
    weight = weight * state["used"]
  return system.fuse(stacked, weight, **h["fusion"])


def fit_branch(
  system: System, name: str, h: Hypers, some: Normals
) -> tuple[Tree, Array]:
  """Fits one branch.

  Args:
    system: the system.
    name: of the branch.
    h: scalars of all branches, or of this one.
    some: training clips, see `normals.only`.

  Returns:
    The state, every array of which has a leading seed axis, of length one
    where nothing is drawn; and `[K, N]` the training clips' scores.
  """
  branch = system.branches[name]
  if branch.encoder.scope == "run":
    # Features differ by seed, and so does all that is fitted to them.
    seed = lambda own: detect.fit(
      branch, h[name], normals.of_branch(own, name), None
    )
    return normals.by_seed(seed, some, name)
  clips = normals.of_branch(some, name)
  member = lambda network: detect.fit(branch, h[name], clips, network)
  # Networks differ by seed, everything else is the same for all.
  if name in some.trained:
    return jax.vmap(member)(some.trained[name])
  return jax.tree.map(lambda x: x[None], member(None))


def state_of(
  system: System, some: Normals, branches: Mapping[str, Tree]
) -> Tree:
  """The state of a system from those of its branches.

  Args:
    system: the system.
    some: training clips.
    branches: state by branch.

  Returns:
    The state.
  """
  state = {"front": some.front, "branches": dict(branches)}
  used = [WHEN[b.when](some.has_attributes) for b in system.branches.values()]
  if not all(used):
    state["used"] = jnp.array(used, jnp.float32)
  return state


def join(
  system: System,
  h: Hypers,
  some: Normals,
  fitted: Mapping[str, tuple[Tree, Array]],
) -> tuple[Tree, Array]:
  """Joins fitted branches.

  Args:
    system: the system.
    h: scalars by branch.
    some: training clips.
    fitted: what `fit_branch` returns, by branch.

  Returns:
    The state of the system, and `[N]` the training clips' scores.
  """
  state = state_of(system, some, {n: f[0] for n, f in fitted.items()})
  # Seeds are averaged before branches are fused, as for a test clip.
  own = {n: f[1].mean(0) for n, f in fitted.items()}
  return state, _fused(system, h, own, state)


def fit(system: System, h: Hypers, some: Normals) -> Tree:
  """Fits a system to the training clips of one machine and section.

  Args:
    system: the system.
    h: scalars by branch.
    some: training clips.

  Returns:
    The state.
  """
  fitted = {n: fit_branch(system, n, h, some) for n in system.branches}
  return join(system, h, some, fitted)[0]


def branch_scores(
  system: System, name: str, h: Hypers, state: Tree, x: Array
) -> Array:
  """Scores of one clip by one branch, seed by seed.

  Args:
    system: the system.
    name: of the branch.
    h: scalars of the branch.
    state: of the branch, leading axis K.
    x: `[C', ...]` features of the clip, `[K, C', ...]` of an encoder that is
      adapted over machines.

  Returns:
    `[K]` calibrated scores.
  """
  branch = system.branches[name]
  own = 0 if branch.encoder.scope == "run" else None
  score_one = lambda s, features: detect.score(branch, h, s, features)
  return jax.vmap(score_one, in_axes=(0, own))(state, x)


def scores(system: System, h: Hypers, state: Tree, x: Tree) -> Scores:
  """Scores of one clip, the system's and its parts'.

  Args:
    system: the system.
    h: scalars by branch.
    state: what `fit` returned.
    x: `{branch: [C', ...]}` features of the clip, see `branch_scores`.

  Returns:
    The scores.
  """
  members = {
    n: branch_scores(system, n, h[n], state["branches"][n], x[n])
    for n in system.branches
  }
  fused = _fused(system, h, {n: s.mean(0) for n, s in members.items()}, state)
  if system.lists_members:
    return Scores(fused, jnp.concatenate(list(members.values())), members)
  # A branch that draws nothing has one score, which goes with every seed.
  num = max(s.shape[0] for s in members.values())
  wide = {n: jnp.broadcast_to(s, (num,)) for n, s in members.items()}
  seeds = jax.vmap(lambda s: _fused(system, h, s, state))(wide)
  return Scores(fused, seeds, members)


def score(system: System, h: Hypers, state: Tree, x: Tree) -> Array:
  """The system's score `[]` of one clip, see `scores`."""
  return scores(system, h, state, x).fused


def _by_branch(
  system: System, fit_one: Callable[..., Any]
) -> Callable[[Hypers, Normals], dict[str, Any]]:
  """Compiles `fit_one(system, name, h, some)`, a program a branch.

  Branches in one program run at the same time on a CPU, and their
  factorisations then wait for each other: twenty times slower, and now and
  then for ever (jaxlib 0.10.2, two cores). For the same reason a CPU waits for
  each branch; other devices queue them.
  """
  programs = {
    n: jax.jit(functools.partial(fit_one, system, n)) for n in system.branches
  }
  on_cpu = jax.default_backend() == "cpu"

  def run(h: Hypers, some: Normals) -> dict[str, Any]:
    done = {}
    for name, program in programs.items():
      # Only this branch's features go to the device.
      done[name] = program({name: h[name]}, normals.only(some, name))
      if on_cpu:
        jax.block_until_ready(done[name])
    return done

  return run


def compiled_fit(
  system: System,
) -> Callable[[Hypers, Normals], tuple[Tree, Array]]:
  """Compiles the fit.

  Args:
    system: the system.

  Returns:
    `(hypers, Normals) -> (state, [N])`, the second the training clips' scores.
  """
  run = _by_branch(system, fit_branch)
  return lambda h, some: join(system, h, some, run(h, some))


def compiled_states(system: System) -> Callable[[Hypers, Normals], Tree]:
  """Compiles the fit without the training clips' scores.

  Those cost more than the fit, and where no calibration needs them the
  compiler leaves them out.

  Args:
    system: the system.

  Returns:
    `(hypers, Normals) -> state`.
  """
  run = _by_branch(system, lambda *args: fit_branch(*args)[0])
  return lambda h, some: state_of(system, some, run(h, some))


def has_batch_values(system: System) -> bool:
  """Whether the official rule has values: one autoencoder, scored by clips."""
  if len(system.branches) > 1:
    return False
  ((name, branch),) = system.branches.items()
  frames = branch.detect.backend(system.hypers[name]).over_frames
  return branch.encoder.scope == "machine" and not frames
