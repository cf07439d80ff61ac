"""The page of many systems: what each reached, beside what is published."""

from collections.abc import Sequence

from asd_jax.metrics import official
from asd_jax.report import published, seeds, systems, text

_COLUMNS = (
  text.Column("system"),
  text.Column("score", "Of the system as it is used, an ensemble where several"
              " networks are trained; below, the published one"),
  text.Column("single runs", "Mean and standard deviation over seeds; below,"
              " the published ones"),
  text.Column("difference", "Ours less published, both of the same kind"),
  text.Column("to the best", "Over the test clips that both scored; below, its"
              " 95 % interval and p (Holm)"),
  text.Column("minutes", "Of the run that wrote its results"),
  text.Column("parameters", "Of all networks that score one machine"),
)  # fmt: skip
_METRICS = {
  "auc_source": "AUC source",
  "auc_target": "AUC target",
  "pauc": "pAUC",
  "score": "score",
}


def _name(system: systems.System) -> str:
  """A name that breaks behind its underscores, with a link to its report."""
  name = text.escape(system.name).replace("_", "_<wbr>")
  name = f'<div style="min-width:7.5rem">{name}</div>'
  if not system.link:
    return name
  return f'<a href="{text.escape(system.link)}">{name}</a>'


def _best_first(
  table: systems.Table, kind: str, names: Sequence[str]
) -> list[systems.System]:
  """Systems that ran, the highest score first."""
  score = lambda s: systems.numbers(s, kind, names).score
  return sorted(table.ran, key=lambda s: -(score(s) or 0.0))


def _best(table: systems.Table) -> systems.System | None:
  """The system that the others are compared with."""
  rest = [s for s in table.ran if s.to_best is None]
  known = any(s.to_best for s in table.ran)
  score = lambda s: (s.results or {}).get("official_score") or 0.0
  return max(rest, key=score) if known and rest else None


def _small(cell: str) -> str:
  """A published number below ours, nothing if there is none."""
  return "" if cell == seeds.cell("-") else f"<small>{cell}</small>"


def _compared(system: systems.System, kind: str, names: Sequence[str]) -> str:
  """What is compared, where it is no number of the row, or why nothing is."""
  found, given = systems.numbers(system, kind, names), system.published or {}
  if found.why:
    why = text.escape(found.why).replace(", ", ",<br>")
    return f"<small>{why}</small>"
  shown = found.score, found.runs and found.runs[0]
  if found.compared is None or found.compared in shown:
    return ""
  same = given.get("domain_auc") == published.SAME
  what = "same-domain AUCs" if same else "averaged metrics"
  return f"<small>of {text.percent(found.compared)},<br>{what}</small>"


_NOTHING = (seeds.cell("-"), text.MISSING, "")


def _told(
  columns: Sequence[text.Column], rows: Sequence[Sequence[str]]
) -> tuple[list[text.Column], list[list[str]]]:
  """Columns in which something stands, and their cells."""
  kept = [
    i for i in range(len(columns)) if any(r[i] not in _NOTHING for r in rows)
  ]
  return [columns[i] for i in kept], [[row[i] for i in kept] for row in rows]


def _systems(table: systems.Table, kind: str, names: Sequence[str]) -> str:
  """The table of scores."""
  rows = []
  best = _best(table)
  for system in _best_first(table, kind, names):
    _, score, known, runs, known_runs, gap, *rest = map(
      seeds.cell, systems.row(system, kind, names)
    )
    to_best, interval, p, minutes, parameters = rest
    below = f"<small>{interval}<br>p {p}</small>" if system.to_best else ""
    rows.append([
      _name(system),
      score + _small(known),
      runs + _small(known_runs),
      gap + _compared(system, kind, names),
      "best" if system is best else to_best + below,
      minutes,
      parameters,
    ])  # fmt: skip
  caption = "Percent; small: published; differences in points."
  if not kind and any(s.published.get("source") for s in table.ran):
    caption += f" {systems.OTHERS}"
  head = f"{kind.capitalize()} set. " if kind else ""
  return text.table(
    head + caption, *_told(_COLUMNS, rows), name=f"systems-{kind or 'all'}"
  )


def _pair(ours: float | None, pair: published.Pair | None) -> str:
  """A number of ours; below, the published one and the difference to it.

  Where nothing of the run is what is published, `ours` stands without any.
  """
  if pair is None:
    return text.percent(ours)
  known = f"<small>{100 * pair.published:.2f}</small>"
  if pair.ours is None:
    return text.percent(ours) + known
  gap = text.difference(pair.ours - pair.published)
  return text.percent(pair.ours) + known + gap


def _parts(table: systems.Table, kind: str, names: Sequence[str]) -> str:
  """AUC source, AUC target and pAUC over machines."""
  rows = []
  for system in _best_first(table, kind, names):
    found = published.parts(system.results or {}, names, compared=bool(kind))
    pairs = {
      k: published.Pair(found.ours[k], v) for k, v in found.published.items()
    }
    cells = [_pair(found.ours[k], pairs.get(k)) for k in official.RANKED]
    rows.append([_name(system), *cells, found.mean])
  columns = [text.Column("system")]
  columns += [text.Column(_METRICS[k]) for k in official.RANKED]
  columns += [text.Column("mean", "Over machines, on both sides")]
  return text.table(
    "Over machines, percent" + _BELOW * bool(kind),
    columns, rows, name=f"parts-{kind or 'all'}",
  )  # fmt: skip


_BELOW = (
  "; below, the published value and the difference in points, of numbers of one"
  " kind"
)


def _scores(table: systems.Table, kind: str, names: Sequence[str]) -> str:
  """Scores by machine."""
  rows = []
  for system in _best_first(table, kind, names):
    results = system.results or {}
    pairs = published.by_machine(results)
    side = published.measured(results, names=names)
    cells = [
      _pair(side.machines[n]["score"], pairs.get(n, {}).get("score"))
      for n in names
    ]
    rows.append([_name(system), *cells])
  columns = [*map(text.Column, ("system", *map(text.escape, names)))]
  return text.table(
    "Score by machine, percent" + _BELOW * bool(kind),
    columns, rows, name=f"machines-{kind or 'all'}",
  )  # fmt: skip


def _metrics(table: systems.Table, kind: str, machine: str) -> str:
  """Every metric of one machine, by either definition."""
  rows = []
  for system in _best_first(table, kind, [machine]):
    results, given = system.results or {}, system.published or {}
    pairs = published.by_machine(results).get(machine, {})
    cells = []
    for domain_auc in (published.OFFICIAL, published.SAME):
      side = published.measured(
        results, domain_auc=domain_auc, names=[machine]
      ).machines[machine]
      # A partial AUC is the same by both.
      keys = [
        k for k in _METRICS if domain_auc != published.SAME or k != "pauc"
      ]
      own = given.get("domain_auc", published.OFFICIAL) == domain_auc
      for key in keys:
        pair = pairs.get(key) if own or key == "pauc" else None
        cells.append(_pair(side[key], pair))
    rows.append([_name(system), *cells])
  heads = ["system", *_METRICS.values()]
  columns = [*map(text.Column, heads)]
  columns += [
    text.Column(f"{name},<br>same domain", "Anomalies of that domain alone")
    for name in ("AUC source", "AUC target", "score")
  ]
  body = text.table(
    "Percent" + _BELOW * bool(kind), columns, rows,
    name=f"metrics-{text.escape(machine)}",
  )  # fmt: skip
  name = text.escape(machine)
  return f"<details><summary>{name}</summary>{body}</details>"


def _fact(key: str, value: float | None) -> str:
  if value is None:
    return text.MISSING
  if key == "share_at_floor":
    return f"{100 * value:.1f}"
  shown = f"{value:+.1f}" if key.endswith("_db") else f"{value:.2f}"
  return shown.replace("-", "&minus;")


def _recordings(table: systems.Table) -> str:
  """Facts of each machine's training clips, beside published ones."""
  compared = "" not in table.scopes
  rows = []
  for machine, facts in table.recordings.items():
    cells = []
    for key in systems.FACTS:
      known = table.known.get(machine, {}).get(key) if compared else None
      cell = _fact(key, facts.get(key))
      cells.append(
        cell + (f"<small>{_fact(key, known)}</small>" if known else "")
      )
    rows.append([seeds.row_head(machine), *cells])
  if not rows:
    return ""
  columns = [text.Column("machine")]
  columns += [text.Column(*systems.FACTS[k]) for k in systems.FACTS]
  caption = "Of training clips; below, what a report gives."
  return text.table(caption, columns, rows, name="recordings")


_MAX_REASON = 60
_WRAPPED = (
  "white-space:normal;text-align:left;min-width:15rem;overflow-wrap:anywhere"
)


def _folded(why: str) -> str:
  """A reason; of a long one the beginning, which opens to all of it."""
  body = text.escape(why)
  if len(why) > _MAX_REASON:
    start = text.escape(why[:_MAX_REASON])
    body = f"<details><summary>{start} &hellip;</summary>{body}</details>"
  return f'<div style="{_WRAPPED}">{body}</div>'


def _not_run(table: systems.Table) -> str:
  """Systems without results: why, and what is published of them."""
  rows = []
  for system in table.systems:
    if system.results is None:
      given = system.published or {}
      cells = [
        text.percent(given.get(k) or None)
        for k in ("development", "evaluation")
      ]
      rows.append([
        _name(system), *cells,
        text.escape(given.get("source", "")),
        _folded(system.why),
      ])  # fmt: skip
  if not rows:
    return ""
  heads = "system", "development", "evaluation", "source", "why"
  columns, rows = _told([*map(text.Column, heads)], rows)
  # Without published numbers it is a list of reasons.
  caption = (
    "Published scores, percent." if len(columns) > 2 else "What is missing."
  )
  return text.table(caption, columns, rows, name="not-run")


def page(table: systems.Table) -> str:
  """The systems as one self-contained HTML page.

  Args:
    table: the systems.

  Returns:
    HTML.
  """
  scopes = table.scopes
  per_scope = lambda make: "".join(
    make(table, kind, names) for kind, names in scopes.items()
  )
  details = "".join(
    _metrics(table, kind, name)
    for kind, names in scopes.items()
    for name in names
  )
  notes = "".join(f"<li>{text.escape(n)}</li>" for n in table.notes)
  num, machines = len(table.ran), text.plural(len(table.machines), "machine")
  size = f"{text.plural(num, 'system')}, {machines}" if num else "none was run"
  # Empty sections are left out.
  sections = {
    "Systems": per_scope(_systems) + per_scope(_parts) if num else "",
    "Machines": per_scope(_scores) + details if num else "",
    "Recordings": _recordings(table),
    "Not run": _not_run(table),
    "Notes": f'<ul class="notes">{notes}</ul>' if notes else "",
  }
  warned = [text.warning(s.results) for s in table.ran if s.results]
  return text.comparison(
    "Systems side by side",
    f'<span class="soft">{size}</span>',
    next(filter(None, warned), ""),
    sections,
  )
