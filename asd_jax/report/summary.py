"""The numbers that matter most, as tiles at the head of the page."""

import math
from collections.abc import Mapping
from typing import Any

from asd_jax.metrics import total
from asd_jax.report import published, record, text, words

_MAX_NAMED = 3


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


def _gap(pair: published.Pair, known: Mapping[str, Any]) -> str:
  """The difference to a published score, of what that is too."""
  if pair.ours is None:
    return f" No difference: {text.escape(pair.why)}." if pair.why else ""
  gap = text.difference(pair.ours - pair.published)
  # The tile beside this one is the ensemble.
  if published.measure_of(known) in (published.UNSAID, published.ENSEMBLE):
    return f" This run: {gap} points."
  return f" This run: {text.percent(pair.ours)}, {gap} points."


def _published_tile(results: record.Results) -> str:
  known = published.known(results)
  # A config may know one of the two sets only.
  sets = [k for k in record.CHALLENGE_SETS if k in known]
  if not sets:
    return ""
  big = " / ".join(text.percent(known[k]) for k in sets)
  gap = "".join(_gap(p, known) for p in published.totals(results).values())
  source = f" {text.escape(known['source'])}" if "source" in known else ""
  about = published.about(known)
  what = f", {text.escape(about)}" if about else ""
  return _tile(
    big,
    f"published, all machines of the {' / '.join(sets)} set{source}{what}:"
    " not comparable unless this run used the challenge's recordings."
    f"{gap}",
  )


def _shortages(short: list[tuple[str, str, record.Decision]]) -> str:
  """Which machines lack clips, and how many."""
  several = len(short) > 1
  named = [
    f"{text.escape(machine)}: " * several + text.escape(how.problem)
    for machine, _, how in short[:_MAX_NAMED]
  ]
  more = len(short) - _MAX_NAMED
  return "; ".join(named) + f"; and {more} more" * (more > 0)


def _expected_rate(how: record.Decision) -> float:
  """What a promise of a rate at most comes to with so many clips."""
  # Rounded first: 10 times 0.1 may miss 1 by rounding error.
  ranks = math.floor(round((how.num_train + 1) * how.false_alarm_rate, 9))
  return ranks / (how.num_train + 1)


def _num_recordings(entry: Mapping[str, Any]) -> int:
  return len(entry.get("recordings", {}).get("files", ()))


def _alarm_tile(results: record.Results) -> str:
  every = record.decisions_of(results)
  if not every:
    return _tile("0", "test clips: detectors are fitted, nothing was scored")
  short = [one for one in every if not one[2].possible]
  if len(short) == len(every):
    return _tile("no decision", f"no decision possible: {_shortages(short)}")
  entries = [
    results["machines"][m]["sections"][s] for m, s, how in every if how.possible
  ]
  num = sum(e["n_test"] for e in entries)
  small = f"of {text.plural(num, 'test clip')} called anomalous"
  # Only one rule promises a rate.
  hows = [how for _, _, how in every if how.possible]
  if not all(how.promises for how in hows):
    small += "; this rule promises no false-alarm rate"
  # With labels the measured rate stands beside it.
  elif not results["measured"]:
    # Of long recordings the false alarms an hour are told beside them.
    clips = [e["n_test"] - _num_recordings(e) for e in entries]
    expected = sum(
      _expected_rate(how) * n for how, n in zip(hows, clips, strict=True)
    )
    about = f"{expected:.0f}" if expected >= 1 else f"{expected:.1g}"
    small += f"; if all were normal, about {about} would be"
    if sum(clips) < num:
      small += f", {text.plural(num - sum(clips), 'long recording')} aside"
    if any(how.in_sample for how in hows):
      small += ", or many more: the decisions are in-sample"
  if short:
    small += f". No decision possible for others: {_shortages(short)}"
  return _tile(str(sum(e["num_anomalous"] for e in entries)), small)


def _measured_tile(results: record.Results) -> str:
  rates = results["measured"].get("all")
  if not rates:
    return ""
  promised = {
    how.false_alarm_rate
    for *_, how in record.decisions_of(results)
    if how.promises
  }
  shown = " or ".join(f"{100 * rate:.3g} %" for rate in sorted(promised))
  promise = f", promised about {shown}"
  alarms, found = (
    words.measured(rates, kind) for kind in ("false_alarms", "true_alarms")
  )
  return _tile(
    f"{text.percent(rates['false_alarm_rate'], digits=1)} /"
    f" {text.percent(rates['recall'], digits=1)}",
    "false alarms and anomalies found, %: of the normal clips"
    f" {alarms}{promise * bool(promised)}; of the anomalies {found}",
  )


def _learned_tile(results: record.Results) -> str:
  """What the decisions of a run without labels rest on."""
  every = record.decisions_of(results)
  if len(every) != 1:
    return ""
  ((machine, _, how),) = every
  if not how.possible:
    return ""
  num = results["machines"][machine]["n_train"]
  small = "normal clips to compare with"
  if how.promises and not how.in_sample:
    small += (
      f"; about {100 * how.false_alarm_rate:.3g} in 100 new normal clips are"
      " to be called anomalous"
    )
  return _tile(str(num), small)


def summary(results: record.Results) -> str:
  """The numbers that matter most, as tiles.

  Args:
    results: content of results.json.

  Returns:
    HTML.
  """
  tiles = _score_tile, _published_tile, _measured_tile, _alarm_tile
  # A row of dashes is no answer: without labels there are decisions only.
  if not record.has_labels(results):
    tiles = _alarm_tile, _learned_tile
  inside = "".join(tile(results) for tile in tiles)
  return f'<ul class="tiles">{inside}</ul>'
