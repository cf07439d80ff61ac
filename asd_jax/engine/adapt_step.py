"""One step of adapting an encoder: clips and their classes to changed weights.

All draws of a step come from its key, and stand apart from what is made of
them: a step can be repeated with any of them.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from asd_jax.data import audio
from asd_jax.encoders import heads
from asd_jax.encoders.family import Encoder
from asd_jax.encoders.heads import Head
from asd_jax.training import augment, domain, lora, losses, mesh, optimiser
from asd_jax.training import state as train_state
from asd_jax.training.state import TrainState
from asd_jax.typing import Array, Key

Tree = Any


class Term(NamedTuple):
  """A part of the loss.

  Attributes:
    name: of the part, in logs.
    criterion: makes it, of classes of its own.
    num_classes: of these.
    weight: in the sum.
  """

  name: str
  criterion: losses.Criterion
  num_classes: int
  weight: float = 1.0


class Plan(NamedTuple):
  """What a step does, with every choice made.

  Attributes:
    encoder: that is adapted.
    layer: of its tokens, that the head takes.
    trains: which of its parameters are trained.
    clean: `[C, S] -> [C', S]` the denoiser.
    hear: `[C', S] -> [C', T, M]` the front end.
    head: tokens to an embedding.
    terms: of the loss.
    changes: augmentations, in order; of waveforms they come behind the
      denoiser, as crops of clips in use do.
    mixstyle: settings of `domain.mix_styles`; None for none.
    optimiser: of the two groups.
    num_steps: of the whole run.
  """

  encoder: Encoder
  layer: str
  trains: lora.Trainable
  clean: Callable[[Array], Array]
  hear: Callable[[Array], Array]
  head: Head
  terms: tuple[Term, ...]
  changes: tuple[augment.Augment, ...]
  mixstyle: dict[str, Any] | None
  optimiser: optimiser.Optimiser
  num_steps: int


class Parts(NamedTuple):
  """The pure functions of a training.

  A batch is `{"wave": [B, C, S] samples, "labels": [B, n] int32}`, a class for
  each of the n terms, -1 where a clip has none. `draws` may hold what `draw`
  returns, to be used instead.

  Attributes:
    init: `(key, base) -> (state, frozen)`; `base` are the encoder's parameters,
      and `frozen` what of them no step changes.
    step: `(state, frozen, batch) -> (state, metrics)`; `loss`, `grad_norm`, and
      `loss_NAME` of each term where there are several.
    loss: `(state, frozen, batch) -> []` in evaluation mode: nothing is drawn or
      changed, and averages of weights are used where they are kept.
    merged: `(state, frozen) -> {"encoder": params, "head": {"params": ...,
      "stats": ...}}`, what is kept.
  """

  init: Callable[[Key, Tree], tuple[TrainState, Tree]]
  step: Callable[[TrainState, Tree, Tree], tuple[TrainState, dict]]
  loss: Callable[[TrainState, Tree, Tree], Array]
  merged: Callable[[TrainState, Tree], Tree]


def draw(key: Key, plan: Plan, shape: tuple[int, ...]) -> Tree:
  """Draws all that a training step needs.

  Args:
    key: consumed.
    plan: what the step does.
    shape: `[B, C', S]` of the cleaned waveforms.

  Returns:
    `changes`, a draw for each augmentation; `dropout`, `[B]` draws of
    `Trainable.drop`, None if there is none; keys for `mixstyle` and for each of
    the `terms`.
  """
  ks = dict(
    zip(
      ("changes", "dropout", "mixstyle", "terms"),
      jax.random.split(key, 4),
      strict=True,
    )
  )
  wave = jax.ShapeDtypeStruct(shape, jnp.float32)
  bands = jax.eval_shape(jax.vmap(plan.hear), wave).shape
  shapes = {"wave": shape, "bands": bands}
  many = jax.random.split(ks["changes"], max(len(plan.changes), 1))
  return {
    "changes": [
      change.draw(many[i], shapes[change.of])
      for i, change in enumerate(plan.changes)
    ],
    "dropout": jax.random.split(ks["dropout"], shape[0])
    if plan.trains.drop
    else None,
    "mixstyle": ks["mixstyle"],
    "terms": jax.random.split(ks["terms"], len(plan.terms)),
  }


def cleaned(plan: Plan, wave: Array) -> Array:
  """What the denoiser makes of clips, `[B, C, S]` samples to `[B, C', S]`."""
  return mesh.by_rows(jax.vmap(plan.clean))(audio.to_float(wave))


def rows_of(plan: Plan, labels: Array) -> augment.Labels:
  """Classes `[B, n]` to rows of labels, a `[B, K]` for each term."""
  return tuple(
    jax.nn.one_hot(labels[:, i], term.num_classes)
    for i, term in enumerate(plan.terms)
  )


def _changed(
  plan: Plan, of: str, draws: Sequence[Tree], x: Array, rows: augment.Labels
) -> tuple[Array, augment.Labels]:
  for change, drawn in zip(plan.changes, draws, strict=True):
    if change.of == of:
      x, rows = change.apply(drawn, x, rows)
  return x, rows


def _bands(plan: Plan, wave: Array) -> Array:
  """What the front end makes of cleaned clips."""
  return mesh.by_rows(jax.vmap(plan.hear))(wave)


def heard(
  plan: Plan, draws: Sequence[Tree], wave: Array, rows: augment.Labels
) -> tuple[Array, augment.Labels]:
  """What the encoder gets of augmented clips.

  Args:
    plan: what the step does.
    draws: one for each augmentation.
    wave: `[B, C', S]` cleaned waveforms.
    rows: labels.

  Returns:
    `[B, C', T, M]` and the labels, which augmentation may mix.
  """
  wave, rows = _changed(plan, "wave", draws, wave, rows)
  return _changed(plan, "bands", draws, _bands(plan, wave), rows)


def tokens(
  plan: Plan, trained: Tree, frozen: Tree, bands: Array, drops: Tree
) -> Array:
  """Tokens of the encoder as it is trained.

  Args:
    plan: what the step does.
    trained: trained part of the encoder.
    frozen: the other part.
    bands: `[B, C, T, M]` front-end output.
    drops: `[B]` draws of `Trainable.drop`; None drops nothing.

  Returns:
    `[B, C', L, D]` without CLS, of the channels that the head takes.
  """

  def one(x: Array, drawn: Tree) -> Array:
    drop_of = plan.trains.drop
    drop = None
    if drop_of is not None and drawn is not None:
      drop = functools.partial(drop_of, drawn)
    with plan.trains.attach(trained, frozen, drop) as params:
      out = plan.encoder.apply(params, x, (plan.layer,))[plan.layer]
    return heads.rows_of(plan.head, out.grid)

  return jax.vmap(one)(bands, drops)


def _sum_of_terms(
  plan: Plan, params: Tree, extra: Tree, z: Array, rest: dict[str, Any]
) -> tuple[Array, Tree, dict[str, Array]]:
  """Loss, states of the terms, and metrics; see `objective`."""
  total, states, metrics = jnp.zeros((), z.dtype), [], {}
  for i, term in enumerate(plan.terms):
    loss, state = term.criterion.apply(
      params[i], extra[i], z, rest["rows"][i], rest["keys"][i], rest["progress"]
    )
    total += term.weight * loss
    states.append(state)
    metrics[f"loss_{term.name}"] = loss
  return total, states, metrics if len(plan.terms) > 1 else {}


def objective(
  plan: Plan, params: Tree, extra: Tree, frozen: Tree, batch: Tree
) -> tuple[Array, tuple[Tree, dict]]:
  """Loss of a training step.

  Args:
    plan: what the step does.
    params: `{"backbone": trained part of the encoder, "head": {"head": ...,
      "terms": [...]}}`.
    extra: `{"head": running statistics, "terms": [...]}`.
    frozen: the part of the encoder that is not trained.
    batch: see `Parts`, and `draws`, and `progress` `[]`, the done share of the
      run.

  Returns:
    `[]`, and the new `extra` with metrics.
  """
  draws, head = batch["draws"], params["head"]
  wave, rows = cleaned(plan, batch["wave"]), rows_of(plan, batch["labels"])
  bands, rows = heard(plan, draws["changes"], wave, rows)
  h = tokens(plan, params["backbone"], frozen, bands, draws["dropout"])
  if plan.mixstyle is not None:
    h = domain.mix_styles(draws["mixstyle"], h, **plan.mixstyle)
  z, stats = plan.head.apply(head["head"], extra["head"], h, True)
  rest = {"rows": rows, "keys": draws["terms"], "progress": batch["progress"]}
  loss, states, metrics = _sum_of_terms(
    plan, head["terms"], extra["terms"], z, rest
  )
  return loss, ({"head": stats, "terms": states}, metrics)


def _init(key: Key, plan: Plan, base: Tree) -> tuple[TrainState, Tree]:
  of_backbone, of_head, of_terms, of_steps = jax.random.split(key, 4)
  about = plan.encoder.about
  trained, frozen = plan.trains.init(of_backbone, base, about.family.fixed)
  head, stats = plan.head.init(of_head, about.width)
  terms, states = [], []
  for i, term in enumerate(plan.terms):
    params, extra = term.criterion.init(
      jax.random.fold_in(of_terms, i), term.num_classes, plan.head.width
    )
    terms.append(params)
    states.append(extra)
  params = {"backbone": trained, "head": {"head": head, "terms": terms}}
  extra = {"head": stats, "terms": states}
  begin, _ = _functions(plan)
  return begin(of_steps, params, extra), frozen


def _functions(plan: Plan) -> tuple[Callable, Callable]:
  """See `state.make_train`."""
  rule = plan.optimiser

  def loss_fn(
    params: Tree, extra: Tree, key: Key, batch: Tree, more: Tree
  ) -> tuple[Array, tuple[Tree, dict]]:
    shape = jax.eval_shape(functools.partial(cleaned, plan), batch["wave"])
    draws = batch.get("draws") or draw(key, plan, shape.shape)
    batch = {**batch, "draws": draws, "progress": more["progress"]}
    return objective(plan, params, extra, more["frozen"], batch)

  return train_state.make_train(
    loss_fn,
    rule.tx,
    accumulate=rule.accumulate,
    average=rule.average,
    watched=True,
  )


def _step(
  plan: Plan, state: TrainState, frozen: Tree, batch: Tree
) -> tuple[TrainState, dict]:
  done = state.step.astype(jnp.result_type(float)) / plan.num_steps
  _, step = _functions(plan)
  return step(state, batch, {"frozen": frozen, "progress": done})


def _weights(state: TrainState) -> Tree:
  """Averages of the weights where they are kept, else they themselves."""
  return state.params if state.average is None else state.average


def _loss(plan: Plan, state: TrainState, frozen: Tree, batch: Tree) -> Array:
  params = _weights(state)
  head = params["head"]
  wave, rows = cleaned(plan, batch["wave"]), rows_of(plan, batch["labels"])
  h = tokens(plan, params["backbone"], frozen, _bands(plan, wave), None)
  z, _ = plan.head.apply(head["head"], state.extra["head"], h, False)
  rest = {
    "rows": rows,
    # Margins that are drawn are drawn alike in every validation.
    "keys": jax.random.split(state.key, len(plan.terms)),
    "progress": jnp.ones((), z.dtype),
  }
  return _sum_of_terms(plan, head["terms"], state.extra["terms"], z, rest)[0]


def _merged(plan: Plan, state: TrainState, frozen: Tree) -> Tree:
  params = _weights(state)
  return {
    "encoder": plan.trains.merge(params["backbone"], frozen),
    "head": {"params": params["head"]["head"], "stats": state.extra["head"]},
  }


def make(plan: Plan) -> Parts:
  """Makes the functions of a training.

  Args:
    plan: what a step does.

  Returns:
    The functions, of which none is compiled.
  """
  return Parts(
    init=lambda key, base: _init(key, plan, base),
    step=functools.partial(_step, plan),
    loss=functools.partial(_loss, plan),
    merged=functools.partial(_merged, plan),
  )
