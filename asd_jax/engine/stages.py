"""The stages of a branch: what a config may name, and how a name is found."""

import contextlib
import functools
import importlib
import inspect
import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from asd_jax import errors
from asd_jax.backends import (
  base,
  classes,
  density,
  knn,
  mahalanobis,
  prototypes,
  residual,
  rows,
  transform,
)
from asd_jax.encoders import family, zoo
from asd_jax.frontends import (
  augment,
  denoise,
  dif,
  htk_mel,
  kaldi,
  linear,
  log_mel,
)
from asd_jax.frontends import base as frontend_base
from asd_jax.ops import crops, pooling, views
from asd_jax.scores import calibration
from asd_jax.training import reconstruction
from asd_jax.typing import Array, Scalar

Hypers = dict[str, Any]

# Stage (config key) -> name -> function. A system is a choice at each stage.
TABLES: dict[str, dict[str, Callable]] = {
  "denoise": denoise.WAVE_FILTERS,
  "frontend": {
    **log_mel.FRONTENDS,
    **dif.FRONTENDS,
    **kaldi.FRONTENDS,
    **htk_mel.FRONTENDS,
    **linear.FRONTENDS,
  },
  "augment": augment.AUGMENTS,
  "encoder": zoo.ENCODERS,
  "tta": crops.TTA,
  "pooling": pooling.POOLINGS,
  "view": views.VIEWS,
  "key": views.KEYS,
  "transform": transform.TRANSFORMS,
  "bank": rows.BANKS,
  "backend": {
    "embedding": base.embedding,
    **knn.BACKENDS,
    **classes.BACKENDS,
    **density.BACKENDS,
    **mahalanobis.BACKENDS,
    **residual.BACKENDS,
  },
  "calibration": calibration.CALIBRATORS,
}
# Stages whose floats are hyperparameters: traced, so that vmap sweeps them.
SWEPT = ("view", "transform", "bank", "backend", "wrappers", "calibration")
WRAPPERS = {**base.WRAPPERS, **prototypes.WRAPPERS}
# Settings that are a choice from a table themselves.
NESTED = {"denoiser": denoise.DENOISERS}
# Settings of an encoder with published weights, beside its own.
CHOSEN = ("layer", "checkpoint", "base", "adapt")
OTHER_KEYS = ("channels", "wrappers", "reference", "weight", "when")
REFERENCES = ("loo", "in_sample")
# The setting of a front end that can follow the recordings' rate.
RATE = "sample_rate"
# Machines that a branch is for.
WHEN = ("always", "attributes", "no_attributes")
# The plain choice at every stage, for what a config or an old detector leaves
# out. Configs name all of them too (`configs/common.py`), because only what a
# config names can be overridden on the command line.
DEFAULTS: dict[str, Any] = dict(
  channels=(0,),
  denoise=dict(name="identity"),
  frontend=dict(name="log_mel"),
  augment=dict(name="none"),
  encoder=dict(name="identity"),
  tta=dict(name="none"),
  pooling=dict(name="mean_time"),
  view=dict(name="near"),
  key=dict(name="none"),
  transform=dict(name="identity"),
  bank=dict(name="plain"),
  backend=dict(name="knn", k=1, metric="euclidean"),
  wrappers=(),
  calibration=dict(name="identity"),
  reference="loo",
  weight=1.0,
  when="always",
)
# Settings that had another name once, which older configs and detectors use.
RENAMED = {"stream": "seed"}
# What a function of a user's own must say that it returns, by stage.
CONTRACTS: dict[str, Any] = dict(
  denoise=frontend_base.Frontend,
  denoiser=frontend_base.Frontend,
  frontend=frontend_base.Frontend,
  augment=frontend_base.Augment,
  encoder=family.Encoder,
  tta=crops.Crops,
  pooling=Array,
  view=Array,
  key=Callable[[Array], Array],
  transform=transform.Transform,
  bank=base.Bank,
  backend=base.Backend,
  wrappers=base.Backend,
  calibration=calibration.Calibrator,
  fusion=Array,
)


def _imported(stage: str, name: str) -> Callable:
  """The function that `module:function` names, of a user's own file."""
  module, _, function = name.partition(":")
  where = f"config: {stage}: found {name!r}"
  try:
    found = importlib.import_module(module)
  except errors.OF_A_PROGRAM as e:
    raise errors.InputError(
      f"{where}, expected a module {module!r} in the folder of the config, in"
      f" the working directory or installed: {e}."
    ) from e
  fn = getattr(found, function, None)
  if not callable(fn):
    raise errors.InputError(
      f"{where}, expected a function {function!r} in module {module!r}."
    )
  _check_contract(where, fn, CONTRACTS[stage.rpartition(".")[2]])
  return _own(fn, where)


def _check_contract(where: str, fn: Callable, contract: Any) -> None:
  """Refuses a function that does not say that it returns what a stage does.

  A detector of somebody else may name any function that is installed. What it
  names is called only if its own author meant it as such a stage.
  """
  told: Any = None
  # A record of a family is one of ours, whoever filled it in.
  if inspect.isfunction(fn) or isinstance(fn, family.Family):
    # An annotation is code of the user's: whatever it raises, it is none.
    with contextlib.suppress(Exception):
      told = inspect.signature(fn, eval_str=True).return_annotation
  if told != contract:
    raise errors.InputError(
      f"{where}, expected a function that is annotated to return"
      f" {getattr(contract, '__name__', contract)}."
    )


def _own(fn: Callable, where: str) -> Callable:
  """Turns a user's ValueError for a wrong setting into wrong input."""

  @functools.wraps(fn)
  def call(*args: Any, **kwargs: Any) -> Any:
    try:
      return fn(*args, **kwargs)
    except ValueError as e:
      raise errors.InputError(f"{where}: {e}") from e

  return call


def _named(
  stage: str, name: Any, table: Mapping[str, Callable]
) -> tuple[Callable, dict[str, inspect.Parameter]]:
  """The function of a name, and its settings."""
  if isinstance(name, str) and ":" in name:
    fn = _imported(stage, name)
  elif name in table:
    fn = table[name]
  else:
    raise errors.InputError(
      f"config: {stage}: found {name!r}, expected one of {sorted(table)}."
    )
  # Keyword-only ones are settings; the rest is data that the engine gives.
  parameters = inspect.signature(fn, eval_str=True).parameters.values()
  return fn, {p.name: p for p in parameters if p.kind is p.KEYWORD_ONLY}


def at_rate(frontend: Mapping[str, Any], rate: int) -> dict[str, Any]:
  """Settings of a front end that follows the sample rate of a run, if it can.

  Args:
    frontend: settings; one that gives its own rate keeps it.
    rate: sample rate of the run, Hz.

  Returns:
    Settings. At the rate that the front end has by default they stay as they
    are, so that they name the same results as ever.

  Raises:
    InputError: if there is no such front end.
  """
  _, known = _named("frontend", frontend.get("name"), TABLES["frontend"])
  follows = RATE in known and known[RATE].default != rate
  return {RATE: rate, **frontend} if follows else dict(frontend)


def resolve(
  stage: str, spec: Mapping[str, Any], table: Mapping[str, Callable]
) -> tuple[Callable, dict[str, float]]:
  """Looks up one stage and splits its settings.

  A name `module:function` is not in the table but imported: a user's own.
  Settings that the function annotates as `Scalar` may be traced; all others
  are structure.

  Args:
    stage: its config key, for messages.
    spec: `name` and the keyword arguments of the named function.
    table: name to function.

  Returns:
    The function with its structure bound, and the scalars, given or default.

  Raises:
    InputError: if the name or a keyword is not known.
  """
  kwargs = dict(spec)
  name = kwargs.pop("name", None)
  fn, known = _named(stage, name, table)
  if extra := sorted(kwargs.keys() - known.keys()):
    raise errors.InputError(
      f"config: {stage} {name}: found {extra}, expected some of"
      f" {sorted(known)}."
    )
  # Scalars of a nested choice are structure: front ends are not swept.
  for key in sorted(NESTED.keys() & kwargs.keys()):
    inner, floats = resolve(f"{stage}.{key}", kwargs[key], NESTED[key])
    kwargs[key] = inner(**floats)
  floats = {}
  for key, parameter in known.items():
    if parameter.annotation == Scalar:
      value = kwargs.pop(key, parameter.default)
      floats[key] = _number(f"{stage} {name}", key, value)
  return functools.partial(fn, **kwargs), floats


def _number(where: str, key: str, value: Any) -> float:
  # True is an int in Python, and no number to whoever wrote it.
  if isinstance(value, bool) or not isinstance(value, int | float):
    raise errors.InputError(
      f"config: {where}: {key}: found {value!r}, expected a number."
    )
  return float(value)


def text_of(settings: Any) -> str:
  """Settings as text that differs where they do.

  Args:
    settings: plain data; arrays count with all their numbers.

  Returns:
    JSON with sorted keys.
  """
  plain = lambda x: x.tolist() if hasattr(x, "tolist") else str(x)
  return json.dumps(settings, sort_keys=True, default=plain)


def is_imported(spec: Any) -> bool:
  """Whether settings name a function of a user's own file anywhere."""
  if isinstance(spec, Mapping):
    name = spec.get("name")
    own = isinstance(name, str) and ":" in name
    return own or any(map(is_imported, spec.values()))
  return False


def _renamed(spec: Any) -> Any:
  """Settings under the names that they have today."""
  if not isinstance(spec, Mapping):
    return spec
  return {RENAMED.get(k, k): v for k, v in spec.items()}


def completed(name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
  """Checks the keys of a branch and fills what is left out.

  Args:
    name: name of the branch, for messages.
    spec: its settings; an old detector leaves out the stages that came later.

  Returns:
    Settings with a key for each stage and each of `OTHER_KEYS`.

  Raises:
    InputError: if a key is unknown, or a choice is.
  """
  if extra := sorted(set(spec) - set(DEFAULTS)):
    raise errors.InputError(
      f"config: branch {name}: found {extra}, expected some of"
      f" {(*TABLES, *OTHER_KEYS)}."
    )
  spec = {k: _renamed(v) for k, v in {**DEFAULTS, **spec}.items()}
  spec["wrappers"] = tuple(_renamed(w) for w in spec["wrappers"])
  for key, known in (("reference", REFERENCES), ("when", WHEN)):
    if spec[key] not in known:
      raise errors.InputError(
        f"config: branch {name}: {key} {spec[key]!r}, expected one of {known}."
      )
  return spec


def _recipe(name: str, spec: Mapping[str, Any]) -> reconstruction.Recipe:
  """How the encoder of a branch is trained, from fields of `Recipe`."""
  known = reconstruction.Recipe._fields
  if extra := sorted(set(spec) - set(known)):
    raise errors.InputError(
      f"config: branch {name}: recipe: found {extra}, expected some of {known}."
    )
  return reconstruction.Recipe(**spec)


class Bound(NamedTuple):
  """The stages of a branch with their structure bound.

  Attributes:
    fns: stage to function; those of `SWEPT` take their scalars as keywords,
      but `backend` is `hypers -> Backend` in its wrappers.
    hypers: `{stage: {name: value}}`, the scalars of `SWEPT`.
    chosen: settings of the encoder that are not its own, of `CHOSEN`.
    recipe: how the encoder is trained, if it is.
    passes: what decides the encoder's output for a clip, but for weights that
      are found, as text.
  """

  fns: dict[str, Callable]
  hypers: Hypers
  chosen: dict[str, Any]
  recipe: reconstruction.Recipe
  passes: str


def bind(name: str, spec: Mapping[str, Any]) -> Bound:
  """Looks up all stages of a branch.

  Args:
    name: name of the branch, for messages.
    spec: its settings, all keys.

  Returns:
    The stages.

  Raises:
    InputError: if a name or a keyword is not known.
  """
  # Where tokens come from is not a setting of the network's function.
  encoder = dict(spec["encoder"])
  recipe = _recipe(name, encoder.pop("recipe", {}))
  chosen = {k: encoder.pop(k) for k in CHOSEN if k in encoder}
  spec = {**spec, "encoder": encoder}
  # Not the layer: a pass gives all of them.
  before = {s: spec[s] for s in ("channels", "denoise", "frontend", "tta")}
  what = [before, encoder, chosen.get("checkpoint", "")]
  what += [chosen[k] for k in ("base", "adapt") if chosen.get(k)]
  passes = text_of(what)
  found = {s: resolve(s, spec[s], t) for s, t in TABLES.items()}
  fns = {
    s: fn if s in SWEPT else functools.partial(fn, **floats)
    for s, (fn, floats) in found.items()
  }
  hypers: Hypers = {s: found[s][1] for s in SWEPT if s in found}
  named = [{"name": w} if isinstance(w, str) else w for w in spec["wrappers"]]
  wrappers = {w["name"]: resolve("wrappers", w, WRAPPERS) for w in named}
  hypers["wrappers"] = {n: floats for n, (_, floats) in wrappers.items()}
  fns["backend"] = functools.partial(
    _wrapped, fns["backend"], {n: fn for n, (fn, _) in wrappers.items()}
  )
  return Bound(fns, hypers, chosen, recipe, passes)


def _wrapped(
  fn: Callable, wrappers: Mapping[str, Callable], h: Hypers
) -> base.Backend:
  """A backend in its wrappers, from inside out.

  Built where it is used: scalars may be tracers then.
  """
  out = fn(**h["backend"])
  for name, wrap in wrappers.items():
    out = wrap(out, **h["wrappers"][name])
  return out
