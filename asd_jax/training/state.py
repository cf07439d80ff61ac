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
  """

  step: Array
  params: Tree
  extra: Tree
  opt_state: Tree
  key: Key


def make_train(
  loss_fn: LossFn, tx: optax.GradientTransformation
) -> tuple[Callable, Callable]:
  """Makes the two pure functions of training.

  Args:
    loss_fn: `(params, extra, key, batch) -> (loss, (extra, metrics))`.
    tx: optimiser.

  Returns:
    init: `(key, params, extra) -> TrainState`.
    step: `(TrainState, batch) -> (TrainState, metrics)`; `metrics` has `loss`
      before the update.
  """

  def init(key: Key, params: Tree, extra: Tree) -> TrainState:
    step = jnp.zeros((), jnp.int32)
    return TrainState(step, params, extra, tx.init(params), key)

  def step(state: TrainState, batch: Tree) -> tuple[TrainState, dict]:
    # The key itself never changes: a run that goes on at a step draws the
    # same.
    key = jax.random.fold_in(state.key, state.step)
    grad_fn = jax.value_and_grad(loss_fn, has_aux=True)
    (loss, (extra, metrics)), grads = grad_fn(
      state.params, state.extra, key, batch
    )
    # The parameters too, which weight decay looks at.
    updates, opt_state = tx.update(grads, state.opt_state, state.params)
    state = state.replace(
      step=state.step + 1,
      params=optax.apply_updates(state.params, updates),
      extra=extra,
      opt_state=opt_state,
    )
    return state, {"loss": loss, **metrics}

  return init, step


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
