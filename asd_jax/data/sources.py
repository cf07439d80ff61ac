"""Dry sounds for mixtures: which target and which four noises, cropped.

What a training sees is decided by its seed and the number of an example, and
by nothing else: not by the number of hosts, processes or threads, nor by how
often it was stopped. Example `i` can be made again alone, at any time.

    sources = Sources.of(targets, noises, crop_seconds=10.0)
    batches = Batches(
      training(sources, seed=0, num_epochs=200),
      batch_size=160, num_workers=8,
    )
    with batches:
      run.run(job.Job(..., batch_at=batches, num_steps=batches.num_steps))

**Resume.** There is no state to save. A batch is asked for by the number of
its step, and a run that goes on at step `n` asks for `n`. Worker processes
prepare the batches that follow the last one that was asked for; asked for any
other, they are started anew from there.

**Hosts.** Each asks for its own rows of a batch and reads nothing else; so a
run may go on with another number of hosts or devices and see the same batches.

Crops, padding and the choice of noises follow [MERL26] Sec. 4.1 and its
release.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Sequence
from concurrent import futures
from types import TracebackType
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

  @classmethod
  def of(
    cls, targets: Pool, noises: Sequence[Pool], *, crop_seconds: float
  ) -> "Sources":
    """Checks pools and puts them together.

    Noises shorter than a crop are left out, and a note names them: filled up
    with silence they would be another noise.

    Args:
      targets: sounds to be heard, of any length.
      noises: sounds around them.
      crop_seconds: length of an example.

    Raises:
      InputError: a crop of less than a sample, no targets, or fewer than four
        noises that are long enough.
    """
    num_samples = round(crop_seconds * SAMPLE_RATE)
    if num_samples < 1:
      raise errors.InputError(
        f"crop_seconds: found {crop_seconds}, expected at least "
        f"{1 / SAMPLE_RATE:g}"
      )
    usable, kept, notes = [], [], [*targets.notes]
    for pool in noises:
      notes += pool.notes
      length = np.array([r.num_samples for r in pool.recordings], int)
      long = np.flatnonzero(length >= num_samples)
      if len(long) < len(length):
        notes.append(_on_short(pool, num_samples))
      if len(long):
        usable.append(long)
        kept.append(pool)
      else:
        notes.append(f"no noise is drawn from {pool.name}")
    total = sum(map(len, usable))
    if total < NUM_NOISES:
      names = ", ".join(pool.name for pool in noises) or "no pool"
      short = "".join(f"; {_on_short(p, num_samples)}" for p in noises)
      raise errors.InputError(
        f"noises: found {total} recordings of at least {crop_seconds:g} s in "
        f"{names}, expected at least {NUM_NOISES}{short}"
      )
    # Several pools may say the same, such as two splits of one folder.
    told = tuple(dict.fromkeys(notes))
    return cls(targets, tuple(kept), tuple(usable), num_samples, told)

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

  def _choice(self, rng: np.random.Generator) -> list[Noise]:
    chosen: list[Noise] = []
    while len(chosen) < NUM_NOISES:
      pool = int(rng.integers(len(self.noises)))
      noise = Noise(pool, int(rng.choice(self.usable[pool])))
      if noise not in chosen:
        chosen.append(noise)
    return chosen


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
  sources: Sources, *, seed: int, num_epochs: int
) -> grain.MapDataset:
  """Examples to train with: every target once in each pass, shuffled anew.

  Args:
    sources: what they are made of.
    seed: decides everything; from 0 to 2**32 - 1.
    num_epochs: passes.

  Returns:
    Random access to examples by number, the passes laid end to end: dicts of
    `target` `[S]` and `noise` `[4, S]` int16, `number` `[]` int32, of the
    example, and `recording` `[]` int32, of the target in its pool.
  """
  order = grain.MapDataset.range(len(sources.targets.recordings))
  order = order.seed(seed).shuffle().repeat(num_epochs)
  return order.map_with_index(_Example(sources, seed, _TRAINING))


def fixed(sources: Sources, *, seed: int) -> grain.MapDataset:
  """Examples to validate with: one for each target, always the same.

  Targets and noises start with their first sample; which four noises, the seed
  decides.

  Args:
    sources: what they are made of.
    seed: from 0 to 2**32 - 1.

  Returns:
    As `training`, in the order of the targets.
  """
  order = grain.MapDataset.range(len(sources.targets.recordings))
  return order.map_with_index(_Example(sources, seed, _FIXED))


class _Example(NamedTuple):
  """Number of an example and of its target, to an example."""

  sources: Sources
  seed: int
  kind: int

  def __call__(self, number: int, recording: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng([self.seed, self.kind, number])
    is_fixed = self.kind == _FIXED
    target = crop(
      self.sources.targets,
      int(recording),
      self.sources.num_samples,
      rng=None if is_fixed else rng,
    )
    noise, _ = self.sources.noise(rng, fixed=is_fixed)
    return {
      "target": target,
      "noise": noise,
      "number": np.int32(number),
      "recording": np.int32(recording),
    }


class Batches:
  """Batches by the number of a step: the `batch_at` of a job.

  Args:
    examples: of `training` or `fixed`.
    batch_size: rows of a batch, those of all hosts. Batches are cut out of the
      examples one after another; what is left at the end is not used.
    num_workers: processes that prepare batches ahead of those asked for, each
      a whole batch. With 0, `num_threads` of this process make what is asked
      for, when it is.
    num_threads: in each process.
    ahead: batches that each process has ready.

  Attributes:
    num_steps: batches that there are.

  Raises:
    InputError: not one batch, or a setting below what it may be.
  """

  def __init__(
    self,
    examples: grain.MapDataset,
    batch_size: int,
    *,
    num_workers: int = 0,
    num_threads: int = 4,
    ahead: int = 1,
  ) -> None:
    least = dict(batch_size=1, num_workers=0, num_threads=1, ahead=1)
    given = dict(
      batch_size=batch_size,
      num_workers=num_workers,
      num_threads=num_threads,
      ahead=ahead,
    )
    for name, value in given.items():
      if value < least[name]:
        raise errors.InputError(
          f"{name}: found {value}, expected at least {least[name]}"
        )
    self.num_steps = len(examples) // batch_size
    if not self.num_steps:
      raise errors.InputError(
        f"batch_size: found {batch_size}, expected at most the {len(examples)} "
        "examples that there are"
      )
    self._examples, self._batch_size = examples, batch_size
    self._num_workers, self._ahead = num_workers, ahead
    self._threads = futures.ThreadPoolExecutor(num_threads, "asd_jax_sources")
    self._num_threads = num_threads
    # The feed of a run asks from a thread of its own.
    self._lock = threading.Lock()
    self._coming: Any = None
    # What the next call is, if batches are taken one after another.
    self._next: tuple[int, int, int] | None = None

  def __enter__(self) -> "Batches":
    return self

  def __exit__(
    self,
    kind: type[BaseException] | None,
    error: BaseException | None,
    trace: TracebackType | None,
  ) -> None:
    self.close()

  def close(self) -> None:
    """Ends threads and worker processes."""
    with self._lock:
      self._stop()
    self._threads.shutdown(cancel_futures=True)

  def __call__(self, step: int, rows: slice) -> dict[str, np.ndarray]:
    """Rows of a batch.

    Args:
      step: its number.
      rows: a slice of `range(batch_size)`.

    Returns:
      The examples' arrays, with these rows in front.

    Raises:
      InputError: a source cannot be read, or all noises are silent.
    """
    start, stop, _ = rows.indices(self._batch_size)
    with self._lock:
      # One batch alone, such as the first for its shapes, starts no process.
      follows = self._next == (step, start, stop)
      self._next = step + 1, start, stop
      if not follows:
        self._stop()
      elif self._num_workers:
        return self._taken(step, start, stop)
    first = step * self._batch_size
    numbers = range(first + start, first + stop)
    made = list(self._threads.map(self._examples.__getitem__, numbers))
    return _stacked(made)

  def _taken(self, step: int, start: int, stop: int) -> dict[str, np.ndarray]:
    """The next batch of the workers, which are started if there are none."""
    if self._coming is None:
      own = _Own(self._examples, self._batch_size, start, stop, step)
      batches = grain.MapDataset.range(self.num_steps - step).map(own)
      reading = grain.ReadOptions(
        num_threads=self._num_threads, prefetch_buffer_size=self._num_threads
      )
      workers = grain.MultiprocessingOptions(
        num_workers=self._num_workers, per_worker_buffer_size=self._ahead
      )
      ahead = batches.to_iter_dataset(reading).mp_prefetch(
        workers, worker_init_fn=_begin
      )
      self._coming = iter(ahead)
    return next(self._coming)

  def _stop(self) -> None:
    if self._coming is not None:
      self._coming.close()
      self._coming = None


class _Own(NamedTuple):
  """Number of a batch, from the first one on, to one host's rows of it."""

  examples: grain.MapDataset
  batch_size: int
  start: int
  stop: int
  first: int

  def __call__(self, number: int) -> dict[str, np.ndarray]:
    row = (self.first + number) * self.batch_size
    return _stacked(
      [self.examples[row + i] for i in range(self.start, self.stop)]
    )


def _stacked(made: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
  return {name: np.stack([x[name] for x in made]) for name in made[0]}


def _begin(number: int, count: int) -> None:
  """Makes a worker end with the process that started it, and no sooner."""
  del number, count
  # Ctrl-C reaches all processes of a terminal; the run saves its state first.
  signal.signal(signal.SIGINT, signal.SIG_IGN)
  threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
  if parent := multiprocessing.parent_process():
    parent.join()
    # Killed, it could not ask its workers to end.
    os._exit(1)


def _on_short(pool: Pool, num_samples: int) -> str:
  short = [r for r in pool.recordings if r.num_samples < num_samples]
  if not short:
    return f"none of {pool.name} is shorter"
  named = ", ".join(
    f"{r.name} ({r.num_samples / SAMPLE_RATE:g} s)" for r in short[:_NAMED]
  )
  more = f" and {len(short) - _NAMED} more" if len(short) > _NAMED else ""
  return (
    f"{len(short)} of {len(pool.recordings)} noises of {pool.name} are shorter "
    f"than a crop of {num_samples / SAMPLE_RATE:g} s and left out: "
    f"{named}{more}"
  )
