"""What a training will take, told before it starts."""

import time
from typing import Any, NamedTuple

import jax
import numpy as np

from asd_jax.training import products
from asd_jax.training import state as train_state
from asd_jax.training.feed import Feed
from asd_jax.training.job import Job
from asd_jax.training.program import Program
from asd_jax.typing import Key

Tree = Any
# Steps that are tried and thrown away; the first one is slower.
_TRIED = 3
# Seconds of a step beyond which none is tried, by the time of its products.
_LONGEST = 60.0


class Plan(NamedTuple):
  """What a training will take.

  Attributes:
    trained: numbers that steps change.
    frozen: parameters that none does.
    state_bytes: of all that a checkpoint holds.
    device_bytes: that one device needs for a step, as it was compiled.
    device_limit: that one device has, None where it does not say.
    step_flops: floating-point operations of a step on all devices, as XLA
      counts them; the body of a loop counts once.
    product_flops: of its matrix products, loops counted as often as they run.
    num_devices: that share a batch.
    batch_size: rows of it.
    num_steps: in all.
    step_seconds: of a step, measured; NaN if none was tried.
    about: further facts of the job.
  """

  trained: int
  frozen: int
  state_bytes: int
  device_bytes: int
  device_limit: int | None
  step_flops: float
  product_flops: float
  num_devices: int
  batch_size: int
  num_steps: int
  step_seconds: float
  about: dict[str, str]


def _size(tree: Tree) -> int:
  return sum(x.size for x in jax.tree.leaves(tree))


def _bytes(tree: Tree) -> int:
  leaves = [x for x in jax.tree.leaves(tree) if not train_state.is_key(x)]
  return sum(x.size * x.dtype.itemsize for x in leaves)


def _device_bytes(memory: Any) -> int:
  """What a program holds at once: results may lie in arguments' places."""
  return (
    memory.argument_size_in_bytes
    + memory.output_size_in_bytes
    - memory.alias_size_in_bytes
    + memory.temp_size_in_bytes
  )


def plan(job: Job, keys: Key, *, sharded: bool) -> Plan:
  """Compiles a step and tries a few, on a state that is thrown away.

  Args:
    job: what is to be trained.
    keys: `[]` or `[K]`, see `run.run`.
    sharded: see `run.Settings`.

  Returns:
    What it will take. Where the compiled step needs more memory than a device
    has, or its products alone would take a minute, no step is tried.
  """
  each = products.of_step(job, keys)
  program = Program(job, keys, sharded=sharded)
  state, frozen = program.shapes
  feed = Feed(
    job.batch_at, job.batch_size, program.over, stop=job.num_steps, ahead=1
  )
  with feed:
    step = program.compiled(feed.peek())
    needed = _device_bytes(step.memory_analysis())
    device = program.over.local_devices[0]
    limit = (device.memory_stats() or {}).get("bytes_limit")
    fits = limit is None or needed <= limit
    # A device of another kind is asked about full size without having it.
    quick = each < _LONGEST * products.rate("float32") * program.over.size
    tried = fits and quick
    seconds = _tried(job, program, step, feed) if tried else float("nan")
  flops = (step.cost_analysis() or {}).get("flops", float("nan"))
  return Plan(
    trained=_size(state.params),
    frozen=_size(job.network(frozen)),
    state_bytes=_bytes(state),
    device_bytes=needed,
    device_limit=limit,
    step_flops=flops * program.over.size,
    product_flops=each,
    num_devices=program.over.size,
    batch_size=job.batch_size,
    num_steps=job.num_steps,
    step_seconds=seconds,
    about=job.about,
  )


def _tried(job: Job, program: Program, step: Any, feed: Feed) -> float:
  """Seconds of a step with its batch, the fastest of a few."""
  state, frozen = program.start()
  flag, seconds = program.flag(up=False), []
  for i in range(min(_TRIED, job.num_steps)):
    start = time.perf_counter()
    state, metrics = step(state, frozen, feed.get(i), flag)
    jax.block_until_ready(metrics)
    seconds.append(time.perf_counter() - start)
  return float(np.min(seconds))


def _amount(number: float, unit: str) -> str:
  """A number with the prefix that keeps it short: 1.23 GB."""
  for prefix, scale in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
    if abs(number) >= scale:
      return f"{number / scale:.3g} {prefix}{unit}".rstrip()
  return f"{number:.3g} {unit}".rstrip()


def _duration(seconds: float) -> str:
  minutes = seconds / 60
  if minutes < 1:
    return f"{seconds:.3g} s"
  return f"{minutes / 60:.1f} h" if minutes >= 60 else f"{minutes:.1f} min"


def lines(name: str, found: Plan) -> list[str]:
  """Tells a plan in words.

  Args:
    name: of the job.
    found: its plan.

  Returns:
    Lines for people.
  """
  limit = found.device_limit
  of = f" of {_amount(limit, 'B')}" if limit else ""
  fits = "" if not limit or found.device_bytes <= limit else ": does not fit"
  each = found.step_seconds
  rate = found.batch_size / each
  time_of = (
    "none was tried here"
    if each != each
    else f"{_duration(each)} ({rate:.3g} clips/s),"
    f" {_duration(each * found.num_steps)} in all"
  )
  return [
    f"{name}: {_amount(found.trained, '')} parameters trained,"
    f" {_amount(found.frozen, '')} frozen",
    f"{name}: {found.num_steps} steps of {found.batch_size} clips on"
    f" {found.num_devices} device{'s' * (found.num_devices > 1)}",
    f"{name}: {_amount(found.device_bytes, 'B')}{of} a device{fits};"
    f" {_amount(found.state_bytes, 'B')} a checkpoint",
    f"{name}: {_amount(found.step_flops, 'FLOP')} a step at least, of products"
    f" {_amount(found.product_flops, 'FLOP')}; {time_of}",
    *(f"{name}: {key}: {value}" for key, value in found.about.items()),
  ]
