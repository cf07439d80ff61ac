"""Rooms with two microphones: where everything stands.

A recording has one machine (the target), a near and a far microphone and four
noise sources in the corners. `sample` draws such a room, `place` makes one
from given positions. Batches of rooms are made with `vmap`.

References: [MERL26] Sec. 3.1 and 4.1.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from asd_jax import errors
from asd_jax.typing import Array, Key

SPEED_OF_SOUND = 343.0  # m/s
# The cap of [MERL26]'s public code, which most rooms reach.
MAX_ORDER = 30
Position = Sequence[float] | np.ndarray


class Room(struct.PyTreeNode):
  """A room with its sources and microphones; lengths in metres.

  Attributes:
    dims: `[3]` length, width and height.
    rt60: `[]` reverberation time in seconds.
    absorption: `[]` energy absorption of every wall.
    max_order: `[]` number of reflections, an integer.
    target: `[3]` position of the machine.
    near: `[3]` position of the near microphone.
    far: `[3]` position of the far microphone.
    noise: `[4, 3]` positions of the noise sources, x fastest.
    snr_db: `[]` signal-to-noise ratio at the near microphone.
  """

  dims: Array
  rt60: Array
  absorption: Array
  max_order: Array
  target: Array
  near: Array
  far: Array
  noise: Array
  snr_db: Array


def _full_absorption_rt60(x: Any, y: Any, z: Any) -> Any:
  """Reverberation time at absorption 1 of an x by y by z m room."""
  # Sabine at absorption one: no wall can make a room drier.
  surface = 2 * (x * y + y * z + z * x)
  return 24 * math.log(10) / SPEED_OF_SOUND * x * y * z / surface


def check_rt60(dims: tuple[float, float, float], rt60: float) -> None:
  """Refuses a reverberation time that no wall can give.

  Args:
    dims: length, width and height in metres.
    rt60: reverberation time in seconds.

  Raises:
    InputError: if Sabine's absorption would pass 1; states the limit.
  """
  if min(dims) <= 0:
    raise errors.InputError(
      f"room dimensions must be positive, not {tuple(dims)}"
    )
  limit = _full_absorption_rt60(*dims)
  if not rt60 >= limit:
    size = " x ".join(f"{side:.4g}" for side in dims)
    raise errors.InputError(
      f"RT60 of {rt60:g} s is impossible in a room of {size} m: "
      f"the limit (fully absorbing walls) is {limit:.4f} s"
    )


@dataclasses.dataclass(frozen=True)
class Ranges:
  """What `from_uniform` maps to; lengths in metres.

  Attributes:
    side: length and width.
    height: height of the room.
    rt60: seconds; the lower end rises where the room forbids it.
    wall: least distance of the target from a wall.
    near: distance of the near microphone from the target.
    far: distance of the far microphone.
    far_from: what `far` is measured from, "near" or "target".
    corner: distance of the noise sources from both walls.
    level: height of all sources and microphones.
    snr_db: signal-to-noise ratio at the near microphone.

  Raises:
    InputError: if a room in these ranges cannot hold the distances, or no
      absorption gives its reverberation time.
  """

  side: tuple[float, float] = (3.0, 8.0)
  height: tuple[float, float] = (1.5, 3.0)
  rt60: tuple[float, float] = (0.1, 0.4)
  wall: float = 0.5
  near: float = 0.05
  far: tuple[float, float] = (0.1, 1.0)
  far_from: str = "near"
  corner: float = 0.2
  level: float = 1.0
  snr_db: tuple[float, float] = (-10.0, 10.0)

  def __post_init__(self):
    if self.far_from not in ("near", "target"):
      raise errors.InputError(
        f"far_from is {self.far_from!r}; known: 'near', 'target'"
      )
    if min(self.near, self.far[0], self.corner, self.rt60[0]) <= 0:
      raise errors.InputError(f"distances and RT60 must be positive: {self}")
    for name in ("side", "height", "rt60", "far", "snr_db"):
      low, high = getattr(self, name)
      if not low <= high:
        raise errors.InputError(
          f"{name} is ({low:g}, {high:g}): low is above high"
        )
    margin = self.near + self.far[0] if self.far_from == "near" else self.far[0]
    if self.wall < max(margin, self.near):
      raise errors.InputError(
        f"wall={self.wall:g} m is too near for the microphones: near="
        f"{self.near:g} m and far >= {self.far[0]:g} m need {margin:g} m"
      )
    need = 2 * max(self.wall, self.corner)
    if self.side[0] < need:
      raise errors.InputError(
        f"a room of {self.side[0]:g} m is too small: the target keeps "
        f"{self.wall:g} m and the noise {self.corner:g} m from the walls, "
        f"so a side needs at least {need:g} m"
      )
    if not 0 < self.level < self.height[0]:
      raise errors.InputError(
        f"a room {self.height[0]:g} m high is too small for sources at "
        f"{self.level:g} m"
      )
    # The largest room is the hardest to damp.
    largest = (self.side[1], self.side[1], self.height[1])
    check_rt60(largest, self.rt60[1])


REPORT = Ranges()


def _check_inside(
  sides: tuple[float, float, float],
  points: Mapping[str, np.ndarray],
  *,
  corner: float,
) -> None:
  """Refuses a room that does not hold its points and noise sources."""
  x, y, z = sides
  size = f"{x:.4g} x {y:.4g} x {z:.4g} m"
  if min(x, y) <= 2 * corner:
    raise errors.InputError(
      f"a room of {size} is too small for noise sources {corner:g} m from "
      f"the walls: a side needs more than {2 * corner:g} m"
    )
  for name, point in points.items():
    if not np.all((point > 0) & (point < np.array(sides))):
      raise errors.InputError(
        f"a room of {size} is too small: {name} at "
        f"{point.round(3).tolist()} lies outside"
      )
    # At distance zero the direct sound would be infinite.
    if name != "target" and np.array_equal(point, points["target"]):
      raise errors.InputError(
        f"{name} microphone stands in the target: {point}"
      )


def place(
  dims: Position,
  rt60: float,
  *,
  target: Position,
  near: Position,
  far: Position,
  snr_db: float = 0.0,
  corner: float = REPORT.corner,
) -> Room:
  """Makes a room from given positions, on the host, and checks it.

  Args:
    dims: `[3]` length, width and height in metres.
    rt60: reverberation time in seconds.
    target: `[3]` position of the machine.
    near: `[3]` position of the near microphone.
    far: `[3]` position of the far microphone.
    snr_db: signal-to-noise ratio at the near microphone.
    corner: distance of the noise sources from both walls, at the target's
      height.

  Returns:
    The room.

  Raises:
    InputError: if the reverberation time is impossible, a position lies
      outside the room or a microphone on the machine.
  """
  sides, machine, near, far = (
    np.asarray(x, np.float64) for x in (dims, target, near, far)
  )
  x, y, z = sides.tolist()
  check_rt60((x, y, z), rt60)
  points = {"target": machine, "near": near, "far": far}
  _check_inside((x, y, z), points, corner=corner)
  size_m = jnp.asarray(sides, jnp.float32)
  absorption, order = sabine(size_m, jnp.float32(rt60))
  return Room(
    dims=size_m,
    rt60=jnp.float32(rt60),
    absorption=absorption,
    max_order=jnp.clip(order, 0, MAX_ORDER),
    target=jnp.asarray(machine, jnp.float32),
    near=jnp.asarray(near, jnp.float32),
    far=jnp.asarray(far, jnp.float32),
    noise=_corners(size_m, corner=corner, level=float(machine[2])),
    snr_db=jnp.float32(snr_db),
  )


def sabine(dims: Array, rt60: Array) -> tuple[Array, Array]:
  """Wall absorption and reflection order for a reverberation time.

  Args:
    dims: `[..., 3]` length, width and height in metres.
    rt60: `[...]` reverberation time in seconds.

  Returns:
    `[...]` energy absorption (above 1: impossible), and `[...]` order as an
    integer, not capped.
  """
  absorption = _full_absorption_rt60(*jnp.moveaxis(dims, -1, 0)) / rt60
  # Of the three pairs of sides, the tightest needs the most reflections.
  other = jnp.roll(dims, 1, axis=-1)
  radius = jnp.min(dims * other / jnp.hypot(dims, other), axis=-1)
  order = jnp.ceil(SPEED_OF_SOUND * rt60 / radius - 1)
  return absorption, order.astype(jnp.int32)


def _corners(dims: Array, *, corner: float, level: float) -> Array:
  """`[3]` to `[4, 3]`: corner positions, x fastest, low before high."""
  low = jnp.full(2, corner, dims.dtype)
  high = dims[:2] - corner
  (x0, y0), (x1, y1) = low, high
  x = jnp.stack([x0, x1, x0, x1])
  y = jnp.stack([y0, y0, y1, y1])
  return jnp.stack([x, y, jnp.full(4, level, dims.dtype)], -1)


def from_uniform(u: Array, *, ranges: Ranges = REPORT) -> Room:
  """Maps ten uniform numbers to a room.

  Args:
    u: `[10]` in [0, 1): three sides, RT60, target x and y, near angle, far
      angle and distance, SNR.
    ranges: what they are mapped to.

  Returns:
    The room.

  Source: [MERL26] Sec. 4.1.
  """
  low = jnp.asarray([ranges.side[0], ranges.side[0], ranges.height[0]])
  high = jnp.asarray([ranges.side[1], ranges.side[1], ranges.height[1]])
  dims = low + (high - low) * u[:3]
  # Drawn among the times that this room can have. The public code draws again
  # until one is possible, which gives the same distribution.
  shortest = jnp.maximum(ranges.rt60[0], _full_absorption_rt60(*dims))
  rt60 = shortest + (ranges.rt60[1] - shortest) * u[3]
  absorption, order = sabine(dims, rt60)
  spot = ranges.wall + (dims[:2] - 2 * ranges.wall) * u[4:6]
  near = spot + ranges.near * _direction(u[6])
  ray = _direction(u[7])
  # The report measures from the near microphone, its code from the target.
  start = near if ranges.far_from == "near" else spot
  reach = jnp.minimum(ranges.far[1], _wall_distance(start, ray, dims[:2]))
  # The direction comes before the distance, so that no draw is thrown away
  # where a wall is near.
  far = start + (ranges.far[0] + (reach - ranges.far[0]) * u[8]) * ray
  snr_low, snr_high = ranges.snr_db
  return Room(
    dims=dims,
    rt60=rt60,
    absorption=absorption,
    max_order=jnp.clip(order, 0, MAX_ORDER),
    target=jnp.append(spot, ranges.level),
    near=jnp.append(near, ranges.level),
    far=jnp.append(far, ranges.level),
    noise=_corners(dims, corner=ranges.corner, level=ranges.level),
    snr_db=snr_low + (snr_high - snr_low) * u[9],
  )


def sample(key: Key, *, ranges: Ranges = REPORT) -> Room:
  """Draws a room.

  Args:
    key: random key.
    ranges: what is drawn from.

  Returns:
    The room; `vmap` over keys gives a batch.
  """
  return from_uniform(
    jax.random.uniform(key, (10,), jnp.float32), ranges=ranges
  )


def _direction(u: Array) -> Array:
  """`[]` in [0, 1) to a horizontal unit vector `[2]`."""
  return jnp.stack([jnp.cos(2 * jnp.pi * u), jnp.sin(2 * jnp.pi * u)])


def _wall_distance(start: Array, ray: Array, sides: Array) -> Array:
  """Distance from `start` `[2]` along `ray` `[2]` to the nearest wall."""
  ahead = jnp.where(ray > 0, sides - start, start)
  # A ray along a wall never meets it.
  return jnp.min(ahead / jnp.maximum(jnp.abs(ray), 1e-9))
