"""The devices of this process, and how work is divided among them.

Rows that do not need each other (clips of a batch, points of a sweep, seeds of
a training) are divided; what all need lies on every device. Nothing else knows
that there are several.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

Tree = Any
_ROWS = "rows"
_CUT, _WHOLE = PartitionSpec(_ROWS), PartitionSpec()


def local(*, num_rows: int | None = None) -> Mesh:
  """The devices of this process.

  Args:
    num_rows: rows that cannot be filled up: as many devices as can share them
      equally. All devices if None.

  Returns:
    The devices, in a row.
  """
  devices = jax.local_devices()
  num = len(devices)
  if num_rows is not None:
    num = max(n for n in range(1, num + 1) if num_rows % n == 0)
  return Mesh(np.array(devices[:num]), (_ROWS,))


def filled(num_rows: int, over: Mesh) -> int:
  """Rows that devices share equally.

  Args:
    num_rows: rows that there are.
    over: the devices.

  Returns:
    The next multiple of the number of devices.
  """
  return -(-num_rows // over.size) * over.size


def everywhere(tree: Tree, over: Mesh) -> Tree:
  """Copies arrays to all devices.

  Args:
    tree: of arrays.
    over: the devices.

  Returns:
    The same tree.
  """
  return jax.device_put(tree, NamedSharding(over, _WHOLE))


def divided(tree: Tree, over: Mesh) -> Tree:
  """Divides the rows of arrays among the devices.

  Args:
    tree: of arrays, with equal numbers of rows for all devices.
    over: the devices.

  Returns:
    The same tree.
  """
  return jax.device_put(tree, NamedSharding(over, _CUT))


def spread(
  fn: Callable[..., Tree], over: Mesh, *, num_shared: int
) -> Callable[..., Tree]:
  """Makes each device run a function on its own rows.

  Args:
    fn: takes trees of arrays and returns one whose arrays have the rows as
      their first axis. It sees the rows of one device.
    over: the devices.
    num_shared: arguments, the first ones, that all devices get whole; the
      others have rows.

  Returns:
    The function of all rows, whose number the devices must share equally. No
    device waits for another's.
  """
  if over.size == 1:
    return fn

  def of_all(*args: Tree) -> Tree:
    cut = [_CUT] * (len(args) - num_shared)
    return jax.shard_map(
      fn,
      mesh=over,
      in_specs=(*[_WHOLE] * num_shared, *cut),
      out_specs=_CUT,
      check_vma=False,
    )(*args)

  return of_all
