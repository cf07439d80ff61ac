"""The report of a run: one self-contained HTML page."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from asd_jax.report import clips as report_clips
from asd_jax.report import denoise as report_denoise
from asd_jax.report import figures, style, text
from asd_jax.report import seeds as report_seeds
from asd_jax.report import tables as report_tables
from asd_jax.runs.examples import Suspect

MAX_PICTURED = 12
# Nothing may be fetched, whatever a file name holds.


def _flags(values: Sequence[str | None], wanted: str) -> np.ndarray | None:
  return None if None in values else np.array([v == wanted for v in values])


def scores_of(entry: Any) -> figures.Clips:
  """What the pictures of one section need of its scores."""
  return figures.Clips(
    np.asarray(entry.score, np.float64),
    _flags([c.label for c in entry.clips], "anomaly"),
    _flags([c.domain for c in entry.clips], "target"),
    np.asarray(entry.train, np.float64),
    entry.section.threshold,
  )


def _pictured(
  results: Mapping[str, Any], scored: Mapping[str, Mapping[str, Any]]
) -> tuple[list[tuple[str, str]], int]:
  """Sections to draw: all, or those of lowest score, else of most alarms."""
  keys = [(m, s) for m, v in scored.items() for s in v if v[s].clips]

  def worst_first(key: tuple[str, str]) -> tuple[float, float]:
    entry = results["machines"][key[0]]["sections"][key[1]]
    found = [entry[k] for k in ("auc_source", "auc_target", "pauc", "auc")]
    known = [v for v in found if v is not None]
    alarms = entry["num_anomalous"] / max(entry["n_test"], 1)
    return (min(known) if known else 2.0), -alarms

  kept = set(sorted(keys, key=worst_first)[:MAX_PICTURED])
  return [k for k in keys if k in kept], len(keys) - len(kept)


def _pictures(
  results: Mapping[str, Any], scored: Mapping[str, Mapping[str, Any]]
) -> str:
  """ROC curves and histograms, a row for each section."""
  keys, left_out = _pictured(results, scored)
  if not keys:
    return ""
  rows = []
  for machine, section in keys:
    clips = scores_of(scored[machine][section])
    name = machine
    if len(scored[machine]) > 1:
      name += f" section {section}"
    drawn = [figures.roc(clips, name), figures.histogram(clips, name)]
    inside = "".join(f"<figure>{d}</figure>" for d in drawn if d)
    if drawn[0] is None:
      inside += "<p class=soft>No ROC curve: it needs normal and anomalous"
      inside += " labels.</p>"
    rows.append(
      f'<div class="machine-pictures"><h3>{text.escape(name)}</h3>'
      f'<div class="pair">{inside}</div></div>\n'
    )
  lead = (
    "Each ROC curve sets the normal clips of one domain against the anomalies"
    " of both; the dotted line marks the false-positive rate of 0.1. In the"
    " histograms, anomalies are hatched and the dashed line is the threshold."
  )
  if left_out:
    lead += (
      f" The {len(keys)} with the lowest values are shown,"
      f" {left_out} are left out for size."
    )
  return (
    f'<section id="scores"><h2>Curves and scores</h2><p>{lead}</p>\n'
    f"{''.join(rows)}</section>"
  )


def page(
  results: Mapping[str, Any],
  scored: Mapping[str, Mapping[str, Any]],
  *,
  suspects: Sequence[Suspect] = (),
  denoised: Sequence[report_denoise.Picture] = (),
) -> str:
  """Makes the page.

  Args:
    results: content of results.json.
    scored: machine to section to scores.
    suspects: what `report_suspects.find` returns.
    denoised: what `report_denoise.find` returns.

  Returns:
    HTML of at most 10 MB that needs nothing else.
  """
  num = sum(len(s.clips) for m in scored.values() for s in m.values())
  name = text.escape(results["system"])
  sections = [
    (
      "Machines",
      '<section id="machines"><h2>Machines</h2>'
      f"{report_tables.machines(results)}</section>",
    ),
    ("Suspicious clips", report_clips.section(suspects, num)),
    ("Curves and scores", _pictures(results, scored)),
    ("Denoising", report_denoise.section(denoised)),
    ("Seeds", report_seeds.section(results)),
    ("Notes", report_tables.notes(results)),
    ("This run", report_tables.facts(results)),
  ]
  present = [(title, body) for title, body in sections if body]
  links = "".join(
    f'<li><a href="#{body.split(chr(34), 2)[1]}">{title}</a></li>'
    for title, body in present
  )
  bodies = "\n".join(body for _, body in present)
  machines = text.plural(len(results["machines"]), "machine")
  return style.page(
    f"{name}: anomalous sound detection report",
    '<a class="skip" href="#main">Skip to the results</a>\n'
    f'<header><span class="soft">Anomalous sound detection report</span>'
    f'<h1>{name}</h1><span class="soft">{machines},'
    f" {text.plural(num, 'test clip')}</span>"
    f'<nav aria-label="On this page"><ul>{links}</ul></nav></header>\n'
    f'<main id="main" tabindex="-1">{style.warning(results)}'
    '<h2 class="sr">Summary</h2>'
    f"{report_tables.summary(results)}\n{bodies}\n</main>",
  )
