"""Seeds in the report: how far a score moves when a system is trained again."""

import unicodedata
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from asd_jax.report import figures, record, text
from asd_jax.report import published as published_numbers

if TYPE_CHECKING:
  from matplotlib.axes import Axes
  from matplotlib.figure import Figure

TITLE = "Seeds"
# Beyond these a figure or a table is too large to read.
MAX_SHOWN = 30  # machines
MAX_LISTED = 30  # seeds
_MAX_NAME = 24
_MAX_NAMED = 8
_FEW = 12  # seeds whose dots stay on one line
ALL = "all (official score)"
EXPLAINED = (
  "Each dot is the score of one seed: the same system trained again from other"
  " random numbers, on the same clips. Differences between systems that are"
  " smaller than the spread of the dots are seed noise."
)


class Row(NamedTuple):
  """One row of dots; values are fractions.

  Attributes:
    name: of the machine.
    values: `[K]` one a seed, None where it is missing.
    ensemble: score of the seeds' mean scores, if known.
    published: number to compare with, if known.
  """

  name: str
  values: Sequence[float | None]
  ensemble: float | None = None
  published: float | None = None


class Look(NamedTuple):
  """How one system is drawn."""

  colour: str
  marker: str


FIRST = Look(figures.NORMAL, "o")
SECOND = Look(figures.ANOMALY, "s")


def named(names: Sequence[str] | Mapping[str, Any]) -> str:
  """`a, b and 3 more`, safe to print."""
  shown = [text.visible(n) for n in names]
  more = len(shown) - _MAX_NAMED
  return ", ".join(shown[:_MAX_NAMED]) + (f" and {more} more" * (more > 0))


def cell(plain: str) -> str:
  """A number or head of a table as HTML."""
  found = text.escape(plain).replace("+-", "&plusmn;").replace("-", "&minus;")
  for last in ("ensemble", "(Holm)", "wins"):  # narrow columns
    found = found.replace(f" {last}", f"<br>{last}")
  return found


def row_head(name: str) -> str:
  """A name as HTML that beside many columns keeps some width."""
  return f'<div style="min-width:6.5rem">{text.escape(name)}</div>'


def spread(values: Sequence[float | None]) -> tuple[float, float] | None:
  """Mean and standard deviation (ddof 1) of known values; None below two.

  Args:
    values: `[K]` one a seed, None where it is missing.

  Returns:
    Mean and standard deviation.
  """
  # A seed without a score must not count as zero.
  known = [v for v in values if v is not None]
  if len(known) < 2:
    return None
  return float(np.mean(known)), float(np.std(known, ddof=1))


def seed_name(entry: Mapping[str, Any]) -> str:
  """What to call an entry of `per_seed`; chosen members have a branch too.

  Args:
    entry: of results.json.

  Returns:
    The seed, or the branch and the seed.
  """
  # A member is a branch with its seed: two branches may share a seed.
  branch = entry.get("branch")
  return f"{branch} {entry['seed']}" if branch else str(entry["seed"])


def _short(name: str) -> str:
  name = text.visible(name)
  return name if len(name) <= _MAX_NAME else name[: _MAX_NAME - 1] + "…"


def canvas(
  names: Sequence[str], inches: float, *, label: str = "score (%)"
) -> "tuple[Figure, Axes]":
  """A figure with a named row every `inches`, the first on top.

  Args:
    names: of the rows.
    inches: height of a row.
    label: of the axis across.

  Returns:
    The figure and its axes.
  """
  # The margin is fixed by the longest name; CJK letters are twice as wide.
  shown = [_short(n) for n in names]
  widths = [
    sum(1 + (unicodedata.east_asian_width(c) in "WF") for c in n) for n in shown
  ]
  left = 0.25 + 0.075 * max(widths)
  height = 0.95 + inches * len(shown)
  fig = figures.figure(5.2, height, left=left, right=0.15, top=0.45)
  axes = fig.subplots()
  axes.set_yticks(range(len(shown)), shown)
  axes.set_ylim(len(shown) - 0.5, -0.5)
  axes.set_xlabel(label)
  axes.ticklabel_format(axis="x", useOffset=False)
  axes.tick_params(axis="y", length=0)
  axes.grid(axis="x", color=figures.FAINT, lw=0.4)
  axes.set_axisbelow(True)
  return fig, axes


def _places(values: Sequence[float | None], y: float, half: float) -> Any:
  """`[K]` per cent and heights of the dots; NaN where a value is missing."""
  found = np.array([np.nan if v is None else 100 * v for v in values])
  # Many dots spread over the row's height, each seed always in its place.
  turn = (0.618034 * np.arange(len(found)) + 0.5) % 1 - 0.5
  return found, y + 1.5 * half * turn * (len(found) > _FEW)


def _system(
  axes: "Axes", row: Row, y: float, half: float, look: Look
) -> tuple[np.ndarray, np.ndarray]:
  """Draws band, mean and dots of one system in one row."""
  points, heights = _places(row.values, y, half)
  # Many dots are smaller, so that the band behind stays visible.
  few = len(points) <= _FEW
  if both := spread(row.values):
    mean, std = 100 * both[0], 100 * both[1]
    axes.barh([y], [2 * std], 2 * half, mean - std, color=figures.FAINT,
              alpha=0.35, lw=0, zorder=1)  # fmt: skip
    axes.vlines([mean], y - half, y + half, color=figures.INK, lw=1.6, zorder=5)
  axes.plot(points, heights, look.marker, ms=4.5 if few else 3, mfc="none",
            mec=look.colour, mew=1.1 if few else 0.7, zorder=4)  # fmt: skip
  return points, heights


def _diamond(axes: "Axes", row: Row, y: float) -> None:
  """Draws the ensemble, beside the dots so that it hides none."""
  # The ensemble of one seed is that seed.
  if row.ensemble is not None and len(row.values) > 1:
    axes.plot([100 * row.ensemble], [y], "D", ms=4.5, mfc=figures.ACCENT,
              mec=figures.ACCENT, zorder=6)  # fmt: skip


def _keys(looks: Mapping[str, Look], published: bool) -> list[Any]:
  """What the legend explains."""
  from matplotlib.lines import Line2D
  from matplotlib.patches import Patch

  dots = [
    Line2D([], [], marker=k.marker, mfc="none", mec=k.colour, ls="", ms=4.5,
           mew=1.1, label=label)
    for label, k in looks.items()
  ]  # fmt: skip
  keys = [
    *dots,
    Patch(fc=figures.FAINT, alpha=0.35, lw=0, label="mean ± std"),
    Line2D([], [], marker="D", mfc=figures.ACCENT, mec=figures.ACCENT, ls="",
           ms=4.5, label="ensemble"),
  ]  # fmt: skip
  if published:
    keys.append(Line2D([], [], color=figures.INK, ls=":", label="published"))
  return keys


def legend(fig: "Figure", keys: Sequence[Any]) -> None:
  """Explains marks above the axes of `canvas`."""
  fig.legend(
    handles=keys,
    loc="upper left",
    ncols=len(keys),
    borderaxespad=0.2,
    columnspacing=1.2,
    handletextpad=0.4,
    handlelength=1.4,
  )


def dots(rows: Sequence[Row]) -> str:
  """One dot a seed, with mean, spread, ensemble and published number.

  Args:
    rows: one a machine, at least one.

  Returns:
    SVG.
  """
  with figures.drawing():
    fig, axes = canvas([r.name for r in rows], 0.42)
    for y, row in enumerate(rows):
      _system(axes, row, y - 0.1, 0.26, FIRST)
      _diamond(axes, row, y + 0.32)
      if row.published is not None:
        axes.vlines([100 * row.published], y - 0.45, y + 0.45, lw=1.6,
                    color=figures.INK, ls=":", zorder=3)  # fmt: skip
    published = any(r.published is not None for r in rows)
    legend(fig, _keys({"one seed": FIRST}, published))
    return figures.svg(fig, "Scores seed by seed; the numbers are in the table")


def pairs(rows: Sequence[tuple[Row, Row]], *, joined: bool = True) -> str:
  """Dots of two systems, A above B in each row.

  Args:
    rows: those of A and of B, at least one; the name is A's.
    joined: whether lines join the dots of the same place, which are of the
      same seed.

  Returns:
    SVG.
  """
  with figures.drawing():
    fig, axes = canvas([a.name for a, _ in rows], 0.8)
    for y, (a, b) in enumerate(rows):
      ax, ay = _system(axes, a, y - 0.2, 0.11, FIRST)
      bx, by = _system(axes, b, y + 0.2, 0.11, SECOND)
      _diamond(axes, a, y - 0.4)
      _diamond(axes, b, y + 0.4)
      if joined:
        axes.plot(
          np.stack([ax, bx]), np.stack([ay, by]), color=figures.FAINT, lw=0.7,
          zorder=2,
        )  # fmt: skip
      if y:
        axes.axhline(y - 0.5, color=figures.FAINT, lw=0.4)
    legend(fig, _keys({"A, one seed": FIRST, "B, one seed": SECOND}, False))
    return figures.svg(fig, "Scores of A and B seed by seed; see the table")


def _rows(
  results: Mapping[str, Any], runs: Sequence[Mapping[str, Any]]
) -> tuple[list[Row], list[str]]:
  """Rows to draw, and machines without any score of a seed."""
  known = published_numbers.totals(results)
  # Both sets in one run: the first row is of neither.
  alone = len(published_numbers.sets_of(results)) == 1
  total = next((p.published for p in known.values() if alone), None)
  scores = [s["official_score"] for s in runs]
  rows = [Row(ALL, scores, results["official_score"], total)]
  without = []
  for name, entry in results["machines"].items():
    found = [s["machines"].get(name, {}).get("score") for s in runs]
    if all(v is None for v in found):
      without.append(name)
    else:
      rows.append(Row(name, found, entry.get("score")))
  return rows, without


def _table(rows: Sequence[Row], seeds: Sequence[Any]) -> str:
  # A hundred columns are for a program, which reads results.json.
  listed = seeds if len(seeds) <= MAX_LISTED else []
  columns = [
    text.Column("score"),
    text.Column("mean"),
    text.Column("std", "K - 1 in the denominator"),
    text.Column("ensemble", "Score of the mean of the seeds' scores"),
    *(text.Column(f"seed {text.escape(s)}") for s in listed),
  ]
  cells = []
  for row in rows:
    numbers = [*(spread(row.values) or (None, None)), row.ensemble]
    numbers += row.values if listed else []
    cells.append([row_head(row.name), *map(text.percent, numbers)])
  caption = f"Percent, over {len(seeds)} seeds."
  if not listed:
    caption += " Seed by seed: <code>results.json</code>."
  return text.table(caption, columns, cells, name="seed-table")


def _caption(
  rows: Sequence[Row], left_out: int, without: Sequence[str], what: str
) -> str:
  caption = (
    "Circle: one seed. Line and band: mean and one standard deviation each"
    " way. Diamond: the ensemble, which is the score of the system's fused"
    " scores."
  )
  if rows[0].published is not None:
    caption += (
      f" Dotted: published ({100 * rows[0].published:.2f}){what}, on the"
      " challenge's recordings."
    )
  if left_out > 0:
    caption += f" {left_out} more machines are in the table."
  if without:
    caption += f" No score seed by seed: {text.escape(named(without))}."
  return caption


def section(run: record.Run) -> str:
  """How far the score moves from seed to seed; "" without scores.

  Args:
    run: the run.

  Returns:
    HTML.
  """
  results = run.results
  runs = [s for s in results["per_seed"] if s["official_score"] is not None]
  # Nobody asks how a system moves that draws nothing at random.
  if not runs or results.get("draws") is False:
    return ""
  start = '<section id="seeds"><h2>Spread over seeds</h2>'
  # Saying so is better than a section that silently is not there.
  if len(runs) == 1:
    return (
      f"{start}<p>One seed ({text.escape(runs[0]['seed'])}): no spread to"
      " show.</p></section>"
    )
  rows, without = _rows(results, runs)
  shown = rows[: MAX_SHOWN + 1]
  what = published_numbers.about(published_numbers.known(results))
  what = f", {text.escape(what)}" if what else ""
  caption = _caption(rows, len(rows) - len(shown), without, what)
  table = _table(rows, [seed_name(s) for s in runs])
  return (
    f"{start}<p>{EXPLAINED}</p>\n<figure>{dots(shown)}"
    f"<figcaption>{caption}</figcaption></figure>"
    f"<details><summary>Numbers</summary>{table}</details></section>"
  )


def pairs_figure(
  rows: Sequence[tuple[Row, Row]], *, joined: bool = True
) -> str:
  """The picture of two systems with its caption.

  Args:
    rows: as `pairs` takes them; the first ones are shown where there are many.
    joined: as `pairs` takes it.

  Returns:
    HTML.
  """
  shown = rows[: MAX_SHOWN + 1]
  caption = (
    "Circles: A; squares: B; one a seed. Line and band: mean and one standard"
    " deviation each way. Diamonds beside the dots: the ensembles."
  )
  caption += " Grey lines join the same seed." if joined else ""
  if left_out := len(rows) - len(shown):
    caption += f" {left_out} more machines are in the table."
  picture = pairs(shown, joined=joined)
  return f"<figure>{picture}<figcaption>{caption}</figcaption></figure>"
