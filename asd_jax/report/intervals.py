"""Differences of two systems as intervals: how far each is from none."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from asd_jax.metrics import paired
from asd_jax.report import figures, seeds

if TYPE_CHECKING:
  from matplotlib.axes import Axes

_OVER_SEEDS, _OVER_CLIPS = "over seeds", "over test clips"
LOOKS = {_OVER_SEEDS: seeds.FIRST, _OVER_CLIPS: seeds.SECOND}


class Row(NamedTuple):
  """Differences B - A, fractions.

  Attributes:
    name: of the machine.
    seeds: over seeds, None if there is no test over them.
    clips: over test clips, None if there is none.
  """

  name: str
  seeds: paired.Comparison | None
  clips: paired.Comparison | None


def _bar(
  axes: "Axes", record: paired.Comparison, y: float, look: seeds.Look
) -> None:
  """One difference, with its interval if it has one."""
  if ends := record.interval:
    axes.hlines([y], 100 * ends.low, 100 * ends.high, color=look.colour, lw=1.8)
    axes.vlines([100 * ends.low, 100 * ends.high], y - 0.07, y + 0.07,
                color=look.colour, lw=1.2)  # fmt: skip
  axes.plot([100 * record.difference], [y], look.marker, ms=5,
            mfc=look.colour, mec=look.colour)  # fmt: skip


def _keys(rows: Sequence[Row]) -> list[Any]:
  """What the legend explains: the kinds of interval that there are."""
  from matplotlib.lines import Line2D

  there = {
    _OVER_SEEDS: any(r.seeds for r in rows),
    _OVER_CLIPS: any(r.clips for r in rows),
  }
  return [
    Line2D([], [], marker=look.marker, color=look.colour, ms=5, label=label)
    for label, look in LOOKS.items()
    if there[label]
  ]


def draw(rows: Sequence[Row]) -> str:
  """A line a test, its mark on the difference, the upright one at zero.

  Args:
    rows: the official score and machines, at least one.

  Returns:
    SVG.
  """
  with figures.drawing():
    label = "B - A, points (right: B is higher)"
    fig, axes = seeds.canvas([r.name for r in rows], 0.5, label=label)
    axes.axvline(0.0, color=figures.INK, lw=1.2)
    for y, row in enumerate(rows):
      found = [(row.seeds, seeds.FIRST), (row.clips, seeds.SECOND)]
      found = [(r, look) for r, look in found if r]
      # Two lie one below the other, a single one beside its name.
      places = (-0.18, 0.18) if len(found) > 1 else (0.0,)
      for (record, look), shift in zip(found, places, strict=True):
        _bar(axes, record, y + shift, look)
      if y:
        axes.axhline(y - 0.5, color=figures.FAINT, lw=0.4)
    seeds.legend(fig, _keys(rows))
    return figures.svg(fig, "Intervals of B - A; the numbers are in the tables")


def figure(rows: Sequence[Row]) -> str:
  """The picture with its caption.

  Args:
    rows: the official score and machines; rows without any test are left out,
      and the first are shown where there are many.

  Returns:
    HTML; "" if nothing was tested.
  """
  tested = [r for r in rows if r.seeds or r.clips]
  if not tested:
    return ""
  shown = tested[: seeds.MAX_SHOWN + 1]
  caption = (
    "Mark: the difference B - A. Line: its 95 % interval. Where it crosses the"
    " upright line at zero, the two cannot be told apart."
  )
  if left_out := len(tested) - len(shown):
    caption += f" {left_out} more machines are in the tables."
  return f"<figure>{draw(shown)}<figcaption>{caption}</figcaption></figure>"
