"""Published tables beside what a run found."""

import numpy as np
import pytest

from asd_jax.runs import ladder
from configs import katech_ablation, katech_table4


def results(scores, *, transfer=None, seeds=2):
  """A run of machines with given scores, its seeds a point off each way."""
  machines = lambda shift: {
    m: {"score": s and s + shift, "noise_transfer": transfer or {}}
    for m, s in scores.items()
  }
  total = float(np.mean(list(scores.values())))
  return {
    "machines": machines(0.0),
    "official_score": total,
    "per_seed": [
      {"official_score": total + shift, "machines": machines(shift)}
      for shift in (-0.01, 0.01)[:seeds]
    ],
  }


def plain(lines):
  return [" ".join(line.split()) for line in lines]


def test_a_rung_shows_all_machines_and_the_fan_alone():
  rungs, fan = katech_ablation.LADDER, katech_ablation.FAN
  lines = [
    ladder.row(rungs["ae"], fan["ae"], results(dict(fan=0.5, pump=0.7))),
    # No fan, one seed, and a rung that the report leaves out.
    ladder.row(rungs["wiener"], (0.0, 0.0), results(dict(pump=0.7), seeds=1)),
  ]
  assert plain(line[22:] for line in lines) == [
    "60.00 +- 1.41 60.29 +- 0.83 60.00 59.70 50.00 +- 1.41 54.13 +- 1.87",
    "69.00 +- - - +- - 70.00 - - +- - - +- -",
  ]
  assert {len(line) for line in lines} == {len(ladder.heads())}


def test_the_label_oracle_takes_the_better_column_of_each_machine():
  found = dict(
    ada_sub=results(dict(fan=0.5, ToyCar=0.8), transfer=dict(ada_sub=1.234)),
    coh_gate=results(dict(fan=0.6, ToyCar=0.4)),
  )
  known = katech_table4.MACHINES, katech_table4.ENSEMBLES
  best = f"{100 * 2 / (1 / 0.6 + 1 / 0.8):.2f}"
  assert plain(ladder.by_machine(*known, found))[1:] == [
    "fan 1.23 0.94 50.00 60.20 60.00 65.40",
    "ToyCar 1.23 44.10 80.00 69.80 40.00 68.00",
    "all 65.00 64.70 50.00 -",
    f"label oracle (bound) {best} 65.70",
  ]
  # A machine that the report does not know, and one without a score.
  found["coh_gate"]["machines"]["fan"]["score"] = None
  lines = plain(ladder.by_machine({}, known[1], found))
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
