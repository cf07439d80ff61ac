"""How clips of different lengths share programs.

A program is for arrays of one shape, and takes seconds to compile. Clips that
all have one length get a program of that length. Where lengths differ, a clip
is put into an array with room for longer ones, and the stages are told how much
of it counts. Where it is put follows from its own length and those of the
training clips, never from the clips beside it: it has the same score alone and
in company.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from asd_jax import errors
from asd_jax.data import audio, clips, decode
from asd_jax.engine import encode
from asd_jax.engine.branch import Branch, Branches
from asd_jax.frontends import base

# Ratio of an array to the next smaller one. Front ends take little time for a
# clip and much to compile, encoders much for either.
_WAVE_STEP, _ENCODER_STEP = 4.0, 2.0**0.5


class Lengths(NamedTuple):
  """Lengths of the training clips of a section.

  Attributes:
    shortest: samples of the shortest, at the rate of the run.
    longest: samples of the longest.
  """

  shortest: int
  longest: int


def of(some: Sequence[clips.Clip], rate: int) -> Lengths:
  """Lengths of training clips.

  Args:
    some: one clip or more.
    rate: sample rate that clips are brought to, Hz.
  """
  every = {audio.num_samples_at(c.header, rate) for c in some}
  return Lengths(min(every), max(every))


def rooms(branches: Branches, lengths: Lengths) -> Callable[[int], decode.Room]:
  """Where clips are put.

  Args:
    branches: of the system.
    lengths: of its training clips.

  Returns:
    Samples of a clip to its place.
  """
  shares = all(map(_shares, branches.values()))

  @functools.cache
  def room(num: int) -> decode.Room:
    if not shares or lengths == (num, num):
      return decode.own_room(num)
    most = _above(num, lengths.longest, _ENCODER_STEP)
    try:
      encode.check_length(branches, most)
    except errors.InputError:  # it takes no clip of that length
      return decode.own_room(num)
    # Beyond what is known, as little is filled up as may be.
    longer = num > lengths.longest
    size = most if longer else _above(num, lengths.longest, _WAVE_STEP)
    return decode.Room(size, most, True)

  return room


def _above(num: int, longest: int, step: float) -> int:
  """The least of `longest` times powers of `step` that is not below `num`."""
  power = math.ceil(math.log(num / longest) / math.log(step) - 1e-9)
  return max(num, math.ceil(longest * step**power))


def _shares(branch: Branch) -> bool:
  """Whether all stages of a branch take parts of an array."""
  return (
    all(map(base.takes_parts, branch.front))
    and branch.crops is None
    and branch.encoder.apply_part is not None
    and branch.detect.pool_part is not None
  )
