"""Trees of arrays as arrays by name and plain data that says how to nest them.

The file that plain data comes from may be anyone's: what it can have built are
dictionaries, lists, tuples and records of the types that the caller allows.
No name in it is imported, and nothing of it is called but those types.
"""

from collections.abc import Iterable, Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from asd_jax import errors

Tree = Any
Arrays = dict[str, np.ndarray]
_PLAIN = (bool, int, float, str, type(None))


def _name(kind: type) -> str:
  return f"{kind.__module__}:{kind.__qualname__}"


def _fields(kind: type) -> Sequence[str]:
  """Names of a record's fields; none of what is no record."""
  if issubclass(kind, tuple):
    return getattr(kind, "_fields", ())
  # Of flax records only: other dataclasses may do more than hold values.
  flax = getattr(kind, "_flax_dataclass", False)
  return tuple(getattr(kind, "__dataclass_fields__", ())) if flax else ()


def records(modules: Iterable[ModuleType]) -> list[type]:
  """Types of records that modules define or have imported.

  Args:
    modules: whose.

  Returns:
    Named tuples and flax records.
  """
  every = [v for m in modules for v in vars(m).values()]
  return [v for v in every if isinstance(v, type) and _fields(v)]


def flatten(tree: Tree, allowed: Iterable[type]) -> tuple[Arrays, Any]:
  """Takes a tree apart.

  Args:
    tree: nested dictionaries, lists, tuples and records of arrays and plain
      values.
    allowed: types that records may have.

  Returns:
    The arrays, and plain data for `rebuild`.

  Raises:
    InputError: for anything else, which could not be rebuilt.
  """
  arrays: Arrays = {}
  names: dict[int, str] = {}
  types = set(allowed)

  def part(x: Tree, path: str) -> Any:
    below = lambda pairs: {k: part(v, f"{path}/{k}") for k, v in pairs}
    if isinstance(x, _PLAIN):
      return {"value": x}
    if isinstance(x, Mapping) and all(isinstance(k, str) for k in x):
      return {"dict": below(x.items())}
    if type(x) in types:
      fields = below((f, getattr(x, f)) for f in _fields(type(x)))
      return {"record": _name(type(x)), "fields": fields}
    if type(x) in (list, tuple):
      kind = "list" if isinstance(x, list) else "tuple"
      return {kind: [part(v, f"{path}/{i}") for i, v in enumerate(x)]}
    if hasattr(x, "dtype"):
      # One array in several places stands for one array in all of them.
      if id(x) not in names:
        # Numbered too: "a/b" may be one key, or two.
        names[id(x)] = f"{len(arrays)}{path}"
        arrays[names[id(x)]] = np.asarray(x)
      return {"array": names[id(x)]}
    raise errors.InputError(
      f"state{path}: found a {_name(type(x))}, which cannot be kept; expected"
      " arrays in dictionaries, lists, tuples, and records (named tuples, flax"
      " records) of a type that stands in a stage's module."
    )

  return arrays, part(tree, "")


def rebuild(
  arrays: Mapping[str, np.ndarray], found: Any, allowed: Iterable[type]
) -> Tree:
  """Puts a tree together.

  Args:
    arrays: by name.
    found: what `flatten` returned, of any origin.
    allowed: types of records that may be built.

  Returns:
    The tree.

  Raises:
    InputError: if it is not what `flatten` returns, or names another type.
  """
  types = {_name(t): t for t in allowed}

  def part(x: Any) -> Tree:
    match x:
      case {"value": value} if isinstance(value, _PLAIN):
        return value
      case {"dict": dict(inner)}:
        return {k: part(v) for k, v in inner.items()}
      case {"list": list(inner)}:
        return [part(v) for v in inner]
      case {"tuple": list(inner)}:
        return tuple(part(v) for v in inner)
      case {"array": str(name)} if name in arrays:
        return arrays[name]
      case {"record": str(name), "fields": dict(inner)} if name in types:
        kind = types[name]
        if set(inner) == set(_fields(kind)):
          return kind(**{k: part(v) for k, v in inner.items()})
    raise errors.InputError(
      f"found the part {str(x)[:80]!r} of a state, expected one that this"
      " version builds."
    )

  try:
    return part(found)
  except RecursionError:
    raise errors.InputError("found a state that is nested too deep.") from None
