"""A run beside published numbers: the same thing on both sides, or nothing.

An ensemble stands beside an ensemble, a mean of runs beside a mean of runs, and
AUCs of a domain beside AUCs against the same anomalies.
"""

from collections.abc import Collection, Mapping, Sequence
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


class Parts(NamedTuple):
  """AUC source, AUC target and pAUC over machines, ours and published.

  Attributes:
    mean: over machines, "harmonic" or "arithmetic", on both sides.
    ours: metric to fraction, None where unknown.
    published: metric to fraction, of those that are published.
  """

  mean: str
  ours: Values
  published: Mapping[str, float]


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
  """Harmonic mean over machines, None if any has no score."""
  # Each machine has three values: this is the harmonic mean of them all.
  values = [m["score"] for m in machines.values()]
  return None if None in values else official.official_score(values)


def _one(
  found: Mapping[str, Any], domain_auc: str, names: Collection[str]
) -> Side:
  """An entry of `per_seed`, or the whole run, on some machines."""
  every = found["machines"]
  machines = {n: _entry(every.get(n, {}), domain_auc) for n in names}
  # Of a whole run the score that it gives itself stands.
  if domain_auc == OFFICIAL and set(names) == set(every):
    return Side(found["official_score"], machines)
  return Side(_over(machines), machines)


def _mean(values: Sequence[float | None]) -> float | None:
  # A run without a value leaves no mean over runs.
  return None if None in values else official.arithmetic_mean(values)


def _over_runs(runs: Sequence[Side], measure: str) -> Side:
  """Means over single runs, of scores or of the metrics they are made of."""
  machines = {}
  for name in runs[0].machines:
    each = [r.machines[name] for r in runs]
    means = {
      k: _mean([v[k] for v in each]) for k in (*official.RANKED, "score")
    }
    if measure == MEANS:
      means = _scored({k: means[k] for k in official.RANKED})
    machines[name] = means
  if measure == MEANS:
    return Side(_over(machines), machines)
  return Side(_mean([r.score for r in runs]), machines)


def measured(
  results: record.Results,
  *,
  measure: str = ENSEMBLE,
  domain_auc: str = OFFICIAL,
  names: Collection[str] | None = None,
) -> Side:
  """What a run found, by a definition.

  Args:
    results: content of results.json.
    measure: how several trainings become one number.
    domain_auc: which anomalies the AUC of a domain takes.
    names: machines to score; all if None.

  Returns:
    The numbers.
  """
  names = list(results["machines"]) if names is None else names
  runs = results["per_seed"]
  if measure in (UNSAID, ENSEMBLE) or not runs:
    return _one(results, domain_auc, names)
  return _over_runs([_one(r, domain_auc, names) for r in runs], measure)


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


def ours(
  results: record.Results,
  published: Mapping[str, Any],
  *,
  names: Collection[str] | None = None,
) -> Side:
  """What a run found, by the definition of a published number.

  Args:
    results: content of results.json.
    published: what is published of its system.
    names: machines to score; all if None.

  Returns:
    The numbers; none where the run has none of that definition.
  """
  if unlike(results, published):
    return Side(None, {})
  return measured(
    results,
    measure=measure_of(published),
    domain_auc=published.get("domain_auc", OFFICIAL),
    names=names,
  )


def sets_of(results: record.Results) -> dict[str, list[str]]:
  """The challenge's sets that a run has machines of.

  Args:
    results: content of results.json.

  Returns:
    Set to the run's machines of it; empty if any machine is none of the
    challenge's, whose numbers nobody could compare with published ones.
  """
  machines = results["machines"]
  # Other sets, synthetic ones too, have machines of the same names.
  whole = all(
    e.get("n_train") == record.CHALLENGE_TRAIN for e in machines.values()
  )
  found = {
    kind: [m for m in machines if m in wanted]
    for kind, wanted in record.CHALLENGE_SETS.items()
  }
  if not whole or sum(map(len, found.values())) < len(machines):
    return {}
  return {kind: names for kind, names in found.items() if names}


def known(results: record.Results) -> Mapping[str, Any]:
  """Published numbers of the challenge's machines that the run is made of.

  Args:
    results: content of results.json.

  Returns:
    Name to number, and what they are; empty for other machines.
  """
  sets = sets_of(results)
  # None where the config has no such block; 0.0 stands for unknown.
  given = results.get("published") or {}
  others = set(record.CHALLENGE_SETS) - set(sets)
  return {k: v for k, v in given.items() if sets and v and k not in others}


def totals(results: record.Results) -> dict[str, Pair]:
  """The score over all machines of a set beside the published one.

  Args:
    results: content of results.json.

  Returns:
    Set to numbers, of the sets that the run has every machine of.
  """
  found, why = known(results), unlike(results, known(results))
  return {
    kind: Pair(ours(results, found, names=names).score, found[kind], why)
    for kind, names in sets_of(results).items()
    if kind in found and set(names) == record.CHALLENGE_SETS[kind]
  }


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


def parts(
  results: record.Results, names: Collection[str], *, compared: bool
) -> Parts:
  """The three metrics over machines, beside published ones of the same mean.

  Args:
    results: content of results.json.
    names: machines.
    compared: whether published numbers are of the same recordings.

  Returns:
    Harmonic means; arithmetic ones where only those are published.
  """
  given = (results.get("published") or {}) if compared else {}
  side = ours(results, given, names=names) if given else measured(results)
  theirs = given.get("parts") or {}
  mean = official.arithmetic_mean if theirs else official.official_score
  over = lambda machines: {
    k: None if None in v else mean(v)
    for k in official.RANKED
    for v in [[machines.get(n, {}).get(k) for n in names]]
  }
  if not theirs:
    known_ones = over(given.get("machines", {}))
    theirs = {k: v for k, v in known_ones.items() if v is not None}
  kind = "arithmetic" if given.get("parts") else "harmonic"
  return Parts(kind, over(side.machines), theirs)
