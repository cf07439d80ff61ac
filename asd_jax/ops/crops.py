"""Crops of a clip: parts of it, each filled up to the whole length."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp

from asd_jax.typing import Array

# Golden ratio: successive multiples of its fraction spread evenly over [0, 1).
_GOLDEN = 0.6180339887498949
_TINY = 1e-12


class Crops(NamedTuple):
  """Several views of one clip for one embedding.

  Attributes:
    cut: `[C, S] -> [K, C, S]`.
    join: `[K, C', ...] -> [C', ...]`, the embeddings of the crops to one.
  """

  cut: Callable[[Array], Array]
  join: Callable[[Array], Array]


def crop_table(
  num: int, *, shortest: float, longest: float = 1.0
) -> list[tuple[float, float]]:
  """Length and place of each crop, the same for every clip.

  Args:
    num: number of crops K.
    shortest: share of the clip below which no crop is.
    longest: share above which none is.

  Returns:
    K pairs: share of the clip's length, and place of the start between the
    first (0) and the last (1) that fits.

  Source: [KonicaMinolta26] names ten crops; this table is our choice. It is
  fixed, so that no score depends on a draw.
  """
  spread = longest - shortest
  return [
    (shortest + spread * (i + 0.5) / num, (i + 1) * _GOLDEN % 1.0)
    for i in range(num)
  ]


def cut_crops(wave: Array, *, num: int, shortest: float) -> Array:
  """Cuts crops, with zeros at their end up to the clip's length.

  Args:
    wave: `[C, S]` waveform; all channels are cut alike.
    num: number of crops K.
    shortest: see `crop_table`.

  Returns:
    `[K, C, S]`.
  """
  total = wave.shape[-1]
  out = []
  for share, place in crop_table(num, shortest=shortest):
    length = math.floor(share * total + 0.5)
    start = math.floor(place * (total - length + 1))
    part = wave[:, start : start + length]
    out.append(jnp.pad(part, [(0, 0), (0, total - length)]))
  return jnp.stack(out)


def _unit(x: Array) -> Array:
  """Scales `[A, B, n]` rows to length one."""
  norm = jnp.sqrt(jnp.sum(jnp.square(x), axis=-1, keepdims=True))
  return x / jnp.maximum(norm, _TINY)


def join_crops(emb: Array) -> Array:
  """Averages embeddings of length one, and scales the mean to length one.

  Args:
    emb: `[K, C', ...]` embeddings of the crops.

  Returns:
    `[C', ...]`.
  """
  flat = emb.reshape(*emb.shape[:2], -1)  # [K, C', n]
  mean = jnp.mean(_unit(flat), axis=0, keepdims=True)
  return _unit(mean)[0].reshape(emb.shape[1:])


def none() -> None:
  """Takes the whole clip."""


def crops(*, num: int = 10, shortest: float = 0.6) -> Crops:
  """Averages the embeddings of crops of a clip.

  Args:
    num: number of crops.
    shortest: length of the shortest, as a share of the clip's.

  Returns:
    The crops.

  Source: [KonicaMinolta26].
  """
  return Crops(
    lambda wave: cut_crops(wave, num=num, shortest=shortest), join_crops
  )


TTA = {"none": none, "crops": crops}
