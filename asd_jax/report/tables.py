"""Numbers of the report: summary, machines, notes and run facts."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from asd_jax.metrics import official
from asd_jax.report import text

MAX_NOTES = 200
_KEYS = (*official.RANKED, "score")
_TITLES = {
  "auc": ("AUC", "Area under the ROC curve of all clips"),
  "auc_source": ("AUC source", "Normal source clips against all anomalies"),
  "auc_target": ("AUC target", "Normal target clips against all anomalies"),
  "pauc": ("pAUC", "Partial AUC up to a false-positive rate of 0.1"),
  "score": ("score", "Harmonic mean of the three values before it"),
}

Results = Mapping[str, Any]


def _tile(big: str, small: str) -> str:
  return f"<li><b>{big}</b><span>{small}</span></li>"


def _published(results: Results) -> Mapping[str, Any]:
  """Published numbers that are known (0.0 stands for unknown)."""
  given = results.get("published") or {}
  return {k: v for k, v in given.items() if v}


def _score_tile(results: Results) -> str:
  score = results["official_score"]
  if score is None:
    return _tile(text.MISSING, "official score: needs labels and domains")
  spread = ""
  summary = results.get("seed_summary") or {}
  if summary.get("std") is not None:
    spread = (
      f"; seed by seed {100 * summary['mean']:.2f} &plusmn;"
      f" {100 * summary['std']:.2f}"
    )
  return _tile(
    text.percent(score),
    "official score, %: harmonic mean of AUC source, AUC target and pAUC"
    f" over machines{spread}",
  )


def _published_tile(results: Results) -> str:
  known = _published(results)
  sets = [k for k in ("development", "evaluation") if k in known]
  if not sets:
    return _tile(text.MISSING, "no published number of this system is known")
  big = " / ".join(text.percent(known[k]) for k in sets)
  score, gap = results["official_score"], ""
  if score is not None and "development" in known:
    gap = score - known["development"]
    gap = f" This run: {text.difference(gap)} points to {sets[0]}."
  source = f" {text.escape(known['source'])}" if "source" in known else ""
  return _tile(
    big,
    f"published, {' / '.join(sets)} set{source}. On the challenge's"
    " recordings: not comparable unless this run used the same." + gap,
  )


def _sections(results: Results) -> Iterator[Mapping[str, Any]]:
  for entry in results["machines"].values():
    yield from entry["sections"].values()


def _alarm_tile(results: Results) -> str:
  num = sum(s["n_test"] for s in _sections(results))
  if not num:
    return _tile("0", "test clips: detectors are fitted, nothing was scored")
  alarms = sum(s["num_anomalous"] for s in _sections(results))
  small = f"of {text.plural(num, 'test clip')} called anomalous"
  rule = results["config"].get("threshold", {})
  if rule.get("name") == "conformal":
    rate = rule.get("false_alarm_rate", 0.1)
    judged = sum(
      s["n_test"] for s in _sections(results) if s["threshold"] is not None
    )
    small += f"; if all were normal, about {rate * judged:.0f} would be"
    kinds = [
      k for s in _sections(results) for k in s["training_scores"].values()
    ]
    small += ", or more: see the notes" if "in_sample" in kinds else ""
  return _tile(str(alarms), small)


def summary(results: Results) -> str:
  """The numbers that matter most, as tiles."""
  tiles = _score_tile, _published_tile, _alarm_tile
  inside = "".join(tile(results) for tile in tiles)
  return f'<ul class="tiles">{inside}</ul>'


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
  published: Mapping[str, Any],
) -> list[str]:
  """Cells of a machine or of one of its sections."""
  alone = sections[0] if len(sections) == 1 else {}
  interval = alone.get("bootstrap")
  source = {**entry, "auc": entry.get("auc", alone.get("auc"))}
  cells = [_value(source, k, interval) for k in keys]
  for i, key in enumerate(keys):
    old, new = published.get(key), entry.get(key)
    if old and new is not None:
      cells[i] += text.difference(new - old)
  threshold = "" if not alone else text.number(alone["threshold"])
  if alone and alone["threshold"] is None:
    threshold = "infinite"
  alarms = sum(s["num_anomalous"] for s in sections)
  counts = [str(entry["n_train"]), str(entry["n_test"]), str(alarms)]
  return [head, *cells, *counts, threshold]


def machines(results: Results) -> str:
  """The table of machines, with a row for each section where there are many."""
  keys = list(_KEYS)
  if all(s["auc_source"] is None for s in _sections(results)):
    keys = ["auc", *keys]
  published = _published(results).get("machines", {})
  rows = []
  for name, entry in results["machines"].items():
    parts = entry["sections"]
    known = published.get(name, {})
    rows.append(
      _row(text.escape(name), entry, list(parts.values()), keys, known)
    )
    if len(parts) > 1:
      for number, part in parts.items():
        head = f'<span class="sub">section {text.escape(number)}</span>'
        part = {**part, "score": official.machine_score([part])}
        rows.append(_row(head, part, [part], keys, {}))
  foot = [_foot(results, keys)] if len(results["machines"]) > 1 else []
  columns = [
    text.Column("machine"),
    *(text.Column(*_TITLES[k]) for k in keys),
    text.Column("training clips"),
    text.Column("test clips"),
    text.Column("alarms", "Test clips whose score is above the threshold"),
    text.Column("threshold"),
  ]
  caption = "Percent."
  if any(s["bootstrap"] for s in _sections(results)):
    caption += (
      " Below each value its 95&nbsp;% bootstrap interval over test clips,"
      " which leaves out how another training run would differ."
    )
  if published:
    caption += " Signed: difference to the published number, in points."
  return text.table(caption, columns, rows, name="machine-table", foot=foot)


def _foot(results: Results, keys: Sequence[str]) -> list[str]:
  entries = list(results["machines"].values())
  means = [
    results["official_score"]
    if k == "score"
    else official.official_score([e.get(k) for e in entries])
    for k in keys
  ]
  counts = [
    sum(e["n_train"] for e in entries),
    sum(e["n_test"] for e in entries),
    sum(s["num_anomalous"] for s in _sections(results)),
  ]
  return [
    "all (harmonic mean)", *map(text.percent, means), *map(str, counts), "",
  ]  # fmt: skip


def notes(results: Results) -> str:
  """What was odd about the input."""
  found = results["notes"]
  lines = "".join(f"<li>{text.escape(n)}</li>" for n in found[:MAX_NOTES])
  body = f'<ul class="notes">{lines}</ul>' if found else "<p>Nothing odd.</p>"
  if len(found) > MAX_NOTES:
    body += (
      f"<p>{len(found) - MAX_NOTES} more are in <code>results.json</code>.</p>"
    )
  return f'<section id="notes"><h2>Notes on the input</h2>{body}</section>'


def _encoders(about: Mapping[str, Any]) -> dict[str, str]:
  """Where the weights of frozen encoders come from, and the embeddings."""
  if not about:
    return {}
  weights = [
    f"{text.escape(', '.join(w['branches']))}: {text.escape(w['origin'])}"
    f" ({digest[:8]})"
    for digest, w in about["weights"].items()
  ]
  return {
    "encoder weights": "<br>".join(weights),
    "embeddings": f"{text.plural(about['clips_computed'], 'clip')} computed,"
    f" {about['clips_read']} read from the cache",
  }


def facts(results: Results) -> str:
  """Versions, device, time and config."""
  run = results.get("run") or {}
  versions = run.get("versions", {})
  pairs = {
    "finished": run.get("finished"),
    "duration": f"{run['seconds']:g} s" if "seconds" in run else None,
    "device": f"{run.get('num_devices', 1)} &times;"
    f" {text.escape(run.get('device', '?'))}",
    "seeds": text.escape(", ".join(map(str, results["seeds"]))) or "none",
    **_encoders(results.get("encoders", {})),
    "versions": ", ".join(
      f"{text.escape(k)}&nbsp;{text.escape(v)}" for k, v in versions.items()
    ),
  }
  listed = "".join(f"<dt>{k}</dt><dd>{v}</dd>" for k, v in pairs.items() if v)
  config = text.escape_lines(
    json.dumps(results["config"], indent=2, sort_keys=True, default=str)
  )
  return (
    f'<section id="run"><h2>This run</h2><dl>{listed}</dl><details><summary>'
    f'Config</summary><pre tabindex="0" aria-label="Config">{config}</pre>'
    "</details></section>"
  )
