"""Spectrograms of suspicious clips, with the reason along their edges."""

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

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


def limits_of(spectra: Sequence[np.ndarray]) -> tuple[float, float]:
  """Colour limits that some `[T, M]` spectrograms share, dB."""
  low, high = np.percentile(
    np.concatenate([s.ravel() for s in spectra]), (5, 99.7)
  )
  # 70 dB is what the eye can tell apart; silence below it is black.
  return max(low, high - 70), high


def _bars(
  axes: "Axes", edges: np.ndarray, drop: np.ndarray, *, sideways: bool
) -> None:
  """Bars of what raises the score (filled) and what lowers it (outline)."""
  from matplotlib.collections import PolyCollection

  middle, half = (edges[1:] + edges[:-1]) / 2, np.diff(edges) * 0.43
  low, high, zero = middle - half, middle + half, np.zeros_like(drop)
  along = np.stack([low, low, high, high], 1)
  up = np.stack([zero, drop, drop, zero], 1)
  corners = np.stack([up, along] if sideways else [along, up], -1)  # [N, 4, 2]
  # A part that lowers the score is as telling as one that raises it.
  look = [figures.ACCENT if d > 0 else "none" for d in drop]
  # One shape for all of them: matplotlib takes a millisecond a bar.
  axes.add_collection(
    PolyCollection(list(corners), fc=look, ec=figures.ACCENT, lw=0.6)
  )
  axes.autoscale_view()
  axes.set_axis_off()
  (axes.axvline if sideways else axes.axhline)(0, color=figures.INK, lw=0.7)


def _reason(
  above: "Axes",
  beside: "Axes",
  reason: record.Reason,
  seconds: float,
  rate: int,
) -> None:
  """Draws when and where beside the spectrograms, on their axes."""
  _bars(above, reason.seconds, reason.time, sideways=False)
  above.set_xlim(0, seconds)
  above.set_title("what raises the score: when (above), where (right)")
  top = filterbank.slaney_mel(np.array(rate / 2.0))
  edges = filterbank.slaney_mel(reason.hertz) / top
  _bars(beside, edges, reason.band, sideways=True)
  beside.set_ylim(0, 1)


def clip(
  wave: np.ndarray, rate: int, reason: record.Reason | None, name: str
) -> str:
  """Near and far spectrograms with the reason along their edges.

  Args:
    wave: `[C, S]` samples in [-1, 1), near first.
    rate: Hz.
    reason: what raises the score, or None.
    name: what to call the clip for a screen reader.

  Returns:
    SVG.
  """
  spectra = [mel_spectrogram(x, rate) for x in wave]
  low, high = limits_of(spectra)
  length = wave.shape[1] / rate
  with figures.drawing():
    # The bars of time need a row of their own above the spectrograms.
    first = 1 if reason else 0
    height = 0.8 + 1.6 * len(wave) + 0.6 * first
    fig = figures.figure(5.4, height, left=0.75, right=0.05, top=0.25)
    heights = [0.35] * first + [1.0] * len(wave)
    grid = fig.add_gridspec(
      len(heights),
      2,
      height_ratios=heights,
      width_ratios=(1, 0.16),
      wspace=0.04,
      hspace=0.1,
    )
    names = ("near", "far") if len(wave) > 1 else ("spectrogram",)
    for i, (spectrum, title) in enumerate(zip(spectra, names, strict=False)):
      axes = fig.add_subplot(grid[i + first, 0])
      panel(axes, spectrum, rate, seconds=length, limits=(low, high))
      axes.set_ylabel(f"{title}, kHz")
      # Channels share the time axis; it is labelled once, at the foot.
      if i + 1 < len(wave):
        axes.tick_params(labelbottom=False)
      else:
        axes.set_xlabel("time, s")
    if reason:
      above, beside = fig.add_subplot(grid[0, 0]), fig.add_subplot(grid[1, 1])
      _reason(above, beside, reason, length, rate)
    return figures.svg(fig, f"Spectrograms of {name}, near above far")
