"""The page of a sweep: heat map or curves, the best setting and tables."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from asd_jax.metrics import choice
from asd_jax.report import figures, text

MAX_CURVES = 12
_LEAST_MAPPED = 5  # values; fewer are better seen as curves
_MAX_NAME = 28
_MAX_CELLS = 2500  # beyond, a heat map is a picture and not shapes
_MOST_TICKS = 8
_TOP = 10
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


def _frame(title: str, num_labels: int) -> tuple[Any, Any]:
  """A figure with room for a legend above it."""
  # The legend stands above in two columns and hides no curve.
  top = 0.25 + 0.19 * ((num_labels + 1) // 2)
  fig = figures.figure(6.2, 3.1 + top, left=0.65, right=0.2, top=top)
  axes = fig.subplots()
  axes.set_xlabel(title)
  axes.set_ylabel("official score (%)")
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
  """Official score over one key, a curve a combination of the others.

  Args:
    table: every setting.
    key: swept numbers.

  Returns:
    HTML of the figure; points without the key are level lines.
  """
  score = choice.columns(table, choice.ALL)[:, 3]
  found = groups(table, [key])
  peak = lambda rows: float(np.nan_to_num(score[rows]).max())
  names = sorted(found, key=lambda n: -peak(found[n]))[:MAX_CURVES]
  names = [n for n in found if n in names]
  with figures.drawing():
    fig, axes = _frame(shown(key), len(names))
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
    picture = figures.svg(fig, f"Official score over {key}; see sweep.csv")
  caption = "Official score of all machines. Circle: the best setting."
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
    fig, axes = _frame(shown(key), len(names))
    axes.set_ylabel("score (%)")
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
  """Official score over two keys.

  Args:
    table: every setting.
    keys: across and up.
    rows: points that differ in these keys only.

  Returns:
    HTML of the figure.
  """
  score = 100 * choice.columns(table, choice.ALL)[:, 3]
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
      bar.set_label("official score (%)")
    picture = figures.svg(fig, f"Official score over {keys[0]} and {keys[1]}")
  return _figure(picture, "Official score. Circle: the best setting here.")


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


def _top_table(table: Table) -> str:
  score = choice.columns(table, choice.ALL)
  # Settings that failed come last, and equal ones in the order asked for.
  order = np.argsort(-np.nan_to_num(score[:, 3], nan=-1.0), kind="stable")
  heads = [
    text.Column("rank"),
    *(text.Column(text.escape(k)) for k in table.keys),
    text.Column("AUC (source)"),
    text.Column("AUC (target)"),
    text.Column("pAUC"),
    text.Column("official score"),
  ]
  value = lambda v: None if np.isnan(v) else float(v)
  rows = []
  for rank, point in enumerate(order[:_TOP]):
    settings = table.settings[point]
    cells = [text.escape(shown(settings.get(k, "–"))) for k in table.keys]
    numbers = [text.percent(value(v)) for v in score[point]]
    rows.append([str(rank + 1), *cells, *numbers])
  caption = f"The best of {text.plural(len(order), 'setting')}, percent."
  return text.table(caption, heads, rows, name="top")


def _left_out_table(found: Mapping[str, Any], best: Mapping[str, Any]) -> str:
  heads = [
    text.Column("machine"),
    text.Column("chosen by the other machines"),
    text.Column("score there"),
    text.Column("score at the best of all"),
    text.Column("best of its own", "Chosen on this machine's own labels"),
  ]
  rows = [
    [
      text.escape(name),
      text.escape(described(entry["settings"])),
      text.percent(entry["score"]),
      text.percent(best["machines"][name]["score"]),
      text.percent(entry["best_of_its_own"]),
    ]
    for name, entry in found["machines"].items()
  ]
  foot = [
    [
      "all (official score)",
      "",
      text.percent(found["score"]),
      text.percent(best["score"]),
      "",
    ]
  ]
  caption = "Each machine at the setting that is best for the others, percent."
  return text.table(caption, heads, rows, name="left-out", foot=foot)


def _tiles(found: Mapping[str, Any]) -> str:
  best, others = found["best"], found["leave_one_machine_out"]
  less = choice.missing(found["over"])
  tiles = [
    (text.percent(best["score"]), "best official score (%), chosen on these"
     " labels" + (f"; {less}" if less else ""))
  ]  # fmt: skip
  if others:
    big = text.percent(others["score"])
    say = "official score (%), each machine at the choice of the others"
    tiles.append((big, say))
  # The best of many looks better than it is: its interval stands beside it.
  ends = best["bootstrap"]
  if ends:
    tiles.append(
      (f"{100 * ends['low']:.1f} to {100 * ends['high']:.1f}", "95 % bootstrap"
       " interval of the best over test clips;"
       f" {text.plural(best['settings_within'], 'setting')} reach into it")
    )  # fmt: skip
  # A gain below the spread of the seeds is no gain.
  seeds = best["seeds"]
  if seeds and seeds["std"] is not None:
    tiles.append(
      (f"&plusmn; {100 * seeds['std']:.2f}", "standard deviation over"
       f" {len(seeds['scores'])} seeds at the best setting")
    )  # fmt: skip
  items = "".join(
    f"<li><b>{big}</b><span>{say}</span></li>" for big, say in tiles
  )
  return f'<ul class="tiles">{items}</ul>'


def page(found: Mapping[str, Any], table: Table) -> str:
  """The whole page.

  Args:
    found: content of sweep.json.
    table: every setting.

  Returns:
    HTML that needs nothing else.
  """
  best, others = found["best"], found["leave_one_machine_out"]
  title = f"Sweep of {text.escape(found['system'])}"
  body = (
    f'<header><span class="soft">Sweep</span><h1>{title}</h1></header>\n<main>'
    f"{text.warning(found)}<p>"
    f"{text.plural(found['num_points'], 'setting')} on"
    f" {text.plural(len(table.machines), 'machine')}. Best:"
    f" <b>{text.escape(described(best['settings']))}</b>.</p>{_tiles(found)}"
    f"<p><b>Warning.</b> {text.escape(found['warning'])}</p>"
    f'<section id="pictures"><h2>Scores over the settings</h2>'
    f"{pictures(table)}{_top_table(table)}</section>"
  )
  if others:
    body += (
      '<section id="choice"><h2>Choosing without the machine itself</h2>'
      f"{_left_out_table(others, best)}</section>"
    )
  if found["notes"]:
    notes = "".join(f"<li>{text.escape(n)}</li>" for n in found["notes"])
    body += f'<section><h2>Notes</h2><ul class="notes">{notes}</ul></section>'
  return text.page(title, body + "</main>")
