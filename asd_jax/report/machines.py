"""The table of machines, with a row for each section where there are many."""

from collections.abc import Mapping, Sequence
from typing import Any

from asd_jax.metrics import official
from asd_jax.report import published, record, text

TITLE = "Machines"
_KEYS = (*official.RANKED, "score")
_TITLES = {
  "auc": ("AUC", "Area under the ROC curve of all clips"),
  "auc_source": ("AUC source", "Normal source clips against all anomalies"),
  "auc_target": ("AUC target", "Normal target clips against all anomalies"),
  "pauc": ("pAUC", "Partial AUC up to a false-positive rate of 0.1"),
  "score": ("score", "Harmonic mean of the three values before it"),
}


def _value(
  entry: Mapping[str, Any], key: str, interval: Mapping[str, Any] | None
) -> str:
  cell = text.percent(entry.get(key))
  ends = (interval or {}).get(key)
  if ends:
    cell += f"<small>{100 * ends[0]:.0f}&ndash;{100 * ends[1]:.0f}</small>"
  return cell


def _row(
  head: str,
  entry: Mapping[str, Any],
  sections: Sequence[Mapping[str, Any]],
  keys: Sequence[str],
  known: Mapping[str, published.Pair],
) -> list[str]:
  """Cells of a machine or of one of its sections."""
  # Bootstrap and AUC of all clips exist for sections only.
  alone = sections[0] if len(sections) == 1 else {}
  interval = alone.get("bootstrap")
  source = {**entry, "auc": entry.get("auc", alone.get("auc"))}
  cells = [_value(source, k, interval) for k in keys]
  for i, key in enumerate(keys):
    pair = known.get(key)
    if pair and pair.ours is not None:
      cells[i] += text.difference(pair.ours - pair.published)
  return [head, *_decided(sections), *cells, str(entry["n_train"])]


def _decided(sections: Sequence[Mapping[str, Any]]) -> list[str]:
  """Cells of the decisions: alarms, and of how many clips."""
  possible = [s for s in sections if s["decision"]["possible"]]
  alarms = str(sum(s["num_anomalous"] for s in possible))
  if not possible and any(s["n_test"] for s in sections):
    alarms = "no decision"
  return [alarms, str(sum(s["n_test"] for s in sections))]


def _keys_of(results: record.Results) -> list[str]:
  """Metrics that some machine has."""
  if not record.has_labels(results):
    return []
  # Sets without domains (2020, plain folders) still have an AUC.
  if all(s["auc_source"] is None for s in record.entries_of(results)):
    return ["auc", *_KEYS]
  return list(_KEYS)


def _table(results: record.Results) -> str:
  """The table of machines, with a row for each section where there are many."""
  keys = _keys_of(results)
  pairs = published.by_machine(results)
  rows = []
  for name, entry in results["machines"].items():
    parts = entry["sections"]
    known = pairs.get(name, {})
    rows.append(
      _row(text.escape(name), entry, list(parts.values()), keys, known)
    )
    # One section would only repeat its machine.
    if len(parts) > 1:
      for number, part in parts.items():
        head = f'<span class="sub">section {text.escape(number)}</span>'
        part = {**part, "score": official.machine_score([part])}
        rows.append(_row(head, part, [part], keys, {}))
  # Over one machine a mean is no news.
  foot = [_foot(results, keys)] if len(results["machines"]) > 1 else []
  columns = [
    text.Column("machine"),
    text.Column("anomalous", "Test clips that are called anomalous"),
    text.Column("of clips", "Test clips"),
    *(text.Column(*_TITLES[k]) for k in keys),
    text.Column("normal clips", "Training clips"),
  ]
  caption = "Metrics in percent." if keys else "Decisions on the test clips."
  if any(s["bootstrap"] for s in record.entries_of(results)):
    caption += (
      " Below each value its 95&nbsp;% bootstrap interval over test clips,"
      " which leaves out how another training run would differ."
    )
  if any(p.ours is not None for m in pairs.values() for p in m.values()):
    caption += " Signed: difference to the published number, in points"
    what = published.about(published.known(results))
    caption += f"; both are {text.escape(what)}." if what else "."
  return text.table(caption, columns, rows, name="machine-table", foot=foot)


def _share(values: Sequence[float | None]) -> str:
  """Of how many machines a mean is, where it leaves some out."""
  num = sum(v is not None for v in values)
  return f"<small>{num} of {len(values)}</small>" if num < len(values) else ""


def _foot(results: record.Results, keys: Sequence[str]) -> list[str]:
  entries = list(results["machines"].values())
  columns = {k: [e.get(k) for e in entries] for k in keys}
  means = {k: official.official_score(v) for k, v in columns.items()}
  means["score"] = results["official_score"]
  cells = [
    text.percent(means[k])
    + (_share(columns[k]) if means[k] is not None else "")
    for k in keys
  ]
  return [
    "all (harmonic mean)" if keys else "all",
    *_decided(list(record.entries_of(results))),
    *cells,
    str(sum(e["n_train"] for e in entries)),
  ]


def section(run: record.Run) -> str:
  """Every machine's numbers.

  Args:
    run: the run.

  Returns:
    HTML; "" where the tiles at the head say it all.
  """
  # Decisions of one section: their table would repeat them.
  entries = list(record.entries_of(run.results))
  alone = len(entries) == 1 and entries[0]["n_test"]
  if alone and not record.has_labels(run.results):
    return ""
  return (
    f'<section id="machines"><h2>Machines</h2>{_table(run.results)}</section>'
  )
