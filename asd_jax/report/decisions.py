"""What the decisions turned out to be worth, beside what was promised."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from asd_jax.report import record, text, words

TITLE = "Decisions"
_COLUMNS = (
  text.Column("clips"),
  text.Column("promised", "False-alarm rate that the rule promises, about"),
  text.Column("false alarms", "Normal clips called anomalous"),
  text.Column("found", "Anomalies called anomalous: recall, detection rate"),
  text.Column("precision", "Share of anomalies among the alarms"),
  text.Column("F1", "Harmonic mean of precision and recall"),
  text.Column("missed", "Anomalies called normal"),
  text.Column("rightly normal", "Normal clips called normal"),
)


def warning(results: record.Results) -> str:
  """Says in large letters where decisions rest on clips the system has seen.

  Args:
    results: content of results.json.

  Returns:
    HTML; "" if there is nothing to say.
  """
  every = record.decisions_of(results)
  odd = [how.false_alarm_rate for _, _, how in every if how.in_sample]
  if not odd:
    return ""
  return (
    '<p class="warning" role="note"><b>IN-SAMPLE DECISIONS</b> Clips are'
    " compared with scores of training clips that the detector has learned"
    " from, which are lower than those of new normal clips. The stated"
    f" false-alarm rate of {words.rate(max(odd))} does not hold: most normal"
    " clips may be called anomalous.</p>\n"
  )


def _measured(part: int, whole: int, interval: Any) -> str:
  if not whole:
    return text.MISSING
  low, high = (100 * end for end in interval)
  return (
    f"{100 * part / whole:.1f}<small>{part} of {whole}</small>"
    f"<small>{low:.0f}&ndash;{high:.0f}</small>"
  )


def _row(head: str, rates: Mapping[str, Any], promised: str) -> list[str]:
  found = rates["confusion"]
  tp, fp = found["true_alarms"], found["false_alarms"]
  fn, tn = found["misses"], found["true_normals"]
  return [
    head,
    promised,
    _measured(fp, fp + tn, rates["false_alarm_rate_interval"]),
    _measured(tp, tp + fn, rates["recall_interval"]),
    text.percent(rates["precision"], digits=1),
    text.percent(rates["f1"], digits=1),
    str(fn),
    str(tn),
  ]


def _rows(
  title: str, measured: Mapping[str, Any], hows: Sequence[record.Decision]
) -> Iterator[list[str]]:
  """Rows of all clips and, below, of each domain."""
  for name, rates in measured.items():
    head, promised = title, _promised(hows)
    if name != "all":
      head = f'<span class="sub">{title}, {name}</span>'
      # Of clips of all domains together nothing follows for one of them.
      if not all(how.by_domain for how in hows):
        promised = text.MISSING
    yield _row(head, rates, promised)


def _promised(hows: Sequence[record.Decision]) -> str:
  rates = {how.false_alarm_rate if how.promises else None for how in hows}
  (rate,) = rates if len(rates) == 1 else (None,)
  return text.percent(rate, digits=1)


def _seen(results: record.Results, hows: list[record.Decision]) -> str:
  """Says where encoders have learned from the clips that p-values count."""
  adapted = results.get("encoders", {}).get("adapted")
  folds = results["config"].get("adapt", {}).get("folds")
  if not adapted or folds or not any(how.promises for how in hows):
    return ""
  return (
    "<p>Encoders of this run have learned from the training clips that"
    " decisions compare with, which models of folds do not undo: more false"
    " alarms than promised are possible (<code>adapt.folds=2</code> keeps the"
    " promise).</p>"
  )


def section(run: record.Run) -> str:
  """Measured false alarms and detections, by machine and domain.

  Args:
    run: the run.

  Returns:
    HTML, "" without labels or decisions.
  """
  results = run.results
  every = record.decisions_of(results)
  rows: list[list[str]] = []
  for machine, number, how in every:
    parts = results["machines"][machine]["sections"]
    title = text.escape(machine)
    title += f" section {text.escape(number)}" * (len(parts) > 1)
    rows += _rows(title, parts[number]["measured"], [how])
  if not rows:
    return ""
  foot: list[list[str]] = []
  if len(every) > 1:
    hows = [how for *_, how in every]
    foot += _rows("all machines", results["measured"], hows)
  caption = (
    "Percent, of the clips whose labels are known. Below each rate its counts"
    " and its 95&nbsp;% Wilson interval. A promise holds on the average over"
    " training sets and for clips like the training clips."
  )
  return (
    '<section id="decisions"><h2>Decisions</h2>'
    f"{_seen(results, [how for *_, how in every])}"
    f"{text.table(caption, _COLUMNS, rows, name='decision-table', foot=foot)}"
    "</section>"
  )
