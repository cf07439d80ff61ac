"""Scores samples that never end, window by window."""

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import soundfile

from asd_jax import errors
from asd_jax.data import audio, score_table
from asd_jax.report import text
from asd_jax.runs import follow, score
from asd_jax.runs.follow import Event

# What rows and messages call standard input.
NAME = "-"
# Peak of the noise that programs are compiled with.
_NOISE = 1000


class Form(NamedTuple):
  """What the bytes of a stream are, and how it is cut.

  Attributes:
    rate: samples a second.
    num_channels: interleaved channels of 16-bit little-endian samples.
    window: samples of a window.
    hop: samples from the start of one window to that of the next.
  """

  rate: int
  num_channels: int
  window: int
  hop: int


class Window(NamedTuple):
  """A piece of a stream.

  Attributes:
    start: its first sample.
    samples: `[C, W]` int16.
  """

  start: int
  samples: np.ndarray


def windows(read: Callable[[int], bytes], form: Form) -> Iterator[Window]:
  """Cuts a stream; holds no more than one window of it.

  Args:
    read: returns up to so many bytes as soon as there are some, none at the
      end.
    form: of the stream.

  Yields:
    Windows, each as soon as its last sample has come. What is left at the end
    is covered by one more window, up to the last sample, if it is at least
    half a window. A stream that is shorter than a window comes as it is.
  """
  frame = 2 * form.num_channels
  size, hop = frame * form.window, frame * form.hop
  held, start, wanted = bytearray(), 0, size
  while new := read(wanted - len(held)):
    held += new
    if len(held) < wanted:
      continue
    # The last window stays until the next is whole: the end may need it.
    if wanted > size:
      del held[:hop]
      start += form.hop
    wanted = size + hop
    yield _window(start, held[:size], form)
  num = len(held) // frame
  left = num - form.window
  if wanted == size and num:
    yield _window(0, held[: num * frame], form)
  elif 2 * left >= form.window:
    yield _window(start + left, held[left * frame : num * frame], form)


def _window(start: int, content: bytes | bytearray, form: Form) -> Window:
  samples = np.frombuffer(bytes(content), "<i2").reshape(-1, form.num_channels)
  return Window(start, samples.astype(np.int16).T)  # [C, W]


def form_of(
  scorer: score.Scorer,
  *,
  rate: int | None = None,
  num_channels: int | None = None,
  window_seconds: float | None = None,
  hop_seconds: float | None = None,
) -> Form:
  """What a stream is, where it is not told as the detector needs it.

  Args:
    scorer: the detector.
    rate: samples a second.
    num_channels: of the stream.
    window_seconds: length of a window.
    hop_seconds: from the start of one window to that of the next; a window if
      the length of windows is told, else what the detector says.

  Returns:
    The form.

  Raises:
    InputError: for settings that cannot be.
  """
  found = scorer.detector
  about = found.sections[scorer.section_of(NAME)].facts.get("windows", {})
  window = window_seconds or about.get("window_seconds", 0.0)
  if not window:
    raise errors.InputError(
      "flags: --window_seconds: found none, and the detector, which is an old"
      " one, does not say how long its clips were; expected their length."
    )
  hop = hop_seconds or (not window_seconds and about["hop_seconds"]) or window
  rate = rate or found.config["sample_rate"]
  num = num_channels or scorer.num_channels
  form = Form(rate, num, round(window * rate), round(hop * rate))
  if not 1 <= form.hop <= form.window:
    raise errors.InputError(
      f"flags: --hop_seconds: found {hop:g}, expected at most a window"
      f" ({window:g} s) and at least a sample."
    )
  return form


class Stream:
  """Scores one stream.

  Args:
    scorer: the detector.
    form: of the stream.
    settings: what is to be done besides scoring.
  """

  header = score_table.Window._fields

  def __init__(
    self,
    scorer: score.Scorer,
    form: Form,
    settings: follow.Settings = follow.PLAIN,
  ) -> None:
    self._scorer, self._form = scorer, form
    self._section = scorer.section_of(NAME)
    self._follow = follow.Follow(scorer, NAME, settings)

  def promise(self) -> list[str]:
    """Sentences on what is expected to come, and on alarms."""
    form = self._form
    what = f"{form.rate} Hz, {text.plural(form.num_channels, 'channel')}"
    every = form.hop / form.rate
    seconds = f"{form.window / form.rate:g} s every {every:g} s"
    return [
      f"{NAME}: 16-bit samples, {what}; windows of {seconds}",
      *self._follow.promise(every_seconds=every),
    ]

  def warm(self) -> None:
    """Compiles what scoring needs, so that the first window need not wait.

    Raises:
      InputError: for windows that the system cannot use.
    """
    rng = np.random.default_rng(0)
    shape = self._form.num_channels, self._form.window
    samples = rng.integers(-_NOISE, _NOISE, shape).astype(np.int16)
    self._score(Window(0, samples))

  def run(self, read: Callable[[int], bytes]) -> Iterator[Event]:
    """Scores window by window.

    Args:
      read: see `windows`.

    Yields:
      Events as they happen.
    """
    for window in windows(read, self._form):
      at = window.start / self._form.rate
      try:
        row, notes = self._score(window)
      except errors.InputError as e:
        yield Event(None, f"{e} (window at {at:g} s, left out)")
        continue
      for note in notes:
        yield Event(None, f"{note} (window at {at:g} s)")
      yield from self._follow.add(self._section, row, start_seconds=at)
      yield from self._follow.look()

  def finish(self) -> Iterator[Event]:
    """Waits for commands, and sums up.

    Yields:
      What there is still to tell.
    """
    yield from self._follow.finish()

  def close(self) -> None:
    """There is nothing to let go."""

  def cells(self, event: Event) -> Sequence[object]:
    """Cells of `header` of a scored window."""
    row, start = event.row, event.start_seconds
    assert row is not None
    assert start is not None
    return score_table.Window(row.file, start, *row[1:])

  def _score(self, window: Window) -> tuple[score_table.Row, list[str]]:
    """Scores a window; as a file it goes the way of all clips."""
    with tempfile.TemporaryDirectory(prefix="asd_jax_") as folder:
      path = os.path.join(folder, NAME)
      try:
        soundfile.write(
          *(path, window.samples.T, self._form.rate),
          subtype="PCM_16",
          format="WAV",
        )
        some = self._scorer.check([path], [audio.read_header(path)])
        (row,), notes = self._scorer.score(some, advance=lambda num: None)
      except errors.InputError as e:
        raise errors.InputError(str(e).replace(path, NAME)) from e
    return row._replace(file=NAME), notes
