"""A package that a run wrote: what is filled, and derived again."""

import json
import shutil

import pytest
import yaml


@pytest.fixture
def package(evaluated, tmp_path):
  """A copy of a run's package outside the run; its system folder."""
  shutil.copytree(evaluated.out / "submission", tmp_path / "sent")
  (system,) = (tmp_path / "sent" / "task2").iterdir()
  return system


def test_what_a_run_knows_is_filled(run, evaluated):
  folder = evaluated.out / "submission"
  end = run("check_submission.py", folder)
  assert end.status == 0, end.err
  head, fields, silent = end.out.splitlines()
  assert head == "valid; 9 fields left to fill"
  # Six training clips decide nothing at a rate of 0.1.
  assert "no clip is called anomalous" in silent
  assert silent.endswith(": fan 00, pump 00")
  notes = json.loads((evaluated.out / "results.json").read_text())["notes"]
  told = [n for n in notes if n.startswith("challenge files, which know no")]
  assert told[0].endswith("no decision is possible: fan 00, pump 00")
  assert "firstname" in fields
  (path,) = folder.rglob("*.meta.yaml")
  meta = yaml.safe_load(path.read_text())
  system = meta["system"]
  assert system["complexity"]["total_parameters"] == 0
  assert system["description"]["acoustic_features"] == "log_mel"
  assert system["external_datasets"] == []
  # The pump has no AUC of the target domain.
  assert list(meta["results"]["development_dataset"]) == ["fan"]


def test_clips_alone_have_the_bytes_of_the_package(run, evaluated, package):
  for path in package.glob("*_fan_*"):
    path.unlink()
  out = f"--run={evaluated.out}"
  end = run("check_submission.py", package, "--rescore", out)
  assert end.status == 0, end.err
  assert "6 clips scored again, one at a time: the same bytes" in end.out


def test_a_score_that_another_clip_reached_is_found(run, evaluated, package):
  path = package / "anomaly_score_fan_section_00_test.csv"
  first, *lines = path.read_text().splitlines()
  name, score = first.split(",")
  # The last bit of a score, as a mean over test clips would move it.
  path.write_text(
    "\n".join([f"{name},{float(score) * (1 + 1e-7)!r}", *lines, ""])
  )
  for other in package.glob("*_pump_*"):
    other.unlink()
  out = f"--run={evaluated.out}"
  end = run("check_submission.py", package, "--rescore", out)
  assert end.status == 2
  (line,) = [s for s in end.err.splitlines() if "found" in s]
  assert f"{path.name}: found b'{name}," in line
  assert f"alone b'{first}'" in line
  assert "more rows" not in line


def test_a_package_without_its_run_is_refused(run, package):
  end = run("check_submission.py", package, "--rescore")
  assert (
    "expected a package in the folder of its run; --run=OUT" in end.refused()
  )
