import csv
import io
import os
from pathlib import Path

import numpy as np
import pytest

from asd_jax.metrics import official, table


def cells(text):
  """Rows of a csv text, numbers as floats."""

  def number(cell):
    try:
      return float(cell)
    except ValueError:
      return cell

  return [[number(c) for c in row] for row in csv.reader(io.StringIO(text))]


def baseline_runs(golden):
  """Reference results of the official baseline, whatever their data set."""
  default = Path(__file__).parents[2] / "tests" / "goldens"
  folder = Path(os.environ.get("ASD_JAX_GOLDENS", default)) / "systems"
  paths = sorted(folder.glob("baseline_ae_*.npz"))
  return [golden(f"systems/{path.stem}") for path in paths]


@pytest.mark.golden
@pytest.mark.parametrize("mode", ["mse", "mahala"])
def test_baseline_csv_is_the_official_programs_file(golden, mode):
  cases = [(run, m) for run in baseline_runs(golden) for m in run["machines"]]
  for run, machine in cases:
    take = lambda name, r=run, m=machine: r[f"{m}/{name}"]
    metrics = official.clip_metrics(
      take(f"score_{mode}"),
      take("test_label"),
      take("test_is_target"),
      decision=take(f"decision_{mode}"),
    )
    ours = table.baseline_csv({"00": metrics})
    expected = str(take(f"result_csv_{mode}"))
    for mine, theirs in zip(cells(ours), cells(expected), strict=True):
      for one, other in zip(mine, theirs, strict=True):
        # A last digit may differ with the version of scikit-learn.
        assert one == other or abs(one - other) < 1e-12, (machine, mine)


def entry(seed, num=40):
  rng = np.random.default_rng(seed)
  is_anomaly, is_target = np.arange(num) % 2 == 1, np.arange(num) % 4 < 2
  score = rng.normal(size=num) + is_anomaly
  return official.clip_metrics(
    score, is_anomaly, is_target, decision=score > 0.5
  )


def test_evaluator_csv_has_the_official_layout():
  machines = {
    "fan": {"00": entry(0), "01": entry(1)},
    "ToyCar": {"00": entry(2)},
  }
  text = table.evaluator_csv(machines, ci95=1e-5)
  rows = cells(text)
  assert text.startswith(
    "fan\nsection,AUC (all),AUC (source),AUC (target),pAUC,precision (source),"
    "precision (target),recall (source),recall (target),F1 score (source),"
    "F1 score (target)\n00,"
  )
  assert rows[4] == ["", "", "AUC", "pAUC", "precision", "recall", "F1 score"]
  assert [row[0] for row in rows[5:9]] == [
    "arithmetic mean",
    "harmonic mean",
    "source harmonic mean",
    "target harmonic mean",
  ]
  assert rows[9] == []
  assert rows[10] == ["ToyCar"]
  assert (
    '"target harmonic mean over all machine types, sections, and domains",,'
    in text
  )
  entries = [m for sections in machines.values() for m in sections.values()]
  score = official.official_score(official.ranked_values(entries))
  assert rows[-2:] == [
    ["official score", "", score],
    ["official score ci95", "", 1e-5],
  ]


def test_console_rows_end_in_means_and_show_gaps():
  machines = {
    "fan": {"auc_source": 0.5, "auc_target": 0.25, "pauc": 1.0, "score": 0.4},
    "my, press": {"auc_source": 1.0, "auc_target": None},
  }
  header, rows = table.console_rows(machines)
  assert header == ["machine", "AUC source", "AUC target", "pAUC", "score"]
  assert rows == [
    ["fan", "50.00", "25.00", "100.00", "40.00"],
    ["my, press", "100.00", "-", "-", "-"],
    ["arithmetic mean", "75.00", "25.00", "100.00", "40.00"],
    ["harmonic mean", "66.67", "25.00", "100.00", "40.00"],
  ]
  assert len(table.console_rows({"fan": machines["fan"]})[1]) == 1


def test_tables_without_decisions_have_empty_cells():
  metrics = official.clip_metrics([0.0, 1.0], [0, 1], None)
  row = cells(table.baseline_csv({"00": metrics}))[1]
  assert row == [0.0, "", "", 1.0, *[""] * 8]
