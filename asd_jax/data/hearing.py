"""What is odd about the samples of a clip, alone and beside training clips."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

_CLIPPED_FRACTION = 1e-3
_PCM_BITS = {"PCM_U8": 8, "PCM_S8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 24}
_OFFSET = 0.01  # of full scale, that microphones do not have
_QUIET_DB = -80.0
# Correlation of channels that are no near and far, whatever their levels, and
# where neither is the louder one.
_EQUAL, _STEREO = 0.99, 0.9
_BESIDE_DB = 3.0
_SHORTEST = 0.1  # s: of less nothing but silence and clipping is said
_STILL = 0.02  # s that samples stand still only where a recorder lost some
_STEPS = 8  # of the sample format, that a channel moves by where they may not
# Levels beyond what nine of ten training clips have, dB.
_MARGIN_DB = 10.0
_SWAPPED_DB = 6.0
_SIDE_DB = 1.0  # by which one channel is the louder one
_SIDE = 0.2  # correlation whose sign counts
SILENT_DB = -150.0
_SHARES = (0.1, 0.5, 0.9)
_TEXT = "levels: near {:.2f} dB, far {:.2f} dB, correlation {:.3f}"
_LEVELS = re.compile(
  r"(.*): levels: near (\S+) dB, far (\S+) dB, correlation (\S+)", re.DOTALL
)


class Levels(NamedTuple):
  """How loud a clip is, its offset taken off.

  Attributes:
    near_db: of channel 0, dB of full scale.
    far_db: of channel 1; NaN of one channel.
    correlation: of the channels at lag zero; NaN of one, 0 where one is dead.
  """

  near_db: float
  far_db: float
  correlation: float

  @property
  def ratio_db(self) -> float:
    """Near over far."""
    return self.near_db - self.far_db


def remarks(
  audio: np.ndarray, subtype: str, sample_rate: int
) -> tuple[str, ...]:
  """Says what is odd about samples, whatever other clips are like.

  Args:
    audio: `[C, S]` as decoded, int16 or float32 in [-1, 1).
    subtype: their format, as libsndfile names it.
    sample_rate: Hz.

  Returns:
    Short sentences that do not name the file.
  """
  bits = _PCM_BITS.get(subtype, 16)
  scale = 32_768 if audio.dtype == np.int16 else 1
  full = (1 - 2.0 ** (1 - bits)) * scale
  is_long = audio.shape[1] >= _SHORTEST * sample_rate
  notes = []
  for channel, x in enumerate(audio):
    notes += [f"channel {channel} {text}" for text in _of_channel(x, full)]
    if is_long:
      step = 2.0 ** (1 - bits) * scale
      some = _of_long(x, full, step, sample_rate, scale)
      notes += [f"channel {channel} {text}" for text in some]
    if channel and x.any() and np.array_equal(x, audio[0]):
      notes.append(f"channel {channel} is the same as channel 0")
    elif channel and is_long:
      notes += _of_pair(channel, audio[0], x)
  return tuple(notes)


def _of_channel(x: np.ndarray, full: float) -> list[str]:
  """Silence and clipping of `[S]` samples."""
  if not x.any():
    return ["is silent (all samples are zero)"]
  # Of most clips their extremes tell, which are found sooner.
  if -full < x.min() and x.max() < full:
    return []
  fraction = np.mean((x >= full) | (x <= -full))
  if fraction > _CLIPPED_FRACTION:
    return [f"is clipped at {fraction:.2%} of samples"]
  return []


def _of_long(
  x: np.ndarray, full: float, step: float, sample_rate: int, scale: int
) -> list[str]:
  """Offset, dropouts and a dead microphone, of `[S]` samples."""
  mean = float(np.mean(x, dtype=np.float64))
  deviation = float(np.std(x, dtype=np.float64))
  if not deviation:
    return ["is dead (all samples are equal)"] if mean else []
  notes = []
  if abs(mean) > max(_OFFSET * scale, 0.2 * deviation):
    notes.append(f"has a constant offset of {mean / scale:.2g} of full scale")
  if 20 * math.log10(deviation / scale) < _QUIET_DB:
    notes.append("is hardly above silence")
  if deviation > _STEPS * step:
    share = _still(x, full, sample_rate)
    if share:
      notes.append(f"drops out: {share:.2%} of its samples stand still")
  return notes


def _still(x: np.ndarray, full: float, sample_rate: int) -> float:
  """Share of `[S]` samples in long runs of one value, clipped ones left out."""
  changes = x[1:] != x[:-1]
  # A long run holds two neighbours of these places; most clips have no such.
  step = (math.ceil(_STILL * sample_rate) - 1) // 2
  places = changes[:: max(step, 1)]
  if step and (places[1:] | places[:-1]).all():
    return 0.0
  ends = np.append(np.flatnonzero(changes), len(x) - 1)
  lengths = np.diff(ends, prepend=-1)
  shortest = np.full(len(lengths), _STILL * sample_rate)
  # Clips are filled up, and encoders begin with zeros.
  shortest[[0, -1]] = _SHORTEST * sample_rate
  runs = (lengths >= shortest) & (np.abs(x[ends].astype(np.float32)) < full)
  return float(lengths[runs].sum() / len(x))


def _of_pair(channel: int, first: np.ndarray, x: np.ndarray) -> list[str]:
  """Whether two microphones stood at one place."""
  both = np.stack([first, x])
  found = levels(both)
  correlation = found.correlation
  beside = correlation > _STEREO and abs(found.ratio_db) < _BESIDE_DB
  if correlation > _EQUAL or beside:
    return [
      f"channel {channel} is nearly the same as channel 0: ordinary stereo, not"
      " near and far"
    ]
  if correlation < -_EQUAL:
    return [f"channel {channel} is nearly channel 0 with its sign reversed"]
  return []


def levels(audio: np.ndarray) -> Levels:
  """Measures a clip.

  Args:
    audio: `[C, S]` int16 or float32.

  Returns:
    Levels of its first two channels.
  """
  scale = 32_768 if audio.dtype == np.int16 else 1
  x = audio[:2].astype(np.float32) / scale
  x -= x.mean(axis=1, keepdims=True, dtype=np.float64).astype(np.float32)
  # Pairwise sums of squares: a dot product in float32 loses digits.
  power = [float(np.mean(np.square(row), dtype=np.float64)) for row in x]
  near, *far = (10 * math.log10(p + 1e-18) for p in power)
  if not far:
    return Levels(near, math.nan, math.nan)
  cross = float(np.mean(x[0] * x[1], dtype=np.float64))
  size = math.sqrt(math.prod(power))
  return Levels(near, far[0], cross / size if size else 0.0)


def said(found: Levels) -> str:
  """Levels as a note, which travels with what is kept of a clip."""
  return _TEXT.format(*found)


def split(
  notes: Iterable[str],
) -> tuple[list[str], list[tuple[str, Levels]]]:
  """Takes the notes of `said` out of others.

  Args:
    notes: `file: text` each.

  Returns:
    The other notes; files with their levels.
  """
  others, found = [], []
  for note in notes:
    if match := _LEVELS.fullmatch(note):
      file, *numbers = match.groups()
      found.append((file, Levels(*map(float, numbers))))
    else:
      others.append(note)
  return others, found


def usual(some: Sequence[Levels]) -> dict[str, list[float]]:
  """What most of a machine's training clips are like.

  Args:
    some: their levels.

  Returns:
    For `near_db`, and of two channels `far_db`, `ratio_db` and `correlation`:
    what one of ten, one of two, and nine of ten clips are below.
  """
  out = {}
  for name in ("near_db", "far_db", "ratio_db", "correlation"):
    values = np.array([getattr(x, name) for x in some])
    values = values[np.isfinite(values)]
    if len(values):
      # Those of a few odd clips do not move these.
      out[name] = np.quantile(values, _SHARES).round(3).tolist()
  return out


def beside(found: Levels, usual: Mapping[str, Sequence[float]]) -> list[str]:
  """Says where a clip is unlike the training clips.

  Args:
    found: its levels.
    usual: of the training clips; empty where they are not known.

  Returns:
    Short sentences that do not name the file.
  """
  notes = []
  silent = min(found.near_db, found.far_db) < SILENT_DB
  for channel, name in enumerate(("near_db", "far_db")):
    value = getattr(found, name)
    if name not in usual or math.isnan(value) or value < SILENT_DB:
      continue
    low, _, high = usual[name]
    if not low - _MARGIN_DB <= value <= high + _MARGIN_DB:
      notes.append(
        f"the level of channel {channel} is far from the training clips'"
        f" ({value:.0f} dB; there {low:.0f} to {high:.0f} dB)"
      )
  if silent or "ratio_db" not in usual or math.isnan(found.ratio_db):
    return notes
  low, _, high = usual["ratio_db"]
  sided = low > _SIDE_DB or high < -_SIDE_DB
  if sided and low - _SWAPPED_DB <= -found.ratio_db <= high + _SWAPPED_DB:
    own = found.ratio_db
    if not low - _SIDE_DB <= own <= high + _SIDE_DB and own * (low + high) < 0:
      notes.append(
        "near and far look swapped (channel 0 over channel 1:"
        f" {own:.0f} dB; training clips {low:.0f} to {high:.0f} dB)"
      )
  low, _, high = usual["correlation"]
  own = found.correlation
  if (low > _SIDE and own < -_SIDE) or (high < -_SIDE and own > _SIDE):
    notes.append(
      f"the correlation of the channels has changed its sign ({own:.2f};"
      f" training clips {low:.2f} to {high:.2f}): is one microphone reversed?"
    )
  return notes


def of_all(
  found: Iterable[tuple[str, Levels]], usual: Mapping[str, Sequence[float]]
) -> list[str]:
  """Says which of many clips are unlike the training clips, see `beside`.

  Args:
    found: files with their levels.
    usual: of the training clips.

  Returns:
    `file: text` each.
  """
  return [f"{name}: {text}" for name, x in found for text in beside(x, usual)]
