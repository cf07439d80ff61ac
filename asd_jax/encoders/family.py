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


class Tokens(NamedTuple):
  """What an encoder makes of a clip at one layer.

  Attributes:
    grid: `[C', T', F, D]` time patches, frequency patches, width.
    cls: `[C', D]` where the encoder has such a token, else None.
  """

  grid: Array
  cls: Array | None = None


Layers = tuple[str, ...]
Apply = Callable[[Tree, Array, Layers], dict[str, Tokens]]


class Encoder(NamedTuple):
  """Front-end output of a clip to tokens, all channels at once.

  Attributes:
    init: `key -> params`; where the scope is "machine", `(key, mean [D],
      std [D]) -> (params, extra)` with the statistics of the training inputs.
    apply: `(params, [C, T, M], layers) -> {layer: Tokens}` of one clip; a
      batch is its `vmap`. Only what the named layers need is computed under
      `jit`.
    scope: where parameters come from: "none" (there are none), "file"
      (published weights), "run" (trained over all machines) or "machine"
      (trained on the clips of one).
    about: static facts; at least `layers`, their names, and `patch_frames`,
      the fewest frames that it takes.
  """

  init: Callable[..., Tree]
  apply: Apply
  scope: str
  about: Any


class Plain(NamedTuple):
  """Facts of an encoder that learns nothing.

  Attributes:
    layers: names of what it returns.
    patch_frames: the fewest frames that it takes.
  """

  layers: Layers = ("output",)
  patch_frames: int = 1


# Front-end output as it is, whatever its axes: what the stages see that use
# no encoder.
IDENTITY = Encoder(
  init=lambda key: {},
  apply=lambda params, x, layers: {"output": Tokens(x)},
  scope="none",
  about=Plain(),
)


class Family(NamedTuple):
  """What a family's networks have in common.

  Attributes:
    name: key of `weight_map.FAMILIES`.
    title: name in messages.
    num_mels: bands of the input.
    patch: frames and bands of a patch.
    num_extra: tokens before those of the patches, the first is CLS; 0 or 1.
  """

  name: str
  title: str
  num_mels: int
  patch: tuple[int, int]
  num_extra: int


class Published(NamedTuple):
  """Facts of a network whose weights are published.

  Attributes:
    family: what it has in common with others.
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
  """

  family: Family
  settings: dict[str, Any]
  layers: Layers
  width: int
  num_mels: int
  patch_frames: int
  num_patches: Callable[[int], tuple[int, int]]
  shapes: Callable[[], dict[str, tuple[int, ...]]]


def per_channel(apply: Apply) -> Apply:
  """Lifts an encoder of one channel to all, with the same parameters.

  Args:
    apply: `(params, [T, M], layers) -> {layer: Tokens}` without the channel
      axis.

  Returns:
    `Encoder.apply`.
  """

  def lifted(params: Tree, x: Array, layers: Layers) -> dict[str, Tokens]:
    return jax.vmap(lambda channel: apply(params, channel, layers))(x)

  return lifted


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
  kind: Family, num_frames: int, *, max_frames: int | None = None
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


def shapes(module: nn.Module, kind: Family) -> dict[str, tuple[int, ...]]:
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
  kind: Family,
  settings: Mapping[str, Any],
  *,
  dtype: str,
  max_frames: int | None = None,
) -> Encoder:
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

  def apply(params: Tree, x: Array, layers: Layers) -> dict[str, Tokens]:
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
    return {
      n: Tokens(
        out[n][kind.num_extra :].reshape(*grid, width),
        out[n][0] if kind.num_extra else None,
      )
      for n in layers
    }

  about = Published(
    family=kind,
    settings=dict(settings),
    layers=names,
    width=width,
    num_mels=kind.num_mels,
    patch_frames=kind.patch[0],
    num_patches=counted,
    shapes=lambda: shapes(module, kind),
  )
  return Encoder(init, per_channel(apply), "file", about)


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
  kind: Family,
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
