"""AdamW with two rates, schedules that count from zero, averages of weights."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from asd_jax import errors
from asd_jax.typing import Array

Tree = Any
Schedule = Callable[[Any], Any]
# Parts of the parameters, each with a rate of its own.
GROUPS = ("backbone", "head")


class Optimiser(NamedTuple):
  """How parameters are changed; all but `rates` is for `state.make_train`.

  Attributes:
    tx: of a mapping with the keys of `GROUPS`, or of one tree. A tensor without
      gradient has gradient zero and takes part: its moments fade and its
      weights decay.
    rates: step, from zero, to the rate of each group.
    accumulate: pieces of a batch that are looked at one after another.
    average: moves averages of the weights on; None keeps none.
  """

  tx: optax.GradientTransformation
  rates: Callable[[Array], dict[str, Array]]
  accumulate: int = 1
  average: Callable[[Tree, Tree, Array], Tree] | None = None


def _real(step: Array) -> Array:
  """A step's number in the digits that the run computes with."""
  return jnp.asarray(step, jnp.result_type(float))


def _risen(step: Array, warmup: int) -> Array:
  """Share of the peak rate that a step of the warm-up has; 1 behind it."""
  return jnp.minimum(_real(step) / warmup, 1.0) if warmup else jnp.ones(())


def warmup_constant(peak: float, *, warmup: int, num_steps: int) -> Schedule:
  """Zero at step 0, rising in equal steps to the peak, where it stays.

  Args:
    peak: the rate from step `warmup` on.
    warmup: steps.
    num_steps: of the whole run.

  Returns:
    Step, from zero, to rate.
  """
  del num_steps
  return lambda step: peak * _risen(step, warmup)


def warmup_cosine(peak: float, *, warmup: int, num_steps: int) -> Schedule:
  """Zero at step 0, rising to the peak, then half a cosine to zero at the end.

  Args:
    peak: the rate at step `warmup`.
    warmup: steps.
    num_steps: of the whole run.

  Returns:
    Step, from zero, to rate.

  Raises:
    InputError: if the run ends before the peak.
  """
  if warmup >= num_steps:
    raise errors.InputError(
      f"optimiser: found warmup of {warmup} steps, expected fewer than the"
      f" {num_steps} of the run."
    )

  def rate(step: Array) -> Array:
    # A run that goes on beyond its end stays at zero.
    done = jnp.clip((_real(step) - warmup) / (num_steps - warmup), 0.0, 1.0)
    return peak * _risen(step, warmup) * 0.5 * (1.0 + jnp.cos(jnp.pi * done))

  return rate


SCHEDULES: dict[str, Callable[..., Schedule]] = {
  "warmup_constant": warmup_constant,
  "warmup_cosine": warmup_cosine,
}


def track(
  average: Tree, weights: Tree, step: Array, *, decay: float, start: int
) -> Tree:
  """Moves averages of weights on by one step.

  Args:
    average: averages before the step.
    weights: weights after it.
    step: `[]` number of the step, from zero.
    decay: share of the old average.
    start: step that the averages begin at, as a copy of the weights.

  Returns:
    The averages; the weights themselves up to `start`. Nothing is corrected
    for the beginning.

  Source: [MERL26].
  """
  one = lambda a, w: jnp.where(
    step <= start, w, (decay * a + (1.0 - decay) * w).astype(w.dtype)
  )
  return jax.tree.map(one, average, weights)


def make(
  settings: Mapping[str, Any],
  num_steps: int,
  *,
  accumulate: int = 1,
  ema: float = 0.0,
  ema_start: int = 0,
  grouped: bool = True,
) -> Optimiser:
  """Makes an optimiser.

  Args:
    settings: `learning_rate`; `head_learning_rate`, the same if absent;
      `weight_decay`; `schedule`, key of `SCHEDULES`; `warmup`, steps, or a
      share of the run if below 1.
    num_steps: of the whole run.
    accumulate: pieces of a batch that are looked at one after another.
    ema: decay of the averages of weights; 0 keeps none.
    ema_start: see `track`.
    grouped: whether parameters are in `GROUPS`; else they are one tree of any
      kind, and the head's rate is not used.

  Returns:
    The optimiser.

  Raises:
    InputError: for settings out of range, or unknown ones.
  """
  known = _checked(settings)
  warmup = known["warmup"]
  warmup = round(warmup * num_steps) if warmup < 1 else int(warmup)
  schedule = SCHEDULES[known["schedule"]]
  peaks = (known["learning_rate"], known["head_learning_rate"])
  rates = {
    group: schedule(peak, warmup=warmup, num_steps=num_steps)
    for group, peak in zip(GROUPS, peaks, strict=True)
  }
  # optax's own decay is 1e-4; PyTorch's, which the recipes rely on, 1e-2.
  each: dict[Any, Any] = {
    group: optax.adamw(rate, weight_decay=known["weight_decay"])
    for group, rate in rates.items()
  }
  tx = optax.partition(each, {group: group for group in GROUPS})
  if not grouped:
    tx = each["backbone"]
  rate_of = lambda step: {g: rate(step) for g, rate in rates.items()}
  average = functools.partial(track, decay=ema, start=ema_start)
  return Optimiser(tx, rate_of, accumulate, average if ema else None)


DEFAULTS: dict[str, Any] = {
  "learning_rate": 1e-4,
  "head_learning_rate": None,
  "weight_decay": 0.01,
  "schedule": "warmup_cosine",
  "warmup": 0.05,
}


def _checked(settings: Mapping[str, Any]) -> dict[str, Any]:
  """Settings with their defaults."""
  if unknown := sorted(set(settings) - DEFAULTS.keys()):
    raise errors.InputError(
      f"optimiser: found {unknown}, expected some of {[*DEFAULTS]}."
    )
  known = {**DEFAULTS, **settings}
  if known["head_learning_rate"] is None:
    known["head_learning_rate"] = known["learning_rate"]
  if known["schedule"] not in SCHEDULES:
    raise errors.InputError(
      f"optimiser: schedule: found {known['schedule']!r}, expected one of"
      f" {[*SCHEDULES]}."
    )
  for name in ("learning_rate", "head_learning_rate", "weight_decay", "warmup"):
    value = known[name]
    if not isinstance(value, int | float) or not 0 <= value < float("inf"):
      raise errors.InputError(
        f"optimiser: {name}: found {value!r}, expected a number that is not"
        " negative."
      )
  return known
