"""One record for every encoder, and one for each family of published networks.

The engine sees `Encoder`: pure functions and where their parameters come from.
What the networks of a family have in common is data, `Family`: from it come
encoders of any size (`make`), parameters of official files (`port`), and all
that is said about either.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from asd_jax import errors
from asd_jax.encoders import applying, tokens
from asd_jax.encoders.tokens import Apply, ApplyPart, Layers, Tokens
from asd_jax.ops.masks import Ragged
from asd_jax.typing import Array, Key
from asd_jax.weights import rules, sizes

Tree = Any
Settings = Mapping[str, Any]
DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
# The file of a hub folder.
HUB_FILE = "model.safetensors"


class Encoder(NamedTuple):
  """Front-end output of a clip to tokens, all channels at once.

  Attributes:
    init: `key -> params`; where the scope is "machine", `(key, mean [D],
      std [D]) -> (params, extra)` with the statistics of the training inputs.
    apply: `(params, [C, T, M], layers) -> {layer: Tokens}` of one clip; a
      batch is its `vmap`. Only what the named layers need is computed under
      `jit`.
    scope: where parameters come from: "none" (there are none), "file"
      (published weights), "run" (those, trained on over all machines, with a
      leading axis of seeds K; `apply` takes one) or "machine" (trained on the
      clips of one).
    about: static facts; at least `layers`, their names, and `patch_frames`,
      the fewest frames that it takes.
    apply_part: `(params, Ragged, layers)`, `apply` of the frames that count, so
      that clips of different lengths share a program; None if it cannot.
  """

  init: Callable[..., Tree]
  apply: Apply
  scope: str
  about: Any
  apply_part: ApplyPart | None = None


class Plain(NamedTuple):
  """Facts of an encoder that learns nothing.

  Attributes:
    layers: names of what it returns.
    patch_frames: the fewest frames that it takes.
  """

  layers: Layers = ("output",)
  patch_frames: int = 1


def _as_it_is(params: Tree, x: Ragged, layers: Layers) -> dict[str, Tokens]:
  """What counts of front-end output, see `IDENTITY`."""
  return {"output": Tokens(x.rows, num=jnp.full(len(x.rows), x.num))}


# Front-end output as it is, whatever its axes: what the stages see that use
# no encoder.
IDENTITY = Encoder(
  init=lambda key: {},
  apply=lambda params, x, layers: {"output": Tokens(x)},
  scope="none",
  about=Plain(),
  apply_part=_as_it_is,
)


class Source(NamedTuple):
  """Published weights.

  Attributes:
    title: what they are called.
    size: of the family.
    files: names of the files that hold them; one is enough.
    hub: `owner/name` on the Hugging Face hub, or "".
    where: further places, in words.
    licence: of the weights.
  """

  title: str
  size: str
  files: tuple[str, ...]
  hub: str
  where: str
  licence: str


class Input(NamedTuple):
  """What a network takes of one channel, and how it cuts it.

  Attributes:
    num_mels: bands M.
    patch: frames and bands of a patch.
    num_extra: tokens before those of the patches, the first is CLS; 0 or 1.
    max_frames: settings to the longest input; None if there is no such.
    sample_rate: of the recordings that it learned from, Hz; None where it
      takes any.
    min_frames: the fewest frames that it takes; those of a patch if 0.
    grid: settings and frames to patches over time and over frequency; None
      where whole patches count and nothing else.
    in_parts: whether M bands are a part of the input, which has as many as
      the recordings give; each part goes through the network by itself.
    joint: whether the network takes near and far together and returns both,
      `[2, frames, M]` to `[2, L, D]`.
  """

  num_mels: int
  patch: tuple[int, int]
  num_extra: int = 0
  max_frames: Callable[[Settings], int] | None = None
  sample_rate: int | None = 16_000
  min_frames: int = 0
  grid: Callable[[Settings, int], tuple[int, int]] | None = None
  in_parts: bool = False
  joint: bool = False


class Family(NamedTuple):
  """A family of published networks, as data; called, it makes an encoder.

  Attributes:
    name: what configs, commands and folders call it.
    title: name in messages.
    network: maps `[frames, M]` to token sequences `[L, D]` by layer name; if
      it takes `padding` `[T * F]` too, True for tokens of patches that no other
      sees, clips of different lengths share its programs. Its
      fields before `dtype` are the settings, with `width`, `depth` and
      `num_heads` among them.
    sizes: settings by size, published ones and `"smoke"`, a network of
      seconds, which no file holds.
    input: what the network takes.
    names: how official files name their weights.
    rules: where each weight goes.
    sizes_from: `(tensors by official name, other entries of the file) ->
      settings`; `num_heads` is None if nothing tells it.
    sources: of several with one size, the first is what a system means that
      names no file.
    tells_heads: whether weights tell the number of heads.
    check: raises InputError for settings that do not fit each other, and for
      unknown words; numbers are positive then.
    more_layers: settings to the names of further layers, such as the final
      norm of what leaves each block. One of a single row is a vector of the
      clip.
    fixed: patterns of places whose numbers are no weights, such as tables of
      positions and statistics of data: no training changes them.
    inner: the family of a network inside whose weights have a file of their
      own; None where there is no such.
  """

  name: str
  title: str
  network: type[nn.Module]
  sizes: Mapping[str, Settings]
  input: Input
  names: rules.Names
  rules: tuple[rules.Rule, ...]
  sizes_from: Callable[[Mapping[str, np.ndarray], Settings], dict[str, Any]]
  sources: tuple[Source, ...] = ()
  tells_heads: bool = False
  check: Callable[[Settings], None] = lambda settings: None
  more_layers: Callable[[Settings], Layers] = lambda settings: ()
  fixed: tuple[str, ...] = ()
  inner: Any = None

  def __call__(
    self,
    *,
    size: str | Settings = "base",
    dtype: str = "float32",
    remat: bool = False,
  ) -> Encoder:
    """Makes the encoder of a size.

    Args:
      size: key of `sizes`, or the settings of another network.
      dtype: `"float32"`, or `"bfloat16"` for faster matrix products.
      remat: whether gradients compute what is inside a block again, for less
        memory. What the encoder returns is the same.

    Returns:
      The encoder.

    Raises:
      InputError: for another size or dtype, or settings that do not fit.
    """
    if not isinstance(size, Mapping):
      # What `"smoke"` was called before families had a published "tiny".
      if size == "tiny" and size not in self.sizes:
        size = sizes.SMOKE
      if not isinstance(size, str) or size not in self.sizes:
        raise errors.InputError(
          f"{self.title}: found size {size!r}, expected one of {[*self.sizes]}."
        )
      size = self.sizes[size]
    return make(self, size, dtype=dtype, remat=remat)


class Published(NamedTuple):
  """Facts of a network whose weights are published.

  Attributes:
    family: of the network.
    settings: sizes of the network, all of them.
    layers: names of the token sequences, in order: `layer_0` enters the first
      block, `layer_i` leaves the i-th, `output` is what the network returns;
      then those of `Family.more_layers`.
    width: D.
    num_mels: bands M of the input, or of a part of it.
    patch_frames: the fewest frames that it takes, mostly those of a patch.
    num_patches: `frames -> (T, F)`, F of a part; raises InputError for an
      input that is too short or too long. Call it on the host, before `apply`.
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


def make(
  family: Family,
  settings: Settings,
  *,
  dtype: str = "float32",
  remat: bool = False,
) -> Encoder:
  """Makes an encoder of a family.

  Args:
    family: of the network.
    settings: of the network, such as `port` returns.
    dtype: `"float32"` computes exactly, on accelerators too.
    remat: see `Family`.

  Returns:
    The encoder.

  Raises:
    InputError: for settings that are missing, unknown or do not fit.
  """
  network, some = family.network, next(iter(family.sizes.values()))
  sizes.check_settings(family.title, settings, network=network, some=some)
  family.check(settings)
  if dtype not in DTYPES:
    raise errors.InputError(
      f"found dtype {dtype!r}, expected one of {[*DTYPES]}."
    )
  if remat and not hasattr(network, "remat"):
    raise errors.InputError(
      f"{family.title}: found remat, expected none: its network has no blocks"
      " that can be computed again."
    )
  again = {"remat": True} if remat else {}
  module = network(**settings, dtype=DTYPES[dtype], **again)
  blocks = [f"layer_{i}" for i in range(settings["depth"] + 1)]
  about = Published(
    family=family,
    settings=dict(settings),
    layers=(*blocks, "output", *family.more_layers(settings)),
    width=settings["width"],
    num_mels=family.input.num_mels,
    patch_frames=family.input.min_frames or family.input.patch[0],
    num_patches=lambda num: _num_patches(family, settings, num),
    # Tracing a large network takes a second: only who needs it pays.
    shapes=lambda: _shapes(family, settings),
  )

  def init(key: Key) -> Tree:
    return module.init(key, _shortest(family))["params"]

  one = applying.of(module, about)

  def lifted(apply: Apply) -> Apply:
    if family.input.in_parts:
      apply = tokens.per_part(apply, about.num_mels, title=family.title)
    return apply if family.input.joint else tokens.per_channel(apply)

  def apply_part(params: Tree, x: Ragged, layers: Layers) -> dict[str, Tokens]:
    return lifted(functools.partial(one, num=x.num))(params, x.rows, layers)

  hides = applying.hides(family)
  return Encoder(
    init, lifted(one), "file", about, apply_part if hides else None
  )


def _shortest(family: Family) -> Array:
  """The shortest input, `[frames, M]` of each channel taken at once."""
  shape = family.input.patch[0], family.input.num_mels
  return jnp.zeros((2, *shape) if family.input.joint else shape)


def _shapes(family: Family, settings: Settings) -> dict[str, tuple[int, ...]]:
  """Shapes of a network's parameters by place, none of which is made."""
  start = _shortest(family).shape
  return dict(_traced(family.network, tuple(sorted(settings.items())), start))


# A file and the config that names it ask for the same network.
@functools.lru_cache(maxsize=32)
def _traced(
  network: type[nn.Module], settings: tuple, start: tuple[int, ...]
) -> dict[str, tuple[int, ...]]:
  """Shapes by place, see `_shapes`; `start` is that of the shortest input."""
  init = network(**dict(settings)).init
  key = jax.random.key(0)
  tree = jax.eval_shape(init, key, jnp.zeros(start))["params"]
  flat: Tree = flax.traverse_util.flatten_dict(tree, sep="/")
  return {path: tuple(leaf.shape) for path, leaf in flat.items()}


def _num_patches(
  family: Family, settings: Settings, num_frames: int
) -> tuple[int, int]:
  """Patches over time and over frequency; refuses too short and too long.

  Frames beyond whole patches do not count unless the family says how they do.
  """
  (rows, columns), longest = family.input.patch, family.input.max_frames
  least = family.input.min_frames or rows
  if num_frames < least:
    raise errors.InputError(
      f"{family.title}: found {num_frames} frames, expected {least} or more"
      " (one patch)."
    )
  if longest is not None and num_frames // rows * rows > longest(settings):
    raise errors.InputError(
      f"{family.title}: found {num_frames} frames, expected at most"
      f" {longest(settings)} (the position table)."
    )
  if family.input.grid is not None:
    return family.input.grid(settings, num_frames)
  return num_frames // rows, family.input.num_mels // columns


def port(
  family: Family, tensors: Mapping[str, np.ndarray], beside: Settings
) -> tuple[dict[str, Any], dict[str, Any]]:
  """Makes parameters of official weights.

  Args:
    family: of the network.
    tensors: arrays by official name, see `rules.official`.
    beside: the other entries of the file.

  Returns:
    The parameters, and the settings of the network.

  Raises:
    InputError: for missing or extra weights, other shapes, or another kind of
      network.
  """
  settings = family.sizes_from(tensors, beside)
  heads = settings["num_heads"]
  if heads is not None:
    sizes.check_heads(family.title, settings)
  # No shape depends on the heads where nothing tells their number.
  try:
    shapes = _shapes(family, {**settings, "num_heads": heads or 1})
  # The file decides the sizes; these are what an odd width makes JAX raise.
  except (ArithmeticError, TypeError) as error:
    told = ", ".join(f"{k} {v}" for k, v in settings.items())
    raise errors.InputError(
      f"found sizes that make no network ({told}), expected those of"
      f" {family.title}."
    ) from error
  return rules.to_tree(tensors, family.rules, shapes), settings


def size_of(family: Family, settings: Settings) -> str | None:
  """The size that some settings are.

  Args:
    family: of the network.
    settings: of the network.

  Returns:
    Key of `family.sizes`, or None if there is no such.
  """
  for size, known in family.sizes.items():
    if dict(known) == dict(settings):
      return size
  return None
