"""Mixtures of noise-aware pre-training: rooms, ratios and recordings.

`sources` decides by the number of an example what is heard; here, on the
device, the same number decides in which room and how loud. So any example can
be made again, alone or in its batch, on however many devices. Rooms are
simulated at the start, as a bank, or one for each example (`rooms`).

References: [MERL26] Sec. 3.1 and 4.1, and its public code.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from asd_jax.data import audio, sources
from asd_jax.ops import geometry, mixing, room
from asd_jax.typing import Array, Key

# Rooms that are simulated at once: their images take memory.
_AT_ONCE = 8


def rooms(
  key: Key,
  numbers: Array,
  cells: Array,
  *,
  ranges: geometry.Ranges = geometry.REPORT,
  length: int = room.LENGTH,
) -> Array:
  """Simulates rooms, each drawn by its number.

  Args:
    key: of all rooms.
    numbers: `[N]` which ones.
    cells: `[3, I]` of `room.lattice`.
    ranges: that they are drawn from.
    length: samples L of a response.

  Returns:
    `[N, 2, 5, L]` responses near and far, of target and noises, divided by the
    peak of the first.

  Source: [MERL26] Sec. 4.1.
  """

  def one(number: Array) -> Array:
    of_room, of_images = jax.random.split(jax.random.fold_in(key, number))
    place = geometry.sample(of_room, ranges=ranges)
    move = room.displace(of_images, cells)
    return room.normalise(
      room.responses(place, cells, displacement=move, length=length)
    )

  return jax.lax.map(one, numbers, batch_size=_AT_ONCE)


class Draw(NamedTuple):
  """What is drawn on the device for an example.

  Attributes:
    room: `[]` its number.
    snr_db: `[]` ratio of target and noise at the near microphone.
  """

  room: Array
  snr_db: Array


def draw(
  key: Key, example: Array, *, num_rooms: int, snr_db: tuple[float, float]
) -> Draw:
  """Draws room and ratio of an example.

  Args:
    key: of all examples.
    example: `[]` its number.
    num_rooms: that there are; 0 gives each example a room of its own.
    snr_db: lowest and highest ratio.

  Returns:
    The draw.

  Source: [MERL26] Sec. 4.1.
  """
  of_room, of_ratio = jax.random.split(jax.random.fold_in(key, example))
  low, high = snr_db
  number = jax.random.bits(of_room, (), jnp.uint32)
  if num_rooms:
    number = jax.random.randint(of_room, (), 0, num_rooms, jnp.int32)
    number = number.astype(jnp.uint32)
  return Draw(number, jax.random.uniform(of_ratio, (), jnp.float32, low, high))


def mixed(
  target: Array,
  noise: Array,
  response: Array,
  snr_db: Array,
  *,
  distance: Array | float = geometry.REPORT.near,
) -> mixing.Mixture:
  """Mixes a batch of examples.

  Args:
    target: `[B, S]` dry targets, int16 or float32; silent ones are lifted.
    noise: `[B, 4, S]` dry noises.
    response: `[B, 2, 5, L]` responses of each example's room.
    snr_db: `[B]` ratios of target and noise.
    distance: `[]` nominal, of target and near microphone in metres.

  Returns:
    Mixtures `[B, ...]`.

  Source: [MERL26] Sec. 3.1 and 4.1, and its public code.
  """
  mix = functools.partial(mixing.mix, distance=distance)
  return jax.vmap(mix)(
    sources.heard(target), audio.to_float(noise), response, snr_db
  )


def mixed_single(
  target: Array, noise: Array, snr_db: Array
) -> tuple[Array, Array]:
  """Mixes a batch for a single microphone, without rooms.

  Args:
    target: `[B, S]` dry targets, int16 or float32; silent ones are lifted.
    noise: `[B, 2, S]` two excerpts of one noise: to mix, and to know it by.
    snr_db: `[B]` ratios of target and noise.

  Returns:
    `[B, S]` mixtures, and `[B, S]` the other excerpts as loud as the noise in
    them; both clipped to [-1, 1].

  Source: [MERL26] public code, earlier recipe; the level of the second excerpt
  is our choice.
  """

  def one(dry: Array, noise: Array, snr_db: Array) -> tuple[Array, Array]:
    gain = mixing.noise_gain(dry, noise[0], snr_db)
    other = jnp.clip(gain * noise[1], -1.0, 1.0)
    return mixing.mix_single(dry, noise[0], snr_db), other

  return jax.vmap(one)(sources.heard(target), audio.to_float(noise), snr_db)
