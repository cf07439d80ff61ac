"""The stages of a branch: what a config may name, and how a name is found."""

import functools
import importlib
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from asd_jax import errors
from asd_jax.backends import (
  base,
  density,
  knn,
  mahalanobis,
  prototypes,
  residual,
  rows,
  transform,
)
from asd_jax.encoders import (
  autoencoder,
  beats,
  dasheng,
  eat,
  family,
  residual_autoencoder,
  sslam,
)
from asd_jax.frontends import augment, denoise, dif, htk_mel, kaldi, log_mel
from asd_jax.ops import pooling, views
from asd_jax.scores import calibration
from asd_jax.training import reconstruction
from asd_jax.typing import Scalar

Hypers = dict[str, Any]

# Stage (config key) -> name -> function. A system is a choice at each stage.
TABLES: dict[str, dict[str, Callable]] = {
  "denoise": denoise.WAVE_FILTERS,
  "frontend": {
    **log_mel.FRONTENDS,
    **dif.FRONTENDS,
    **kaldi.FRONTENDS,
    **htk_mel.FRONTENDS,
  },
  "augment": augment.AUGMENTS,
  "encoder": {
    "identity": lambda: family.IDENTITY,
    **autoencoder.ENCODERS,
    **residual_autoencoder.ENCODERS,
    **beats.ENCODERS,
    **dasheng.ENCODERS,
    **eat.ENCODERS,
    **sslam.ENCODERS,
  },
  "pooling": pooling.POOLINGS,
  "view": views.VIEWS,
  "key": views.KEYS,
  "transform": transform.TRANSFORMS,
  "bank": rows.BANKS,
  "backend": {
    "embedding": base.embedding,
    **knn.BACKENDS,
    **density.BACKENDS,
    **mahalanobis.BACKENDS,
    **residual.BACKENDS,
  },
  "calibration": calibration.CALIBRATORS,
}
# Stages whose floats are hyperparameters: traced, so that vmap sweeps them.
SWEPT = ("view", "transform", "bank", "backend", "wrappers", "calibration")
# Stages that may gather statistics of the training clips, in order.
FITTED = ("denoise", "frontend", "augment")
WRAPPERS = {**base.WRAPPERS, **prototypes.WRAPPERS}
# Settings that are a choice from a table themselves.
NESTED = {"denoiser": denoise.DENOISERS}
# Settings of an encoder with published weights, beside its own.
CHOSEN = ("layer", "checkpoint")
OTHER_KEYS = ("channels", "wrappers", "reference", "weight")
REFERENCES = ("loo", "in_sample")
# Stages whose names mean something elsewhere too, so none can be added.
CLOSED = ("threshold",)


def _imported(stage: str, name: str) -> Callable:
  """The function that `module:function` names, of a user's own file."""
  module, _, function = name.partition(":")
  where = f"config: {stage}: found {name!r}"
  try:
    found = importlib.import_module(module)
  except (ImportError, ValueError, TypeError) as e:
    raise errors.InputError(
      f"{where}, expected a module {module!r} in the folder of the config, in"
      f" the working directory or installed: {e}."
    ) from e
  fn = getattr(found, function, None)
  if not callable(fn):
    raise errors.InputError(
      f"{where}, expected a function {function!r} in module {module!r}."
    )
  return fn


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
  if isinstance(name, str) and ":" in name and stage not in CLOSED:
    fn = _imported(stage, name)
  elif name in table:
    fn = table[name]
  else:
    raise errors.InputError(
      f"config: {stage}: found {name!r}, expected one of {sorted(table)}."
    )
  known = {
    p.name: p
    for p in inspect.signature(fn, eval_str=True).parameters.values()
    if p.kind is p.KEYWORD_ONLY
  }
  if extra := sorted(kwargs.keys() - known.keys()):
    raise errors.InputError(
      f"config: {stage} {name}: found {extra}, expected some of"
      f" {sorted(known)}."
    )
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


def check(name: str, spec: Mapping[str, Any]) -> None:
  """Checks the keys of a branch.

  Args:
    name: name of the branch, for messages.
    spec: its settings.

  Raises:
    InputError: if a key is unknown or missing, or the reference is.
  """
  known = (*TABLES, *OTHER_KEYS)
  if extra := sorted(set(spec) - set(known)):
    raise errors.InputError(
      f"config: branch {name}: found {extra}, expected some of {known}."
    )
  if missing := [k for k in known if k not in spec]:
    raise errors.InputError(f"config: branch {name}: missing {missing}.")
  if spec["reference"] not in REFERENCES:
    raise errors.InputError(
      f"config: branch {name}: reference {spec['reference']!r}, expected one"
      f" of {REFERENCES}."
    )


def check_backend(
  name: str, spec: Mapping[str, Any], backend: base.Backend
) -> None:
  """Checks that a backend fits the other stages.

  Args:
    name: name of the branch, for messages.
    spec: its settings.
    backend: the backend in its wrappers.

  Raises:
    InputError: if it does not.
  """
  kind = f"config: branch {name}: backend {spec['backend']['name']}"
  if spec["reference"] == "loo" and backend.self_score is None:
    raise errors.InputError(
      f"{kind} has no leave-one-out scores, set reference='in_sample'."
    )
  if spec["bank"]["name"] == "memmixup" and not backend.mixes:
    raise errors.InputError(
      f"{kind} takes no mixed rows that are not made, set"
      " bank.name='memmixup_rows'."
    )
  if backend.needs_key and spec["key"]["name"] == "none":
    raise errors.InputError(
      f"{kind}: found the wrapper prototypes without keys to choose by, set"
      " key.name='projection_residual'."
    )
  frames = spec["pooling"]["name"] == "frames"
  if frames != backend.over_frames:
    found = "all frames" if frames else "one embedding"
    raise errors.InputError(
      f"{kind}: found {found} a clip (pooling {spec['pooling']['name']}),"
      f" expected {'one embedding' if frames else 'pooling frames'}."
    )
  plain = dict(transform="identity", bank="plain")
  odd = [s for s, n in plain.items() if spec[s]["name"] != n]
  odd += ["wrappers"] if spec["wrappers"] else []
  if frames and odd:
    raise errors.InputError(
      f"{kind} works on frames: found {odd} set, expected {plain} and no"
      " wrappers."
    )


def read_recipe(name: str, spec: Mapping[str, Any]) -> reconstruction.Recipe:
  """Reads how an encoder is trained.

  Args:
    name: name of the branch, for messages.
    spec: fields of `Recipe`.

  Returns:
    The recipe.

  Raises:
    InputError: if a field is not known.
  """
  known = reconstruction.Recipe._fields
  if extra := sorted(set(spec) - set(known)):
    raise errors.InputError(
      f"config: branch {name}: recipe: found {extra}, expected some of {known}."
    )
  return reconstruction.Recipe(**spec)


def find_wrappers(
  specs: Sequence[str | Mapping[str, Any]],
) -> tuple[dict[str, Callable], Hypers]:
  """Looks up wrappers.

  Args:
    specs: names, or `name` with settings; from inside out.

  Returns:
    The wrappers by name, and the scalars of each.
  """
  fns, floats = {}, {}
  for spec in specs:
    spec = {"name": spec} if isinstance(spec, str) else spec
    fn, more = resolve("wrappers", spec, WRAPPERS)
    fns[spec["name"]], floats[spec["name"]] = fn, more
  return fns, floats


def make_backend(fn: Callable, wrappers: Mapping[str, Callable]) -> Callable:
  """Puts wrappers around a backend.

  Args:
    fn: the backend's function.
    wrappers: by name, from inside out.

  Returns:
    `hypers -> Backend`.
  """

  def backend(h: Hypers) -> base.Backend:
    out = fn(**h["backend"])
    for name, wrap in wrappers.items():
      out = wrap(out, **h["wrappers"][name])
    return out

  return backend
