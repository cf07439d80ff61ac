"""[KATECH26]'s tables as text: each number of ours beside the published."""

from collections.abc import Mapping, Sequence
from typing import Any

from asd_jax.metrics import official, uncertainty
from asd_jax.report import published

Results = Mapping[str, Any]
_WIDTH = 18
# The machine whose column of table 2 stands for real recordings.
FAN = "fan"
LADDER_HEADS = ("mean +- std", "published", "ensemble", "published")
FAN_HEADS = (f"{FAN} only", "published")


def _percent(value: float | None) -> str:
  # The paper leaves some numbers out: 0 is not published.
  return f"{100 * value:.2f}" if value else "-"


def _spread(mean: float | None, std: float | None) -> str:
  return f"{_percent(mean)} +- {_percent(std)}"


def _line(title: str, cells: Sequence[str]) -> str:
  return f"{title:22s}" + "".join(f"{c:>{_WIDTH}s}" for c in cells)


def _summary(values: Sequence[float | None]) -> tuple[float | None, ...]:
  """Mean and deviation of the seeds that have a value."""
  known = [v for v in values if v is not None]
  if not known:
    return None, None
  found = uncertainty.seed_summary(known)
  return found["mean"], found["std"]


def row(title: str, found: Results) -> str:
  """One rung of tables 1 and 2.

  Args:
    title: of the rung.
    found: content of results.json, with what is published of the rung.

  Returns:
    A line in percent, under `LADDER_HEADS` and `FAN_HEADS`.
  """
  seeds, known = found["per_seed"], found["published"]
  runs = known.get("runs", {})
  fan = runs.get("machines", {}).get(FAN, {})
  is_ensemble = published.measure_of(known) == published.ENSEMBLE
  on_fan = [s["machines"].get(FAN, {}).get("score") for s in seeds]
  cells = [
    _spread(*_summary([s["official_score"] for s in seeds])),
    _spread(runs.get("score"), runs.get("std")),
    _percent(found["official_score"]),
    _percent(known["development"] if is_ensemble else None),
    _spread(*_summary(on_fan)),
    _spread(fan.get("score"), fan.get("std")),
  ]
  return _line(title, cells)


def heads() -> str:
  """The line above the rungs."""
  return _line("official score, %", (*LADDER_HEADS, *FAN_HEADS))


def _oracle(columns: Sequence[Sequence[float | None]]) -> float | None:
  """Harmonic mean of the better column of each machine."""
  pairs = list(zip(*columns, strict=True))
  best = [None if None in pair else max(pair) for pair in pairs]
  return official.official_score(best) if None not in best else None


def by_machine(
  found: Mapping[str, Results],
  facts: Mapping[str, Mapping[str, float]],
  oracle: float,
) -> list[str]:
  """Table 4: noise transfer and two front ends, machine by machine.

  Args:
    found: column to content of results.json, with what is published of it.
    facts: machine to what is published of its recordings.
    oracle: published score of the better column of each machine.

  Returns:
    Lines: G as a ratio, scores in percent; last, the better column of each
    machine, which is chosen by labels.
  """
  names = list(found)
  machines = list(found[names[0]]["machines"])
  titles = [t for n in ("G", *names) for t in (n, "published")]
  lines = [_line("machine", titles)]
  for machine in machines:
    (transfer,) = found[names[0]]["machines"][machine][
      "noise_transfer"
    ].values()
    old = facts.get(machine, {}).get("noise_transfer")
    cells = [f"{transfer:.2f}", f"{old:.2f}" if old else "-"]
    for result in found.values():
      known = result["published"]["machines"].get(machine, {})
      score = result["machines"][machine]["score"]
      cells += [_percent(score), _percent(known.get("score"))]
    lines.append(_line(machine, cells))
  total = ["", ""]
  for result in found.values():
    known = result["published"]["development"]
    total += [_percent(result["official_score"]), _percent(known)]
  columns = [
    [r["machines"][m]["score"] for m in machines] for r in found.values()
  ]
  best = [_percent(_oracle(columns)), _percent(oracle)]
  lines.append(_line("all", total))
  return [*lines, _line("label oracle (bound)", ["", "", *best])]
