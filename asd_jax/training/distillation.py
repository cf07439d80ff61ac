"""Noise-aware pre-training: hear the clean sound of a machine among noises.

A frozen encoder with trained layers behind its blocks (the student) takes near
and far recordings; its tokens are to be those that the encoder alone (the
teacher) makes of the clean sound. The teacher runs once a batch, in the same
program; neither it nor the far channel has a gradient, and what is frozen has
no moments.

References: [MERL26] Sec. 2.1 and 4.1, and its public code.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from asd_jax.training import mesh
from asd_jax.training import state as train_state
from asd_jax.training.optimiser import Optimiser
from asd_jax.training.state import TrainState
from asd_jax.typing import Array, Key

Tree = Any


class Heard(NamedTuple):
  """What a network makes of clips.

  Attributes:
    patches: `[..., L, D]` tokens of patches.
    cls: `[..., D]` token of the clip, None where there is none.
  """

  patches: Array
  cls: Array | None = None


class Sounds(NamedTuple):
  """Recordings of a batch, simulated on the device.

  Attributes:
    near: `[B, S]` target among noises.
    far: `[B, S]` mostly noises.
    clean: `[B, S]` target alone.
  """

  near: Array
  far: Array
  clean: Array


class Plan(NamedTuple):
  """What a step does, with every choice made.

  Attributes:
    init: `(key, start) -> (trained, frozen)`.
    sounds: `(frozen, batch) -> Sounds` of the training.
    valid_sounds: the same of the validation.
    hear: `[C, S] -> [C, T, M]` the front end.
    student: `(trained, frozen, key, near and far [2, T, M]) -> Heard` of one
      clip; a key of None drops nothing.
    teacher: `(frozen, clean [1, T, M]) -> Heard` of one clip.
    optimiser: of one group.
    cls_weight: of the token of the clip, in the loss.
  """

  init: Callable[[Key, Tree], tuple[Tree, Tree]]
  sounds: Callable[[Tree, Tree], Sounds]
  valid_sounds: Callable[[Tree, Tree], Sounds]
  hear: Callable[[Array], Array]
  student: Callable[[Tree, Tree, Key | None, Array], Heard]
  teacher: Callable[[Tree, Array], Heard]
  optimiser: Optimiser
  cls_weight: float = 1.0


class Parts(NamedTuple):
  """The pure functions of a training.

  Attributes:
    init: `(key, start) -> (state, frozen)`.
    step: `(state, frozen, batch) -> (state, metrics)`; `loss`, `grad_norm`, and
      `loss_tokens` and `loss_cls` where there are both.
    loss: `(state, frozen, batch) -> []` of the validation: nothing is dropped,
      and averages of weights are used where they are kept.
    learned: `state -> ` the layers that are kept.
  """

  init: Callable[[Key, Tree], tuple[TrainState, Tree]]
  step: Callable[[TrainState, Tree, Tree], tuple[TrainState, dict]]
  loss: Callable[[TrainState, Tree, Tree], Array]
  learned: Callable[[TrainState], Tree]


def distance(
  found: Heard, wanted: Heard, *, cls_weight: float
) -> tuple[Array, dict[str, Array]]:
  """How far tokens are from those of the clean sound.

  Args:
    found: of the student.
    wanted: of the teacher; no gradient goes there.
    cls_weight: of the token of the clip, which counts beside all patches.

  Returns:
    `[]`, and its terms by name where there are two.

  Source: [MERL26] Sec. 2.1 and its public code.
  """
  wanted = jax.lax.stop_gradient(wanted)
  # Each term is a mean over its own numbers, in float32 whatever the network
  # computes in.
  mean = lambda a, b: jnp.mean(jnp.square(_exact(a) - _exact(b)))
  of_patches = mean(found.patches, wanted.patches)
  if found.cls is None:
    return of_patches, {}
  of_cls = mean(found.cls, wanted.cls)
  terms = {"loss_tokens": of_patches, "loss_cls": of_cls}
  return of_patches + cls_weight * of_cls, terms


def _exact(x: Any) -> Array:
  return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def _bands(plan: Plan, sounds: Sounds) -> tuple[Array, Array]:
  """Front-end output of near and far `[B, 2, T, M]` and clean `[B, 1, T, M]`.

  Each recording goes through the front end by itself.
  """
  hear = mesh.by_rows(jax.vmap(plan.hear))
  bands = hear(jnp.stack(sounds, axis=1))
  return bands[:, :2], bands[:, 2:]


def objective(
  key: Key | None, plan: Plan, trained: Tree, frozen: Tree, sounds: Sounds
) -> tuple[Array, dict[str, Array]]:
  """Loss of a batch.

  Args:
    key: of the dropout; None drops nothing.
    plan: what the step does.
    trained: layers.
    frozen: what no step changes.
    sounds: of the batch.

  Returns:
    `[]`, and its terms by name.
  """
  # Nothing flows back to the base or to the recordings: of the frozen part
  # only inputs of the near channel's blocks have a gradient.
  frozen, sounds = jax.lax.stop_gradient((frozen, sounds))
  pairs, clean = _bands(plan, sounds)
  keys = None if key is None else jax.random.split(key, len(pairs))
  student = lambda key, pair: plan.student(trained, frozen, key, pair)
  found = jax.vmap(student, (None if key is None else 0, 0))(keys, pairs)
  wanted = jax.vmap(functools.partial(plan.teacher, frozen))(clean)
  return distance(found, wanted, cls_weight=plan.cls_weight)


def _functions(plan: Plan) -> tuple[Callable, Callable]:
  """See `state.make_train`."""

  def loss_fn(
    params: Tree, extra: Tree, key: Key, batch: Tree, frozen: Tree
  ) -> tuple[Array, tuple[Tree, dict]]:
    sounds = plan.sounds(frozen, batch)
    loss, terms = objective(key, plan, params, frozen, sounds)
    return loss, (extra, terms)

  rule = plan.optimiser
  return train_state.make_train(
    loss_fn,
    rule.tx,
    accumulate=rule.accumulate,
    average=rule.average,
    watched=True,
  )


def _init(plan: Plan, key: Key, start: Tree) -> tuple[TrainState, Tree]:
  of_layers, of_steps = jax.random.split(key)
  trained, frozen = plan.init(of_layers, start)
  begin, _ = _functions(plan)
  return begin(of_steps, trained, {}), frozen


def _step(
  plan: Plan, state: TrainState, frozen: Tree, batch: Tree
) -> tuple[TrainState, dict]:
  _, step = _functions(plan)
  return step(state, batch, frozen)


def learned(state: TrainState) -> Tree:
  """The layers that a training has come to.

  Args:
    state: of the training.

  Returns:
    Averages of the weights where they are kept, else the weights.
  """
  return state.params if state.average is None else state.average


def _loss(plan: Plan, state: TrainState, frozen: Tree, batch: Tree) -> Array:
  sounds = plan.valid_sounds(frozen, batch)
  return objective(None, plan, learned(state), frozen, sounds)[0]


def make(plan: Plan) -> Parts:
  """Makes the functions of a training.

  Args:
    plan: what a step does.

  Returns:
    The functions, of which none is compiled.
  """
  return Parts(
    init=functools.partial(_init, plan),
    step=functools.partial(_step, plan),
    loss=functools.partial(_loss, plan),
    learned=learned,
  )
