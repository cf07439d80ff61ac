import csv
import io
import os
from pathlib import Path

import pytest

from asd_jax.metrics import official, table
from tests.metrics import official_files


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
    ours = official_files.baseline_csv("00", metrics)
    expected = str(take(f"result_csv_{mode}"))
    for mine, theirs in zip(cells(ours), cells(expected), strict=True):
      for one, other in zip(mine, theirs, strict=True):
        # A last digit may differ with the version of scikit-learn.
        assert one == other or abs(one - other) < 1e-12, (machine, mine)


def test_console_rows_end_in_means_and_show_gaps():
  machines = {
    "fan": {"auc_source": 0.5, "auc_target": 0.25, "pauc": 1.0, "score": 0.4},
    "my, press": {"auc_source": 1.0, "auc_target": None},
  }
  ones = ("25.00", "100.00", "40.00")
  header, rows = table.console_rows(machines)
  assert header == ["machine", "AUC source", "AUC target", "pAUC", "score"]
  assert rows == [
    ["fan", "50.00", "25.00", "100.00", "40.00"],
    ["my, press", "100.00", "-", "-", "-"],
    # No mean hides that a machine has no part in it.
    ["arithmetic mean", "75.00", *(f"{n} (1 of 2)" for n in ones)],
    ["harmonic mean", "66.67", *(f"{n} (1 of 2)" for n in ones)],
  ]
  assert len(table.console_rows({"fan": machines["fan"]})[1]) == 1


def test_where_domains_are_unknown_the_console_has_the_auc_of_all_clips():
  whole = {"auc": 0.6, "auc_source": 0.5, "auc_target": 0.25, "pauc": 1.0}
  assert "AUC" not in table.console_rows({"fan": whole})[0]
  plain = {"auc": 0.75, "auc_source": None, "auc_target": None, "pauc": 0.5}
  header, rows = table.console_rows({"fan": whole, "press": plain})
  assert header[:3] == ["machine", "AUC", "AUC source"]
  assert rows[0][:3] == ["fan", "60.00", "50.00"]
  assert rows[1] == ["press", "75.00", "-", "-", "50.00", "-"]
