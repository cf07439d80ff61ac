"""Many systems side by side, ours beside published: numbers, text and csv."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from asd_jax import files
from asd_jax.metrics import official, paired
from asd_jax.report import compare, published, record, seeds, text

Value = float | None
# Facts of a machine's recordings, with what they mean.
FACTS = {
  "correlation": ("LR correlation", "Pearson, near and far, lag 0"),
  "power_ratio_db": ("near / far, dB", "Power of near over power of far"),
  "coherence": ("coherence", "Mean squared coherence of near and far"),
  "share_at_floor": ("at floor, %", "Bins at the floor of the coherence mask"),
  "noise_transfer": ("G", "Median transfer of noise from far to near"),
}
_CSV_HEADS = (
  *("system", "machine", "metric", "domain_auc", "measure", "ours"),
  *("published", "difference", "source"),
)
ALL = ""  # over all machines
OTHERS = (
  "Published numbers are of the challenge's development recordings, and not of"
  " these: no difference to them is given."
)


class System(NamedTuple):
  """One system of a table.

  Attributes:
    name: of its config.
    results: content of results.json, None if it was not run.
    published: what is published of it, as in its config.
    why: why it was not run, "" if it was.
    link: where the page finds its report, "" if nowhere.
    to_best: the official score against that of the best system (A is the
      best), None for the best itself and where nothing can be compared.
    p_holm: p over test clips, corrected for the number of systems.
  """

  name: str
  results: record.Results | None = None
  published: Mapping[str, Any] = {}
  why: str = ""
  link: str = ""
  to_best: compare.Row | None = None
  p_holm: Value = None

  @property
  def seeds(self) -> Sequence[Mapping[str, Any]]:
    """Its single runs, none of a system that draws nothing."""
    found = self.results or {"per_seed": []}
    return [] if found.get("draws") is False else found["per_seed"]


class Table(NamedTuple):
  """Systems that scored the same recordings.

  Attributes:
    systems: in the order to show them.
    recordings: machine to facts of its training clips, see `FACTS`.
    known: machine to published facts.
    notes: what a reader must know.
  """

  systems: Sequence[System]
  recordings: Mapping[str, Mapping[str, float]] = {}
  known: Mapping[str, Mapping[str, float]] = {}
  notes: Sequence[str] = ()

  @property
  def ran(self) -> list[System]:
    """Systems with results."""
    return [s for s in self.systems if s.results]

  @property
  def machines(self) -> list[str]:
    """Machines that every system scored: others would make unlike means."""
    every = [(s.results or {})["machines"] for s in self.ran]
    return [m for m in every[0] if all(m in e for e in every)] if every else []

  @property
  def scopes(self) -> dict[str, list[str]]:
    """Parts of the table: the challenge's sets with labels, or all machines."""
    every = [s.results for s in self.ran if s.results]
    if not every or not all(map(published.sets_of, every)):
      return {"": self.machines}
    scored = lambda name: any(
      r["machines"][name]["score"] is not None for r in every
    )
    sets = {
      kind: [m for m in self.machines if m in wanted]
      for kind, wanted in record.CHALLENGE_SETS.items()
    }
    found = {k: names for k, names in sets.items() if any(map(scored, names))}
    return found or {"": self.machines}


class Numbers(NamedTuple):
  """What one system reached on some machines; fractions.

  Attributes:
    score: of the system as it is used.
    known_score: published, of the same kind.
    runs: mean and deviation (ddof 1) of single runs, None of one without.
    known_runs: published mean and deviation.
    compared: ours by the definition of the published number, None where the
      run has none, or the recordings are others.
    difference: that less the published number.
    why: why there is no difference, "" otherwise.
  """

  score: Value
  known_score: Value
  runs: tuple[float, Value] | None
  known_runs: tuple[float, Value] | None
  compared: Value
  difference: Value
  why: str


def _known_of(
  system: System, kind: str
) -> tuple[Value, tuple[float, Value] | None]:
  """Published score of the system as it is used, and of its single runs."""
  given = system.published or {}
  total = given.get(kind or "development") or None
  runs = given.get("runs") or {}
  if runs and kind != "evaluation":
    pair = runs["score"], runs.get("std")
    same = published.measure_of(given) == published.RUNS
    return (None if same else total), pair
  drawn = bool(system.seeds) or not system.results
  single = published.measure_of(given) in (published.RUNS, published.MEANS)
  if single and drawn and total is not None:
    return None, (total, None)
  return total, None


def numbers(system: System, kind: str, names: Sequence[str]) -> Numbers:
  """What a system reached on the machines of a part of the table.

  Args:
    system: the system.
    kind: set of the challenge, "" of other recordings.
    names: machines.

  Returns:
    The numbers.
  """
  known = _known_of(system, kind)
  found = system.results
  if found is None:
    return Numbers(None, known[0], None, known[1], None, None, system.why)
  score = published.measured(found, names=names).score
  singles = [
    published.measured({**found, **s, "per_seed": []}, names=names).score
    for s in system.seeds
  ]
  values = [v for v in singles if v is not None]
  runs = seeds.spread(values) or ((values[0], None) if values else None)
  pair = published.totals(found).get(kind)
  same = pair.ours if pair else None
  gap = same - pair.published if pair and same is not None else None
  why = pair.why if pair else ""
  return Numbers(score, known[0], runs, known[1], same, gap, why)


def percent(value: Value) -> str:
  """A fraction in percent, or a dash."""
  return "-" if value is None else f"{100 * value:.2f}"


def mean_and_std(pair: tuple[float, Value] | None) -> str:
  """Fractions as `60.00 +- 1.41` in percent, or a dash."""
  if pair is None:
    return "-"
  mean, std = pair
  return percent(mean) + ("" if std is None else f" +- {percent(std)}")


def points(value: Value) -> str:
  """A difference in points with its sign, or a dash."""
  return "-" if value is None else f"{100 * value:+.2f}"


HEADS = (
  *("system", "score", "published", "single runs", "published"),
  *("difference", "to the best", "95 % interval", "p (Holm)"),
  *("minutes", "parameters"),
)


def to_best(system: System) -> list[str]:
  """Difference to the best system, its interval and p, over test clips."""
  row = system.to_best
  if row is None:
    return ["-", "-", "-"]
  found = row.clips or row.record
  ends = found.interval
  span = f"{points(ends.low)} to {points(ends.high)}" if ends else "-"
  p = "-" if system.p_holm is None else f"{system.p_holm:.3f}"
  return [points(found.difference), span, p]


def parameters(num: int | None) -> str:
  """A number of parameters, in millions."""
  return "-" if not num else f"{num / 1e6:.2f} M"


def row(system: System, kind: str, names: Sequence[str]) -> list[str]:
  """Cells of a system, under `HEADS`.

  Args:
    system: the system.
    kind: set of the challenge, "" of other recordings.
    names: machines.

  Returns:
    Plain text, percent and points.
  """
  found = numbers(system, kind, names)
  run = (system.results or {}).get("run") or {}
  minutes = f"{run['seconds'] / 60:.1f}" if "seconds" in run else "-"
  total = (system.results or {}).get("total_parameters")
  return [
    text.visible(system.name),
    percent(found.score),
    percent(found.known_score),
    mean_and_std(found.runs),
    mean_and_std(found.known_runs),
    points(found.difference),
    *to_best(system),
    minutes,
    parameters(total),
  ]


def line(system: System) -> str:
  """One system in a line, as soon as it is done.

  Args:
    system: the system.

  Returns:
    Its score and its report, or why it was not run.
  """
  name = text.visible(system.name)
  if system.results is None:
    return f"{name}: not run: {system.why}"
  score = percent(system.results["official_score"])
  return f"{name}: {score}, {system.link}"


def console(table: Table) -> list[str]:
  """The systems that ran as lines of text.

  Args:
    table: the systems.

  Returns:
    Lines.
  """
  if not table.ran:
    return ["no system was run"]
  lines = []
  for kind, names in table.scopes.items():
    lines += [f"{kind} set:"] if kind else []
    rows = [HEADS, *(row(s, kind, names) for s in table.ran)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *rest in rows:
      cells = [c.rjust(w) for c, w in zip(rest, widths[1:], strict=True)]
      lines.append("  ".join([first.ljust(widths[0]), *cells]))
    lines.append("")
  lines.append(
    "Percent; differences in points. Score: of the system as it is used, an"
    " ensemble where several networks are trained."
  )
  if "" in table.scopes and any(s.published.get("source") for s in table.ran):
    lines.append(OTHERS)
  lines += [f"note: {note}" for note in table.notes]
  return lines


def _definitions(system: System) -> list[tuple[str, str]]:
  """Measures and AUCs of a domain that the csv has of a system."""
  given, same = system.published or {}, (published.ENSEMBLE, published.SAME)
  found = [(published.ENSEMBLE, published.OFFICIAL)]
  if system.seeds or given.get("runs"):
    found.append((published.RUNS, published.OFFICIAL))
  return list(dict.fromkeys([*found, same, _definition(given)]))


def _definition(given: Mapping[str, Any]) -> tuple[str, str]:
  """Measure and AUCs of a domain of published numbers."""
  measure = published.measure_of(given) or published.ENSEMBLE
  return measure, given.get("domain_auc", published.OFFICIAL)


def _known(
  given: Mapping[str, Any], definition: tuple[str, str], kind: str
) -> dict[str, Mapping[str, Value]]:
  """Published numbers of a definition, by machine and over all of a set."""
  out: dict[str, Mapping[str, Value]] = {}
  if definition == _definition(given):
    total = given.get(kind or "development") or None
    out = {ALL: {"score": total, **(given.get("parts") or {})}}
    out |= given.get("machines") or {}
  elif definition == (published.RUNS, published.OFFICIAL):
    runs = given.get("runs") or {}
    out = {ALL: {"score": runs.get("score")}, **(runs.get("machines") or {})}
  return out


def _of_system(
  system: System, kind: str, names: Sequence[str]
) -> Iterator[list[object]]:
  """Rows of the csv of one system on some machines."""
  given, found = system.published or {}, system.results
  comparable = bool(found and published.sets_of(found))
  comparable &= not (found and published.unlike(found, given))
  for definition in _definitions(system):
    measure, domain_auc = definition
    known = _known(given, definition, kind)
    sides: dict[str, Mapping[str, Value]] = {}
    if found:
      side = published.measured(
        found, measure=measure, domain_auc=domain_auc, names=names
      )
      sides = {ALL: {"score": side.score}, **side.machines}
    for place in (ALL, *names):
      for metric in (*official.RANKED, "score"):
        ours, theirs = (x.get(place, {}).get(metric) for x in (sides, known))
        if ours is None and theirs is None:
          continue
        gap = None
        if comparable and ours is not None and theirs is not None:
          gap = ours - theirs
        where = kind or "all" if place == ALL else place
        source = given.get("source", "") if theirs is not None else ""
        yield [system.name, where, metric, domain_auc, measure, ours, theirs,
               gap, source]  # fmt: skip


def csv(table: Table) -> str:
  """Every number of the table, one a row; fractions, facts in their units.

  Args:
    table: the systems.

  Returns:
    csv text.
  """
  rows = [
    line
    for s in table.systems
    for kind, names in table.scopes.items()
    for line in _of_system(s, kind, names)
  ]
  for machine, facts in table.recordings.items():
    for key, value in facts.items():
      known = table.known.get(machine, {}).get(key)
      rows.append(["", machine, key, "", "", value, known, None, ""])
  cells = [["" if c is None else c for c in line] for line in rows]
  return files.csv_text([_CSV_HEADS, *cells])


def corrected(systems: Sequence[System]) -> list[System]:
  """The systems with p over test clips corrected for their number (Holm)."""
  p = paired.holm(
    [s.to_best.clips.p_t if s.to_best and s.to_best.clips else None
     for s in systems]
  )  # fmt: skip
  return [s._replace(p_holm=v) for s, v in zip(systems, p, strict=True)]
