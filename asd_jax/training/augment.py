"""Augmentation of training batches: what is drawn, and what is made of it.

Draws come from a key and are data; what is made of them is a pure function, so
that any draw can be repeated.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from asd_jax import errors
from asd_jax.typing import Array, Key

Tree = Any
Labels = tuple[Array, ...]
Shape = tuple[int, ...]


class Augment(NamedTuple):
  """One way to change a batch.

  Attributes:
    draw: `(key, shape of the batch) -> draws`, whose first axis is B.
    apply: `(draws, batch, labels) -> (batch, labels)`; labels are a tuple of
      `[B, K]`, a row a clip.
    of: what is changed, `"wave"` `[B, C, S]` before the front end or `"bands"`
      `[B, C, T, M]` behind it.
    num_channels: channels that it needs.
  """

  draw: Callable[[Key, Shape], Tree]
  apply: Callable[[Tree, Array, Labels], tuple[Array, Labels]]
  of: str = "wave"
  num_channels: int = 1


def _share(name: str, value: float) -> float:
  if not 0.0 <= value <= 1.0:
    raise errors.InputError(
      f"augment: {name}: found {value}, expected a number from 0 to 1."
    )
  return value


def _happens(key: Key, probability: float, shape: Shape) -> Array:
  """Bool draws of one type of numbers, whatever jax_enable_x64 says."""
  return jax.random.bernoulli(key, jnp.float32(probability), shape)


def _over(x: Array, ndim: int) -> Array:
  """`[B]` with axes of one behind it."""
  return x.reshape(x.shape + (1,) * (ndim - x.ndim))


def mixup(*, probability: float = 0.5) -> Augment:
  """Blends clips, all channels alike, and their labels.

  Args:
    probability: share of the clips that are blended.

  Returns:
    The augmentation; draws are a partner for each clip, a permutation of the
    batch, the share of the clip itself, uniform in [0, 1], and whether it is
    blended.

  Source: [mixup18], [MERL26].
  """
  _share("probability", probability)

  def draw(key: Key, shape: Shape) -> Tree:
    order, share, which = jax.random.split(key, 3)
    return {
      "perm": jax.random.permutation(order, shape[0]),
      "lam": jax.random.uniform(share, shape[:1], jnp.float32),
      "apply": _happens(which, probability, shape[:1]),
    }

  def apply(draws: Tree, wave: Array, labels: Labels) -> tuple[Array, Labels]:
    own = jnp.where(draws["apply"] > 0, draws["lam"], 1.0)

    def blended(x: Array) -> Array:
      share = _over(own, x.ndim).astype(x.dtype)
      return share * x + (1.0 - share) * x[draws["perm"]]

    return blended(wave), tuple(map(blended, labels))

  return Augment(draw, apply)


def channel_swap(*, probability: float = 0.1) -> Augment:
  """Exchanges near and far.

  Args:
    probability: share of the clips; rare, since a fusion of channels has to
      learn which is the near one.

  Returns:
    The augmentation; a draw is whether the channels are exchanged.

  Source: [Dongyuan26]; the share is our choice.
  """
  _share("probability", probability)

  def apply(draws: Array, wave: Array, labels: Labels) -> tuple[Array, Labels]:
    swap = _over(draws, wave.ndim) > 0
    return jnp.where(swap, wave[:, ::-1], wave), labels

  return Augment(
    lambda key, shape: _happens(key, probability, shape[:1]),
    apply,
    num_channels=2,
  )


def channel_gain(*, probability: float = 0.5, decibel: float = 6.0) -> Augment:
  """Changes the level of each channel by itself.

  Args:
    probability: share of the clips.
    decibel: largest change, dB of amplitude, up or down.

  Returns:
    The augmentation; a draw is the gain of each channel, dB.

  Source: [Dongyuan26]; both numbers are our choice.
  """
  _share("probability", probability)

  def draw(key: Key, shape: Shape) -> Array:
    level, which = jax.random.split(key)
    gain = jax.random.uniform(level, shape[:2], jnp.float32, -decibel, decibel)
    yes = _happens(which, probability, shape[:1])
    return jnp.where(yes[:, None], gain, 0.0)

  def apply(draws: Array, wave: Array, labels: Labels) -> tuple[Array, Labels]:
    gain = 10.0 ** (_over(draws, wave.ndim) / 20.0)
    return wave * gain.astype(wave.dtype), labels

  return Augment(draw, apply)


def channel_dropout(*, probability: float = 0.1) -> Augment:
  """Silences one channel, never both.

  Args:
    probability: share of the clips.

  Returns:
    The augmentation; a draw is the silent channel, -1 for none.

  Source: [Dongyuan26]; the share is our choice.
  """
  _share("probability", probability)

  def draw(key: Key, shape: Shape) -> Array:
    place, which = jax.random.split(key)
    channel = jax.random.randint(place, shape[:1], 0, shape[1], jnp.int32)
    yes = _happens(which, probability, shape[:1])
    return jnp.where(yes, channel, -1)

  def apply(draws: Array, wave: Array, labels: Labels) -> tuple[Array, Labels]:
    silent = draws[:, None] == jnp.arange(wave.shape[1])[None]
    return jnp.where(_over(silent, wave.ndim), 0.0, wave), labels

  return Augment(draw, apply, num_channels=2)


def crop(wave: Array, ratio: Array, start: Array) -> Array:
  """Takes a part of a clip, with zeros at its end up to the clip's length.

  Args:
    wave: `[C, S]` waveform; all channels are cut alike.
    ratio: `[]` length of the part, as a share of the clip's.
    start: `[]` where it begins, from the first place that fits (0) to the last
      (1).

  Returns:
    `[C, S]`.
  """
  total = wave.shape[-1]
  length = jnp.floor(ratio * total + 0.5).astype(jnp.int32)
  first = jnp.floor(start * (total - length + 1)).astype(jnp.int32)
  # Twice as long, so that a slice of fixed length fits from any start.
  longer = jnp.pad(wave, [(0, 0), (0, total)])
  part = jax.lax.dynamic_slice_in_dim(longer, first, total, axis=1)
  return jnp.where(jnp.arange(total)[None] < length, part, 0.0)


def temporal_crop(*, low: float = 0.6, high: float = 1.0) -> Augment:
  """Takes a part of each clip, with zeros at its end.

  Args:
    low: length of the shortest, as a share of the clip's.
    high: of the longest.

  Returns:
    The augmentation; draws are the length of each part and its place, see
    `crop`.

  Source: [KonicaMinolta26].
  """
  if _share("low", low) > _share("high", high) or not low:
    raise errors.InputError(
      f"augment: temporal_crop: found low={low}, high={high}, expected"
      " 0 < low <= high."
    )

  def draw(key: Key, shape: Shape) -> Tree:
    length, place = jax.random.split(key)
    return {
      "ratio": jax.random.uniform(length, shape[:1], jnp.float32, low, high),
      "start": jax.random.uniform(place, shape[:1], jnp.float32),
    }

  def apply(draws: Tree, wave: Array, labels: Labels) -> tuple[Array, Labels]:
    return jax.vmap(crop)(wave, draws["ratio"], draws["start"]), labels

  return Augment(draw, apply)


def _stripes(draws: Tree, num: int) -> Array:
  """Whether a row is in any stripe, `[B, num]`; draws are `[B, n]`."""
  place = jnp.arange(num)[None, None]
  start, width = draws["start"][..., None], draws["width"][..., None]
  return jnp.any((place >= start) & (place < start + width), axis=1)


def spec_augment(
  *,
  num_times: int = 2,
  frames: int = 64,
  num_bands: int = 2,
  bands: int = 16,
) -> Augment:
  """Sets stripes of time and of frequency to zero, all channels alike.

  Args:
    num_times: stripes of time in a clip.
    frames: width of the widest.
    num_bands: stripes of frequency.
    bands: width of the widest.

  Returns:
    The augmentation of normalised bands, in which zero is the mean level;
    draws are the start and the width of each stripe.

  Raises:
    InputError: for negative numbers.

  Source: [SpecAugment19].
  """
  if min(num_times, frames, num_bands, bands) < 0:
    raise errors.InputError(
      f"augment: spec_augment: found {num_times} stripes of {frames} frames and"
      f" {num_bands} of {bands} bands, expected no negative number."
    )

  def stripes(key: Key, shape: Shape, num: int, longest: int) -> Tree:
    size, place = jax.random.split(key)
    width = jax.random.randint(size, shape, 0, min(longest, num) + 1, jnp.int32)
    where = jax.random.uniform(place, shape, jnp.float32)
    first = jnp.floor(where * (num - width + 1)).astype(jnp.int32)
    return {"start": first, "width": width}

  def draw(key: Key, shape: Shape) -> Tree:
    over_time, over_bands = jax.random.split(key)
    num_clips, _, num_frames, num_mels = shape
    return {
      "time": stripes(over_time, (num_clips, num_times), num_frames, frames),
      "bands": stripes(over_bands, (num_clips, num_bands), num_mels, bands),
    }

  def apply(draws: Tree, x: Array, labels: Labels) -> tuple[Array, Labels]:
    gone = (
      _stripes(draws["time"], x.shape[2])[:, None, :, None]
      | _stripes(draws["bands"], x.shape[3])[:, None, None]
    )
    return jnp.where(gone, 0.0, x), labels

  return Augment(draw, apply, of="bands")


AUGMENTS: dict[str, Callable[..., Augment]] = {
  "mixup": mixup,
  "channel_swap": channel_swap,
  "channel_gain": channel_gain,
  "channel_dropout": channel_dropout,
  "temporal_crop": temporal_crop,
  "spec_augment": spec_augment,
}
