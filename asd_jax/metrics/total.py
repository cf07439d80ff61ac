"""The official score over machines, and what it was taken over.

A mean that leaves out what is missing looks like one of everything. So there
is no official score where a machine can have none, and any other says which
machines and how many values it holds.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from asd_jax.metrics import official

Entries = Mapping[str, Sequence[official.Metrics]]
NO_LABELS = "no labels"


class Gap(NamedTuple):
  """What the test clips of a section leave unknown.

  Attributes:
    why: in words, "" for nothing.
    is_void: whether no official score can hold the section.
  """

  why: str = ""
  is_void: bool = False


class Total(NamedTuple):
  """The official score of a run.

  Attributes:
    score: harmonic mean of the values at hand; None without any, and where a
      machine with labels has no domains or one class only.
    machines: those that have labels.
    num_values: values that the score is the mean of.
    num_expected: values that those machines should have.
    missing: machine to what is missing of it.
  """

  score: float | None
  machines: list[str]
  num_values: int
  num_expected: int
  missing: dict[str, str]

  def record(self) -> dict[str, Any]:
    """All but the score, for results.json."""
    return {k: v for k, v in self._asdict().items() if k != "score"}


def gap(labels: Sequence[str | None], domains: Sequence[str | None]) -> Gap:
  """Says what the test clips of a section leave unknown.

  Args:
    labels: "normal" or "anomaly" of each clip, or None.
    domains: "source" or "target" of each clip, or None.

  Returns:
    The gap.
  """
  num, unknown = len(labels), [labels.count(None), domains.count(None)]
  if unknown[0] == num:
    return Gap(NO_LABELS)
  if unknown[0]:
    return Gap(f"labels of {unknown[0]} of {num} test clips unknown", True)
  if len(set(labels)) == 1:
    return Gap(f"{labels[0]} test clips only", True)
  if unknown[1]:
    return Gap(f"domains of {unknown[1]} of {num} test clips unknown", True)
  normal = {d for v, d in zip(labels, domains, strict=True) if v == "normal"}
  for domain in ("source", "target"):
    if domain not in normal:
      return Gap(f"no normal {domain} test clips")
  return Gap()


def total(entries: Entries, gaps: Mapping[str, Sequence[Gap]]) -> Total:
  """The official score over machines.

  Args:
    entries: by machine, metrics of each section with test clips; machines
      without any have no part in it.
    gaps: by machine, what each of these sections leaves unknown.

  Returns:
    The score, and what it was taken over.
  """
  every = {name: some for name, some in entries.items() if some}
  missing = {
    name: "; ".join(dict.fromkeys(g.why for g in gaps[name] if g.why))
    for name in every
  }
  machines = [n for n in every if any(g.why != NO_LABELS for g in gaps[n])]
  values = official.ranked_values(e for n in machines for e in every[n])
  known = [v for v in values if v is not None]
  # Beside labelled sections, one without labels is a hole in the machine.
  is_void = any(
    g.is_void or g.why == NO_LABELS for n in machines for g in gaps[n]
  )
  return Total(
    None if is_void else official.official_score(known),
    machines,
    len(known),
    len(values),
    {name: why for name, why in missing.items() if why},
  )


def machine(sections: Sequence[official.Metrics]) -> dict[str, float | None]:
  """Values by domain and score of a machine, None where a section lacks them.

  Args:
    sections: metrics of its sections.

  Returns:
    Fractions by name.
  """
  values = {
    # A mean over some sections would be one of other clips.
    key: official.official_score([e[key] for e in sections])
    if all(e[key] is not None for e in sections)
    else None
    for key in ("auc", *official.RANKED, *official.SAME_DOMAIN)
  }
  return {**values, "score": official.machine_score(sections)}


def in_words(score: float | None, over: Mapping[str, Any]) -> str:
  """Says what is missing of an official score.

  Args:
    score: the score.
    over: what `Total.record` returns.

  Returns:
    A sentence without a stop; "" where nothing is missing, or nothing known.
  """
  if not over["machines"] or not over["missing"]:
    return ""
  listed = "; ".join(f"{n}: {why}" for n, why in over["missing"].items())
  if score is None:
    return f"no official score: {listed}"
  left_out = [n for n in over["missing"] if n not in over["machines"]]
  num, parts = len(over["machines"]), []
  if left_out:
    parts.append(f"{num} of {num + len(left_out)} machines")
  if over["num_values"] < over["num_expected"]:
    parts.append(f"{over['num_values']} of {over['num_expected']} values")
  return f"official score over {' and '.join(parts)} ({listed})"
