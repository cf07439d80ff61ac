"""What encoders make of a clip, and how networks of a part of it are lifted."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from asd_jax import errors
from asd_jax.ops.masks import Ragged
from asd_jax.typing import Array

Tree = Any
Layers = tuple[str, ...]


class Tokens(NamedTuple):
  """What an encoder makes of a clip at one layer.

  Attributes:
    grid: `[C', T', F, D]` time patches, frequency patches, width.
    cls: `[C', D]` where the encoder has such a token, else None; of one that
      takes parts of the bands `[C', P * D]`, those of the parts side by side.
    num: `[C']` time patches that count, the first ones; None if all do.
  """

  grid: Array
  cls: Array | None = None
  num: Array | None = None


Apply = Callable[[Tree, Array, Layers], dict[str, Tokens]]
ApplyPart = Callable[[Tree, Ragged, Layers], dict[str, Tokens]]


def of_rows(rows: Array, shape: tuple[int, ...], num_extra: int) -> Tokens:
  """Tokens of one channel from the rows of a network.

  Args:
    rows: `[num_extra + T * F, D]` time patch by time patch, or a single row,
      which is a vector of the clip.
    shape: T, F, D.
    num_extra: rows before those of the patches, the first is CLS.

  Returns:
    The tokens, without the channel axis.
  """
  if len(rows) == 1:
    return Tokens(rows[None])  # [1, 1, D]
  cls = rows[0] if num_extra else None
  return Tokens(rows[num_extra:].reshape(shape), cls)


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


def per_part(apply: Apply, num_mels: int, *, title: str) -> Apply:
  """Lifts an encoder of some bands to all, with the same parameters.

  Parts do not see each other. Bands beyond whole parts are left out.

  Args:
    apply: `(params, [T, num_mels], layers) -> {layer: Tokens}` of one part of
      one channel.
    num_mels: bands of a part.
    title: of the encoder, for messages.

  Returns:
    The same of `[T, M]` with P parts, lowest first: the grid is
    `[T', P * F, D]`, CLS `[P * D]`.
  """

  def joined(tokens: Tokens) -> Tokens:
    grid = tokens.grid.swapaxes(0, 1)  # [T', P, F, D]
    grid = grid.reshape(len(grid), -1, grid.shape[-1])
    cls = None if tokens.cls is None else tokens.cls.reshape(-1)
    return Tokens(grid, cls, None if tokens.num is None else tokens.num[0])

  def lifted(params: Tree, x: Array, layers: Layers) -> dict[str, Tokens]:
    num = x.shape[1] // num_mels
    if num < 1:
      raise errors.InputError(
        f"{title}: found {x.shape[1]} bands, expected {num_mels} or more."
      )
    parts = x[:, : num * num_mels].reshape(len(x), num, num_mels)
    one = lambda part: apply(params, part, layers)
    return {n: joined(t) for n, t in jax.vmap(one, in_axes=1)(parts).items()}

  return lifted
