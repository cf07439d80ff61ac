"""The page of a sweep: pictures, the best setting and tables."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from asd_jax.metrics import choice
from asd_jax.report import sweep_pictures, text

_TOP = 10
_COLUMNS = ("AUC (source)", "AUC (target)", sweep_pictures.PAUC)


def _top_table(table: choice.Table) -> str:
  score = choice.columns(table, choice.ALL)
  value = sweep_pictures.measure(table)
  # The last column is the score; where that is the pAUC, one is enough.
  kept = [i for i in range(3) if np.isfinite(score[:, i]).any()]
  kept = [i for i in kept if _COLUMNS[i] != value] + [3]
  known = lambda v: None if np.isnan(v) else float(v)
  # Settings that failed come last, and equal ones in the order asked for.
  order = np.argsort(-np.nan_to_num(score[:, 3], nan=-1.0), kind="stable")
  heads = [
    text.Column("rank"),
    *(text.Column(text.escape(k)) for k in table.keys),
    *(text.Column(_COLUMNS[i]) for i in kept[:-1]),
    text.Column(value),
  ]
  rows = []
  for rank, point in enumerate(order[:_TOP]):
    settings = table.settings[point]
    cells = [
      text.escape(sweep_pictures.shown(settings.get(k, "–")))
      for k in table.keys
    ]
    numbers = [text.percent(known(v)) for v in score[point][kept]]
    rows.append([str(rank + 1), *cells, *numbers])
  caption = f"The best of {text.plural(len(order), 'setting')}, percent."
  return text.table(caption, heads, rows, name="top")


def _score_of(entry: Mapping[str, Any]) -> float | None:
  # A machine without domains has nothing but its pAUC.
  has_domains = {entry["auc_source"], entry["auc_target"]} != {None}
  return entry["score"] if has_domains else entry["pauc"]


def _left_out_table(
  found: Mapping[str, Any], best: Mapping[str, Any], value: str
) -> str:
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
      text.escape(sweep_pictures.described(entry["settings"])),
      text.percent(entry["score"]),
      text.percent(_score_of(best["machines"][name])),
      text.percent(entry["best_of_its_own"]),
    ]
    for name, entry in found["machines"].items()
  ]
  foot = [
    [
      f"all ({value})",
      "",
      text.percent(found["score"]),
      text.percent(best["score"]),
      "",
    ]
  ]
  caption = "Each machine at the setting that is best for the others, percent."
  return text.table(caption, heads, rows, name="left-out", foot=foot)


def _tiles(found: Mapping[str, Any], value: str) -> str:
  best, others = found["best"], found["leave_one_machine_out"]
  less = choice.missing(found["over"])
  tiles = [
    (text.percent(best["score"]), f"best {value} (%), chosen on these"
     " labels" + (f"; {less}" if less else ""))
  ]  # fmt: skip
  if others:
    big = text.percent(others["score"])
    say = f"{value} (%), each machine at the choice of the others"
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


def page(found: Mapping[str, Any], table: choice.Table) -> str:
  """The whole page.

  Args:
    found: content of sweep.json.
    table: every setting.

  Returns:
    HTML that needs nothing else.
  """
  best, others = found["best"], found["leave_one_machine_out"]
  chosen = sweep_pictures.described(best["settings"])
  value = sweep_pictures.measure(table)
  title = f"Sweep of {text.escape(found['system'])}"
  body = (
    f'<header><span class="soft">Sweep</span><h1>{title}</h1></header>\n<main>'
    f"{text.warning(found)}<p>"
    f"{text.plural(found['num_points'], 'setting')} on"
    f" {text.plural(len(table.machines), 'machine')}. Best:"
    f" <b>{text.escape(chosen)}</b>.</p>{_tiles(found, value)}"
    f"<p><b>Warning.</b> {text.escape(found['warning'])}</p>"
    f'<section id="pictures"><h2>Scores over the settings</h2>'
    f"{sweep_pictures.pictures(table)}{_top_table(table)}</section>"
  )
  if others:
    body += (
      '<section id="choice"><h2>Choosing without the machine itself</h2>'
      f"{_left_out_table(others, best, value)}</section>"
    )
  if found["notes"]:
    notes = "".join(f"<li>{text.escape(n)}</li>" for n in found["notes"])
    body += f'<section><h2>Notes</h2><ul class="notes">{notes}</ul></section>'
  return text.page(title, body + "</main>")
