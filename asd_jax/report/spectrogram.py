"""Spectrograms of suspicious clips, with the reason along their edges."""

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from asd_jax.ops import filterbank, signal
from asd_jax.report import figures, record

if TYPE_CHECKING:
  from matplotlib.axes import Axes

_TICKS_HZ = (250, 500, 1000, 2000, 4000, 8000, 16_000, 32_000)


@functools.lru_cache(maxsize=4)
def _filters(num_mels: int, size: int, rate: int) -> np.ndarray:
  return filterbank.mel_filters(
    "slaney", num_mels, fft_samples=size, sample_rate=rate
  )


def mel_spectrogram(
  wave: np.ndarray, rate: int, *, num_mels: int = 72, max_frames: int = 220
) -> np.ndarray:
  """Log-mel spectrogram for the eye.

  Args:
    wave: `[S]` samples in [-1, 1).
    rate: Hz.
    num_mels: bands M.
    max_frames: frames at most.

  Returns:
    `[T, M]` dB.
  """
  # More frames than pixels would only make the page larger.
  size = 1024
  hop = max(256, -(-len(wave) // max_frames))
  padded = np.pad(wave, (0, max(0, size - len(wave))))
  frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop]
  power = np.abs(np.fft.rfft(frames * signal.periodic_hann(size))) ** 2  # [T,F]
  filters = _filters(num_mels, size, rate)
  return 10 * np.log10(power @ filters + 1e-12)


def _mel_ticks(axes: "Axes", rate: int) -> None:
  shown = [f for f in _TICKS_HZ if f <= rate / 2 * 1.01]
  top = filterbank.slaney_mel(np.array(rate / 2.0))
  axes.set_yticks(
    filterbank.slaney_mel(np.array(shown, float)) / top,
    [f"{f / 1000:g}" for f in shown],
  )


def panel(
  axes: "Axes",
  spectrum: np.ndarray,
  rate: int,
  *,
  seconds: float,
  limits: tuple[float, float],
) -> None:
  """Draws one spectrogram over time and a mel axis with ticks in kHz.

  Args:
    axes: where.
    spectrum: `[T, M]` dB.
    rate: Hz; the top of the axis is half of it.
    seconds: length of the clip.
    limits: dB of the darkest and the brightest colour.
  """
  # An image and no shapes: a spectrogram has some 16,000 cells.
  axes.imshow(
    spectrum.T, origin="lower", aspect="auto", interpolation="none",
    cmap="magma", vmin=limits[0], vmax=limits[1], extent=(0, seconds, 0, 1),
  )  # fmt: skip
  _mel_ticks(axes, rate)


def scale(axes: "Axes", limits: tuple[float, float]) -> None:
  """Draws the colours of `panel` with their levels, upright.

  Args:
    axes: where.
    limits: dB of the darkest and the brightest colour.
  """
  # Levels have no fixed zero: they are told below the brightest.
  # Silence has one level.
  span = max(limits[1] - limits[0], 1.0)
  axes.imshow(
    np.linspace(0, 1, 64)[:, None], origin="lower", aspect="auto",
    cmap="magma", extent=(0, 1, -span, 0),
  )  # fmt: skip
  axes.set_xticks([])
  axes.yaxis.tick_right()
  axes.set_title("dB")


def limits_of(spectra: Sequence[np.ndarray]) -> tuple[float, float]:
  """Colour limits that some `[T, M]` spectrograms share, dB."""
  low, high = np.percentile(
    np.concatenate([s.ravel() for s in spectra]), (5, 99.7)
  )
  # 70 dB is what the eye can tell apart; silence below it is black.
  return max(low, high - 70), high


def is_silent(wave: np.ndarray) -> bool:
  """Whether a channel `[S]` never changes, as one without a microphone."""
  return bool(np.all(wave == wave[0]))


def band_level(
  spectrum: np.ndarray, rate: int, low: float, high: float
) -> float:
  """Mean level in a frequency band.

  Args:
    spectrum: `[T, M]` dB, of `mel_spectrogram`.
    rate: Hz.
    low: lower edge, Hz.
    high: upper edge, Hz.

  Returns:
    dB.
  """
  num = spectrum.shape[1]
  top = filterbank.slaney_mel(np.array(rate / 2.0))
  ends = filterbank.slaney_mel(np.array([low, high])) / top * num
  first = min(round(float(ends[0])), num - 1)
  inside = spectrum[:, first : max(round(float(ends[1])), first + 1)]
  return float(10 * np.log10(np.mean(10 ** (inside / 10))))


# Places of a picture, inches: all is drawn on one pair of axes, because each
# further one with its ticks takes as long as the whole rest.
_WIDTH = 4.7
_LEFT, _RIGHT = 0.55, 3.95
_PANEL, _GAP, _FOOT, _BARS, _HEAD = 1.25, 0.1, 0.74, 0.42, 0.24
_ABOVE = 0.1  # between the highest panel and its bars
_SMALL = 8.5
# More colours than the eye tells apart in noise make the picture large.
_NUM_COLOURS = 32
_NUM_FRAMES = 170


class Scale(NamedTuple):
  """What the pictures of a card share.

  Attributes:
    rate: Hz.
    seconds: of the longest.
    limits: dB of the darkest and the brightest colour.
  """

  rate: int
  seconds: float
  limits: tuple[float, float]


def _image(
  axes: "Axes", values: np.ndarray, extent: tuple, limits: Any
) -> None:
  import matplotlib as mpl

  axes.imshow(
    values, origin="lower", aspect="auto", interpolation="none",
    cmap=mpl.colormaps["magma"].resampled(_NUM_COLOURS), vmin=limits[0],
    vmax=limits[1], extent=extent,
  )  # fmt: skip


def _lines(axes: "Axes", ends: Sequence[Any], colour: str) -> None:
  from matplotlib.collections import LineCollection

  axes.add_collection(
    LineCollection(list(ends), colors=colour, linewidths=0.7), autolim=False
  )


def _boxes(
  axes: "Axes", corners: Sequence[Any], colours: Sequence[Any], edge: Any
) -> None:
  """Rectangles `(x0, x1, y0, y1)`: one shape, where each would take as long."""
  from matplotlib.collections import PolyCollection

  shapes = [[(a, c), (b, c), (b, d), (a, d)] for a, b, c, d in corners]
  axes.add_collection(
    PolyCollection(shapes, facecolors=colours, edgecolors=edge, linewidths=0.6),
    autolim=False,
  )


def _frequencies(axes: "Axes", foot: float, title: str, rate: int) -> None:
  """Ticks in kHz at the left of a panel, and what the panel is."""
  shown = np.array([f for f in _TICKS_HZ[1:] if f <= rate / 2 * 1.01], float)
  top = filterbank.slaney_mel(np.array(rate / 2.0))
  places = foot + _PANEL * filterbank.slaney_mel(shown) / top
  ends = [((_LEFT - 0.04, y), (_LEFT, y)) for y in places]
  _lines(axes, ends, figures.FAINT)
  for hertz, y in zip(shown, places, strict=True):
    axes.text(_LEFT - 0.07, y, f"{hertz / 1000:g}", ha="right", va="center",
              fontsize=_SMALL)  # fmt: skip
  axes.text(0.02, foot + _PANEL / 2, f"{title}, kHz", rotation=90, va="center")


def _times(axes: "Axes", seconds: float) -> None:
  """Ticks in seconds below the lowest panel."""
  from matplotlib.ticker import MaxNLocator

  ticks = np.asarray(MaxNLocator(5).tick_values(0, seconds))
  ticks = ticks[(ticks >= 0) & (ticks <= seconds * 1.001)]
  places = _LEFT + (_RIGHT - _LEFT) * ticks / seconds
  _lines(axes, [((x, _FOOT - 0.04), (x, _FOOT)) for x in places], figures.FAINT)
  shown = [f"{value:g}" for value in ticks]
  shown[-1] += " s"
  for label, x in zip(shown, places, strict=True):
    axes.text(x, _FOOT - 0.07, label, ha="center", va="top", fontsize=_SMALL)


def _levels(axes: "Axes", limits: tuple[float, float]) -> None:
  """The colours with their levels, below the loudest shown."""
  import matplotlib as mpl

  colours = list(mpl.colormaps["magma"](np.linspace(0, 1, _NUM_COLOURS)))
  edges = np.linspace(_LEFT, _RIGHT, _NUM_COLOURS + 1)
  boxes = [
    (a, b, 0.27, 0.37) for a, b in zip(edges[:-1], edges[1:], strict=True)
  ]
  # Edges of its own colour: gaps would show between the boxes.
  _boxes(axes, boxes, colours, colours)
  span = limits[1] - limits[0]
  for part in (0, 0.5, 1):
    level = f"{(part - 1) * span:.0f}" if part < 1 else "0 dB"
    axes.text(_LEFT + (_RIGHT - _LEFT) * part, 0.23, level, ha="center",
              va="top", fontsize=_SMALL)  # fmt: skip


def _spans(drop: np.ndarray) -> tuple[float, float]:
  """Ends of a scale that holds all bars and zero."""
  low, high = min(float(drop.min()), 0.0), max(float(drop.max()), 0.0)
  return (low, high) if high > low else (0.0, 1.0)


def _told(drop: float, unit: float | None) -> str:
  return f"{drop:.2g}" if unit is None else f"{100 * drop / unit:.0f} %"


def _reason(
  axes: "Axes",
  foot: float,
  reason: record.Reason,
  rate: int,
  unit: float | None,
) -> None:
  """Bars of what raises the score (filled) and what lowers it (outline).

  Args:
    axes: where.
    foot: of the panel that they stand around.
    reason: what raises the score.
    rate: Hz.
    unit: what counts as a hundred per cent; None writes drops of the score.
  """
  top = foot + _PANEL
  low, high = _spans(reason.time)
  height = lambda v: top + _ABOVE + _BARS * (v - low) / (high - low)
  across = lambda s: _LEFT + (_RIGHT - _LEFT) * s / reason.seconds[-1]
  edges = across(reason.seconds)
  boxes = [
    (a + 0.02, b - 0.02, height(0), height(v))
    for a, b, v in zip(edges[:-1], edges[1:], reason.time, strict=True)
  ]
  _lines(axes, [((_LEFT, height(0)), (_RIGHT, height(0)))], figures.INK)
  # Two numbers in one place cannot be read.
  apart = [v for v in (low, high) if abs(v) > 0.3 * (high - low)]
  for value, label in [(0.0, "0"), *((v, _told(v, unit)) for v in apart)]:
    axes.text(_LEFT - 0.07, height(value), label, ha="right", va="center",
              fontsize=_SMALL)  # fmt: skip
  axes.text(_LEFT, height(high) + 0.08, "what raises the score: when (above),"
            " where (right)", va="bottom")  # fmt: skip
  low, high = _spans(reason.band)
  wide = lambda v: _RIGHT + 0.1 + 0.5 * (v - low) / (high - low)
  mels = filterbank.slaney_mel(reason.hertz)
  edges = foot + _PANEL * mels / filterbank.slaney_mel(np.array(rate / 2.0))
  boxes += [
    (wide(0), wide(v), a + 0.01, b - 0.01)
    for a, b, v in zip(edges[:-1], edges[1:], reason.band, strict=True)
  ]
  _lines(axes, [((wide(0), foot), (wide(0), top))], figures.INK)
  told = {"ha": "center", "va": "bottom", "fontsize": _SMALL}
  axes.text(wide(high), top + 0.03, _told(high, unit), **told)
  every = np.concatenate([reason.time, reason.band])
  colours = [figures.ACCENT if v > 0 else "none" for v in every]
  _boxes(axes, boxes, colours, figures.ACCENT)


def scale_of(waves: Sequence[np.ndarray], rate: int) -> tuple[Scale, list[Any]]:
  """Spectrograms of some clips and the scale that they share.

  Args:
    waves: `[C, S]` samples in [-1, 1) each, near first.
    rate: Hz.

  Returns:
    The scale, and C spectrograms `[T, M]` of each clip, dB.
  """
  spectra = [
    [mel_spectrogram(x, rate, max_frames=_NUM_FRAMES) for x in wave]
    for wave in waves
  ]
  heard = [
    spectrum
    for wave, own in zip(waves, spectra, strict=True)
    for channel, spectrum in zip(wave, own, strict=True)
    if not is_silent(channel)
  ]
  # Silence would only darken what can be seen.
  limits = limits_of(heard) if heard else (-1.0, 0.0)
  seconds = max(wave.shape[1] for wave in waves) / rate
  return Scale(rate, seconds, limits), spectra


def clip(
  sound: record.Sound,
  spectra: Sequence[np.ndarray],
  scale: Scale,
  *,
  reason: record.Reason | None = None,
  unit: float | None = None,
) -> str:
  """Near and far spectrograms with the reason along their edges.

  Args:
    sound: the clip.
    spectra: `[T, M]` dB of each channel.
    scale: what it shares with the picture beside it.
    reason: what raises the score, or None.
    unit: drop of the score that counts as a hundred per cent; without it the
      reason's scale is that of the score.

  Returns:
    SVG.
  """
  num, rate = len(spectra), scale.rate
  length = sound.wave.shape[1] / rate
  foot = _FOOT + (num - 1) * (_PANEL + _GAP)
  height = foot + _PANEL + (_ABOVE + _BARS + _HEAD if reason else 0.08)
  with figures.drawing():
    fig = figures.figure(_WIDTH, height, left=0, right=0, top=0, bottom=0)
    axes = fig.add_subplot()
    axes.set_axis_off()
    names = ("near", "far") if num > 1 else ("spectrogram",)
    end = _LEFT + (_RIGHT - _LEFT) * length / scale.seconds
    for i, (title, wave) in enumerate(zip(names, sound.wave, strict=False)):
      low = foot - i * (_PANEL + _GAP)
      extent = (_LEFT, end, low, low + _PANEL)
      _frequencies(axes, low, title, rate)
      # Black would look like a picture of something.
      if is_silent(wave):
        middle = (_LEFT + end) / 2, low + _PANEL / 2
        axes.text(*middle, "no signal", ha="center", va="center")
        a, b, c, d = extent
        box = [(a, c), (b, c), (b, d), (a, d), (a, c)]
        _lines(axes, [box], figures.FAINT)
        continue
      _image(axes, spectra[i].T, extent, scale.limits)
    _times(axes, scale.seconds)
    _levels(axes, scale.limits)
    if reason:
      _reason(axes, foot, reason, rate, unit)
    axes.set(xlim=(0, _WIDTH), ylim=(0, height))
    label = f"Spectrograms of {sound.name}, near above far"
    return figures.svg(
      fig, label if num > 1 else f"Spectrogram of {sound.name}"
    )
