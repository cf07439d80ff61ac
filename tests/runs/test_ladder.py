"""Published tables beside what a run found."""

import numpy as np
import pytest

from asd_jax.report import systems
from asd_jax.runs import ladder
from configs import katech_table4, published


def results(scores, known=None, *, transfer=None, seeds=2):
  """A run of machines with given scores, its seeds a point off each way."""
  machines = lambda shift: {
    m: {"score": s and s + shift, "noise_transfer": transfer or {}}
    for m, s in scores.items()
  }
  total = float(np.mean(list(scores.values())))
  return {
    "machines": machines(0.0),
    "official_score": total,
    "published": known,
    "per_seed": [
      {"official_score": total + shift, "machines": machines(shift)}
      for shift in (-0.01, 0.01)[:seeds]
    ],
  }


def plain(lines):
  return [" ".join(line.split()) for line in lines]


def table_of(found):
  some = [systems.System(n, r, r["published"]) for n, r in found.items()]
  return systems.Table(some, known=published.FACTS)


def test_a_rung_shows_all_machines_and_the_fan_alone():
  table = table_of(
    {
      "+ a": results(dict(fan=0.5, pump=0.7), published.rung("ae")),
      # No fan, one seed, and a rung that the report leaves out.
      "b": results(dict(pump=0.7), published.rung("wiener"), seeds=1),
    }
  )
  # Over the machine that both have.
  lines = plain(systems.console(table))[1:3]
  assert lines[0].startswith("+ a 70.00 59.70 70.00 +- 1.41 60.29 +- 0.83 - ")
  assert lines[1].startswith("b 70.00 - 69.00 - - ")
  assert plain(ladder.on_fan(table)) == [
    "fan only single runs published",
    "+ a 50.00 +- 1.41 54.13 +- 1.87",
    "b - -",
  ]


def test_the_label_oracle_takes_the_better_column_of_each_machine():
  scores = dict(fan=0.5, ToyCar=0.8), dict(fan=0.6, ToyCar=0.4)
  columns = zip(katech_table4.COLUMNS, scores, strict=True)
  found = {
    name: results(s, published.column(name), transfer=dict(ada_sub=1.234))
    for name, s in columns
  }
  oracle = published.KATECH_ORACLE / 100
  best = f"{100 * 2 / (1 / 0.6 + 1 / 0.8):.2f}"
  assert plain(ladder.by_machine(table_of(found), oracle))[1:] == [
    "fan 1.23 0.94 50.00 60.20 60.00 65.40",
    "ToyCar 1.23 44.10 80.00 69.80 40.00 68.00",
    "all 65.00 64.70 50.00 -",
    f"label oracle (bound) {best} 65.70",
  ]
  # A machine that the report does not know, and one without a score.
  found["coh_gate"]["machines"]["fan"]["score"] = None
  for column in found.values():
    column["published"]["machines"] = {}
  lines = plain(ladder.by_machine(table_of(found)._replace(known={}), oracle))
  assert lines[1] == "fan 1.23 - 50.00 - - -"
  assert lines[4] == "label oracle (bound) - 65.70"


def test_a_column_is_compared_machine_by_machine():
  c = katech_table4.get_config("coh_gate,smoke")
  assert c.system == "katech_table4_coh_gate"
  assert list(c.branches) == ["coh_gate"]
  assert c.published.machines.fan.score == 0.654
  for arg in ("wiener", "ada_sub,coh_gate"):
    with pytest.raises(ValueError, match="expected one of"):
      katech_table4.get_config(arg)
