"""What decides a result, as plain data: the settings of a config in full.

A kept result is found by these. A default that the config leaves out counts
like one that it spells out: a default may change with the code, and two ways
to say the same must not compute it twice. Of a user's own function the source
counts too, which no setting tells.
"""

import importlib
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from asd_jax import errors, store
from asd_jax.engine import recipe as recipes
from asd_jax.engine import stages
from asd_jax.scores import fusion
from asd_jax.training import reconstruction
from asd_jax.typing import Scalar

Spec = Mapping[str, Any]
# Stages behind the features, and those that only add rows to the bank.
_SCORING = (*stages.SWEPT, "key")
_ROWS = ("augment",)
# Stages that the features of a clip come from.
FEATURES = tuple(s for s in stages.TABLES if s not in (*_SCORING, *_ROWS))


def of_stage(
  stage: str, spec: str | Spec, table: Mapping[str, Callable]
) -> dict[str, Any]:
  """The settings of one stage, its defaults filled in.

  Args:
    stage: its config key.
    spec: its name, or `name` with settings; a config that was checked.
    table: name to function.

  Returns:
    Plain data; of a user's own function with the `source` it comes from.
  """
  out: dict[str, Any] = {"name": spec} if isinstance(spec, str) else dict(spec)
  name = out["name"]
  module, own, function = name.partition(":")
  if own:
    fn = getattr(importlib.import_module(module), function)
  else:
    fn = table[name]
  for p in inspect.signature(fn, eval_str=True).parameters.values():
    if p.kind is not p.KEYWORD_ONLY:
      continue
    if p.default is not p.empty:
      out.setdefault(p.name, p.default)
    # A traced float may be given as an integer.
    if p.annotation == Scalar and isinstance(out[p.name], int):
      out[p.name] = float(out[p.name])
  for key in stages.NESTED.keys() & out.keys():
    if out[key] is not None:
      out[key] = of_stage(f"{stage}.{key}", out[key], stages.NESTED[key])
  if own:
    out["source"] = source_digest(sys.modules[module])
  return out


def of_encoder(spec: Spec) -> dict[str, Any]:
  """The settings of an encoder, and how it is trained.

  Args:
    spec: of the stage `encoder`.

  Returns:
    Plain data. Checkpoints are left out: what they hold counts, not where they
    lie.
  """
  given = dict(spec)
  recipe = given.pop("recipe", {})
  given.pop("checkpoint", None)
  given.pop("base", None)
  adapt = given.pop("adapt", None)
  out = of_stage("encoder", given, stages.TABLES["encoder"])
  out.pop("remat", None)  # numbers are the same with it
  if adapt:
    out["adapt"] = recipes.plain(recipes.read("config: encoder: adapt", adapt))
  return out | {"recipe": {**reconstruction.Recipe()._asdict(), **recipe}}


def of_features(spec: Spec) -> dict[str, Any]:
  """What decides the features of a branch, but for weights and clips.

  Args:
    spec: settings of the branch.

  Returns:
    Plain data.
  """
  spec = {**stages.DEFAULTS, **spec}
  out = {
    s: of_stage(s, spec[s], stages.TABLES[s])
    for s in FEATURES
    if s != "encoder"
  }
  # Taken apart after the forward pass: "output" where the config is silent.
  encoder = {"layer": "output", **of_encoder(spec["encoder"])}
  return out | {"channels": list(spec["channels"]), "encoder": encoder}


def of_branch(spec: Spec) -> dict[str, Any]:
  """What decides the scores of a branch, but for weights and clips.

  Args:
    spec: settings of the branch.

  Returns:
    Plain data.
  """
  out = spec = {**stages.DEFAULTS, **spec}
  for s, table in stages.TABLES.items():
    if s not in FEATURES:
      out[s] = of_stage(s, spec[s], table)
  wrap = lambda w: of_stage("wrappers", w, stages.WRAPPERS)
  out["wrappers"] = [wrap(w) for w in spec["wrappers"]]
  return out | of_features(spec)


def of_system(config: Spec) -> dict[str, Any]:
  """What decides the scores of a system, but for weights and clips.

  Args:
    config: of the system, checked.

  Returns:
    Plain data.
  """
  return {
    "sample_rate": config["sample_rate"],
    "seeds": list(config["seeds"]),
    "members": config["members"],
    "branches": {n: of_branch(b) for n, b in config["branches"].items()},
    "fusion": of_stage("fusion", config["fusion"], fusion.FUSIONS),
  }


def _beside(module: ModuleType, folder: Path) -> Iterator[ModuleType]:
  """Modules of a folder that a module takes something from."""
  for value in vars(module).values():
    name = getattr(value, "__module__", None)
    found = value if inspect.ismodule(value) else sys.modules.get(str(name))
    file = getattr(found, "__file__", None)
    if found is not None and file and Path(file).resolve().parent == folder:
      yield found


def modules_beside(module: ModuleType) -> list[ModuleType]:
  """A user's module with those of its folder that it takes something from.

  Args:
    module: imported.

  Returns:
    Modules, itself first.
  """
  file = getattr(module, "__file__", None)
  found = {module.__name__: module}
  if not file:
    return list(found.values())
  folder, todo = Path(file).resolve().parent, [module]
  while todo:
    for other in _beside(todo.pop(), folder):
      if other.__name__ not in found:
        found[other.__name__] = other
        todo.append(other)
  return list(found.values())


def source_digest(module: ModuleType) -> str:
  """A name of the source of a user's module, and of those beside it.

  Args:
    module: imported.

  Returns:
    32 hex digits; others as soon as its file changes, or a file in its folder
    that it imports from.

  Raises:
    InputError: if it has no file.
  """
  if not getattr(module, "__file__", None):
    raise errors.InputError(
      f"config: found functions of {module.__name__!r}, which has no file;"
      " expected a module in a file, so that results of it can be told from"
      " those of an older one."
    )
  files = {Path(str(m.__file__)) for m in modules_beside(module)}
  return store.digest([[f.name, f] for f in sorted(files)])


def own_modules(spec: Any) -> list[ModuleType]:
  """The modules of all `module:function` that settings name, imported before.

  Args:
    spec: plain data, such as a config.

  Returns:
    Modules, with those beside them.
  """
  if isinstance(spec, str):
    module, own, _ = spec.partition(":")
    return modules_beside(sys.modules[module]) if own else []
  if isinstance(spec, Mapping):
    # Other texts with a colon are paths and names on the hub.
    text = lambda v: isinstance(v, str)
    inner = [v for k, v in spec.items() if k == "name" or not text(v)]
  else:
    inner = spec if isinstance(spec, list | tuple) else ()
  return [m for x in inner for m in own_modules(x)]
