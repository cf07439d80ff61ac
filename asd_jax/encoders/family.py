"""Encoders with published weights: what they offer to the other stages."""

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from asd_jax import errors
from asd_jax.typing import Array, Key
from asd_jax.weights import rules as weight_map

Tree = Any
DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


class Encoded(NamedTuple):
  """Token sequences of one clip and channel, by layer name.

  Attributes:
    grid: `[T, F, D]` a layer: time patches, frequency patches, width.
    cls: `[D]` a layer, where the encoder has such a token; else empty.
  """

  grid: dict[str, Array]
  cls: dict[str, Array]


class FrozenEncoder(NamedTuple):
  """A network whose weights are published.

  Attributes:
    family: key of `weight_map.FAMILIES`.
    settings: sizes of the network, all of them.
    layers: names of the token sequences, in order: `layer_0` enters the first
      block, `layer_i` leaves the i-th, `output` is what the network returns.
    width: D.
    num_mels: bands M of the input.
    patch_frames: frames of a patch, the fewest that it takes.
    num_patches: `frames -> (T, F)`; raises InputError for an input that is too
      short or too long. Call it on the host, before `apply`.
    shapes: shape of every parameter by its place, such as
      `blocks_0/attn/qkv/kernel`, without making any.
    init: key to random parameters.
    apply: `(params, [frames, M], layers) -> Encoded` of one clip and channel;
      a batch is its `vmap`. Only what the named layers need is computed under
      `jit`.
  """

  family: str
  settings: dict[str, Any]
  layers: tuple[str, ...]
  width: int
  num_mels: int
  patch_frames: int
  num_patches: Callable[[int], tuple[int, int]]
  shapes: Callable[[], dict[str, tuple[int, ...]]]
  init: Callable[[Key], Tree]
  apply: Callable[[Tree, Array, tuple[str, ...]], Encoded]


class Kind(NamedTuple):
  """What a family's networks have in common.

  Attributes:
    family: key of `weight_map.FAMILIES`.
    title: name in messages.
    num_mels: bands of the input.
    patch: frames and bands of a patch.
    num_extra: tokens before those of the patches, the first is CLS; 0 or 1.
  """

  family: str
  title: str
  num_mels: int
  patch: tuple[int, int]
  num_extra: int


def dtype_of(name: str) -> Any:
  """The type of matrix products.

  Args:
    name: `"float32"` or `"bfloat16"`.

  Returns:
    The type.

  Raises:
    InputError: for another name.
  """
  if name not in DTYPES:
    raise errors.InputError(
      f"found dtype {name!r}, expected one of {[*DTYPES]}."
    )
  return DTYPES[name]


def layer_names(depth: int) -> tuple[str, ...]:
  """Names of the token sequences of a network of `depth` blocks."""
  return (*(f"layer_{i}" for i in range(depth + 1)), "output")


def num_patches(
  kind: Kind, num_frames: int, *, max_frames: int | None = None
) -> tuple[int, int]:
  """Counts time and frequency patches.

  Args:
    kind: the family.
    num_frames: frames of the input.
    max_frames: the longest input, None if there is no such.

  Returns:
    Patches over time and over frequency; frames beyond whole patches do not
    count.

  Raises:
    InputError: for an input shorter than a patch, or too long.
  """
  rows, columns = kind.patch
  if num_frames < rows:
    raise errors.InputError(
      f"{kind.title}: found {num_frames} frames, expected {rows} or more (one"
      " patch)."
    )
  if max_frames is not None and num_frames // rows * rows > max_frames:
    raise errors.InputError(
      f"{kind.title}: found {num_frames} frames, expected at most"
      f" {max_frames} (the position table)."
    )
  return num_frames // rows, kind.num_mels // columns


def shapes(module: nn.Module, kind: Kind) -> dict[str, tuple[int, ...]]:
  """Shapes of a network's parameters, none of which is made.

  Args:
    module: maps `[frames, M]` to token sequences.
    kind: its family.

  Returns:
    Shape by place.
  """
  start = jnp.zeros((kind.patch[0], kind.num_mels))
  tree = jax.eval_shape(module.init, jax.random.key(0), start)["params"]
  flat: Tree = flax.traverse_util.flatten_dict(tree, sep="/")
  return {path: tuple(leaf.shape) for path, leaf in flat.items()}


def of_module(
  module: nn.Module,
  kind: Kind,
  settings: Mapping[str, Any],
  *,
  dtype: str,
  max_frames: int | None = None,
) -> FrozenEncoder:
  """Makes an encoder of a network.

  Args:
    module: maps `[frames, M]` to token sequences `[L, D]` by layer name.
    kind: its family.
    settings: of the network, see `module_of`.
    dtype: `"float32"` computes exactly, on accelerators too.
    max_frames: the longest input, None if there is no such.

  Returns:
    The encoder.
  """
  names, width = layer_names(settings["depth"]), settings["width"]
  precision = "highest" if dtype == "float32" else "default"
  counted = lambda num: num_patches(kind, num, max_frames=max_frames)

  def init(key: Key) -> Tree:
    start = jnp.zeros((kind.patch[0], kind.num_mels))
    return module.init(key, start)["params"]

  def apply(params: Tree, x: Array, layers: tuple[str, ...]) -> Encoded:
    if unknown := [n for n in layers if n not in names]:
      raise errors.InputError(
        f"{kind.title}: found layers {unknown}, expected some of {names}."
      )
    if x.shape[1] != kind.num_mels:
      raise errors.InputError(
        f"{kind.title}: found {x.shape[1]} bands, expected {kind.num_mels}."
      )
    grid = counted(x.shape[0])
    with jax.default_matmul_precision(precision):
      out: Tree = module.apply({"params": params}, x)
    tokens = {name: out[name][kind.num_extra :] for name in layers}
    return Encoded(
      {n: t.reshape(*grid, width) for n, t in tokens.items()},
      {n: out[n][0] for n in layers} if kind.num_extra else {},
    )

  return FrozenEncoder(
    family=kind.family,
    settings=dict(settings),
    layers=names,
    width=width,
    num_mels=kind.num_mels,
    patch_frames=kind.patch[0],
    num_patches=counted,
    shapes=lambda: shapes(module, kind),
    init=init,
    apply=apply,
  )


def shape_of(
  tensors: Mapping[str, np.ndarray], name: str, *, default: tuple[int, ...]
) -> tuple[int, ...]:
  """Shape of an official weight.

  Args:
    tensors: arrays by official name.
    name: the weight.
    default: taken where it is missing or has another number of axes, so that
      the parameters that are not there can be listed.

  Returns:
    The shape.
  """
  shape = tensors[name].shape if name in tensors else ()
  return shape if len(shape) == len(default) else default


def count_blocks(names: Iterable[str], pattern: str, *, default: int) -> int:
  r"""Counts blocks by the largest number in their names.

  Args:
    names: official names.
    pattern: matches the start of a name; its group is the number.
    default: taken where there is none.

  Returns:
    The number of blocks.
  """
  found = [m for name in names if (m := re.match(pattern, name))]
  return 1 + max((int(m.group(1)) for m in found), default=default - 1)


def count_in(
  config: Mapping[str, Any], entry: str, *, default: int | None
) -> int | None:
  """Reads a positive number from the configuration of a file.

  Args:
    config: the configuration.
    entry: of the configuration.
    default: taken where there is no such entry.

  Returns:
    The number.

  Raises:
    InputError: for anything else.
  """
  value = config.get(entry, default)
  if value is not None and (type(value) is not int or value < 1):
    raise errors.InputError(
      f"found {entry}={str(value)[:50]!r} in the configuration of the file,"
      " expected a positive integer."
    )
  return value


def settings_of_size(
  sizes: Mapping[str, Mapping[str, Any]],
  title: str,
  size: str | Mapping[str, Any],
) -> Mapping[str, Any]:
  """Settings of a published size, or those that are given.

  Args:
    sizes: settings by size.
    title: of the family, for messages.
    size: which, or the settings themselves.

  Returns:
    The settings.

  Raises:
    InputError: for an unknown size.
  """
  if isinstance(size, Mapping):
    return size
  if not isinstance(size, str) or size not in sizes:
    raise errors.InputError(
      f"{title}: found size {size!r}, expected one of {[*sizes]}."
    )
  return sizes[size]


def heads_of(sizes: Mapping[str, Mapping[str, Any]], width: int) -> int | None:
  """Heads of the published size of a width, which no weight tells.

  Args:
    sizes: settings by size.
    width: D.

  Returns:
    Their number, or None if no such size is published.
  """
  known = {s["width"]: s["num_heads"] for s in sizes.values()}
  return known.get(width)


def check_heads(title: str, settings: Mapping[str, Any]) -> None:
  """Checks that the number of heads is known and fits.

  Args:
    title: of the family, for messages.
    settings: with `width` and `num_heads`.

  Raises:
    InputError: if it is not, or does not.
  """
  heads, width = settings["num_heads"], settings["width"]
  if type(heads) is not int or heads < 1 or width % heads:
    raise errors.InputError(
      f"{title}: found {heads!r} heads for the width {width}, expected a"
      " divisor of it (no weight tells it; give num_heads)."
    )


def module_of(
  network: type[nn.Module],
  title: str,
  settings: Mapping[str, Any],
  *,
  dtype: str,
) -> Any:
  """Makes a network of its settings.

  Args:
    network: its class; every field but `dtype` is a setting.
    title: of the family, for messages.
    settings: positive integers by field.
    dtype: `"float32"` or `"bfloat16"`.

  Returns:
    The network.

  Raises:
    InputError: for settings that are missing, unknown or no such numbers, and
      for heads that do not fit.
  """
  known = [f.name for f in dataclasses.fields(network)]
  known = known[: known.index("dtype")]
  missing = [k for k in known if k not in settings]
  unknown = [k for k in settings if k not in known]
  if missing or unknown:
    raise errors.InputError(
      f"{title}: settings of the network: missing {missing}, unknown"
      f" {unknown}; expected {known}."
    )
  odd = {k: v for k, v in settings.items() if type(v) is not int or v < 1}
  odd.pop("num_heads", None)
  if odd:
    raise errors.InputError(
      f"{title}: settings of the network: found {odd}, expected positive"
      " integers."
    )
  check_heads(title, settings)
  return network(**settings, dtype=dtype_of(dtype))


def port(
  network: type[nn.Module],
  kind: Kind,
  settings: Mapping[str, Any],
  tensors: Mapping[str, np.ndarray],
  rules: Iterable[weight_map.Rule],
) -> dict[str, Any]:
  """Makes parameters of official weights.

  Args:
    network: the class of the network.
    kind: its family.
    settings: of the network; `num_heads` may be None, if no shape depends on
      it.
    tensors: arrays by official name, see `weight_map.official`.
    rules: of the names.

  Returns:
    The parameters.

  Raises:
    InputError: for missing or extra weights, or other shapes.
  """
  heads = settings["num_heads"]
  if heads is not None:
    check_heads(kind.title, settings)
  module = network(**{**settings, "num_heads": heads or 1})
  return weight_map.to_tree(tensors, rules, shapes(module, kind))
