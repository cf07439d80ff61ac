"""Figures of the report: SVG that follows the page's colours and fonts.

Colours are drawn as marks and then replaced by the page's CSS variables, so
that one picture is readable on light, dark and paper.
"""

import contextlib
import hashlib
import io
import re
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from asd_jax.metrics import roc as ranking
from asd_jax.report import record, text

if TYPE_CHECKING:
  from matplotlib.figure import Figure

# Mark in the picture -> CSS.
_COLOURS = {
  "#010203": "currentColor",
  "#010204": "var(--faint)",
  "#010205": "var(--normal)",
  "#010206": "var(--anomaly)",
  "#010207": "var(--accent)",
}
INK, FAINT, NORMAL, ANOMALY, ACCENT = _COLOURS
_STYLE = {
  # Text stays text: in the page's font, searchable, of a few bytes.
  "svg.fonttype": "none",
  "font.family": "sans-serif",
  "font.sans-serif": ["DejaVu Sans"],
  "font.size": 9,
  # A file name with two dollar signs is no formula.
  "text.parse_math": False,
  "text.color": INK,
  "axes.edgecolor": FAINT,
  "axes.labelcolor": INK,
  "axes.titlesize": 9,
  "axes.titlelocation": "left",
  # A fixed place: to look for one, each axes lays its ticks out a second time.
  "axes.titley": 1.0,
  "axes.spines.top": False,
  "axes.spines.right": False,
  "axes.unicode_minus": False,
  "axes.linewidth": 0.8,
  "xtick.color": INK,
  "ytick.color": INK,
  "legend.frameon": False,
  "legend.fontsize": 8,
  "hatch.linewidth": 0.8,
}
MAX_FPR = 0.1


@contextlib.contextmanager
def drawing() -> Iterator[None]:
  """Sets matplotlib's style for the pictures drawn inside."""
  import matplotlib as mpl  # slow to import

  with mpl.rc_context(_STYLE), warnings.catch_warnings():
    # The page's fonts show the text; matplotlib's only measures it.
    warnings.filterwarnings("ignore", message="Glyph .* missing")
    warnings.filterwarnings("ignore", message="Matplotlib currently does not")
    yield


def figure(
  width: float,
  height: float,
  *,
  left: float,
  top: float = 0.1,
  right: float,
  bottom: float = 0.5,
) -> "Figure":
  """A figure without any window; sizes and margins in inches.

  Fixed margins: matplotlib's layout engines double the time to draw.
  """
  from matplotlib.figure import Figure

  fig = Figure(figsize=(width, height))
  fig.subplots_adjust(
    left=left / width,
    right=1 - right / width,
    bottom=bottom / height,
    top=1 - top / height,
  )
  return fig


def svg(fig: "Figure", label: str) -> str:
  """Draws to SVG for use inside a page, with a label for screen readers."""
  out = io.StringIO()
  # Without a date: equal runs give equal bytes.
  fig.savefig(
    out, format="svg", transparent=True, metadata={"Date": None, "Creator": ""}
  )
  found = out.getvalue()
  found = found[found.index("<svg") :]
  found = re.sub(r"<metadata>.*?</metadata>\s*", "", found, flags=re.DOTALL)
  found = re.sub(r"<!--.*?-->\s*", "", found, flags=re.DOTALL)
  found = re.sub(r'<g id="[A-Za-z]+[0-9._a-z]*">', "<g>", found)
  # Names inside one picture must not meet those of another.
  prefix = (
    "p" + hashlib.sha256((text.visible(label) + found).encode()).hexdigest()[:8]
  )
  found = re.sub(r'(id="|#)([a-z][0-9a-f]{10})', rf"\g<1>{prefix}\2", found)
  found = re.sub(r'(id="|"#)(image[0-9a-f]+)', rf"\g<1>{prefix}\2", found)
  found = re.sub(r"font: ([0-9.]+)px [^;\"]*", r"font-size: \1px", found)
  found = re.sub(r"\n\s*", "\n", found)
  for mark, css in _COLOURS.items():
    found = found.replace(mark, css)
  width, height = 72 * fig.get_size_inches()
  inside = found[found.index(">", found.index("<svg ")) + 1 :].strip()
  return (
    f'<svg viewBox="0 0 {width:g} {height:g}" role="img"'
    f' style="max-width:{1.25 * width:.0f}px" aria-label="{text.escape(label)}"'
    f' xmlns:xlink="http://www.w3.org/1999/xlink">{inside}'
  )


def roc_points(
  score: np.ndarray, is_anomaly: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:
  """False- and true-positive rates, or None where a class is missing."""
  if is_anomaly.all() or not is_anomaly.any():
    return None
  return ranking.curve(score, is_anomaly)


def _roc_sets(clips: record.Section) -> list[tuple[str, np.ndarray]]:
  """Which clips each curve is of, as the official AUCs take them."""
  if clips.is_target is None or clips.is_anomaly is None:
    return [("all clips", np.ones(len(clips.score), bool))]
  return [
    ("source", clips.is_anomaly | ~clips.is_target),
    ("target", clips.is_anomaly | clips.is_target),
  ]


def roc(clips: record.Section, name: str) -> str | None:
  """ROC curves with the 0.1 false-positive line; None without labels.

  Args:
    clips: scores of one section.
    name: what to call it for a screen reader.

  Returns:
    SVG.
  """
  if clips.is_anomaly is None:
    return None
  curves = [
    (label, roc_points(clips.score[keep], clips.is_anomaly[keep]))
    for label, keep in _roc_sets(clips)
  ]
  if not any(points for _, points in curves):
    return None
  with drawing():
    fig = figure(3.3, 3.2, left=0.6, right=0.1)
    axes = fig.subplots()
    axes.plot([0, 1], [0, 1], color=FAINT, lw=0.8)
    axes.axvline(MAX_FPR, color=INK, lw=0.8, ls=(0, (1, 2)))
    axes.text(MAX_FPR + 0.02, 0.02, "0.1", fontsize=8)
    # Dashes beside colours, for paper and for eyes that cannot tell them
    # apart.
    looks = ((NORMAL, "-"), (ANOMALY, (0, (5, 2))))
    for (label, points), (colour, dash) in zip(curves, looks, strict=False):
      if points:
        axes.plot(*points, color=colour, ls=dash, lw=1.6, label=label)
    axes.set(
      xlim=(-0.01, 1.01),
      ylim=(-0.01, 1.01),
      xlabel="false-positive rate",
      ylabel="true-positive rate",
      aspect="equal",
    )
    axes.legend(loc="lower right")
    return svg(fig, f"ROC curves of {name}; AUCs are in the table")


def _groups(clips: record.Section) -> list[tuple[str, np.ndarray]]:
  if clips.is_target is None:
    return [("test clips", np.ones(len(clips.score), bool))]
  rows = [("source", ~clips.is_target), ("target", clips.is_target)]
  return [(label, keep) for label, keep in rows if keep.any()]


def _labels(
  clips: record.Section,
) -> list[tuple[str, np.ndarray, dict[str, Any]]]:
  plain = {"facecolor": NORMAL, "edgecolor": NORMAL, "alpha": 0.75}
  hatched = {"facecolor": "none", "edgecolor": ANOMALY, "hatch": "////"}
  if clips.is_anomaly is None:
    return [("unlabelled", np.ones(len(clips.score), bool), plain)]
  return [
    ("normal", ~clips.is_anomaly, plain),
    ("anomalous", clips.is_anomaly, hatched),
  ]


def _bins(clips: record.Section) -> np.ndarray:
  shown = [clips.score, clips.train]
  if np.isfinite(clips.threshold):
    shown.append(np.array([clips.threshold]))
  low, high = min(map(np.min, shown)), max(map(np.max, shown))
  # All scores may be equal.
  pad = 0.02 * (high - low) or 0.5
  num = int(np.clip(np.sqrt(len(clips.score)) * 2.5, 8, 30))
  return np.linspace(low - pad, high + pad, num + 1)


def histogram(clips: record.Section, name: str) -> str | None:
  """Histograms per domain and label with the threshold; None without clips.

  Args:
    clips: scores of one section.
    name: what to call it for a screen reader.

  Returns:
    SVG.
  """
  if not len(clips.score):
    return None
  rows = _groups(clips)
  bins = _bins(clips)
  limit = clips.threshold
  with drawing():
    fig = figure(3.9, 1.0 + 1.1 * len(rows), left=0.55, right=0.1, top=0.3)
    grid = fig.subplots(
      len(rows), 1, sharex=True, squeeze=False, gridspec_kw={"hspace": 0.35}
    )[:, 0]
    for axes, (title, keep) in zip(grid, rows, strict=True):
      for label, of_label, look in _labels(clips):
        values = clips.score[keep & of_label]
        if len(values):
          # One shape, where bars would be thirty.
          axes.hist(values, bins, histtype="stepfilled",
                    label=f"{label} ({len(values)})", **look)  # fmt: skip
      # As high as if there were as many of them as test clips.
      weights = np.full(len(clips.train), keep.sum() / len(clips.train))
      axes.hist(clips.train, bins, weights=weights, histtype="step",
                edgecolor=INK, linewidth=0.8, label="training")  # fmt: skip
      if np.isfinite(limit):
        axes.axvline(limit, color=INK, lw=1.2, ls=(0, (4, 2)))
      axes.set_title(title)
      axes.set_ylabel("clips")
      axes.yaxis.get_major_locator().set_params(integer=True, nbins=3)
      place = {"loc": "lower right", "bbox_to_anchor": (1.02, 0.95)}
      axes.legend(**place, ncols=3, borderaxespad=0, columnspacing=0.9,
                  handlelength=1.3, handletextpad=0.5)  # fmt: skip
    dashed = f" (dashed: threshold {limit:.4g})" if np.isfinite(limit) else ""
    grid[-1].set_xlabel(f"anomaly score{dashed}")
    where = f"; threshold {limit:.4g}" if np.isfinite(limit) else ""
    return svg(fig, f"Histograms of the scores of {name}{where}")
