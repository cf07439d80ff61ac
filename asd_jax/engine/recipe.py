"""How an encoder is adapted over machines, as a config says it."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from asd_jax import errors
from asd_jax.encoders import heads
from asd_jax.training import augment, criteria, domain, lora, optimiser
from asd_jax.training.losses import Criterion

Settings = Mapping[str, Any]


class Recipe(NamedTuple):
  """How an encoder is adapted.

  Settings of functions stand with all their defaults, so that a recipe is a
  name of what it makes.

  Attributes:
    trains: which parameters, key of `lora.TRAINS`, with settings.
    head: what makes the embedding, key of `heads.HEADS`, with settings.
    criteria: losses, keys of `criteria.CRITERIA` with settings, `labels` (rule
      of `data.labels`) and `weight`; their weighted sum counts.
    augment: keys of `augment.AUGMENTS` with settings, in order.
    optimiser: see `optimiser.make`.
    mixstyle: settings of `domain.mix_styles` for the tokens; empty for none.
    layer: tokens of the encoder that the head takes.
    channels: of the clips heard in training; those of the branch if empty.
    seconds: length of the clips in training, cut or filled with zeros at their
      end; of the longest if 0.
    batch_size: clips a step.
    num_epochs: passes over the clips.
    num_steps: steps instead of passes; 0 for passes.
    accumulate: pieces of a batch that are looked at one after another.
    remat: compute what is inside a block again for gradients, for less memory.
    ema: decay of averages of the weights, which are kept then; 0 for none.
    ema_start: change that the averages begin at.
    valid_fraction: share of the clips that are held out, to tell which epoch
      was the best; 0 takes the last.
    checkpoint_every: epochs between two saves.
  """

  trains: Settings
  head: Settings
  criteria: tuple[Settings, ...]
  augment: tuple[Settings, ...] = ()
  optimiser: Settings = {}
  mixstyle: Settings = {}
  layer: str = "output"
  channels: tuple[int, ...] = ()
  seconds: float = 0.0
  batch_size: int = 32
  num_epochs: int = 20
  num_steps: int = 0
  accumulate: int = 1
  remat: bool = False
  ema: float = 0.0
  ema_start: int = 0
  valid_fraction: float = 0.0
  checkpoint_every: int = 1


# Least and greatest value of a setting; None for no bound.
_LIMITS: dict[str, tuple[float, float | None]] = dict(
  seconds=(0, None),
  batch_size=(1, None),
  num_epochs=(1, None),
  num_steps=(0, None),
  accumulate=(1, None),
  ema=(0, 1),
  ema_start=(0, None),
  valid_fraction=(0, 0.5),
  checkpoint_every=(1, None),
)
# Settings that change how a network is trained, and not to what.
_SAME = ("remat", "checkpoint_every")


def _completed(where: str, fn: Callable, given: Settings) -> dict[str, Any]:
  """Settings of a function with its defaults."""
  parameters = inspect.signature(fn).parameters.values()
  known = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
  if extra := sorted(given.keys() - known.keys()):
    raise errors.InputError(
      f"{where}: found {extra}, expected some of {sorted(known)}."
    )
  out = {**known, **given}
  if missing := sorted(
    k for k, v in out.items() if v is inspect.Parameter.empty
  ):
    raise errors.InputError(f"{where}: found no {missing}, expected a value.")
  return out


def _choice(
  where: str, spec: Any, table: Mapping[str, Callable], more: Settings
) -> dict[str, Any]:
  """A named choice with all settings; `more` are settings beside its own."""
  if not isinstance(spec, Mapping) or spec.get("name") not in table:
    name = spec.get("name") if isinstance(spec, Mapping) else spec
    raise errors.InputError(
      f"{where}: found {name!r}, expected one of {sorted(table)} as name."
    )
  own = {k: v for k, v in spec.items() if k not in ("name", *more)}
  where = f"{where} {spec['name']}"
  done = _completed(where, table[spec["name"]], own)
  out = {"name": spec["name"], **done}
  return out | {k: spec.get(k, default) for k, default in more.items()}


def _made(
  where: str, spec: Settings, table: Mapping, more: Sequence[str]
) -> Any:
  """Calls a choice; what it refuses is told with its place."""
  own = {k: v for k, v in spec.items() if k not in ("name", *more)}
  try:
    return table[spec["name"]](**own)
  except errors.InputError as e:
    raise errors.InputError(f"{where}: {e}") from e


_BESIDE = dict(labels="attribute", weight=1.0)


def _numbers(where: str, recipe: Recipe) -> None:
  for key, (least, most) in _LIMITS.items():
    value: Any = getattr(recipe, key)
    whole = isinstance(Recipe._field_defaults[key], int)
    kind = int if whole else int | float
    good = isinstance(value, kind) and not isinstance(value, bool)
    if not good or value < least or (most is not None and value >= most):
      bound = "" if most is None else f" and below {most}"
      raise errors.InputError(
        f"{where}: {key}: found {value!r}, expected"
        f" {'a whole number' if whole else 'a number'} from {least}{bound}."
      )
  if recipe.batch_size % recipe.accumulate:
    raise errors.InputError(
      f"{where}: accumulate: found {recipe.accumulate} pieces of a batch of"
      f" {recipe.batch_size}, expected a number that divides it."
    )


def read(where: str, spec: Any) -> Recipe:
  """Reads a recipe.

  Args:
    where: place in the config, for messages.
    spec: plain data.

  Returns:
    The recipe.

  Raises:
    InputError: for unknown or missing settings, and values out of range.
  """
  if not isinstance(spec, Mapping):
    raise errors.InputError(f"{where}: found {spec!r}, expected settings.")
  known = Recipe._fields
  if extra := sorted(set(spec) - set(known)):
    raise errors.InputError(
      f"{where}: found {extra}, expected some of {sorted(known)}."
    )
  if missing := [k for k in ("trains", "head", "criteria") if not spec.get(k)]:
    raise errors.InputError(f"{where}: found no {missing}, expected some.")
  several = lambda key: _several(f"{where}: {key}", spec.get(key, ()))
  recipe = Recipe(**spec)._replace(
    trains=_choice(f"{where}: trains", spec["trains"], lora.TRAINS, {}),
    head=_choice(f"{where}: head", spec["head"], heads.HEADS, {}),
    criteria=tuple(
      _choice(f"{where}: criteria", one, criteria.CRITERIA, _BESIDE)
      for one in several("criteria")
    ),
    augment=tuple(
      _choice(f"{where}: augment", one, augment.AUGMENTS, {})
      for one in several("augment")
    ),
    optimiser={**optimiser.DEFAULTS, **spec.get("optimiser", {})},
    channels=tuple(spec.get("channels", ())),
  )
  if recipe.mixstyle:
    done = _completed(f"{where}: mixstyle", domain.mix_styles, recipe.mixstyle)
    recipe = recipe._replace(mixstyle=done)
  _numbers(where, recipe)
  try:
    optimiser.make(recipe.optimiser, 10**9)  # which refuses what it cannot use
  except errors.InputError as e:
    raise errors.InputError(f"{where}: {e}") from e
  # Each is made once: what it refuses is refused before any clip is read.
  trains(where, recipe), head(where, recipe), losses(where, recipe)
  changes(where, recipe)
  return recipe


def _several(where: str, spec: Any) -> Sequence[Any]:
  if isinstance(spec, Sequence) and not isinstance(spec, str):
    return spec
  raise errors.InputError(f"{where}: found {spec!r}, expected a tuple of them.")


def trains(where: str, recipe: Recipe) -> lora.Trainable:
  """Which parameters a recipe trains."""
  return _made(f"{where}: trains", recipe.trains, lora.TRAINS, ())


def head(where: str, recipe: Recipe) -> heads.Head:
  """The head of a recipe."""
  return _made(f"{where}: head", recipe.head, heads.HEADS, ())


def losses(where: str, recipe: Recipe) -> list[Criterion]:
  """The criteria of a recipe, in order."""
  table, beside = criteria.CRITERIA, tuple(_BESIDE)
  return [
    _made(f"{where}: criteria", c, table, beside) for c in recipe.criteria
  ]


def changes(where: str, recipe: Recipe) -> list[augment.Augment]:
  """The augmentations of a recipe, in order."""
  return [
    _made(f"{where}: augment", a, augment.AUGMENTS, ()) for a in recipe.augment
  ]


def plain(recipe: Recipe) -> dict[str, Any]:
  """What of a recipe decides the network that it makes, as plain data."""
  return {k: v for k, v in recipe._asdict().items() if k not in _SAME}
