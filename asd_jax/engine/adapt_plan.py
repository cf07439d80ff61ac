"""What a step of an adaptation does, with every choice of a recipe made."""

from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp

from asd_jax import errors
from asd_jax.engine import adapt_step
from asd_jax.engine import recipe as recipes
from asd_jax.engine.branch import Adapt, Branch
from asd_jax.training import optimiser


def _terms(
  where: str, recipe: recipes.Recipe, num_classes: tuple[int, ...]
) -> tuple[adapt_step.Term, ...]:
  """The parts of the loss; logs call them by their labels."""
  rules = [
    c["labels"] if isinstance(c["labels"], str) else c["labels"]["name"]
    for c in recipe.criteria
  ]
  names = [
    r if rules.count(r) == 1 else f"{r}_{i + 1}" for i, r in enumerate(rules)
  ]
  weights = [c["weight"] for c in recipe.criteria]
  made = recipes.losses(where, recipe)
  columns = zip(names, made, num_classes, weights, strict=True)
  return tuple(adapt_step.Term(*row) for row in columns)


def make(
  where: str, branch: Branch, num_classes: tuple[int, ...], num_steps: int
) -> adapt_step.Parts:
  """Makes the functions of an adaptation.

  Args:
    where: place in the config, for messages.
    branch: whose encoder is adapted.
    num_classes: of each criterion.
    num_steps: of the whole run.

  Returns:
    The functions.

  Raises:
    InputError: for choices that do not fit each other or the network.
  """
  adapt: Any = branch.source.adapt
  recipe, front = adapt.recipe, branch.front
  try:
    rates = optimiser.make(
      recipe.optimiser,
      num_steps,
      accumulate=recipe.accumulate,
      ema=recipe.ema,
      ema_start=recipe.ema_start,
    )
  except errors.InputError as e:
    raise errors.InputError(f"{where}: {e}") from e
  plan = adapt_step.Plan(
    encoder=adapt.learner,
    layer=recipe.layer,
    trains=recipes.trains(where, recipe),
    # No stage that a network of all machines hears is fitted to one.
    clean=lambda wave: front.denoise.apply({}, wave),
    hear=lambda wave: front.frontend.apply({}, wave),
    head=adapt.head,
    terms=_terms(where, recipe, num_classes),
    changes=tuple(recipes.changes(where, recipe)),
    mixstyle=dict(recipe.mixstyle) or None,
    optimiser=rates,
    num_steps=num_steps,
  )
  parts = adapt_step.make(plan)
  _check(where, adapt, parts)
  return parts


def _check(where: str, adapt: Adapt, parts: adapt_step.Parts) -> None:
  """Refuses a rule that fits no parameter of the network; none is made."""
  flat = {
    path: jax.ShapeDtypeStruct(shape, jnp.float32)
    for path, shape in adapt.base.about.shapes().items()
  }
  published = flax.traverse_util.unflatten_dict(flat, sep="/")
  try:
    jax.eval_shape(parts.init, jax.random.key(0), published)
  except errors.InputError as e:
    raise errors.InputError(f"{where}: {e}") from e
