"""What of an encoder is trained: all of it, pairs beside its projections, none.

Low-rank adaptation is a transform of the parameter tree. A pair of small
matrices for each chosen projection is a tree of its own; networks hear of it
where a linear layer is called, so that none of them has to know, and no
gradient of a whole matrix is computed. Before anything is kept, the pairs are
merged into the matrices that they stand beside.
"""

import contextlib
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from asd_jax import errors
from asd_jax.training.dropout import Drop, DropOf, drops
from asd_jax.typing import Array, Key

Tree = Any

# Layers of an attention by what they make of its input. Networks that pack
# three projections into one matrix have their outputs side by side.
_ATTENTION = r"(?:.*/)?\w*(?:attn|attention)/"
_ALONE = {"q": "q_proj", "k": "k_proj", "v": "v_proj", "out": "(?:out_)?proj"}
_PACKED, _PARTS = "(?:qkv|in_proj)", ("q", "k", "v")
TARGETS = (*_ALONE,)


class Place(NamedTuple):
  """Outputs of a linear layer that a pair of matrices adds to.

  Attributes:
    module: path of the layer in the parameter tree, `blocks_0/attn/qkv`.
    part: name of the outputs where the layer has several kinds, else "".
    start: first of the outputs.
    size: number of the outputs.
  """

  module: str
  part: str
  start: int
  size: int

  @property
  def path(self) -> str:
    """Place of the pair in a tree of pairs."""
    return f"{self.module}/{self.part}" if self.part else self.module


def _flat(tree: Tree) -> dict[str, Any]:
  return flax.traverse_util.flatten_dict(tree, sep="/")


def _nested(flat: Mapping[str, Any]) -> Tree:
  return flax.traverse_util.unflatten_dict(dict(flat), sep="/")


def _place_of(module: str, num: int, target: str) -> Place | None:
  """What of a layer with `num` outputs a target means, if anything."""
  word = target in _ALONE
  if re.fullmatch(_ATTENTION + _ALONE[target] if word else target, module):
    return Place(module, "", 0, num)
  if target in _PARTS and re.fullmatch(_ATTENTION + _PACKED, module):
    size = num // len(_PARTS)
    return Place(module, target, _PARTS.index(target) * size, size)
  return None


def places(params: Tree, targets: Sequence[str]) -> tuple[Place, ...]:
  r"""Finds the projections that are adapted.

  Args:
    params: parameters of a network, or their shapes.
    targets: `"q"`, `"k"`, `"v"` and `"out"` of every attention, packed or not;
      anything else is a pattern that must match the path of a linear layer
      fully, such as `r".*/mlp/fc\d"`.

  Returns:
    The places, in the order of the tree.

  Raises:
    InputError: if a target matches nothing.
  """
  kernels = {
    path.removesuffix("/kernel"): leaf.shape
    for path, leaf in _flat(params).items()
    if path.endswith("/kernel") and len(leaf.shape) == 2
  }
  out: dict[str, Place] = {}
  unmatched = set(targets)
  for module, shape in kernels.items():
    for target in targets:
      place = _place_of(module, shape[1], target)
      if place:
        unmatched.discard(target)
        out.setdefault(place.path, place)
  if unmatched or not out:
    # One name for all blocks.
    names = sorted({re.sub(r"\d+", r"\\d+", module) for module in kernels})
    raise errors.InputError(
      f"LoRA targets: found {sorted(unmatched)}, which match no linear layer,"
      f" expected some of {[*TARGETS]} or patterns of {', '.join(names)}."
    )
  return tuple(out.values())


def init(key: Key, params: Tree, where: Sequence[Place], *, rank: int) -> Tree:
  """Makes pairs that add nothing yet.

  Args:
    key: consumed.
    params: parameters of the network.
    where: see `places`.
    rank: r.

  Returns:
    Nested mappings: at each place `a` `[D, r]`, uniform in +-1/sqrt(D), and `b`
    `[r, n]` zeros.

  Source: [LoRA22].
  """
  flat, out = _flat(params), {}
  for place in where:
    kernel = flat[f"{place.module}/kernel"]
    width = kernel.shape[0]
    # By name: another target moves no other draw.
    own = jax.random.fold_in(key, zlib.crc32(place.path.encode()))
    bound = width**-0.5
    out[f"{place.path}/a"] = jax.random.uniform(
      own, (width, rank), kernel.dtype, -bound, bound
    )
    out[f"{place.path}/b"] = jnp.zeros((rank, place.size), kernel.dtype)
  return _nested(out)


def _added(
  x: Array,
  num: int,
  pairs: Sequence[tuple[Place, Array, Array]],
  drop: Drop | None,
) -> Array:
  """What pairs add to the `num` outputs of their layer, `[..., num]`."""
  parts, done = [], 0
  zeros = lambda n: jnp.zeros((*x.shape[:-1], n), x.dtype)
  for place, a, b in sorted(pairs, key=lambda pair: pair[0].start):
    if place.start > done:
      parts.append(zeros(place.start - done))
    dropped = drop(place.path, x) if drop else x
    parts.append((dropped @ a.astype(x.dtype)) @ b.astype(x.dtype))
    done = place.start + place.size
  if done < num:
    parts.append(zeros(num - done))
  return parts[0] if len(parts) == 1 else jnp.concatenate(parts, axis=-1)


@contextlib.contextmanager
def attached(
  adapters: Tree,
  where: Sequence[Place],
  *,
  scale: float,
  drop: Drop | None = None,
) -> Iterator[None]:
  """Lets networks that are applied inside add what the pairs make.

  Args:
    adapters: the pairs, see `init`.
    where: their places. A network may be a part of the tree: its own paths
      need only be the ends of these.
    scale: alpha over r.
    drop: what becomes of the input before a pair sees it.

  Yields:
    Nothing.

  Source: [LoRA22].
  """
  flat = _flat(adapters)
  by_end: dict[str, list[tuple[Place, Array, Array]]] = {}
  for place in where:
    pair = (flat[f"{place.path}/a"], scale * flat[f"{place.path}/b"])
    names = place.module.split("/")
    for i in range(len(names)):
      by_end.setdefault("/".join(names[i:]), []).append((place, *pair))

  def intercept(
    next_fun: Callable, args: tuple, kwargs: Mapping, context: Any
  ) -> Any:
    out = next_fun(*args, **kwargs)
    module = context.module
    if context.method_name != "__call__" or not isinstance(module, nn.Dense):
      return out
    pairs = by_end.get("/".join(module.path), ())
    if not pairs:
      return out
    x = args[0].astype(out.dtype)
    return out + _added(x, out.shape[-1], pairs, drop)

  with nn.intercept_methods(intercept):
    yield


def merge(
  params: Tree, adapters: Tree, where: Sequence[Place], *, scale: float
) -> tuple[Tree, dict[str, Array]]:
  """Adds what the pairs make to the matrices that they stand beside.

  Args:
    params: parameters of the network.
    adapters: the pairs, see `init`.
    where: their places.
    scale: alpha over r.

  Returns:
    The parameters, and the matrices that were there before by path, from which
    `unmerge` restores every bit: a sum of rounded numbers cannot be undone.
  """
  flat, pairs = _flat(params), _flat(adapters)
  before: dict[str, Array] = {}
  for place in where:
    path = f"{place.module}/kernel"
    before.setdefault(path, flat[path])
    a, b = pairs[f"{place.path}/a"], pairs[f"{place.path}/b"]
    # Full precision: accelerators would round the products to bfloat16.
    change = jnp.matmul(a, scale * b, precision="highest")
    stop = place.start + place.size
    kernel = jnp.asarray(flat[path])
    flat[path] = kernel.at[:, place.start : stop].add(change)
  return _nested(flat), before


def unmerge(params: Tree, before: Mapping[str, Array]) -> Tree:
  """Puts the matrices back that `merge` changed.

  Args:
    params: merged parameters.
    before: what `merge` returned beside them.

  Returns:
    The parameters as they were, bit by bit.
  """
  return _nested({**_flat(params), **before})


class Trainable(NamedTuple):
  """Which parameters of a network are trained.

  Attributes:
    init: `(key, params, fixed) -> (trained, frozen)`; `fixed` are patterns of
      paths that are never trained. What is frozen gets no gradient.
    attach: `(trained, frozen, drop) -> context`; networks that are applied
      inside, with the parameters that it gives, are the adapted ones.
    merge: `(trained, frozen) -> params`.
    drop: what becomes of the inputs of pairs in training, when it is drawn;
      None if nothing is.
  """

  init: Callable[[Key, Tree, Sequence[str]], tuple[Tree, Tree]]
  attach: Callable[
    [Tree, Tree, Drop | None], contextlib.AbstractContextManager[Tree]
  ]
  merge: Callable[[Tree, Tree], Tree]
  drop: DropOf | None = None


def full() -> Trainable:
  """Trains all parameters but the fixed ones."""

  def init_all(key: Key, params: Tree, fixed: Sequence[str]) -> tuple:
    del key
    parts: tuple[dict, dict] = ({}, {})
    for path, x in _flat(params).items():
      parts[any(re.fullmatch(f, path) for f in fixed)][path] = x
    return _nested(parts[0]), _nested(parts[1])

  join = lambda trained, frozen: _nested({**_flat(trained), **_flat(frozen)})
  return Trainable(
    init_all,
    lambda trained, frozen, drop: contextlib.nullcontext(join(trained, frozen)),
    join,
  )


def frozen() -> Trainable:
  """Trains no parameter of the network, only what comes behind it."""
  return Trainable(
    lambda key, params, fixed: ({}, params),
    lambda trained, frozen, drop: contextlib.nullcontext(frozen),
    lambda trained, frozen: frozen,
  )


def low_rank(
  *,
  rank: int = 8,
  alpha: float = 16.0,
  dropout: float = 0.0,
  targets: tuple[str, ...] = TARGETS,
) -> Trainable:
  """Trains pairs of matrices beside projections.

  Args:
    rank: r, the inner width of a pair.
    alpha: what a pair makes is scaled by alpha over r.
    dropout: share of a pair's inputs that is zero in training.
    targets: see `places`.

  Returns:
    The rule.

  Raises:
    InputError: for numbers out of range.

  Source: [LoRA22].
  """
  if rank < 1 or alpha <= 0.0 or not 0.0 <= dropout < 1.0:
    raise errors.InputError(
      f"LoRA: found rank={rank}, alpha={alpha}, dropout={dropout}, expected a"
      " rank of 1 or more, a positive alpha, and a dropout in [0, 1)."
    )
  for target in targets:
    try:
      re.compile(target)
    except (re.error, TypeError) as e:
      raise errors.InputError(
        f"LoRA targets: found {target!r} ({e}), expected some of {[*TARGETS]}"
        " or patterns of layers."
      ) from e
  scale = alpha / rank

  @contextlib.contextmanager
  def attach(trained: Tree, frozen: Tree, drop: Drop | None) -> Iterator[Tree]:
    where = places(frozen, targets)
    with attached(trained, where, scale=scale, drop=drop):
      yield frozen

  def init_pairs(key: Key, params: Tree, fixed: Sequence[str]) -> tuple:
    del fixed
    return init(key, params, places(params, targets), rank=rank), params

  def merged(trained: Tree, frozen: Tree) -> Tree:
    return merge(frozen, trained, places(frozen, targets), scale=scale)[0]

  return Trainable(init_pairs, attach, merged, drops(dropout))


TRAINS: dict[str, Callable[..., Trainable]] = {
  "full": full,
  "lora": low_rank,
  "frozen": frozen,
}


def count(tree: Tree) -> int:
  """Numbers in a tree of arrays, or of their shapes."""
  return sum(int(np.prod(x.shape)) for x in jax.tree.leaves(tree))
