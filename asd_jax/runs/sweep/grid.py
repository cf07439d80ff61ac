"""The grid of a sweep: which programs and which settings its axes span."""

import difflib
import inspect
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from asd_jax import errors
from asd_jax.engine import effects, stages
from asd_jax.engine import system as system_lib
from asd_jax.runs.sweep.axis import Axis
from asd_jax.typing import Scalar

Config = dict[str, Any]
Path = tuple[str, ...]
MAX_POINTS = 1_000_000
_STAGES = (*stages.TABLES, "wrappers")
_PLAIN = ("channels", "reference")  # structural settings of a branch itself


def scalars(hypers: Mapping[str, Any]) -> dict[str, float]:
  """The swept floats of a system by their full key.

  Args:
    hypers: of a `System`.

  Returns:
    `{"branch.stage.key": value}` with `weight.branch` and `fusion.key`.
  """
  flat: dict[str, float] = {}

  def walk(node: Any, path: Path) -> None:
    if isinstance(node, dict):
      for name, child in node.items():
        walk(child, (*path, name))
    else:
      flat[".".join(path)] = node

  walk(hypers, ())
  return flat


def _parameters(
  stage: str, spec: Mapping[str, Any]
) -> dict[str, inspect.Parameter]:
  """Keyword settings of the function that a stage names."""
  name, table = str(spec.get("name")), _table(stage)
  fn = table.get(name)
  if fn is None and ":" in name:  # a user's own
    fn = stages.resolve(stage, {"name": name}, table)[0]
  if fn is None:
    return {}
  parameters = inspect.signature(fn, eval_str=True).parameters.values()
  return {p.name: p for p in parameters if p.kind is p.KEYWORD_ONLY}


def _table(stage: str) -> Mapping[str, Any]:
  return stages.WRAPPERS if stage == "wrappers" else stages.TABLES[stage]


def structural(config: Mapping[str, Any]) -> list[str]:
  """Keys of a config that are structure, `branch.stage.key`.

  Args:
    config: a system's.

  Returns:
    The keys.
  """
  out = []
  for name, spec in config["branches"].items():
    out += [f"{name}.{key}" for key in (*_PLAIN, "wrappers")]
    for stage in stages.TABLES:
      known = _parameters(stage, spec[stage])
      kept = [k for k, p in known.items() if p.annotation != Scalar]
      kept += [k for k in stages.CHOSEN if k in spec[stage]]
      out += [f"{name}.{stage}.{key}" for key in ("name", *kept)]
      out += [
        f"{name}.{stage}.{key}.{inner}"
        for key, value in spec[stage].items()
        if isinstance(value, Mapping)
        for inner in value
      ]
  return out


def matches(key: str, config: Mapping[str, Any]) -> list[str]:
  """Full keys that a key may stand for.

  Args:
    key: `stage.key` for every branch, `branch.stage.key` for one,
      `weight.branch`, `fusion.key`.
    config: names the branches.

  Returns:
    Full keys; whether they exist is another question.
  """
  first, _, rest = key.partition(".")
  if first in ("weight", "fusion"):
    return [key]
  if first in (*_STAGES, *_PLAIN):
    return [f"{name}.{key}" for name in config["branches"]]
  return [key] if rest and first in config["branches"] else []


def _listed(keys: Sequence[str], config: Mapping[str, Any]) -> str:
  """Keys for a message; with one branch its name is left out."""
  names = list(config["branches"])
  prefix = f"{names[0]}." if len(names) == 1 else None
  short = [k.removeprefix(prefix) if prefix else k for k in keys]
  return ", ".join(short) or "none"


def unknown_key(key: str, config: Mapping[str, Any]) -> errors.InputError:
  """The error for a key that nothing in the system has.

  Args:
    key: as given.
    config: the system's.

  Returns:
    An error that lists the keys there are.
  """
  flat = list(scalars(system_lib.build(config).hypers))
  rest = structural(config)
  short = {k.partition(".")[2] for k in (*flat, *rest)}
  near = difflib.get_close_matches(key, sorted({*flat, *rest, *short}), n=1)
  hint = f" did you mean {near[0]!r}?" if near else ""
  return errors.InputError(
    f"--sweep: nothing in this system has {key!r};{hint} swept at once:"
    f" {_listed(flat, config)}; one program a value: {_listed(rest, config)}."
  )


def _fits(value: Any, annotation: Any) -> bool:
  """Whether a value is of a plainly annotated type."""
  if annotation is bool or isinstance(value, bool):
    return annotation not in (bool, int, float, str) or (
      isinstance(value, bool) and annotation is bool
    )
  wanted = {int: int, str: str, float: (int, float)}.get(annotation)
  return wanted is None or isinstance(value, wanted)


def _check_type(full: str, value: Any, spec: Mapping[str, Any]) -> None:
  _, stage, *rest = full.split(".")
  if stage not in stages.TABLES or len(rest) != 1 or rest == ["name"]:
    return
  parameter = _parameters(stage, spec[stage]).get(rest[0])
  if parameter is not None and not _fits(value, parameter.annotation):
    kind = getattr(parameter.annotation, "__name__", parameter.annotation)
    raise errors.InputError(
      f"--sweep: {full}: found {value!r}, expected a value of type {kind}."
    )


def changed(config: Config, full: str, value: Any) -> Config:
  """A config with one structural setting changed.

  A stage that is named anew keeps the settings that the new function knows.

  Args:
    config: a system's; not altered.
    full: `branch.stage.key`, `branch.channels` ...
    value: the new value.

  Returns:
    The config.

  Raises:
    InputError: if the value is of another type than the setting.
  """
  name, stage, *rest = full.split(".")
  spec = dict(config["branches"][name])
  _check_type(full, value, spec)
  if not rest:
    spec[stage] = value
  elif rest == ["name"]:
    known = _parameters(stage, {"name": value})
    kept = {k: v for k, v in spec[stage].items() if k in known}
    spec[stage] = {"name": value, **kept}
  elif len(rest) == 1:
    spec[stage] = {**spec[stage], rest[0]: value}
  else:
    inner = {**spec[stage].get(rest[0], {}), rest[1]: value}
    spec[stage] = {**spec[stage], rest[0]: inner}
  return {**config, "branches": {**config["branches"], name: spec}}


class Structure(NamedTuple):
  """Settings that one program serves.

  Attributes:
    config: with the structural settings put in.
    chosen: `{key as given: value}` of these.
    axes: swept floats: key as given and values, in the order given.
    targets: key as given to the full keys of the floats that it moves.
  """

  config: Config
  chosen: dict[str, Any]
  axes: tuple[Axis, ...]
  targets: dict[str, tuple[str, ...]]

  @property
  def num_points(self) -> int:
    """Settings of the floats."""
    return math.prod(len(a.values) for a in self.axes)

  def values(self, point: int) -> dict[str, Any]:
    """Swept values of one setting by key, structural ones too."""
    shape = [len(a.values) for a in self.axes]
    places = np.unravel_index(point, shape) if shape else ()
    moved = {a.key: a.values[i] for a, i in zip(self.axes, places, strict=True)}
    return {**self.chosen, **moved}


def _put(config: Config, axes: Sequence[Axis], picked: Sequence[Any]) -> Config:
  """Puts structural values into a config, where it has them."""
  for axis, value in zip(axes, picked, strict=True):
    known = set(structural(config))
    for full in matches(axis.key, config):
      config = changed(config, full, value) if full in known else config
  return config


def _of_names(config: Config, axes: Sequence[Axis]) -> Iterator[Structure]:
  """Structures once the names of the stages are chosen."""
  known, flat = (
    set(structural(config)),
    scalars(system_lib.build(config).hypers),
  )
  among = lambda axis, keys: any(m in keys for m in matches(axis.key, config))
  plain = [a for a in axes if among(a, known)]
  floats = [_as_floats(a) for a in axes if a not in plain and among(a, flat)]
  targets = {
    a.key: tuple(m for m in matches(a.key, config) if m in flat) for a in floats
  }
  moved = [full for some in targets.values() for full in some]
  if twice := sorted({m for m in moved if moved.count(m) > 1}):
    raise errors.InputError(f"--sweep: found {twice} more than once.")
  for picked in itertools.product(*(a.values for a in plain)):
    made = _put(config, plain, picked)
    chosen = {a.key: v for a, v in zip(plain, picked, strict=True)}
    yield Structure(made, chosen, tuple(floats), targets)


def structures(config: Config, axes: Sequence[Axis]) -> list[Structure]:
  """All structures of a sweep.

  A key that a structure does not have is left out of it, so that one sweep may
  run over views with and without a coefficient.

  Args:
    config: the system's, plain data.
    axes: what is swept.

  Returns:
    Structures, without repetition.

  Raises:
    InputError: if a key is not known to any structure, or given twice, or a
      value is impossible.
  """
  keys = [a.key for a in axes]
  if twice := sorted({k for k in keys if keys.count(k) > 1}):
    raise errors.InputError(f"--sweep: found {twice} more than once.")
  names = [a for a in axes if a.key.endswith(".name")]
  rest = [a for a in axes if a not in names]
  base_known = structural(config)
  for axis in names:
    if not any(m in base_known for m in matches(axis.key, config)):
      raise unknown_key(axis.key, config)
  out: dict[str, Structure] = {}
  used = {a.key for a in names}
  for picked in itertools.product(*(a.values for a in names)):
    chosen = {a.key: v for a, v in zip(names, picked, strict=True)}
    for found in _of_names(_put(config, names, picked), rest):
      used |= found.chosen.keys() | found.targets.keys()
      found = found._replace(chosen={**chosen, **found.chosen})
      # Another name may lead to the same: keys that it lacks are dropped.
      out.setdefault(repr((found.config["branches"], found.axes)), found)
  for axis in axes:
    if axis.key not in used:
      raise unknown_key(axis.key, config)
  # Built here, so that an impossible value is refused before hours of work.
  for found in out.values():
    built = system_lib.build(found.config)
    effects.check_rate(found.config["sample_rate"], built.branches)
  total = sum(s.num_points for s in out.values())
  if total > MAX_POINTS:
    raise errors.InputError(
      f"--sweep: found {total} settings, most is {MAX_POINTS}."
    )
  return list(out.values())


def _as_floats(axis: Axis) -> Axis:
  for value in axis.values:
    if isinstance(value, bool) or not isinstance(value, int | float):
      raise errors.InputError(
        f"--sweep: {axis.key}: found {value!r}, expected a number."
      )
  return Axis(axis.key, tuple(dict.fromkeys(float(v) for v in axis.values)))
