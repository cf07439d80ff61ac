"""Dry sounds for mixtures: which target and which four noises, cropped.

What a training sees is decided by its seed and the number of an example, and
by nothing else: not by the number of hosts, processes or threads, nor by how
often it was stopped. Example `i` can be made again alone, at any time.

    found = sources.of(targets, noises, crop_seconds=10.0)
    examples = sources.training(found, seed=0, num_epochs=200)
    examples[1_234]  # the same arrays whenever it is asked for

`batches` makes of them what a training takes. Crops, padding and the choice of
noises follow [MERL26] Sec. 4.1 and its release.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import grain
import numpy as np

from asd_jax import errors
from asd_jax.data.pools import SAMPLE_RATE, Pool

NUM_NOISES = 4
# Draws of four noises, each time one of them is silent.
_MAX_DRAWS = 100
# What a target of zeros is lifted by, so that nothing divides by its power.
_FLOOR = 1e-7
_FULL_SCALE = 32_768
# Names that a note spells out.
_NAMED = 5
_TRAINING, _FIXED = 0, 1


class Noise(NamedTuple):
  """A noise of an example.

  Attributes:
    pool: its number.
    recording: its number in the pool.
  """

  pool: int
  recording: int


class Sources(NamedTuple):
  """What examples are made of.

  Attributes:
    targets: sounds to be heard.
    noises: pools of sounds around them; each is drawn from equally often,
      however large it is.
    usable: of each pool of noises, the numbers of recordings that are long
      enough.
    num_samples: of a crop.
    notes: sentences on what is missing or left out.
  """

  targets: Pool
  noises: tuple[Pool, ...]
  usable: tuple[np.ndarray, ...]
  num_samples: int
  notes: tuple[str, ...]

  def noise(
    self, rng: np.random.Generator, *, fixed: bool = False
  ) -> tuple[np.ndarray, list[Noise]]:
    """Draws four noises.

    First the pool, then a recording of it, each equally likely; four different
    recordings, though perhaps channels of one. If one of the crops is silent,
    all four are drawn again. Levels stay as they are.

    Args:
      rng: decides.
      fixed: take the first samples of each instead of any.

    Returns:
      `[4, S]` int16, and which they are.

    Raises:
      InputError: a hundred draws had a silent crop.
    """
    chosen: list[Noise] = []
    for _ in range(_MAX_DRAWS):
      chosen = self._choice(rng)
      crops = [
        crop(
          self.noises[noise.pool],
          noise.recording,
          self.num_samples,
          rng=None if fixed else rng,
        )
        for noise in chosen
      ]
      if all(x.any() for x in crops):
        return np.stack(crops), chosen
    names = ", ".join(
      self.noises[n.pool].recordings[n.recording].title for n in chosen
    )
    raise errors.InputError(
      f"noises: found silence in each of {_MAX_DRAWS} draws of four (the last: "
      f"{names}), expected noises that are heard; remove silent files"
    )

  def excerpts(
    self, rng: np.random.Generator, *, fixed: bool = False
  ) -> np.ndarray:
    """Draws two excerpts of one noise, one to mix and one to know it by.

    Args:
      rng: decides.
      fixed: take the first and the last samples instead of any.

    Returns:
      `[2, S]` int16.

    Raises:
      InputError: a hundred draws had a silent excerpt.
    """
    title = ""
    for _ in range(_MAX_DRAWS):
      pool = int(rng.integers(len(self.noises)))
      usable = self.usable[pool]
      number = int(usable[rng.integers(len(usable))])
      chosen = self.noises[pool].recordings[number]
      title = chosen.title
      free = chosen.num_samples - self.num_samples
      starts = (0, free) if fixed else rng.integers(free + 1, size=2).tolist()
      found = np.stack(
        [
          self.noises[pool].read(number, start, start + self.num_samples)
          for start in starts
        ]
      )
      if found.any(axis=1).all():
        return found
    raise errors.InputError(
      f"noises: found silence in each of {_MAX_DRAWS} draws (the last: "
      f"{title}), expected noises that are heard; remove silent files"
    )

  def _choice(self, rng: np.random.Generator) -> list[Noise]:
    chosen: list[Noise] = []
    while len(chosen) < NUM_NOISES:
      pool = int(rng.integers(len(self.noises)))
      usable = self.usable[pool]
      noise = Noise(pool, int(usable[rng.integers(len(usable))]))
      if noise not in chosen:
        chosen.append(noise)
    return chosen


def of(
  targets: Pool,
  noises: Sequence[Pool],
  *,
  crop_seconds: float,
  notes: Sequence[str] = (),
) -> Sources:
  """Checks pools and puts them together.

  Noises shorter than a crop are left out, and a note names them: filled up
  with silence they would be another noise.

  Args:
    targets: sounds to be heard, of any length.
    noises: sounds around them.
    crop_seconds: length of an example.
    notes: sentences on what is missing beside that; see `pools.of_noise`.

  Raises:
    InputError: a length that is none, or fewer than four noises that are long
      enough.
  """
  if not 1 <= crop_seconds * SAMPLE_RATE < np.iinfo(np.int32).max:
    raise errors.InputError(
      f"crop_seconds: found {crop_seconds}, expected the length of a crop, in "
      f"seconds, of at least {1 / SAMPLE_RATE:g}"
    )
  num_samples = round(crop_seconds * SAMPLE_RATE)
  usable, kept, short, told = [], [], [], [*notes, *targets.notes]
  for pool in noises:
    told += pool.notes
    length = np.array([r.num_samples for r in pool.recordings], int)
    long = np.flatnonzero(length >= num_samples)
    if len(long) < len(length):
      short.append(_on_short(pool, num_samples))
    if len(long):
      usable.append(long)
      kept.append(pool)
    else:
      told.append(f"no noise is drawn from {pool.name}")
  total = sum(map(len, usable))
  if total < NUM_NOISES:
    names = ", ".join(pool.name for pool in noises) or "no pool"
    raise errors.InputError(
      f"noises: found {total} recordings of at least {crop_seconds:g} s in "
      f"{names}, expected at least {NUM_NOISES}"
      + "".join(f"; {sentence}" for sentence in short)
    )
  # Several pools may say the same, such as two splits of one folder.
  unique = tuple(dict.fromkeys([*told, *short]))
  return Sources(targets, tuple(kept), tuple(usable), num_samples, unique)


def crop(
  pool: Pool,
  number: int,
  num_samples: int,
  *,
  rng: np.random.Generator | None,
) -> np.ndarray:
  """Cuts a piece out of a recording, or surrounds a short one with zeros.

  Args:
    pool: where it is.
    number: of the recording.
    num_samples: S, of the result.
    rng: where the piece starts, or how many zeros come first, any equally
      likely. None takes the first samples, and puts all zeros behind.

  Returns:
    `[S]` int16.
  """
  total = pool.recordings[number].num_samples
  free = abs(total - num_samples)
  offset = int(rng.integers(free + 1)) if rng else 0
  if total >= num_samples:
    return pool.read(number, offset, offset + num_samples)
  result = np.zeros(num_samples, np.int16)
  result[offset : offset + total] = pool.read(number, 0, total)
  return result


def heard(target: Any) -> Any:
  """Samples of a target as floats, none of them wholly silent.

  Args:
    target: `[..., S]` int16 or float32, of numpy or jax: in a step, so that
      half of the bytes go to the device.

  Returns:
    `[..., S]` float32 in [-1, 1); 1e-7 everywhere where all samples are zero,
    whose mixture is then practically silent, but finite.
  """
  silent = (target == 0).all(axis=-1, keepdims=True)
  scale = _FULL_SCALE if target.dtype == np.int16 else 1
  scaled = target.astype(np.float32) / np.float32(scale)
  return scaled + silent.astype(np.float32) * np.float32(_FLOOR)


def training(
  sources: Sources, *, seed: int, num_epochs: int, microphones: int = 2
) -> grain.MapDataset:
  """Examples to train with: every target once in each pass, shuffled anew.

  Args:
    sources: what they are made of.
    seed: decides everything; from 0 to 2**32 - 1.
    num_epochs: passes.
    microphones: 2 for four noises around near and far; 1 for two excerpts of
      one noise.

  Returns:
    Random access to examples by number, the passes laid end to end: dicts of
    `target` `[S]` and `noise` `[4, S]` or `[2, S]` int16, and of `number` (of
    the example) and `recording` (of the target in its pool) `[]` int32.
  """
  order = grain.MapDataset.range(len(sources.targets.recordings))
  order = order.seed(seed).shuffle().repeat(num_epochs)
  return order.map_with_index(_Example(sources, seed, _TRAINING, microphones))


def fixed(
  sources: Sources, *, seed: int, microphones: int = 2
) -> grain.MapDataset:
  """Examples to validate with: one for each target, always the same.

  Targets and noises start with their first sample; which four noises, the seed
  decides.

  Args:
    sources: what they are made of.
    seed: from 0 to 2**32 - 1.
    microphones: as in `training`.

  Returns:
    As `training`, in the order of the targets.
  """
  order = grain.MapDataset.range(len(sources.targets.recordings))
  return order.map_with_index(_Example(sources, seed, _FIXED, microphones))


class _Example(NamedTuple):
  """Number of an example and of its target, to an example."""

  sources: Sources
  seed: int
  kind: int
  microphones: int

  def __call__(self, number: int, recording: int) -> dict[str, Any]:
    rng = np.random.default_rng([self.seed, self.kind, number])
    is_fixed = self.kind == _FIXED
    target = crop(
      self.sources.targets,
      int(recording),
      self.sources.num_samples,
      rng=None if is_fixed else rng,
    )
    if self.microphones == 1:
      noise = self.sources.excerpts(rng, fixed=is_fixed)
    else:
      noise, _ = self.sources.noise(rng, fixed=is_fixed)
    return {
      "target": target,
      "noise": noise,
      "number": np.int32(number),
      "recording": np.int32(recording),
    }


def names(sources: Sources, batch: dict[str, np.ndarray]) -> list[str]:
  """What messages call the targets of a batch.

  Args:
    sources: what it was made of.
    batch: with `recording` `[B]`.
  """
  found = sources.targets.recordings
  return [found[int(i)].title for i in batch["recording"]]


def _on_short(pool: Pool, num_samples: int) -> str:
  short = [r for r in pool.recordings if r.num_samples < num_samples]
  named = ", ".join(
    f"{r.name} ({r.num_samples / SAMPLE_RATE:g} s)" for r in short[:_NAMED]
  )
  more = f" and {len(short) - _NAMED} more" if len(short) > _NAMED else ""
  return (
    f"{len(short)} of {len(pool.recordings)} noises of {pool.name} are shorter "
    f"than a crop of {num_samples / SAMPLE_RATE:g} s and left out: "
    f"{named}{more}"
  )
