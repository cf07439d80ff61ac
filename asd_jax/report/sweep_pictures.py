"""Pictures of a sweep: heat maps of two swept numbers, curves of one."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from asd_jax.metrics import choice
from asd_jax.report import figures, text

MAX_CURVES = 12
PAUC = "pAUC"
_LEAST_MAPPED = 5  # values; fewer are better seen as curves
_MAX_NAME = 28
_MAX_CELLS = 2500  # beyond, a heat map is a picture and not shapes
_MOST_TICKS = 8
_COLOURS = (figures.NORMAL, figures.ANOMALY, figures.ACCENT, figures.INK)
_LINES = ("-", "--", ":")
_MARKS = ("o", "s", "^", "D")
Settings = Mapping[str, Any]
Table = choice.Table


def shown(value: Any) -> str:
  """A swept value as plain text."""
  # Grids give numbers such as 0.30000000000000004.
  if isinstance(value, float):
    return f"{value:.4g}"
  found = text.visible(value)
  return found if len(found) <= _MAX_NAME else found[: _MAX_NAME - 1] + "…"


def described(settings: Settings) -> str:
  """`key = value` pairs as plain text, or a dash."""
  return ", ".join(f"{k} = {shown(v)}" for k, v in settings.items()) or "-"


def measure(table: Table) -> str:
  """What the scores of a table are called.

  Args:
    table: every setting.

  Returns:
    `official score`, or what its place is taken by where domains are unknown.
  """
  if choice.over(table)["is_official"]:
    return "official score"
  # Without any domain nothing but the pAUC can be measured.
  if all(s.is_target is None for s in table.sections):
    return PAUC
  return "mean of the known values"


def capital(words: str) -> str:
  """Words with a capital at the start; those that have one stay."""
  return words if words[1:2].isupper() else words[:1].upper() + words[1:]


def _is_number(value: Any) -> bool:
  # A bool is an int in Python, and no place on an axis.
  return isinstance(value, int | float) and not isinstance(value, bool)


def number_keys(table: Table) -> list[str]:
  """Swept keys with two or more values, all numbers; most values first."""
  out = []
  for key in table.keys:
    values = {repr(s[key]): s[key] for s in table.settings if key in s}
    if len(values) > 1 and all(map(_is_number, values.values())):
      out.append((-len(values), table.keys.index(key), key))
  return [key for _, _, key in sorted(out)]


def groups(table: Table, keys: Sequence[str]) -> dict[str, list[int]]:
  """Points by the settings of all but some keys.

  Args:
    table: every setting.
    keys: keys that vary inside a group.

  Returns:
    Description of the other settings to numbers of points.
  """
  out: dict[str, list[int]] = {}
  for point, settings in enumerate(table.settings):
    # What does not vary inside a group gives the group its name.
    rest = {k: v for k, v in settings.items() if k not in keys}
    out.setdefault(described(rest), []).append(point)
  return out


def _curve(
  axes: Any, number: int, x: Sequence[float], y: np.ndarray, label: str
) -> None:
  order = np.argsort(x)
  # Marks on every point of a fine grid would hide the curve.
  few = len(order) <= 40
  axes.plot(
    np.asarray(x, float)[order], 100 * y[order],
    color=_COLOURS[number % len(_COLOURS)],
    ls=_LINES[number // len(_COLOURS) % len(_LINES)],
    marker=_MARKS[number % len(_MARKS)] if few else None, ms=3, lw=1.2,
    label=label,
  )  # fmt: skip


def _frame(title: str, value: str, num_labels: int) -> tuple[Any, Any]:
  """A figure with room for a legend above it."""
  # The legend stands above in two columns and hides no curve.
  top = 0.25 + 0.19 * ((num_labels + 1) // 2)
  fig = figures.figure(6.2, 3.1 + top, left=0.65, right=0.2, top=top)
  axes = fig.subplots()
  axes.set_xlabel(title)
  axes.set_ylabel(f"{value} (%)")
  axes.grid(color=figures.FAINT, lw=0.4)
  axes.set_axisbelow(True)
  axes.ticklabel_format(useOffset=False)
  return fig, axes


def _is_geometric(values: Iterable[float]) -> bool:
  found = np.unique(np.asarray(list(values), float))
  # Few points show nothing of their spacing.
  if len(found) < 4 or found[0] <= 0:
    return False
  return found[-1] / found[0] > 50


def _log(axes: Any) -> None:
  """Makes the axis across logarithmic, with plain numbers at its ticks."""
  from matplotlib import ticker

  axes.set_xscale("log")
  # Its own labels are formulas, and text here is none (`figures`).
  plain = ticker.FuncFormatter(lambda value, _: f"{value:g}")
  axes.xaxis.set_major_formatter(plain)
  axes.xaxis.set_minor_formatter(ticker.NullFormatter())


def curves(table: Table, key: str) -> str:
  """The score over one key, a curve a combination of the others.

  Args:
    table: every setting.
    key: swept numbers.

  Returns:
    HTML of the figure; points without the key are level lines.
  """
  score = choice.columns(table, choice.ALL)[:, 3]
  value = measure(table)
  found = groups(table, [key])
  peak = lambda rows: float(np.nan_to_num(score[rows]).max())
  names = sorted(found, key=lambda n: -peak(found[n]))[:MAX_CURVES]
  names = [n for n in found if n in names]
  with figures.drawing():
    fig, axes = _frame(shown(key), value, len(names))
    for number, name in enumerate(names):
      rows = np.array(found[name])
      x = [table.settings[r].get(key) for r in rows]
      label = shown(name) if name != "-" else "all machines"
      if None in x:
        axes.axhline(100 * score[rows[0]], color=figures.FAINT, ls="--", lw=1.2,
                     label=f"{label} (without it)")  # fmt: skip
      else:
        _curve(axes, number, x, score[rows], label)
    if _is_geometric(s[key] for s in table.settings if key in s):
      _log(axes)
    best = int(np.nanargmax(score))
    if key in table.settings[best]:
      axes.plot([table.settings[best][key]], [100 * score[best]], "o", ms=9,
                mfc="none", mec=figures.INK, mew=1.2)  # fmt: skip
    if len(names) > 1:
      fig.legend(loc="upper left", ncols=2, borderaxespad=0.2)
    label = f"{capital(value)} over {key}; see sweep.csv"
    picture = figures.svg(fig, label)
  caption = f"{capital(value)} of all machines. Circle: the best setting."
  if len(found) > len(names):
    caption += f" {len(found) - len(names)} more curves are in sweep.csv."
  return _figure(picture, caption)


def by_machine(table: Table, key: str) -> str:
  """Score of each machine over one key, the others at the best setting.

  Args:
    table: every setting.
    key: swept numbers.

  Returns:
    HTML of the figure, or "" with one machine.
  """
  if len(table.machines) < 2:
    return ""
  score = choice.columns(table, choice.ALL)[:, 3]
  best = int(np.nanargmax(score))
  if key not in table.settings[best]:
    return ""
  rows = next(r for r in groups(table, [key]).values() if best in r)
  x = [table.settings[r][key] for r in rows]
  names = table.machines[:MAX_CURVES]
  with figures.drawing():
    fig, axes = _frame(shown(key), "score", len(names))
    for number, name in enumerate(names):
      own = choice.columns(table, name)[rows, 3]
      _curve(axes, number, x, own, shown(name))
    if _is_geometric(x):
      _log(axes)
    axes.axvline(table.settings[best][key], color=figures.FAINT, ls=":", lw=1)
    fig.legend(loc="upper left", ncols=2, borderaxespad=0.2)
    picture = figures.svg(fig, f"Scores by machine over {key}; see sweep.csv")
  caption = "Score of each machine; dotted: the best setting of all machines."
  return _figure(picture, caption)


def heat_map(table: Table, keys: tuple[str, str], rows: Sequence[int]) -> str:
  """The score over two keys.

  Args:
    table: every setting.
    keys: across and up.
    rows: points that differ in these keys only.

  Returns:
    HTML of the figure.
  """
  score = 100 * choice.columns(table, choice.ALL)[:, 3]
  value = measure(table)
  across, up = (sorted({table.settings[r][k] for r in rows}) for k in keys)
  grid = np.full((len(up), len(across)), np.nan)
  for r in rows:
    i = up.index(table.settings[r][keys[1]])
    grid[i, across.index(table.settings[r][keys[0]])] = score[r]
  with figures.drawing():
    # To the right: the colour bar's numbers and name.
    fig = figures.figure(6.2, 3.6, left=0.75, right=0.75, top=0.2)
    axes = fig.subplots()
    cells = axes.pcolormesh(
      np.arange(len(across)), np.arange(len(up)), grid, shading="nearest",
      cmap="viridis", rasterized=grid.size > _MAX_CELLS,
    )  # fmt: skip
    for axis, values, key in (
      (axes.xaxis, across, keys[0]), (axes.yaxis, up, keys[1])
    ):  # fmt: skip
      ticks = range(0, len(values), -(-len(values) // _MOST_TICKS))
      axis.set_ticks(ticks, [shown(values[t]) for t in ticks])
      axis.set_label_text(shown(key))
    if np.isfinite(grid).any():
      top = np.unravel_index(np.nanargmax(grid), grid.shape)
      # A white ring on a black one is seen on every colour of the map.
      for colour, width in (("black", 3.4), ("white", 1.4)):
        axes.plot([top[1]], [top[0]], "o", ms=9, mfc="none", mec=colour,
                  mew=width)  # fmt: skip
      bar = fig.colorbar(cells, ax=axes, fraction=0.05, pad=0.03)
      bar.set_label(f"{value} (%)")
    label = f"{capital(value)} over {keys[0]} and {keys[1]}"
    picture = figures.svg(fig, label)
  caption = f"{capital(value)}. Circle: the best setting here."
  return _figure(picture, caption)


def _figure(picture: str, caption: str) -> str:
  return (
    f"<figure>{picture}<figcaption>{text.escape(caption)}</figcaption></figure>"
  )


def pictures(table: Table) -> str:
  """Curves for one swept number, heat maps for two or more.

  Args:
    table: every setting.

  Returns:
    HTML; "" if no number is swept.
  """
  keys = number_keys(table)
  if not keys:
    return ""
  num = lambda key: len({s[key] for s in table.settings if key in s})
  if len(keys) == 1 or num(keys[1]) < _LEAST_MAPPED:
    return curves(table, keys[0]) + by_machine(table, keys[0])
  pair = (keys[0], keys[1])
  score = choice.columns(table, choice.ALL)[:, 3]
  found = {
    name: [r for r in rows if all(k in table.settings[r] for k in pair)]
    for name, rows in groups(table, pair).items()
  }
  peak = lambda rows: np.nan_to_num(score[rows]).max() if rows else -1.0
  order = sorted(found, key=lambda n: -peak(found[n]))
  out = ""
  for name in [n for n in order if found[n]][:4]:
    head = f"<h3>{text.escape(name)}</h3>" if name != "-" else ""
    out += head + heat_map(table, pair, found[name])
  if (left := len(found) - 4) > 0:
    out += f"<p>{text.plural(left, 'more map')} in sweep.csv.</p>"
  return out + by_machine(table, keys[0])
