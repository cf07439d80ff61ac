"""What [KATECH26]'s tables have beside the table of systems, as text."""

from collections.abc import Mapping, Sequence
from typing import Any

from asd_jax.metrics import official
from asd_jax.report import seeds, systems

Results = Mapping[str, Any]
_WIDTH = 18
# The machine whose column of table 2 stands for real recordings.
FAN = "fan"


def _percent(value: float | None) -> str:
  # The paper leaves some numbers out: 0 is not published.
  return f"{100 * value:.2f}" if value else "-"


def _line(title: str, cells: Sequence[str]) -> str:
  return f"{title:22s}" + "".join(f"{c:>{_WIDTH}s}" for c in cells)


def on_fan(table: systems.Table) -> list[str]:
  """The fan's column of table 2: single runs, and the published ones.

  Args:
    table: the rungs.

  Returns:
    Lines in percent.
  """
  lines = [_line(f"{FAN} only", ("single runs", "published"))]
  for rung in table.ran:
    every = [s["machines"].get(FAN, {}).get("score") for s in rung.seeds]
    runs = (rung.published.get("runs") or {}).get("machines") or {}
    known = runs.get(FAN, {})
    cells = [
      systems.mean_and_std(seeds.spread(every)),
      systems.mean_and_std((known["score"], known["std"]) if known else None),
    ]
    lines.append(_line(rung.name, cells))
  return lines


def _oracle(columns: Sequence[Sequence[float | None]]) -> float | None:
  """Harmonic mean of the better column of each machine."""
  pairs = list(zip(*columns, strict=True))
  best = [None if None in pair else max(pair) for pair in pairs]
  return official.official_score(best) if None not in best else None


def by_machine(table: systems.Table, oracle: float) -> list[str]:
  """Table 4: noise transfer and two front ends, machine by machine.

  Args:
    table: its columns, with published facts of the recordings.
    oracle: published score of the better column of each machine.

  Returns:
    Lines: G as a ratio, scores in percent; last, the better column of each
    machine, which is chosen by labels.
  """
  ran = [(s, s.results) for s in table.ran if s.results]
  machines = table.machines
  titles = [
    t for n in ("G", *(s.name for s, _ in ran)) for t in (n, "published")
  ]
  lines = [_line("machine", titles)]
  for machine in machines:
    (transfer,) = ran[0][1]["machines"][machine]["noise_transfer"].values()
    old = table.known.get(machine, {}).get("noise_transfer")
    cells = [f"{transfer:.2f}", f"{old:.2f}" if old else "-"]
    for system, found in ran:
      known = (system.published.get("machines") or {}).get(machine, {})
      score = found["machines"][machine]["score"]
      cells += [_percent(score), _percent(known.get("score"))]
    lines.append(_line(machine, cells))
  total = ["", ""]
  for system, found in ran:
    known = system.published.get("development")
    total += [_percent(found["official_score"]), _percent(known)]
  columns = [[r["machines"][m]["score"] for m in machines] for _, r in ran]
  best = [_percent(_oracle(columns)), _percent(oracle)]
  lines.append(_line("all", total))
  return [*lines, _line("label oracle (bound)", ["", "", *best])]
