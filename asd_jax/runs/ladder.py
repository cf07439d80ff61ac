"""[KATECH26]'s tables as text: each number of ours beside the published."""

from collections.abc import Mapping, Sequence
from typing import Any

from asd_jax.metrics import official, uncertainty

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


def row(rung: Sequence[Any], fan: Sequence[float], found: Results) -> str:
  """One rung of tables 1 and 2.

  Args:
    rung: title, denoisers, by domain, then published mean, deviation and
      ensemble; 0.0 where there is none.
    fan: published mean and deviation on the fan alone.
    found: content of results.json.

  Returns:
    A line in percent, under `LADDER_HEADS` and `FAN_HEADS`.
  """
  title, _, _, mean, std, ensemble = rung
  seeds = found["per_seed"]
  on_fan = [s["machines"].get(FAN, {}).get("score") for s in seeds]
  cells = [
    _spread(*_summary([s["official_score"] for s in seeds])),
    _spread(mean, std),
    _percent(found["official_score"]),
    _percent(ensemble),
    _spread(*_summary(on_fan)),
    _spread(*fan),
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
  published: Mapping[str, Sequence[float]],
  ensembles: Mapping[str, float],
  found: Mapping[str, Results],
) -> list[str]:
  """Table 4: noise transfer and two front ends, machine by machine.

  Args:
    published: machine to G and the scores of the columns.
    ensembles: over all machines: the columns in their order, `label_oracle`.
    found: column to content of results.json, in that order.

  Returns:
    Lines: G as a ratio, scores in percent; last, the better column of each
    machine, which is chosen by labels.
  """
  names = list(found)
  machines = list(next(iter(found.values()))["machines"])
  titles = [t for n in ("G", *names) for t in (n, "published")]
  lines = [_line("machine", titles)]
  columns = [
    [r["machines"][m]["score"] for m in machines] for r in found.values()
  ]
  for i, machine in enumerate(machines):
    old = published.get(machine, (0.0,) * (1 + len(names)))
    transfers = found[names[0]]["machines"][machine]["noise_transfer"]
    (transfer,) = transfers.values()
    cells = [f"{transfer:.2f}", f"{old[0]:.2f}" if old[0] else "-"]
    for column, score in zip(columns, old[1:], strict=True):
      cells += [_percent(column[i]), _percent(score)]
    lines.append(_line(machine, cells))
  total = ["", ""]
  for name, result in found.items():
    total += [_percent(result["official_score"]), _percent(ensembles[name])]
  best = [_percent(_oracle(columns)), _percent(ensembles["label_oracle"])]
  lines.append(_line("all", total))
  return [*lines, _line("label oracle (bound)", ["", "", *best])]
