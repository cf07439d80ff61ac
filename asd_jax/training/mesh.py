"""Devices and hosts, and how work is divided among them.

Rows that do not need each other (clips of a batch, points of a sweep, seeds of
a training) are divided; what all need lies on every device, or is divided too
where it is large. Nothing else knows that there are several.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from asd_jax import errors

Tree = Any
_ROWS = "rows"
_CUT, _WHOLE = PartitionSpec(_ROWS), PartitionSpec()
# Arrays of fewer numbers are not worth the messages that dividing them costs.
_WORTH_CUTTING = 2**12


def connect(
  *,
  coordinator: str | None = None,
  num_hosts: int | None = None,
  host: int | None = None,
) -> None:
  """Joins the other processes of a run, before any device is used.

  Args:
    coordinator: `address:port` of the first process. None leaves all three to
      what jax finds of the cluster (SLURM, Kubernetes, TPU, MPI).
    num_hosts: processes in all.
    host: number of this one.

  Raises:
    InputError: if there is no such cluster.
  """
  try:
    jax.distributed.initialize(coordinator, num_hosts, host)
  except (RuntimeError, ValueError) as e:
    raise errors.InputError(
      f"hosts: found coordinator {coordinator}, {num_hosts} hosts, host {host}"
      f" ({e}); expected all three, or none inside a cluster that jax knows."
    ) from e


def is_first() -> bool:
  """Whether this process is the one that speaks and writes for all."""
  return jax.process_index() == 0


def said_by_first(number: int) -> int:
  """Tells all processes what the first one says.

  Args:
    number: of this process.

  Returns:
    That of the first.
  """
  if jax.process_count() == 1:
    return number
  return int(multihost_utils.broadcast_one_to_all(np.int32(number)))


def any_says(yes: bool) -> bool:
  """Tells all processes whether one of them says yes.

  Args:
    yes: what this process says.

  Returns:
    The same everywhere.
  """
  if jax.process_count() == 1:
    return yes
  return bool(np.any(multihost_utils.process_allgather(np.array(yes))))


def whole(*, num_rows: int | None = None) -> Mesh:
  """The devices of all processes.

  Args:
    num_rows: rows that they are to share equally; where there is one process,
      as many devices as can. Any number if None.

  Returns:
    The devices in a row, those of a process side by side.

  Raises:
    InputError: if those of several processes cannot share the rows.
  """
  if jax.process_count() == 1:
    return local(num_rows=num_rows)
  # Not the order that is best for messages, but one in which a process has
  # one piece of the rows.
  order = sorted(jax.devices(), key=lambda d: (d.process_index, d.id))
  if num_rows is not None and num_rows % len(order):
    raise errors.InputError(
      f"batch_size: found {num_rows}, expected a multiple of the {len(order)}"
      f" devices of {jax.process_count()} processes."
    )
  return Mesh(np.array(order), (_ROWS,))


def own_rows(num_rows: int, over: Mesh) -> slice:
  """The rows that the devices of this process work on.

  Args:
    num_rows: rows in all.
    over: the devices, of `whole`.

  Returns:
    A slice of them.
  """
  mine = [
    i
    for i, device in enumerate(over.devices.flat)
    if device.process_index == jax.process_index()
  ]
  each = num_rows // over.size
  return slice(mine[0] * each, (mine[-1] + 1) * each)


def joined(tree: Tree, over: Mesh) -> Tree:
  """Makes one array of the rows of all processes.

  Args:
    tree: of host arrays: the rows of this process, see `own_rows`.
    over: the devices, which share all rows equally.

  Returns:
    Arrays of all rows, divided among the devices.
  """
  cut = NamedSharding(over, _CUT)
  join = lambda x: jax.make_array_from_process_local_data(cut, np.asarray(x))
  return jax.tree.map(join, tree)


def active(over: Mesh) -> Any:
  """Lets `by_rows` know the devices while a function of all rows is traced.

  Args:
    over: the devices.

  Returns:
    A context.
  """
  return jax.set_mesh(over)


def by_rows(fn: Callable[..., Tree]) -> Callable[..., Tree]:
  """Makes each device compute a function of rows on its own rows.

  Inside a step, XLA divides most operations by itself. Some, such as Fourier
  transforms, it computes of all rows on every device, after collecting them:
  what does not look from one row at another belongs in here.

  Args:
    fn: trees of arrays with rows as their first axis, to such a tree. What it
      closes over, all devices get.

  Returns:
    The same function. Outside of `active`, and for a number of rows that the
    devices cannot share, nothing is divided.
  """

  def of_all(*args: Tree) -> Tree:
    over = jax.sharding.get_abstract_mesh()
    sizes = [x.shape[0] for x in jax.tree.leaves(args)]
    if over.empty or any(n % over.size for n in sizes):
      return fn(*args)
    return jax.shard_map(fn, in_specs=_CUT, out_specs=_CUT, check_vma=False)(
      *args
    )

  return of_all


def rows_placement(over: Mesh) -> NamedSharding:
  """Where arrays lie whose rows are divided among devices."""
  return NamedSharding(over, _CUT)


def copies_placement(over: Mesh) -> NamedSharding:
  """Where arrays lie that every device has."""
  return NamedSharding(over, _WHOLE)


def placements(shapes: Tree, over: Mesh, *, cut: bool) -> Tree:
  """Where the arrays of a state lie.

  Args:
    shapes: tree of what has `shape` and `size`.
    over: the devices.
    cut: divide large arrays along their longest axis that devices can share;
      each device then has a part of parameters and moments, and asks the
      others for theirs when it needs them. Else every device has all.

  Returns:
    The same tree of shardings.
  """

  def place(x: Any) -> NamedSharding:
    fits = [a for a, n in enumerate(x.shape) if n and n % over.size == 0]
    if not cut or x.size < _WORTH_CUTTING or not fits:
      return NamedSharding(over, _WHOLE)
    axis = max(fits, key=lambda a: x.shape[a])
    return NamedSharding(over, PartitionSpec(*[None] * axis, _ROWS))

  return jax.tree.map(place, shapes)


def placed(tree: Tree, where: Tree) -> Tree:
  """Lays arrays out, each process having all of them.

  Args:
    tree: of arrays, the same in every process.
    where: tree of shardings, see `placements`.

  Returns:
    The same tree.
  """
  if jax.process_count() == 1:
    return jax.device_put(tree, where)

  def put(x: Any, sharding: NamedSharding) -> jax.Array:
    host = np.asarray(x)
    return jax.make_array_from_callback(host.shape, sharding, host.__getitem__)

  return jax.tree.map(put, tree, where)


def on_host(tree: Tree) -> Tree:
  """Collects arrays, wherever their parts are.

  Args:
    tree: of arrays.

  Returns:
    The same tree of numpy arrays, whole in every process.
  """
  if jax.process_count() == 1:
    return jax.tree.map(np.asarray, tree)
  return multihost_utils.process_allgather(tree, tiled=True)


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
