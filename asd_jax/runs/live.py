"""Scores what is still to come, a folder or a stream, and tells it at once."""

import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from asd_jax import errors, files
from asd_jax.runs import follow, hook, score, stream, watch


class Options(NamedTuple):
  """Flags of `score.py` of what is to come.

  Attributes:
    detector: `OUT/detectors/<machine>`.
    section: section of all clips; from their names if None.
    watch: folder whose files are scored as they arrive, or None.
    interval_seconds: time between two looks.
    max_seconds: ends at the first look after this time.
    once: ends when no file is waiting.
    state: see `watch.start`.
    stream: "-", standard input, or None.
    stream_rate: see `stream.form_of`.
    stream_channels: see `stream.form_of`.
    window_seconds: see `stream.form_of`.
    hop_seconds: see `stream.form_of`.
    alarm_after: suspicious clips in a row that make an alarm; None for what
      the detector says.
    on_alarm: command that alarms call, "" for none.
    log: file that gets a line of JSON for all that happens, "" for none.
  """

  detector: str
  section: str | None
  watch: str | None
  interval_seconds: float
  max_seconds: float
  once: bool
  state: str | None
  stream: str | None
  stream_rate: int | None
  stream_channels: int | None
  window_seconds: float | None
  hop_seconds: float | None
  alarm_after: int | None
  on_alarm: str
  log: str


def run(
  options: Options, show: Callable[[str], None], tell: Callable[[str], None]
) -> None:
  """Watches a folder, or listens to a stream.

  Args:
    options: what is to be done.
    show: prints csv; at once, as who reads a pipe waits for each line.
    tell: says a sentence to people.

  Raises:
    InputError: for bad settings, a bad detector, and if a folder goes away.
  """
  _check(options)
  # What is cheap to check comes before a detector is loaded.
  command = hook.Hook(options.on_alarm) if options.on_alarm else None
  log = follow.Log(options.log) if options.log else None
  settings = follow.Settings(options.alarm_after, command)
  opened = _opened_stream if options.stream else _opened_watch
  source, notes, events = opened(options, settings)

  def play(events: Iterable[follow.Event]) -> None:
    for event in events:
      if event.row is not None:
        show(files.csv_text([source.cells(event)]))
      if event.note:
        tell(event.note)
      if log is not None and (problem := log.write(event)):
        tell(problem)

  show(files.csv_text([source.header]))
  for note in notes:
    tell(note)
  try:
    play(events)
  except KeyboardInterrupt:
    # That is how a watch ends: its summary is due all the same.
    play(source.finish())
    raise
  finally:
    source.close()
  play(source.finish())


def _check(options: Options) -> None:
  """Refuses flags that cannot be."""
  if options.stream not in (None, "", stream.NAME):
    raise errors.InputError(
      f"flags: --stream: found {options.stream!r}, expected - (standard"
      " input); files are given by their names."
    )
  for name in ("interval_seconds", "max_seconds"):
    if not getattr(options, name) > 0.0:
      raise errors.InputError(
        f"flags: --{name}: found {getattr(options, name)}, expected above 0."
      )
  for name in ("alarm_after", "stream_rate", "stream_channels"):
    value = getattr(options, name)
    if value is not None and value < 1:
      raise errors.InputError(
        f"flags: --{name}: found {value}, expected 1 or more."
      )
  for name in ("window_seconds", "hop_seconds"):
    value = getattr(options, name)
    if value is not None and not 0.0 < value < math.inf:
      raise errors.InputError(
        f"flags: --{name}: found {value}, expected seconds above 0."
      )


_Opened = tuple[
  watch.Watch | stream.Stream, Sequence[str], Iterator[follow.Event]
]


def _opened_watch(options: Options, settings: follow.Settings) -> _Opened:
  assert options.watch is not None
  found, notes = watch.start(
    options.detector,
    options.watch,
    section=options.section,
    settings=settings,
    state=options.state,
  )
  events = watch.run(
    found,
    interval_seconds=options.interval_seconds,
    max_seconds=options.max_seconds,
    once=options.once,
  )
  return found, notes, events


def _opened_stream(options: Options, settings: follow.Settings) -> _Opened:
  if sys.stdin is None:
    raise errors.InputError(
      "standard input: found it closed, expected samples (--stream=-)."
    )
  scorer = score.Scorer(options.detector, section=options.section)
  form = stream.form_of(
    scorer,
    rate=options.stream_rate,
    num_channels=options.stream_channels,
    window_seconds=options.window_seconds,
    hop_seconds=options.hop_seconds,
  )
  found = stream.Stream(scorer, form, settings)
  found.warm()
  source = sys.stdin.fileno()
  return found, found.promise(), found.run(lambda num: os.read(source, num))
