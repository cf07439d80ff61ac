"""ROC curves and histograms of the scores."""

from asd_jax.report import figures, record, text

TITLE = "Curves and scores"
# More would make the page large; the table has every machine.
MAX_SHOWN = 12
# Training of a network anew, without some clips, ends at another scale.
_SCALES = (
  "<figcaption>Scores of training clips are by models without their fold, whose"
  " scale may differ: a shift between outline and bars need not be drift."
  "</figcaption>"
)


def _shown(run: record.Run) -> tuple[list[tuple[str, str]], int]:
  """Sections to draw: all, or those of lowest score, else of most alarms."""
  keys = [(m, s) for m, v in run.sections.items() for s in v if len(v[s].score)]

  # Where a choice must be made, trouble is shown and not success.
  def worst_first(key: tuple[str, str]) -> tuple[float, float]:
    entry = run.results["machines"][key[0]]["sections"][key[1]]
    found = [entry[k] for k in ("auc_source", "auc_target", "pauc", "auc")]
    known = [v for v in found if v is not None]
    # Without labels nothing is known to be wrong, but alarms can be counted.
    alarms = entry["num_anomalous"] / max(entry["n_test"], 1)
    return (min(known) if known else 2.0), -alarms

  kept = set(sorted(keys, key=worst_first)[:MAX_SHOWN])
  return [k for k in keys if k in kept], len(keys) - len(kept)


def _pictures(clips: record.Section, name: str, *, in_folds: bool) -> str:
  """The pictures of one section side by side."""
  roc = figures.roc(clips, name)
  histogram = figures.histogram(clips, name)
  histogram = (histogram or "") + _SCALES * in_folds
  inside = "".join(f"<figure>{d}</figure>" for d in (roc, histogram) if d)
  # An empty place would look like a failed picture.
  if roc is None and clips.is_anomaly is not None:
    inside += "<p class=soft>No ROC curve: it needs normal and anomalous"
    inside += " labels.</p>"
  return f'<div class="pair">{inside}</div>'


def section(run: record.Run) -> str:
  """ROC curves and histograms, a row for each section.

  Args:
    run: the run.

  Returns:
    HTML, "" without test clips.
  """
  keys, left_out = _shown(run)
  if not keys:
    return ""
  rows = []
  labelled = False
  for machine, number in keys:
    clips = run.sections[machine][number]
    name = machine
    if len(run.sections[machine]) > 1:
      name += f" section {number}"
    how = record.decision_of(run.results, machine, number)
    pictures = _pictures(clips, name, in_folds=how.folds > 0)
    labelled |= clips.is_anomaly is not None
    rows.append(
      f'<div class="machine-pictures"><h3>{text.escape(name)}</h3>'
      f"{pictures}</div>\n"
    )
  kinds = " or ".join(sorted({run.sections[m][s].train_kind for m, s in keys}))
  lead = (
    "The outline is the histogram of the training clips (scores"
    f" {text.escape(kinds)}), scaled to the number of the others; a dashed line"
    " is a threshold on the score, where the rule has one."
  )
  if labelled:
    lead = (
      "Each ROC curve sets the normal clips of one domain against the anomalies"
      " of both; the dotted line marks the false-positive rate of 0.1. In the"
      f" histograms, anomalies are hatched. {lead}"
    )
  if left_out:
    worst = "lowest values" if labelled else "most alarms"
    lead += (
      f" The {len(keys)} with the {worst} are shown,"
      f" {left_out} are left out for size."
    )
  return (
    f'<section id="scores"><h2>{TITLE}</h2><p>{lead}</p>\n'
    f"{''.join(rows)}</section>"
  )
