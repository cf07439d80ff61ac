"""Train state and step: pure functions of a loss and an optimiser."""

from collections.abc import Callable
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax

from asd_jax.typing import Array, Key

Tree = Any
# (params, extra, key, batch) -> (loss, (extra, metrics))
LossFn = Callable[[Tree, Tree, Key, Tree], tuple[Array, tuple[Tree, dict]]]


def is_key(x: Array) -> bool:
  """Whether an array holds keys, which can be neither stored nor compared.

  Args:
    x: `[...]` any array.

  Returns:
    True for keys.
  """
  return jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


class TrainState(flax.struct.PyTreeNode):
  """Everything a step changes, and the key its draws come from.

  Attributes:
    step: `[]` int32, steps done.
    params: trained parameters.
    extra: other variables of the network, such as running statistics.
    opt_state: state of the optimiser.
    key: `[]` key; a step draws from `fold_in(key, step)`.
    average: moving average of the parameters, None if none is kept.
  """

  step: Array
  params: Tree
  extra: Tree
  opt_state: Tree
  key: Key
  average: Tree = None


def make_train(
  loss_fn: Callable,
  tx: optax.GradientTransformation,
  *,
  accumulate: int = 1,
  average: Callable[[Tree, Tree, Array], Tree] | None = None,
  watched: bool = False,
) -> tuple[Callable, Callable]:
  """Makes the two pure functions of training.

  Args:
    loss_fn: `(params, extra, key, batch, *more) -> (loss, (extra, metrics))`;
      see `LossFn`.
    tx: optimiser.
    accumulate: pieces of a batch that are looked at one after another, each
      with a key of its own; gradients and metrics are their means. Piece i has
      rows i, i + accumulate ...: each device keeps its own rows.
    average: `(average, params, step) -> average` after each step, `step` `[]`
      counting from 0; it starts as a copy of the parameters.
    watched: whether metrics tell `grad_norm`, the norm of all gradients.

  Returns:
    init: `(key, params, extra) -> TrainState`.
    step: `(TrainState, batch, *more) -> (TrainState, metrics)`; `metrics` has
      `loss` before the update.
  """

  def init(key: Key, params: Tree, extra: Tree) -> TrainState:
    step = jnp.zeros((), jnp.int32)
    start = jax.tree.map(jnp.copy, params) if average else None
    return TrainState(step, params, extra, tx.init(params), key, start)

  def piece(
    params: Tree, extra: Tree, key: Key, batch: Tree, *more: Tree
  ) -> tuple[Tree, Tree, dict]:
    grad_fn = jax.value_and_grad(loss_fn, has_aux=True)
    (loss, (extra, metrics)), grads = grad_fn(params, extra, key, batch, *more)
    return grads, extra, {"loss": loss, **metrics}

  looked = piece if accumulate == 1 else _in_pieces(piece, accumulate)

  def step(
    state: TrainState, batch: Tree, *more: Tree
  ) -> tuple[TrainState, dict]:
    # The key itself never changes: a run that goes on at a step draws the
    # same.
    key = jax.random.fold_in(state.key, state.step)
    grads, extra, metrics = looked(state.params, state.extra, key, batch, *more)
    # The parameters too, which weight decay looks at.
    updates, opt_state = tx.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    if watched:
      metrics = {**metrics, "grad_norm": optax.tree.norm(grads)}
    mean = average(state.average, params, state.step) if average else None
    state = state.replace(
      step=state.step + 1,
      params=params,
      extra=extra,
      opt_state=opt_state,
      average=mean,
    )
    return state, metrics

  return init, step


def _in_pieces(piece: Callable, num: int) -> Callable:
  """Looks at a batch in `num` pieces, one after another."""

  def cut(x: Array) -> Array:
    # [B, ...] -> [num, B / num, ...], rows that are neighbours apart: a device
    # that has a run of rows then has a part of every piece.
    return jnp.swapaxes(x.reshape(-1, num, *x.shape[1:]), 0, 1)

  def looked(
    params: Tree, extra: Tree, key: Key, batch: Tree, *more: Tree
  ) -> tuple[Tree, Tree, dict]:
    def one(carry: tuple, part: tuple) -> tuple[tuple, dict]:
      total, extra = carry
      number, rows = part
      own = jax.random.fold_in(key, number)
      grads, extra, metrics = piece(params, extra, own, rows, *more)
      return (jax.tree.map(jnp.add, total, grads), extra), metrics

    start = (jax.tree.map(jnp.zeros_like, params), extra)
    parts = (jnp.arange(num), jax.tree.map(cut, batch))
    (total, extra), metrics = jax.lax.scan(one, start, parts)
    grads = jax.tree.map(lambda x: x / num, total)
    return grads, extra, jax.tree.map(lambda x: jnp.mean(x, 0), metrics)

  return looked


def lowered(tree: Tree, dtype: Any) -> Tree:
  """Casts float32 arrays, the masters of a training, to what it computes in.

  Inside a loss function: gradients then come back as float32.

  Args:
    tree: of arrays.
    dtype: such as bfloat16.

  Returns:
    The same tree; arrays of other types stay.
  """
  cast = lambda x: x.astype(dtype) if x.dtype == jnp.float32 else x
  return jax.tree.map(cast, tree)


def scan_order(
  step: Callable, state: Tree, order: Array, *, batch_size: int, take: Callable
) -> tuple[Tree, Tree]:
  """Runs `step` over an order of rows, cut into batches.

  Args:
    step: `(state, batch) -> (state, output)`.
    state: carried through.
    order: `[V]` row numbers.
    batch_size: rows in a batch; the last batch has what is left, and is left
      out if that is one row (it has no variance).
    take: `[b]` row numbers to a batch.

  Returns:
    The last state, and the outputs stacked over batches.
  """
  num_full = order.shape[0] // batch_size
  full = order[: num_full * batch_size].reshape(num_full, batch_size)
  # A shape of its own, so it is a step after the scan.
  tail = order[num_full * batch_size :]
  outs = []
  if num_full:
    state, out = jax.lax.scan(lambda s, i: step(s, take(i)), state, full)
    outs.append(out)
  if tail.shape[0] > 1:
    state, out = step(state, take(tail))
    outs.append(jax.tree.map(lambda x: x[None], out))  # [1, ...]
  return state, jax.tree.map(lambda *x: jnp.concatenate(x), *outs)
