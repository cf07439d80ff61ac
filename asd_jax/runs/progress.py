"""Progress on standard error: bars on a terminal, sparse lines elsewhere."""

import math
import time
from collections.abc import Callable
from types import TracebackType

import numpy as np
import rich.console
import rich.markup
import rich.progress
import rich.text

from asd_jax.training import meter

# Between lines where there are no bars.
_INTERVAL_SECONDS = 10.0


class _Rate(rich.progress.ProgressColumn):
  """Steps a second, empty until it is known."""

  def render(self, task: rich.progress.Task) -> rich.text.Text:
    """Renders one task."""
    rate = task.speed
    return rich.text.Text("" if rate is None else f"{rate:.1f}/s")


def _in_words(seconds: float) -> str:
  """A time that is left, in the unit that keeps it short."""
  if seconds < 100:
    return f"{seconds:.0f} s"
  minutes = seconds / 60
  return f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.1f} h"


def _numbers(said: meter.Seen) -> str:
  """Loss, criterion, rate and share of waiting of a step."""
  told = [f"loss {said.metrics['loss']:.4g}"]
  if "criterion" in said.metrics:
    told.append(f"validation {said.metrics['criterion']:.4g}")
  if not math.isnan(said.clips_per_second):
    told.append(f"{said.clips_per_second:.2g} clips/s")
    told.append(f"{100 * said.waiting:.0f} % waiting for data")
  if "product_share" in said.metrics:
    share = said.metrics["product_share"]
    told.append(f"{100 * share:.0f} % of the product rate")
  return ", ".join(told)


class Progress:
  """Shows tasks with their rate and the time left.

  Args:
    quiet: show nothing.
  """

  def __init__(self, *, quiet: bool = False) -> None:
    # Standard output is for results, which a program may read.
    console = rich.console.Console(stderr=True)
    # Bars are redrawn in place, which a log cannot do: it gets lines.
    self._live = console.is_terminal and not quiet
    self._quiet = quiet
    self._told = -_INTERVAL_SECONDS
    self._networks: dict[str, rich.progress.TaskID] = {}
    self._bars = rich.progress.Progress(
      rich.progress.TextColumn("{task.description}"),
      rich.progress.BarColumn(),
      rich.progress.MofNCompleteColumn(),
      _Rate(),
      rich.progress.TimeRemainingColumn(),
      console=console,
      transient=True,
    )

  def __enter__(self) -> "Progress":
    if self._live:
      self._bars.start()
    return self

  def __exit__(
    self,
    kind: type[BaseException] | None,
    error: BaseException | None,
    trace: TracebackType | None,
  ) -> None:
    if self._live:
      self._bars.stop()

  def line(self, text: str) -> None:
    """Prints a line."""
    if not self._quiet:
      # As it is: a file name in brackets would be taken for a style.
      self._bars.console.print(
        text, markup=False, highlight=False, soft_wrap=True
      )

  def task(self, label: str, total: int) -> Callable[[int], None]:
    """Starts a task; the result is called with the number of steps done."""
    if self._live:
      task = self._bars.add_task(label, total=total)
      return lambda num: self._bars.advance(task, num)
    return self._sparse(label, total)

  def _sparse(self, label: str, total: int) -> Callable[[int], None]:
    """Lines at intervals, with the rate and the time left."""
    start = time.perf_counter()
    done, last = 0, start

    def advance(num: int) -> None:
      nonlocal done, last
      done += num
      now = time.perf_counter()
      if now - last < _INTERVAL_SECONDS or not done:
        return
      last, rate = now, done / (now - start)
      left = (total - done) / rate
      self.line(f"{label}: {done} of {total}, {rate:.2g}/s, {left:.0f} s left")

    return advance

  def adaptation(self, label: str, said: str | meter.Seen) -> None:
    """Shows what is said of a network that is adapted over machines.

    Args:
      label: of the network.
      said: words, or a step.
    """
    if isinstance(said, str):
      self.line(f"{label}: {said}")
      return
    now, last = time.perf_counter(), said.step == said.num_steps
    if self._live:
      self._bar_of(label, said)
      return
    if now - self._told < _INTERVAL_SECONDS and not last:
      return
    self._told = now
    left = said.seconds_left
    time_left = "" if math.isnan(left) else f", {_in_words(left)} left"
    self.line(
      f"{label}: step {said.step} of {said.num_steps},"
      f" {_numbers(said)}{time_left}"
    )

  def _bar_of(self, label: str, said: meter.Seen) -> None:
    """Moves the bar of a network, made at its first step."""
    if label not in self._networks:
      self._networks[label] = self._bars.add_task(label, total=said.num_steps)
    bar = self._networks[label]
    # Numbers alone: a label in brackets would be taken for a style.
    text = rich.markup.escape(label)
    self._bars.update(
      bar,
      completed=said.step,
      description=f"{text}: {_numbers(said)}",
      visible=said.step < said.num_steps,
    )

  def epochs(self, label: str) -> Callable[[str, int, dict], None]:
    """Makes an `on_epoch` that shows epochs, loss and time."""
    start = time.perf_counter()
    last = [start]

    def show(branch: str, unit: int, metrics: dict) -> None:
      now = time.perf_counter()
      if now - last[0] < _INTERVAL_SECONDS and not self._live:
        return
      last[0] = now
      loss = float(np.mean(metrics["loss"]))
      self.line(
        f"{label} {branch}: epoch {unit}, loss {loss:.4g}, {now - start:.0f} s"
      )

    return show
