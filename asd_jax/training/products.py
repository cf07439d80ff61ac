"""Operations of matrix products: how many a step has, how many a device does.

What XLA counts of a compiled program leaves out all but one pass of a loop, and
adds what is no product. Here the products of the traced function are counted,
from their shapes; nothing is compiled.
"""

import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

from asd_jax.typing import Key

Tree = Any
# Rows of the square matrices that a device is tried with.
_ROWS = {"cpu": 1024}
_MANY_ROWS = 8192
_TRIES = 5


def count(fn: Callable, *args: Tree) -> float:
  """Counts the operations of all matrix products and convolutions.

  Args:
    fn: of arrays; traced, not run.
    *args: arrays, or their shapes.

  Returns:
    Two for each multiplication. A loop counts as often as it runs where that
    is known, else once; of branches the largest counts.
  """
  return _of_jaxpr(jax.make_jaxpr(fn)(*args).jaxpr)


def _of_jaxpr(jaxpr: Any) -> float:
  return sum(_of_equation(e) for e in jaxpr.eqns)


def _of_equation(equation: Any) -> float:
  name, params = equation.primitive.name, equation.params
  if name == "dot_general":
    return _of_product(equation)
  if name == "conv_general_dilated":
    kernel = equation.invars[1].aval
    features = kernel.shape[params["dimension_numbers"].rhs_spec[0]]
    return 2.0 * equation.outvars[0].aval.size * kernel.size / features
  inside = [_of_jaxpr(j) for j in _jaxprs(params)]
  if not inside:
    return 0.0
  if name == "cond":
    return max(inside)
  times = params["length"] if name == "scan" else 1
  if name == "shard_map":  # its body has the rows of one device
    times = params["mesh"].size
  return times * sum(inside)


def _of_product(equation: Any) -> float:
  (contracted, _), _ = equation.params["dimension_numbers"]
  rows = equation.invars[0].aval.shape
  inner = math.prod(rows[i] for i in contracted)
  return 2.0 * equation.outvars[0].aval.size * inner


def _jaxprs(params: dict[str, Any]) -> Iterator[Any]:
  """Functions that an operation calls."""
  for value in params.values():
    for one in value if isinstance(value, list | tuple) else (value,):
      inner = getattr(one, "jaxpr", one)
      if hasattr(inner, "eqns"):
        yield inner


def rate(precision: str) -> float:
  """Measures how fast one device multiplies matrices.

  Args:
    precision: "float32", computed exactly, or "bfloat16".

  Returns:
    Operations a second.
  """
  device = jax.local_devices()[0]
  num = _ROWS.get(device.platform, _MANY_ROWS)
  dtype = jnp.bfloat16 if precision == "bfloat16" else jnp.float32
  exact = "highest" if precision == "float32" else "default"
  with jax.default_matmul_precision(exact):
    multiply = jax.jit(jnp.matmul)
    x = jax.device_put(jnp.ones((num, num), dtype), device)
    jax.block_until_ready(multiply(x, x))
    seconds = []
    for _ in range(_TRIES):
      start = time.perf_counter()
      jax.block_until_ready(multiply(x, x))
      seconds.append(time.perf_counter() - start)
  return 2.0 * num**3 / min(seconds)


def of_step(job: Any, keys: Key) -> float:
  """Counts the products of a step of a training.

  Args:
    job: a `job.Job`.
    keys: `[]` one, or `[K]` for stacked seeds.

  Returns:
    Operations of a whole batch, on all devices.
  """
  state, frozen = jax.eval_shape(job.init, keys, job.start)
  batch = job.batch_at(0, slice(0, job.batch_size))
  return count(job.step, state, frozen, batch)
