"""Carries out a job: on all devices, saved, resumed, watched and stopped.

Everything that trains over machines or corpora goes through `run`. What differs
from job to job is in the job, what differs from machine to machine in `mesh`.
"""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from asd_jax.training import loop, mesh
from asd_jax.training.feed import Feed
from asd_jax.training.interrupt import Interrupt
from asd_jax.training.job import Job
from asd_jax.training.journal import Journal
from asd_jax.training.meter import Meter, Seen
from asd_jax.training.profile import Profile
from asd_jax.training.program import Program
from asd_jax.training.state import TrainState
from asd_jax.typing import Key

Tree = Any
# Clips that a message names.
_NAMED = 8


class Settings(NamedTuple):
  """How a job is carried out; nothing here changes what comes out of it.

  Attributes:
    sharded: divide large parameters and moments among the devices, instead of
      keeping all of them on each.
    checkpoint_every: steps between two saves.
    keep: newest checkpoints kept, beside the best.
    max_steps: number of the step after which to save and stop for now; None
      goes on to the end.
    ahead: batches prepared before they are needed.
    profile: folder for a trace of some steps, for TensorBoard or Perfetto.
  """

  sharded: bool = False
  checkpoint_every: int = 500
  keep: int = 2
  max_steps: int | None = None
  ahead: int = 2
  profile: Path | None = None


_SETTINGS = Settings()


class Trained(NamedTuple):
  """What a job has come to.

  Attributes:
    state: the best state if the job tells which is, else the last; on the
      devices, see `mesh.on_host`.
    frozen: what no step changes.
    step: steps that this state has seen.
    criterion: of its validation, None without one.
    complete: False if `max_steps` stopped it: it goes on when it is run again.
    notes: sentences on what had to be made again, and on the profile.
  """

  state: TrainState
  frozen: Tree
  step: int
  criterion: float | None
  complete: bool
  notes: list[str]


def run(
  job: Job,
  keys: Key,
  *,
  settings: Settings = _SETTINGS,
  folder: Path | None = None,
  logs: Path | None = None,
  show: Callable[[Seen], None] | None = None,
) -> Trained:
  """Trains, from the newest checkpoint if there is one.

  The same job, keys and folder on the same devices give the same bytes, however
  often the run was stopped or killed; on other devices sums have another order.
  SIGTERM and SIGINT save the state after the step at hand and end.

  Args:
    job: what to train.
    keys: `[]` one, or `[K]` for stacked seeds.
    settings: how.
    folder: where checkpoints go; it must belong to this job and these keys.
      None keeps none, and allows no validation.
    logs: folder of `metrics.jsonl` and TensorBoard events; None writes none.
    show: told of each step, in the first process.

  Returns:
    What was trained.

  Raises:
    NotFiniteError: if a loss is not finite; names step and clips.
    InputError: if files cannot be written; what was saved before stays.
    Stopped: after a signal.
  """
  if job.validation and folder is None:
    raise ValueError(f"{job.name}: a validation needs a folder of checkpoints")
  program = Program(job, keys, sharded=settings.sharded)
  num_steps = min(settings.max_steps or job.num_steps, job.num_steps)
  with contextlib.ExitStack() as stack:
    interrupt = stack.enter_context(Interrupt())
    feed = Feed(
      job.batch_at,
      job.batch_size,
      program.over,
      stop=num_steps,
      ahead=settings.ahead,
    )
    stack.enter_context(feed)
    like = lambda: program.like(feed.peek())
    kept = None
    if folder:
      kept = _open(folder, settings, num_steps)
      stack.callback(kept.close)
    start, frozen = _start(program, kept, like)
    journal = None
    if logs and mesh.is_first():
      journal = Journal(logs, start.done)
      stack.callback(journal.close)
    profile = Profile(settings.profile, start.done, num_steps)
    steps = _Steps(program, frozen, feed, interrupt, profile)
    stack.callback(steps.close)
    judged = kept and _Judged(kept, job, program, frozen)
    watch = _Watch(job, num_steps, start.done, feed, judged, journal, show)
    end = loop.advance(
      start,
      steps,
      num_units=num_steps,
      checkpoints=judged,
      on_unit=watch.see,
      check=watch.check,
    )
    if end.done < num_steps or interrupt.number:
      where = f"is saved in {folder}" if folder else "is lost"
      raise interrupt.stopped(
        f"training {job.name}: step {end.done} of {job.num_steps} {where}"
      )
    steps.close()  # now: where its trace cannot be written is told
    return _trained(job, end, frozen, kept, like, profile.notes)


def has_saved(folder: Path) -> bool:
  """Whether there is a state to go on from.

  Args:
    folder: of checkpoints.

  Returns:
    True if one was saved and sealed.
  """
  from asd_jax.training import checkpoint

  return checkpoint.is_begun(folder)


def _open(folder: Path, settings: Settings, num_steps: int) -> Any:
  # Orbax takes a second to import.
  from asd_jax.training import checkpoint

  return checkpoint.OrbaxCheckpoints(
    folder,
    num_units=num_steps,
    every=settings.checkpoint_every,
    keep=settings.keep,
    background=True,
  )


def _start(
  program: Program, kept: Any, like: Callable[[], Tree]
) -> tuple[loop.Reached, Tree]:
  """The newest checkpoint, or the beginning; and what no step changes."""
  if kept and (found := kept.restore(like)):
    done, (state, metrics) = found
    return loop.Reached(done, state, metrics), program.frozen()
  state, frozen = program.start()
  return loop.Reached(0, state, None), frozen


def _trained(
  job: Job,
  end: loop.Reached,
  frozen: Tree,
  kept: Any,
  like: Callable,
  more: list[str],
) -> Trained:
  complete = end.done == job.num_steps
  step, state, criterion = end.done, end.state, None
  if complete and job.validation:
    found = kept.restore(like, best=True)
    if found is None:
      raise OSError(f"{job.name}: all checkpoints vanished while it ran")
    step, (state, _) = found
    criterion = kept.criterion(step)
  notes = [*(kept.notes if kept else []), *more]
  return Trained(state, frozen, step, criterion, complete, notes)


class _Steps:
  """The unit of the loop: one step on the next batch."""

  def __init__(
    self,
    program: Program,
    frozen: Tree,
    feed: Feed,
    interrupt: Interrupt,
    profile: Profile,
  ) -> None:
    self._program, self._frozen, self._feed = program, frozen, feed
    self._interrupt, self._profile = interrupt, profile
    self._flags = [program.flag(up=up) for up in (False, True)]
    self._step: Callable | None = None
    self._loss: jax.Array | None = None
    self._num = 0

  def __call__(self, number: int, state: TrainState) -> tuple:
    self._profile.before(self._num, self._loss)
    batch = self._feed.get(number, meanwhile=self._loss)
    if self._step is None:
      self._step = self._program.compiled(batch)
      self._program.forget()
    flag = self._flags[bool(self._interrupt.number)]
    state, metrics = self._step(state, self._frozen, batch, flag)
    self._loss = metrics["loss"]
    self._num += 1
    return state, metrics

  def close(self) -> None:
    """Ends a profile that the run was too short for."""
    self._profile.close(self._num, self._loss)


class _Judged:
  """Checkpoints that know how good a state is.

  A state that only a signal or the interval of saves brought here is not looked
  at: which one is the best must not depend on them.
  """

  def __init__(
    self, kept: Any, job: Job, program: Program, frozen: Tree
  ) -> None:
    self._kept, self._job, self._frozen = kept, job, frozen
    check = job.validation
    self._every = check.every if check else 0
    self._judge = program.judge(check) if check else None
    self.found: dict[int, float] = {}

  def restore(self, like: Callable[[], Tree]) -> tuple[int, Tree] | None:
    return self._kept.restore(like)

  def _looks(self, unit: int) -> bool:
    last = unit == self._job.num_steps
    return bool(self._every) and (last or unit % self._every == 0)

  def due(self, unit: int) -> bool:
    # Asked first: it seals what was saved before.
    due = self._kept.due(unit)
    return due or self._looks(unit)

  def save(self, unit: int, tree: Tree) -> None:
    if self._judge is None or not self._looks(unit):
      self._kept.save(unit, tree)
      return
    value = self._judge(tree[0], self._frozen)
    if not np.isfinite(value):
      raise loop.NotFiniteError(
        f"training {self._job.name}: found a loss of the validation of {value}"
        f" after step {unit}, expected a finite one; lower the learning rate."
      )
    self.found[unit] = value
    self._kept.save(unit, tree, criterion=value)


class _Watch:
  """What looks at the numbers of each step: guard, log and progress."""

  def __init__(
    self,
    job: Job,
    num_steps: int,
    done: int,
    feed: Feed,
    judged: _Judged | None,
    journal: Journal | None,
    show: Callable[[Seen], None] | None,
  ) -> None:
    self._job, self._judged, self._journal = job, judged, journal
    self._meter = Meter(job.batch_size, num_steps, done, lambda: feed.waited)
    self._show = show if mesh.is_first() else None

  def see(self, unit: int, metrics: dict) -> bool:
    """Tells of a step; says whether a process was asked to stop."""
    told = {
      name: float(np.mean(np.asarray(x)))
      for name, x in metrics.items()
      if name != "stop"
    }
    if self._judged and unit in self._judged.found:
      told["criterion"] = self._judged.found[unit]
    seen = self._meter.seen(unit, told)
    if self._journal:
      self._journal.tell(unit, {**told, **seen.speed()})
    if self._show:
      self._show(seen)
    return bool(np.asarray(metrics["stop"]))

  def check(self, unit: int, metrics: dict) -> None:
    """Refuses numbers that are not finite, and names what they came from."""
    bad = loop.not_finite(metrics)
    if bad is None:
      return
    names = list(self._job.names(unit - 1))
    if self._journal:
      self._journal.tell(unit, {}, not_finite=True, clips=names)
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    clips = f" of {', '.join(names[:_NAMED])}{more}" if names else ""
    value = bad.ravel()[np.argmin(np.isfinite(bad.ravel()))]
    raise loop.NotFiniteError(
      f"training {self._job.name}: found {value} as loss or gradient of step"
      f" {unit}, batch {unit - 1}{clips}; expected finite numbers: lower the"
      " learning rate, or look at these clips."
    )
