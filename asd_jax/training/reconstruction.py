"""One reconstruction network a seed, all seeds at once, and its statistics."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax

from asd_jax import errors
from asd_jax.ops import statistics
from asd_jax.training import loop, mesh
from asd_jax.training import state as train_state
from asd_jax.training.windows import Windows
from asd_jax.typing import Array, Key

Tree = Any
# A train state above this is trained seed after seed on a CPU.
_LARGE_BYTES = 16e6


class Network(NamedTuple):
  """What training needs of a reconstruction network.

  Attributes:
    init: `(key, mean [D], std [D]) -> (params, extra)`; mean and standard
      deviation of the windows.
    loss: `(params, extra, x [B, D]) -> (loss, extra)`, training mode.
    errors: `(params, extra, x [B, D]) -> [B, D]` reconstruction minus input,
      evaluation mode.
  """

  init: Callable[[Key, Array, Array], tuple[Tree, Tree]]
  loss: Callable[[Tree, Tree, Array], tuple[Array, Tree]]
  errors: Callable[[Tree, Tree, Array], Array]


class Recipe(NamedTuple):
  """Settings of the training, static.

  Attributes:
    batch_size: windows in a batch.
    num_epochs: passes over the training windows.
    learning_rate: of Adam.
    weight_decay: added to the gradient before Adam's moments, times the
      parameter (L2; not AdamW).
    valid_fraction: share of the windows that is held out.
    checkpoint_every: epochs between two checkpoints.
  """

  batch_size: int = 256
  num_epochs: int = 100
  learning_rate: float = 1e-3
  weight_decay: float = 0.0
  valid_fraction: float = 0.1
  checkpoint_every: int = 10


class Trained(flax.struct.PyTreeNode):
  """Networks after training; every array has a leading seed axis K.

  Attributes:
    params: parameters.
    extra: running statistics.
    covariance: `[K, 2, M, M]` of the residual frames of source and target
      training windows, see `covariances`.
    batch_loss: `[K, n]` losses of the last epoch's training batches, then of
      the validation batches.
    batch_residual: `[K, n, M]` mean residual frame of training batches, then
      of validation batches.
  """

  params: Tree
  extra: Tree
  covariance: Array
  batch_loss: Array
  batch_residual: Array


def split(key: Key, num_rows: int, *, fraction: float) -> tuple[Array, Array]:
  """Draws the validation rows.

  Args:
    key: consumed.
    num_rows: rows V.
    fraction: part that becomes validation, rounded up.

  Returns:
    `[V - n]` training and `[n]` validation row numbers, each ascending.
  """
  num_valid = math.ceil(fraction * num_rows)
  order = jax.random.permutation(key, num_rows)
  return jnp.sort(order[num_valid:]), jnp.sort(order[:num_valid])


def batch_scatter(frames: Array, member: Array) -> tuple[Array, Array]:
  """Scatter of residual frames about the batch's own mean, by domain.

  Args:
    frames: `[B * c, M]` residual frames, c a window.
    member: `[2, B]` one where a window is of the source (target) domain and
      counts, else zero.

  Returns:
    `[2, M, M]` scatter of source and of target frames, `[2]` windows of each.
  """
  per_window = frames.shape[0] // member.shape[1]
  weight = jnp.repeat(member, per_window, axis=1)  # [2, B * c]
  num = jnp.sum(weight, axis=1)
  # Full precision: accelerators would round the products to bfloat16.
  total = jnp.matmul(weight, frames, precision="highest")
  mean = total / jnp.maximum(num, 1.0)[:, None]  # [2, M]

  def scatter(w: Array, m: Array) -> Array:
    centred = (frames - m[None]) * w[:, None]
    return jnp.matmul(centred.T, centred, precision="highest")

  return jax.vmap(scatter)(weight, mean), num / per_window


def covariances(scatter: Array, num_windows: Array) -> Array:
  """The official baseline's two covariances.

  The divisor counts windows where the scatter sums frames, so the result is
  about `num_context` times a sample covariance; batch means are left out.

  Args:
    scatter: `[2, M, M]` summed over batches, see `batch_scatter`.
    num_windows: `[2]` source and target windows.

  Returns:
    `[2, M, M]`; a domain without windows gets the other one's.

  Source: [DCASE26base].
  """
  cov = scatter / jnp.maximum(num_windows - 1.0, 1.0)[:, None, None]
  empty = (num_windows < 1.0)[:, None, None]
  return jnp.where(empty, cov[::-1], cov)


def _padded(order: Array, batch_size: int) -> tuple[Array, Array]:
  """Cuts an order into `[n, B]` rows and weights, zero on padding."""
  num = -(-order.shape[0] // batch_size)
  pad = num * batch_size - order.shape[0]
  weight = jnp.pad(jnp.ones(order.shape[0]), (0, pad))
  rows = jnp.pad(order, (0, pad))
  return rows.reshape(num, batch_size), weight.reshape(num, batch_size)


def evaluate(
  errors: Callable[[Array], Array],
  windows: Windows,
  order: Array,
  others: Array,
  *,
  batch_size: int,
) -> tuple[Array, Array, Array]:
  """One pass in evaluation mode over batches of windows.

  Args:
    errors: `[B, D] -> [B, D]` reconstruction minus input.
    windows: all windows.
    order: `[V]` window numbers, cut into batches.
    others: `[U]` more window numbers, cut into batches of their own that the
      covariances leave out (validation).
    batch_size: windows in a batch.

  Returns:
    `[2, M, M]` covariances, `[n, M]` mean residual frame of each batch and
    `[n]` loss of each batch, those of `order` first.
  """
  block = windows.frames.shape[1]
  parts = [_padded(o, batch_size) for o in (order, others)]
  rows, weight = (jnp.concatenate(p) for p in zip(*parts, strict=True))
  counts = jnp.arange(len(rows)) < len(parts[0][0])

  def step(total: tuple, batch: tuple) -> tuple[tuple, tuple]:
    index, weight, count = batch
    error = errors(windows.take(index)).reshape(-1, block)  # [B * c, M]
    target = windows.is_target[index].astype(weight.dtype)
    member = jnp.stack([1.0 - target, target]) * weight[None] * count
    scatter, num = batch_scatter(error, member)
    by_window = error.reshape(batch_size, -1, block)
    mean = jnp.mean(jnp.mean(by_window, 1) * weight[:, None], 0)
    loss = jnp.mean(jnp.mean(jnp.square(by_window), (1, 2)) * weight)
    share = jnp.mean(weight)
    return (total[0] + scatter, total[1] + num), (mean / share, loss / share)

  zero = (jnp.zeros((2, block, block)), jnp.zeros(2))
  total, (mean, loss) = jax.lax.scan(step, zero, (rows, weight, counts))
  return covariances(*total), mean, loss


def mean_and_std(windows: Windows, *, batch_size: int) -> tuple[Array, Array]:
  """Mean and standard deviation (ddof 0) of each dimension over all windows.

  Args:
    windows: all windows.
    batch_size: windows in a piece.

  Returns:
    `[D]` and `[D]`.
  """
  num = windows.start.shape[0]
  full = num // batch_size * batch_size
  piece = lambda rows: statistics.diagonal_moments(windows.take(rows))
  width = windows.frames.shape[1] * windows.num_context
  total, _ = jax.lax.scan(
    lambda m, rows: (statistics.merge(m, piece(rows)), None),
    statistics.no_moments((width,)),
    jnp.arange(full).reshape(-1, batch_size),
  )
  if full < num:
    total = statistics.merge(total, piece(jnp.arange(full, num)))
  return total.mean, jnp.sqrt(statistics.covariance(total, ddof=0.0))


class Trainer:
  """Trains one network a key, all in one program.

  Programs are compiled once for each size of training set and kept with the
  trainer, so that they go when it goes.

  Args:
    network: reconstruction network.
    recipe: settings.

  Source: [DCASE26base]: Adam, batches of shuffled windows, a random tenth of
  the windows held out.
  """

  def __init__(self, network: Network, recipe: Recipe) -> None:
    self._network, self._recipe = network, recipe
    make = train_state.make_train(_loss_fn(network), _adam(recipe))
    self._init, self._step = make
    self._splits = jax.jit(self._split_all, static_argnums=1)
    self._starts = jax.jit(jax.vmap(self._start, in_axes=(0, None, None)))
    self._spread = jax.jit(mean_and_std, static_argnames="batch_size")
    self._epochs = jax.jit(
      lambda state, order, windows: _each_seed(self._epoch, windows)(
        state, order
      ),
      # The state of ten seeds is large: the new one takes the old one's place.
      donate_argnums=0,
    )
    self._finishes = jax.jit(
      lambda keys, state, index, windows: _each_seed(self._finish, windows)(
        keys, state, index
      )
    )

  def _split_all(self, keys: Key, num_windows: int) -> tuple[Array, Array]:
    fraction = self._recipe.valid_fraction
    draw = lambda key: split(
      _member_keys(key)["split"], num_windows, fraction=fraction
    )
    return jax.vmap(draw)(keys)

  def _start(self, key: Key, mean: Array, std: Array) -> train_state.TrainState:
    ks = _member_keys(key)
    return self._init(ks["train"], *self._network.init(ks["init"], mean, std))

  def _epoch(self, state: Any, order: Array, windows: Windows) -> tuple:
    return train_state.scan_order(
      self._step,
      state,
      order,
      take=windows.take,
      batch_size=self._recipe.batch_size,
    )

  def _finish(
    self, key: Key, state: Any, index: tuple, windows: Windows
  ) -> tuple:
    """Statistics of one trained network; its validation losses alone."""
    size = self._recipe.batch_size
    # The covariances sum over batches, so their order matters: a draw of its
    # own, as the official code shuffles once more.
    order = jax.random.permutation(_member_keys(key)["statistics"], index[0])
    cov, mean, loss = evaluate(
      lambda x: self._network.errors(state.params, state.extra, x),
      windows,
      order,
      index[1],
      batch_size=size,
    )
    return cov, mean, loss[-(-order.shape[0] // size) :]

  def __call__(
    self,
    keys: Key,
    windows: Windows,
    *,
    checkpoints: loop.Checkpoints | None = None,
    on_epoch: Callable[[int, dict], None] | None = None,
  ) -> Trained:
    """Trains.

    Args:
      keys: `[K]` one a network.
      windows: training windows, three or more.
      checkpoints: where an interrupted training goes on from.
      on_epoch: gets (epochs done, `{"loss": [K, n]}`).

    Returns:
      The networks, leading axis K.

    Raises:
      NotFiniteError: if a loss is not finite.
      InputError: for fewer than three windows.
    """
    num_windows = windows.start.shape[0]
    if num_windows < 3:
      raise errors.InputError(
        f"training needs 3 windows or more, got {num_windows}."
      )
    index = self._splits(keys, num_windows)
    rows, words = np.asarray(index[0]), np.asarray(jax.random.key_data(keys))
    # Host permutations: a device sort of all windows takes a tenth of an epoch.
    order = lambda unit: np.stack(
      [
        np.random.default_rng([*word, unit]).permutation(row)
        for word, row in zip(words, rows, strict=True)
      ]
    )
    spread = self._spread(windows, batch_size=self._recipe.batch_size)
    over = mesh.local(num_rows=keys.shape[0])
    # Copied once here, not at every epoch. The state of a checkpoint is on one
    # device.
    everywhere = mesh.everywhere(windows, over)
    state, metrics = loop.run(
      self._starts(keys, *spread),
      lambda unit, s: self._epochs(
        mesh.divided(s, over), order(unit), everywhere
      ),
      num_units=self._recipe.num_epochs,
      checkpoints=checkpoints,
      on_unit=on_epoch,
    )
    state = mesh.divided(state, over)
    cov, residual, valid = self._finishes(keys, state, index, everywhere)
    batch_loss = jnp.concatenate([metrics["loss"], valid], axis=1)
    return Trained(state.params, state.extra, cov, batch_loss, residual)


def _each_seed(fn: Callable, windows: Windows) -> Callable:
  """Maps `fn(*args, windows)` over the seed axis of all arguments.

  Devices share the seeds. All at once, except for large networks on a CPU:
  there, one seed's parameters, moments and activations stay in the cache, ten
  seeds' do not.
  """

  def mapped(windows: Windows, *args: Any) -> Any:
    leaves = [x for x in jax.tree.leaves(args) if not train_state.is_key(x)]
    seed_bytes = sum(x.nbytes for x in leaves) / leaves[0].shape[0]
    if jax.default_backend() == "cpu" and seed_bytes > _LARGE_BYTES:
      return jax.lax.map(lambda a: fn(*a, windows), args)
    return jax.vmap(lambda *a: fn(*a, windows))(*args)

  def of_all(*args: Any) -> Any:
    over = mesh.local(num_rows=jax.tree.leaves(args)[0].shape[0])
    return mesh.spread(mapped, over, num_shared=1)(windows, *args)

  return of_all


def _member_keys(key: Key) -> dict[str, Key]:
  names = ("init", "split", "train", "statistics")
  return dict(zip(names, jax.random.split(key, len(names)), strict=True))


def _adam(recipe: Recipe) -> optax.GradientTransformation:
  adam = optax.adam(recipe.learning_rate)
  if not recipe.weight_decay:
    return adam
  return optax.chain(optax.add_decayed_weights(recipe.weight_decay), adam)


def _loss_fn(network: Network) -> train_state.LossFn:
  def loss_fn(
    params: Tree, extra: Tree, key: Key, batch: Array
  ) -> tuple[Array, tuple[Tree, dict]]:
    del key
    loss, extra = network.loss(params, extra, batch)
    return loss, (extra, {})

  return loss_fn
