"""A run beside published numbers: the same thing on both sides, or nothing.

An ensemble stands beside an ensemble, a mean of runs beside a mean of runs, and
AUCs of a domain beside AUCs against the same anomalies.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from asd_jax.metrics import official
from asd_jax.report import record

ENSEMBLE, RUNS, MEANS = "ensemble", "runs", "means"
# A config of one's own may not say: the system as it is used stands beside it.
UNSAID = ""
OFFICIAL, SAME = "official", "same"
# What a score is the harmonic mean of, by which anomalies its AUCs take.
RANKED = {
  OFFICIAL: official.RANKED,
  SAME: (*official.SAME_DOMAIN, "pauc"),
}
WORDS = {
  UNSAID: "",
  ENSEMBLE: "an ensemble",
  RUNS: "mean of single runs",
  MEANS: "metrics averaged over single runs",
}
Values = Mapping[str, float | None]


class Side(NamedTuple):
  """What a run found, by one definition; fractions, None where unknown.

  Attributes:
    score: over all machines.
    machines: machine to `auc_source`, `auc_target`, `pauc` and `score`.
  """

  score: float | None
  machines: Mapping[str, Values]


class Pair(NamedTuple):
  """One number of ours beside the published one.

  Attributes:
    ours: fraction, None where the run has none of that definition.
    published: fraction.
    why: why there is none of ours, "" otherwise.
  """

  ours: float | None
  published: float
  why: str = ""


def measure_of(published: Mapping[str, Any]) -> str:
  """How several trainings became the published number."""
  return published.get("measure", UNSAID)


def about(published: Mapping[str, Any]) -> str:
  """What a published number is, in words."""
  words = [WORDS[measure_of(published)]]
  if published.get("domain_auc") == SAME:
    words.append("AUCs of a domain against anomalies of that domain alone")
  return "; ".join(filter(None, words))


def _scored(values: Values) -> Values:
  """Three values with their harmonic mean."""
  every = list(values.values())
  score = None if None in every else official.official_score(every)
  return {**values, "score": score}


def _entry(entry: Values, domain_auc: str) -> Values:
  """Metrics of a machine under the names of the official ones."""
  keys = zip(official.RANKED, RANKED[domain_auc], strict=True)
  values = {name: entry.get(key) for name, key in keys}
  # A machine of several sections has a score of its own.
  if domain_auc == OFFICIAL:
    return {**values, "score": entry.get("score")}
  return _scored(values)


def _over(machines: Mapping[str, Values]) -> float | None:
  """Harmonic mean of all values of all machines; None if any is missing."""
  values = official.ranked_values(machines.values())
  return None if None in values else official.official_score(values)


def _one(found: Mapping[str, Any], domain_auc: str) -> Side:
  """An entry of `per_seed`, or the whole run."""
  machines = {m: _entry(e, domain_auc) for m, e in found["machines"].items()}
  if domain_auc == OFFICIAL:
    return Side(found["official_score"], machines)
  return Side(_over(machines), machines)


def _mean(values: Sequence[float | None]) -> float | None:
  # A run without a value leaves no mean over runs.
  return None if None in values else official.arithmetic_mean(values)


def _mean_values(some: Sequence[Values], keys: Sequence[str]) -> Values:
  return {k: _mean([v.get(k) for v in some]) for k in keys}


def _over_runs(runs: Sequence[Side], measure: str) -> Side:
  """Means over single runs, of scores or of the metrics they are made of."""
  keys = official.RANKED
  machines = {}
  for name in runs[0].machines:
    each = [r.machines[name] for r in runs]
    means = _mean_values(each, (*keys, "score"))
    if measure == MEANS:
      means = _scored({k: means[k] for k in keys})
    machines[name] = means
  if measure == MEANS:
    return Side(_over(machines), machines)
  return Side(_mean([r.score for r in runs]), machines)


def unlike(results: record.Results, published: Mapping[str, Any]) -> str:
  """Why a run has no number that is what a published one is; "" if it has.

  Args:
    results: content of results.json.
    published: what is published of its system.

  Returns:
    Words.
  """
  runs, measure = results["per_seed"], measure_of(published)
  # A system that draws nothing at random is its own mean and its own ensemble.
  drawn = results.get("draws") is not False
  if measure == ENSEMBLE and drawn and len(runs) == 1:
    return "published is an ensemble, this is a single run"
  if measure in (RUNS, MEANS) and any("branch" in r for r in runs):
    return "published is a mean of runs, this is one of chosen members"
  return ""


def ours(results: record.Results, published: Mapping[str, Any]) -> Side:
  """What a run found, by the definition of a published number.

  Args:
    results: content of results.json.
    published: what is published of its system.

  Returns:
    The numbers; none where the run has none of that definition.
  """
  domain_auc = published.get("domain_auc", OFFICIAL)
  if unlike(results, published):
    return Side(None, {})
  measure, runs = measure_of(published), results["per_seed"]
  if measure in (UNSAID, ENSEMBLE) or not runs:
    return _one(results, domain_auc)
  return _over_runs([_one(r, domain_auc) for r in runs], measure)


def known(results: record.Results) -> Mapping[str, Any]:
  """Published numbers of the challenge's machines that the run is made of.

  Args:
    results: content of results.json.

  Returns:
    Name to number, and what they are; empty for other machines, whose numbers
    nobody could compare with them.
  """
  machines = results["machines"]
  # Other sets, synthetic ones too, have machines of the same names.
  whole = all(e["n_train"] == record.CHALLENGE_TRAIN for e in machines.values())
  sets = [k for k, v in record.CHALLENGE_SETS.items() if v >= set(machines)]
  if not machines or not whole or not sets:
    return {}
  # None where the config has no such block; 0.0 stands for unknown.
  given = results.get("published") or {}
  others = set(record.CHALLENGE_SETS) - set(sets)
  return {k: v for k, v in given.items() if v and k not in others}


def total(results: record.Results) -> tuple[str, Pair] | None:
  """The score over all machines beside the published one.

  Args:
    results: content of results.json.

  Returns:
    Set and numbers; None unless the run has every machine of the set.
  """
  found = known(results)
  for name, wanted in record.CHALLENGE_SETS.items():
    if name in found and wanted == set(results["machines"]):
      why = unlike(results, found)
      return name, Pair(ours(results, found).score, found[name], why)
  return None


def by_machine(results: record.Results) -> dict[str, dict[str, Pair]]:
  """Each published number of a machine beside ours.

  Args:
    results: content of results.json.

  Returns:
    Machine to metric to numbers, of those that are published.
  """
  found = known(results)
  side, why = ours(results, found), unlike(results, found)
  return {
    name: {
      key: Pair(side.machines.get(name, {}).get(key), value, why)
      for key, value in entry.items()
      if key in (*official.RANKED, "score") and value
    }
    for name, entry in found.get("machines", {}).items()
    if name in results["machines"]
  }
