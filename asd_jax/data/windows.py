"""Recordings that are longer than clips are cut into windows.

A window is a clip: whatever takes clips takes windows, and decodes nothing of
the file but them. What is said of the windows of a recording is said of the
recording by one of them, see `scores/alarm`.
"""

import dataclasses
import statistics
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from asd_jax.data import clips

# Of a recording to learn from; shorter ones are clips, however long others are.
LONG_SECONDS = 60.0
# Of windows where there is no clip to take a length from, as of the challenge.
DEFAULT_SECONDS = 10.0


class Cut(NamedTuple):
  """How recordings are cut.

  Attributes:
    window_seconds: length of a window.
    hop_seconds: from the start of one window to that of the next.
    longest_seconds: of the training clips; a recording that is at least twice
      as long is cut.
  """

  window_seconds: float
  hop_seconds: float
  longest_seconds: float

  def is_long(self, clip: clips.Clip) -> bool:
    """Whether a clip is a recording that is to be cut."""
    return clip.recording is None and (
      seconds(clip) >= 2 * max(self.longest_seconds, self.window_seconds)
    )


def seconds(clip: clips.Clip) -> float:
  """Length of a clip, s."""
  return clip.header.num_samples / clip.header.sample_rate


def start_seconds(clip: clips.Clip) -> float:
  """Where a window begins in its recording, s; 0 of a whole file."""
  return clip.start / clip.header.sample_rate


def clock(second: float) -> str:
  """A place in a recording for people: `12:30`, `1:02:05`.

  Args:
    second: of the recording.

  Returns:
    Minutes and seconds, hours where there are any.
  """
  minutes, rest = divmod(round(second), 60)
  hours, minutes = divmod(minutes, 60)
  if hours:
    return f"{hours}:{minutes:02d}:{rest:02d}"
  return f"{minutes}:{rest:02d}"


def title(clip: clips.Clip) -> str:
  """What to call a clip: its file, of a window with its place."""
  if clip.recording is None:
    return clip.name
  return f"{clip.name} at {clock(start_seconds(clip))}"


def starts(num_samples: int, window: int, hop: int) -> list[int]:
  """Where the windows of a recording begin that is scored.

  Args:
    num_samples: of the recording, at least a window.
    window: samples of a window.
    hop: samples from one start to the next.

  Returns:
    First samples, ascending. What is left at the end is covered by one more
    window, up to the last sample, if it is at least half a window.
  """
  last = num_samples - window
  found = list(range(0, last + 1, hop))
  return found + [last] * (2 * (last - found[-1]) >= window)


def _samples(clip: clips.Clip, length_seconds: float) -> int:
  return max(1, round(length_seconds * clip.header.sample_rate))


def _at(
  clip: clips.Clip, places: Iterable[int], num_samples: int
) -> list[clips.Clip]:
  """Windows of a whole file, by their first samples."""
  header = clip.header._replace(num_samples=num_samples)
  return [
    dataclasses.replace(clip, header=header, start=i, recording=clip.header)
    for i in places
  ]


def of_training(
  train: Sequence[clips.Clip], window_seconds: float
) -> tuple[clips.Clip, ...]:
  """Training clips, of recordings their windows, which do not overlap.

  A file is a recording if it is at least a minute long and twice as long as
  the longest shorter one; where a length of windows is given, if it is twice
  as long as that.

  Args:
    train: of one section.
    window_seconds: 0 for the median length of the clips that are no
      recordings, `DEFAULT_SECONDS` where there is none.

  Returns:
    Clips in the order given, windows in the place of their recording.
  """
  lengths = [seconds(c) for c in train]
  short = [s for s in lengths if s < LONG_SECONDS]
  length, least = window_seconds, 2 * window_seconds
  if not length:
    length = statistics.median_low(short) if short else DEFAULT_SECONDS
    least = max(LONG_SECONDS, 2 * max(short, default=0.0))
  out: list[clips.Clip] = []
  for clip in train:
    own = [clip]
    # What is a window stays one: a set may be cut twice.
    if clip.recording is None and seconds(clip) >= least:
      window, last = _samples(clip, length), clip.header.num_samples
      own = _at(clip, range(0, last - window + 1, window), window)
    out += own
  return tuple(out)


def rule(
  train: Sequence[clips.Clip], window_seconds: float, hop_seconds: float
) -> Cut:
  """How recordings are cut that are scored.

  Args:
    train: training clips of one section, see `of_training`.
    window_seconds: 0 for the median length of the training clips.
    hop_seconds: 0 for windows that do not overlap.

  Returns:
    The rule.
  """
  lengths = [seconds(c) for c in train]
  # A length that there is, so that one program is compiled for both.
  window = window_seconds or statistics.median_low(lengths)
  return Cut(window, hop_seconds or window, max(lengths))


def order(train: Sequence[clips.Clip]) -> np.ndarray:
  """Places of training windows in time.

  Args:
    train: training clips.

  Returns:
    `[N]` ranks by recording and time; -1 for clips that are no windows.
  """
  out = np.full(len(train), -1)
  rows = [i for i, c in enumerate(train) if c.recording is not None]
  rows.sort(key=lambda i: (train[i].path, train[i].start))
  out[rows] = np.arange(len(rows))
  return out


class Windowed(NamedTuple):
  """Clips to score, and which file each belongs to.

  Attributes:
    clips: whole files and windows, those of a file together and in order.
    rows: of each file, the positions of its clips.
  """

  clips: list[clips.Clip]
  rows: list[range]


def cut(some: Iterable[clips.Clip], how: Cut | None) -> Windowed:
  """Cuts the recordings among clips to score.

  Args:
    some: whole files.
    how: the rule; None leaves every file whole.

  Returns:
    Their clips.
  """
  out = Windowed([], [])
  for clip in some:
    own = [clip]
    if how is not None and how.is_long(clip):
      window = _samples(clip, how.window_seconds)
      hop = _samples(clip, how.hop_seconds)
      own = _at(clip, starts(clip.header.num_samples, window, hop), window)
    out.rows.append(range(len(out.clips), len(out.clips) + len(own)))
    out.clips.extend(own)
  return out
