"""The training clips of one machine, as a fit sees them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp

from asd_jax.training import reconstruction
from asd_jax.typing import Array

Tree = Any


class Augmented(flax.struct.PyTreeNode):
  """Clips made from training clips, which only add rows to the bank.

  Attributes:
    features: `[M, C, ...]`, or `[M, K, C, ...]` as those of the clips.
    clip: `[M]` int32, the training clip that each was made from.
    valid: `[M]` those that count; None if all do.
  """

  features: Array
  clip: Array
  valid: Array | None = None


class Normals(flax.struct.PyTreeNode):
  """The training clips of one machine and section.

  Features stay in the memory of the host until a branch is fitted: those of
  all branches at once may be more than a device holds.

  Attributes:
    front: `{branch: {stage: state}}` of the stages that were fitted first.
    features: for each shape of them, `{branch: [n, C, ...]}`; `[n, K, C, ...]`
      of an encoder that is adapted over machines, K seeds; `Ragged` frames of
      clips of different lengths.
    order: `[N]` place of each clip in the concatenation of `features`.
    is_target: `[N]` True for target-domain clips.
    trained: `{branch: Trained}` of branches that train an encoder.
    valid: `[N]` clips that count; None if all do. The others have places in
      all arrays, so that fits without some clips share one program.
    augmented: `{branch: Augmented}` of branches that make clips.
    num_target: number of target-domain clips, a constant of the program.
    has_attributes: whether the machine's clips say under which conditions
      they were recorded, a constant of the program.
  """

  front: Tree
  features: tuple[dict[str, Array], ...]
  order: Array
  is_target: Array
  trained: dict[str, reconstruction.Trained]
  valid: Array | None = None
  augmented: dict[str, Augmented] = flax.struct.field(default_factory=dict)
  num_target: int = flax.struct.field(pytree_node=False, default=0)
  has_attributes: bool = flax.struct.field(pytree_node=False, default=True)


class Clips(NamedTuple):
  """One branch's features of the training clips: two ways through them.

  Clips of different lengths have features of different shapes, so there is no
  one array of them.

  Attributes:
    map: a function of one clip's features to `[N, ...]`, in clip order.
    fold: `((carry, features, is_target []) -> carry, first carry) -> carry`,
      one clip that counts at a time, in constant memory.
    example: features of one clip.
    is_target: `[N]` True for target-domain clips.
    valid: `[N]` True for clips that count; None if all do.
    num_target: how many those are, a constant of the program.
    augmented: clips made from these ones, or None.
  """

  map: Callable[[Callable[[Array], Array]], Array]
  fold: Callable[[Callable[[Tree, Array, Array], Tree], Tree], Tree]
  example: Array
  is_target: Array
  valid: Array | None
  num_target: int
  augmented: Augmented | None = None


def only(normals: Normals, name: str) -> Normals:
  """What one branch needs of the training clips.

  Args:
    normals: all of it.
    name: of the branch.

  Returns:
    The same without the other branches' features and networks.
  """
  own = lambda tree: {name: tree[name]} if name in tree else {}
  return normals.replace(
    front={},
    features=tuple(own(group) for group in normals.features),
    trained=own(normals.trained),
    augmented=own(normals.augmented),
  )


def by_seed(fn: Callable[[Normals], Tree], normals: Normals, name: str) -> Tree:
  """Maps a function over the seeds of one branch's features.

  Args:
    fn: of the training clips with features `[n, C', ...]`.
    normals: training clips, whose features of the branch are `[n, K, C', ...]`.
    name: of the branch.

  Returns:
    What `fn` returns, leading axis K.
  """
  made = normals.augmented.get(name)

  def one(groups: tuple[Array, ...], more: Array | None) -> Tree:
    augmented = {name: made.replace(features=more)} if made else {}
    features = tuple({name: g} for g in groups)
    return fn(normals.replace(features=features, augmented=augmented))

  groups = tuple(jnp.asarray(g[name]) for g in normals.features)
  more = jnp.asarray(made.features) if made else None
  return jax.vmap(one, in_axes=1)(groups, more)


def of_branch(normals: Normals, name: str) -> Clips:
  """Ways to go through one branch's features of all training clips.

  Args:
    normals: the training clips.
    name: of the branch.

  Returns:
    The clips.
  """
  groups = [jax.tree.map(jnp.asarray, g[name]) for g in normals.features]
  sizes = [len(jax.tree.leaves(g)[0]) for g in groups]
  order = jnp.asarray(normals.order)
  domains = jnp.asarray(normals.is_target)
  valid = None if normals.valid is None else jnp.asarray(normals.valid)

  def over(fn: Callable[[Array], Array]) -> Array:
    # A few at a time: what `fn` holds of one clip may be large.
    parts = [
      jax.lax.map(fn, g, batch_size=min(16, num))
      for g, num in zip(groups, sizes, strict=True)
    ]
    return jnp.concatenate(parts)[order]

  def fold(step: Callable[[Tree, Array, Array], Tree], carry: Tree) -> Tree:
    # Domains in the order of the groups, not of the clips.
    back = lambda x: jnp.zeros_like(x).at[order].set(x)
    columns = [back(domains)] + ([] if valid is None else [back(valid)])

    def one(carry: Tree, row: tuple) -> tuple[Tree, None]:
      x, target, *counts = row
      new = step(carry, x, target)
      for count in counts:
        keep = lambda a, b, count=count: jnp.where(count, a, b)
        new = jax.tree.map(keep, new, carry)
      return new, None

    start = 0
    for g, num in zip(groups, sizes, strict=True):
      own = slice(start, start + num)
      rows = (g, *(c[own] for c in columns))
      carry, _ = jax.lax.scan(one, carry, rows)
      start += num
    return carry

  return Clips(
    over,
    fold,
    jax.tree.map(lambda x: x[0], groups[0]),
    domains,
    valid,
    normals.num_target,
    normals.augmented.get(name),
  )
