"""The numbers that matter most, as tiles at the head of the page."""

from asd_jax.metrics import total
from asd_jax.report import record, text


def _tile(big: str, small: str) -> str:
  return f"<li><b>{big}</b><span>{small}</span></li>"


def _chosen_by(results: record.Results) -> str:
  """Says so where labels of these machines chose the system's members."""
  names = results.get("members_chosen_on")
  if not names:
    return ""
  return (
    f". Too good: the labels of {text.escape(', '.join(names))} chose the"
    " members of this system."
  )


def _score_tile(results: record.Results) -> str:
  score = results["official_score"]
  over = results.get("official_score_over")
  missing = total.in_words(score, over) if over else ""
  if score is None:
    why = text.escape(missing or "official score: needs labels and domains")
    return _tile(text.MISSING, why)
  # How sure a number is belongs beside it.
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
    f" over machines{spread}"
    + (f"; {text.escape(missing)}" if missing else "")
    + _chosen_by(results),
  )


def _published_tile(results: record.Results) -> str:
  known = record.published_of(results)
  # A config may know one of the two sets only.
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


def _alarm_tile(results: record.Results) -> str:
  entries = list(record.entries_of(results))
  num = sum(e["n_test"] for e in entries)
  if not num:
    return _tile("0", "test clips: detectors are fitted, nothing was scored")
  alarms = sum(e["num_anomalous"] for e in entries)
  small = f"of {text.plural(num, 'test clip')} called anomalous"
  rule = results["config"].get("threshold", {})
  # Only this rule promises a rate, and only where it found a threshold.
  if rule.get("name") == "conformal":
    rate = rule.get("false_alarm_rate", 0.1)
    judged = sum(e["n_test"] for e in entries if e["threshold"] is not None)
    small += f"; if all were normal, about {rate * judged:.0f} would be"
    kinds = [k for e in entries for k in e["training_scores"].values()]
    small += ", or more: see the notes" if "in_sample" in kinds else ""
  return _tile(str(alarms), small)


def summary(results: record.Results) -> str:
  """The numbers that matter most, as tiles."""
  tiles = _score_tile, _published_tile, _alarm_tile
  inside = "".join(tile(results) for tile in tiles)
  return f'<ul class="tiles">{inside}</ul>'
