"""One `--sweep` flag: a key and the values that it takes."""

import ast
import math
from typing import Any, NamedTuple

import numpy as np

from asd_jax import errors

MAX_VALUES = 1_000_000


class Axis(NamedTuple):
  """One swept key.

  Attributes:
    key: as given.
    values: what it takes.
  """

  key: str
  values: tuple[Any, ...]


def _numbers(call: ast.Call, text: str) -> tuple[Any, ...]:
  """Values of `linspace(a, b, n)` and its like."""
  name = getattr(call.func, "id", None)
  wanted = {"linspace": (3,), "logspace": (3,), "arange": (1, 2, 3)}
  if name not in wanted or call.keywords:
    raise errors.InputError(
      f"--sweep={text!r}: found no list and none of linspace(a, b, n),"
      " logspace(a, b, n) and arange(start, stop, step)."
    )
  args = [ast.literal_eval(a) for a in call.args]
  plain = all(
    isinstance(a, int | float) and not isinstance(a, bool) for a in args
  )
  if len(args) not in wanted[name] or not plain:
    raise errors.InputError(
      f"--sweep={text!r}: {name} takes {' or '.join(map(str, wanted[name]))}"
      f" numbers, found {args}."
    )
  if name == "arange":
    found = np.arange(*args)
  else:
    if not isinstance(args[2], int) or args[2] < 0:
      raise errors.InputError(
        f"--sweep={text!r}: expected a whole number of values, found {args[2]}."
      )
    if args[2] > MAX_VALUES:
      raise errors.InputError(
        f"--sweep={text!r}: found more than {MAX_VALUES} values."
      )
    found = getattr(np, name)(*args)
  return tuple(found.tolist())


def parse(text: str) -> Axis:
  """Reads `key=values`, without running any of it.

  Args:
    text: such as `view.alpha=linspace(-0.5, 1, 31)` or `backend.k=[1, 4]`.

  Returns:
    The axis; equal values count once.

  Raises:
    InputError: if it cannot be read or holds no value.
  """
  key, found, right = text.partition("=")
  key = key.strip()
  if not found or not key:
    raise errors.InputError(
      f"--sweep={text!r}: expected key=values, such as"
      " view.alpha=linspace(-0.5,1,31) or bank.lam=[0.5,0.7,0.9]."
    )
  try:
    tree = ast.parse(right.strip(), mode="eval").body
    if isinstance(tree, ast.Call):
      values = _numbers(tree, text)
    else:
      read = ast.literal_eval(tree)
      values = tuple(read) if isinstance(read, list | tuple) else (read,)
  except errors.InputError:
    raise
  # What Python's own parser makes of any text.
  except (
    ArithmeticError,
    MemoryError,
    RecursionError,
    SyntaxError,
    TypeError,
    ValueError,
  ) as e:
    raise errors.InputError(
      f"--sweep={text!r}: found {right.strip()!r}, expected a list or"
      " linspace(a,b,n), logspace(a,b,n) or arange(start,stop,step)."
    ) from e
  if not values:
    raise errors.InputError(
      f"--sweep={text!r}: an empty grid, expected a value."
    )
  odd = [v for v in values if isinstance(v, float) and not math.isfinite(v)]
  if odd:
    raise errors.InputError(
      f"--sweep={text!r}: found {odd}, expected finite values."
    )
  # By their text: 1, 1.0 and True are equal in Python, but other settings.
  unique = {repr(v): v for v in values}
  return Axis(key, tuple(unique.values()))
