"""Fitted sections as programs of a file, see `portable`.

A program is StableHLO of all that happens to a batch of clips, from samples to
score and p-value. What was fitted is its arguments, so that the numbers are
kept once, however many programs use them.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

from asd_jax.encoders import load
from asd_jax.engine import crossfit, encode, portable, sources
from asd_jax.engine import section as section_lib
from asd_jax.engine import system as system_lib
from asd_jax.engine.system import System
from asd_jax.typing import Array

Tree = Any
Leaves = list[list[Array]]


class Group(NamedTuple):
  """Models whose arrays have the same shapes.

  Attributes:
    members: which models, by number; the whole fit is 0.
    tree: how the arrays are nested.
    leaves: of each array the one that all members share, or one a member.
  """

  members: tuple[int, ...]
  tree: Any
  leaves: list[list[np.ndarray]]


def models(
  section: section_lib.Section,
  system: System,
  kept: Mapping[str, load.Loaded],
) -> list[Tree]:
  """The models of a section: of the whole fit, then of the folds.

  Args:
    section: fitted.
    system: the system.
    kept: weights by source, those of folds by `sources.fold_name`.

  Returns:
    `{"state": ..., "weights": ...}` each, on the host. Arrays that several
    have in common are the same objects.
  """
  host = {n: jax.tree.map(_array, w.params) for n, w in kept.items()}
  own = [*sources.encoders(system.branches)]
  states = section.folds.states if section.folds else ()
  weights = [{n: host[n] for n in own}]
  for k in range(len(states)):
    of_fold = lambda n, k=k: host.get(sources.fold_name(n, k), host[n])
    weights.append({n: of_fold(n) for n in own})
  return [
    {"state": jax.tree.map(_array, s), "weights": w}
    for s, w in zip((section.state, *states), weights, strict=True)
  ]


def _array(x: Any) -> np.ndarray:
  """The same array where it is one of jax's types."""
  x = np.asarray(x)
  return x.astype(jax.dtypes.canonicalize_dtype(x.dtype), copy=False)


def groups(every: Sequence[Tree]) -> list[Group]:
  """Sorts models by the shapes of their arrays.

  Args:
    every: models.

  Returns:
    Groups, the first one with the first model.
  """
  found: dict[Any, list[int]] = {}
  flat = [jax.tree.flatten(model) for model in every]
  for i, (leaves, tree) in enumerate(flat):
    key = tree, tuple((np.shape(x), str(np.asarray(x).dtype)) for x in leaves)
    found.setdefault(key, []).append(i)
  out = []
  for (tree, _), members in found.items():
    columns = zip(*(flat[i][0] for i in members), strict=True)
    leaves = [
      [x[0]] if all(one is x[0] for one in x) else [*x] for x in columns
    ]
    out.append(Group(tuple(members), tree, leaves))
  return out


class Plan(NamedTuple):
  """What a program does, but for the numbers.

  Attributes:
    system: the system.
    groups: of its models.
    refits: whether each model makes features of its own.
    by_domain: whether the larger of both domains' p-values counts.
    in_turn: clips one after the other, as suits a processor.
  """

  system: System
  groups: Sequence[Group]
  refits: bool
  by_domain: bool
  in_turn: bool


def _rows(
  plan: Plan, one: Callable[[Tree], Tree], rows: Tree, num: Array
) -> Tree:
  """`one` of the first `num` rows, or of all."""
  if not plan.in_turn:
    return jax.vmap(one)(rows)
  size = len(jax.tree.leaves(rows)[0])
  row = lambda i: jax.tree.map(lambda x: x[i], rows)
  blank = lambda x: jnp.zeros((size, *x.shape), x.dtype)
  put = lambda i, a, b: a.at[i].set(b)
  return jax.lax.fori_loop(
    0,
    num,
    lambda i, out: jax.tree.map(functools.partial(put, i), out, one(row(i))),
    jax.tree.map(blank, jax.eval_shape(one, row(0))),
  )


# The steps are programs of their own in `Programs`. Fused with the next, they
# would round in another way, and a training clip would not tie with itself.
_apart = jax.lax.optimization_barrier


def _features(plan: Plan, model: Tree, wave: Array, num: Array) -> Tree:
  """Features of a batch by the front ends and the encoders of a model."""
  branches = plan.system.branches
  names = tuple(branches)
  front, weights = model["state"]["front"], model["weights"]
  hear = lambda x: encode.front_outputs(branches, front, x, names)
  embed = lambda x: encode.features(branches, weights, x, names)
  outputs = _apart(_rows(plan, hear, wave, num))
  return _apart(_rows(plan, embed, outputs, num))


def _model(group: Group, arrays: Sequence[Array], i: Array | int) -> Tree:
  """Member `i` of a group."""
  leaves = [
    x[i] if len(own) > 1 else x
    for x, own in zip(arrays, group.leaves, strict=True)
  ]
  return jax.tree.unflatten(group.tree, leaves)


def _scores(
  plan: Plan, arrays: Sequence[Sequence[Array]], wave: Array, num: Array
) -> Array:
  """`[M, B]` scores of a batch by all models."""
  score = functools.partial(system_lib.score, plan.system, plan.system.hypers)
  whole = _model(plan.groups[0], arrays[0], 0)
  made = None if plan.refits else _features(plan, whole, wave, num)

  def of_model(group: Group, own: Sequence[Array], i: Array) -> Array:
    model = _model(group, own, i)
    x = _features(plan, model, wave, num) if plan.refits else made
    return jax.vmap(functools.partial(score, model["state"]))(x)

  parts, order = [], []
  for group, own in zip(plan.groups, arrays, strict=True):
    one = functools.partial(of_model, group, own)
    parts.append(jax.lax.map(one, jnp.arange(len(group.members))))
    order += group.members
  return jnp.concatenate(parts)[np.argsort(order)]


def _p_values(plan: Plan, past: Mapping[str, Array], new: Array) -> Array:
  """`[B]` as `scores.p_value` has them, of `[K, B]` scores."""
  higher = ~(past["own"][:, None] < new[past["fold"]])  # [N, B]
  among = lambda rows: (
    (1 + jnp.sum(higher & rows[:, None], axis=0)) / (1 + jnp.sum(rows))
  )
  target = past["is_target"]
  if not plan.by_domain:
    return among(jnp.ones_like(target))
  return jnp.maximum(among(target), among(~target))


def judge(
  plan: Plan,
  arrays: Sequence[Sequence[Array]],
  past: Mapping[str, Array],
  wave: Array,
  num: Array,
) -> portable.Answer:
  """What a program does.

  Args:
    plan: the rest.
    arrays: of each group, members of an array that differs along a new axis.
    past: `own`, `fold` and `is_target` of `crossfit.Folds`; empty without.
    wave: `[B, C, S]` float32 samples.
    num: `[]` int32, how many of the rows are clips.

  Returns:
    What is said of each row; of those beyond `num` it means nothing.
  """
  every = _scores(plan, arrays, wave, num)
  p = jnp.full(every.shape[1:], jnp.nan)
  if past:
    p = _p_values(plan, past, every[1:])
  return portable.Answer(every[0], p, every[1:].T)


def _lowered(
  plan: Plan,
  arguments: Sequence[Sequence[np.ndarray]],
  wave: jax.ShapeDtypeStruct,
  platforms: tuple[str, ...],
) -> portable.Program:
  """A program of clips of one length."""
  sizes = [len(g.leaves) for g in plan.groups]

  def run(*flat: Array) -> portable.Answer:
    *every, wave, num = flat
    arrays, at = [], 0
    for size in sizes:
      arrays.append(every[at : at + size])
      at += size
    past = dict(zip(portable.PAST, every[at:], strict=False))
    return judge(plan, arrays, past, wave, num)

  def spec(arrays: Sequence[np.ndarray]) -> jax.ShapeDtypeStruct:
    more = (len(arrays),) if len(arrays) > 1 else ()
    return jax.ShapeDtypeStruct((*more, *arrays[0].shape), arrays[0].dtype)

  num = jax.ShapeDtypeStruct((), np.int32)
  export = jax.export.export(jax.jit(run), platforms=platforms)
  found = export(*map(spec, arguments), wave, num)
  return portable.Program(
    wave.shape[2],
    platforms,
    bytes(found.mlir_module_serialized),
    found.module_kept_var_idx,
    found.calling_convention_version,
    found.uses_global_constants,
  )


@contextlib.contextmanager
def _alike() -> Iterator[None]:
  """Programs of any machine: with none of its paths, and numbers of 32 bits."""
  name = "jax_traceback_in_locations_limit"
  before = getattr(jax.config, name)
  jax.config.update(name, 0)
  try:
    with jax.enable_x64(False):
      yield
  finally:
    jax.config.update(name, before)


@_alike()
def section(
  given: section_lib.Section,
  system: System,
  kept: Mapping[str, load.Loaded],
  *,
  lengths: Sequence[int],
  batch_size: int,
) -> section_lib.Section:
  """A section for a file.

  Args:
    given: fitted.
    system: the system.
    kept: weights by source, those of folds by `sources.fold_name`.
    lengths: samples of the clips that programs are for.
    batch_size: rows of a batch.

  Returns:
    The section, its state a `portable.Model`.
  """
  own = groups(models(given, system, kept))
  past = [[getattr(given.folds, f)] for f in portable.PAST if given.folds]
  arguments = [*(x for g in own for x in g.leaves), *past]
  refits = crossfit.refits_features(system) or any(
    sources.fold_name(n, 0) in kept for n in sources.encoders(system.branches)
  )
  channels = encode.num_channels(system.branches)
  programs = []
  for num in lengths:
    wave = jax.ShapeDtypeStruct((batch_size, channels, num), np.float32)
    for platforms in (("cpu",), ("cuda", "tpu")):
      in_turn = platforms == ("cpu",)
      plan = Plan(system, own, refits, given.rule.by_domain, in_turn)
      programs.append(_lowered(plan, arguments, wave, platforms))
  # Only what some program takes.
  state = _used(arguments, programs)
  folds = given.folds and given.folds._replace(states=())
  return given._replace(state=state, folds=folds)


def _used(
  arguments: Sequence[Sequence[np.ndarray]],
  programs: Sequence[portable.Program],
) -> portable.Model:
  """Drops the arguments that no program takes, such as unused layers."""
  num = len(arguments)
  used = sorted({i for p in programs for i in p.kept if i < num})
  new = {i: k for k, i in enumerate(used)}
  # The samples and the number of clips follow.
  new |= {num: len(used), num + 1: len(used) + 1}
  kept = [p._replace(kept=tuple(new[i] for i in p.kept)) for p in programs]
  return portable.Model(tuple(tuple(arguments[i]) for i in used), tuple(kept))
