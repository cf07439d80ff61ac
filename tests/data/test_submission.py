import os
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from absl import flags

from asd_jax import files
from asd_jax.data import submission, submission_meta, submission_write

LABEL = "Kim_LUDO_task2_1"
ROOT = Path(__file__).parents[2]


def rows(num=4):
  return [
    (f"section_00_{i:04d}.wav", 0.1 * i + 1 / 3, i % 2) for i in range(num)
  ]


def write(folder, machines=None, **content):
  machines = machines or {"fan": {"00": rows()}, "3DPrinter": {"00": rows(3)}}
  return submission_write.write(
    folder, LABEL, machines, submission_meta.build(LABEL, **content)
  )


@pytest.fixture
def package(tmp_path):
  """A valid package; returns its system folder."""
  write(tmp_path)
  return tmp_path / "task2" / LABEL


def change(path, old, new):
  text = path.read_text()
  assert old in text
  path.write_text(text.replace(old, new, 1))


def scores_of(package, machine="fan"):
  return package / f"anomaly_score_{machine}_section_00_test.csv"


def decisions_of(package, machine="fan"):
  return package / f"decision_result_{machine}_section_00_test.csv"


def meta_of(package):
  return package / f"{LABEL}.meta.yaml"


def test_a_written_package_is_valid_and_named_as_the_challenge_wants(tmp_path):
  paths = write(tmp_path)
  system = tmp_path / "task2" / LABEL
  assert [str(p.relative_to(system)) for p in paths] == [
    "anomaly_score_fan_section_00_test.csv",
    "decision_result_fan_section_00_test.csv",
    "anomaly_score_3DPrinter_section_00_test.csv",
    "decision_result_3DPrinter_section_00_test.csv",
    f"{LABEL}.meta.yaml",
  ]
  assert sorted(system.iterdir()) == sorted(paths)
  lines = paths[0].read_text().split("\n")
  assert lines[0] == "section_00_0000.wav,0.3333333333333333"
  assert paths[1].read_text().split("\n")[1] == "section_00_0001.wav,1"
  for folder in (tmp_path, tmp_path / "task2", system):
    assert submission.check(folder) == []
    assert submission.read_scores(folder)["fan"]["00"] == {
      name: score for name, score, _ in rows()
    }


def test_scores_keep_their_full_precision(tmp_path):
  values = [np.float32(0.1), np.float64(1) / 3, 5e-324, -1.7976931348623157e308]
  clips = [
    (f"section_00_{i:04d}.wav", value, np.bool_(i % 2))
    for i, value in enumerate(values)
  ]
  # The challenge has no word for no decision.
  clips[0] = (*clips[0][:2], None)
  write(tmp_path, {"fan": {"00": clips}})
  read = submission.read_scores(tmp_path)["fan"]["00"]
  assert list(read.values()) == [float(value) for value in values]
  decisions = submission.read_scores(tmp_path, kind=submission.DECISION)["fan"][
    "00"
  ]
  assert list(decisions.values()) == [0, 1, 0, 1]


def test_any_file_name_reads_back_as_it_was(tmp_path):
  names = [
    'a,"b".wav',
    "line\nfeed.wav",
    "return\rfeed.wav",
    "both\r\n.wav",
    " space .wav",
    "=1+1.wav",
    "übung 日本.wav",
    os.fsdecode(b"latin\xe9.wav"),
    "plain",
  ]
  clips = [(name, 1.5, 0) for name in names]
  write(tmp_path, {"press (hall 2), left": {"00": clips}})
  read = submission.read_scores(tmp_path)["press (hall 2), left"]["00"]
  assert list(read) == names


def test_a_second_run_replaces_the_first(package):
  write(package.parents[1], {"valve": {"00": rows()}})
  assert not scores_of(package).exists()
  assert list(submission.read_scores(package)) == ["valve"]


@pytest.mark.parametrize(
  ("clips", "message"),
  [
    ([], "missing"),
    ([*rows(), rows()[0]], "double: section_00_0000.wav"),
    ([("", 1.0, 0)], "without a name"),
    ([("a.wav", float("nan"), 0)], "a.wav has score nan"),
    ([("a.wav", float("inf"), 0)], "a.wav has score inf"),
    ([("a.wav", 1.0, 2)], "decision 2"),
    ([("a.wav", 1.0, 0.5)], "decision 0.5"),
  ],
)
def test_faulty_rows_are_refused_before_anything_is_written(
  tmp_path, clips, message
):
  with pytest.raises(ValueError, match=message):
    write(tmp_path, {"ToyCar": {"00": rows()}, "fan": {"00": clips}})
  assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
  ("machine", "section"),
  [("a/b", "00"), ("..\\b", "00"), ("fan", "0"), ("DCASE2026T2fan", "00")],
)
def test_faulty_machines_are_refused(tmp_path, machine, section):
  with pytest.raises(ValueError, match="expected a machine name"):
    write(tmp_path, {machine: {section: rows()}})


@pytest.mark.parametrize("label", ["Kim_task2_1", "Kim_LUDO_task2_5", "../x_y"])
def test_faulty_labels_are_refused(tmp_path, label):
  with pytest.raises(ValueError, match="expected <LastName>_<Institute>"):
    submission_write.write(tmp_path, label, {"fan": {"00": rows()}}, {})


def test_faulty_meta_data_are_refused_before_anything_is_written(tmp_path):
  with pytest.raises(ValueError, match="has 11 characters, expected 1 to 10"):
    write(tmp_path, abbreviation="a" * 11)
  with pytest.raises(ValueError, match=r"unknown keys \['frontend'\]"):
    write(tmp_path, description={"frontend": "mel"})
  assert list(tmp_path.iterdir()) == []


def test_names_that_were_expected_are_compared(package):
  names = {name for name, _, _ in rows()}
  expected = {
    "fan": {"00": names},
    "3DPrinter": {"00": {n[0] for n in rows(3)}},
  }
  assert submission.check(package, expected=expected) == []
  expected["3DPrinter"]["00"] ^= {"section_00_0000.wav", "section_00_0007.wav"}
  expected["ToyCar"] = {"00": names}
  del expected["fan"]
  problems = "\n".join(submission.check(package, expected=expected))
  assert "missing clips: section_00_0007.wav" in problems
  assert "unknown clips: section_00_0000.wav" in problems
  assert "fan, section 00: unknown machine" in problems
  assert "ToyCar, section 00: 0 anomaly_score files, expected 1" in problems


def corrupt_csv(function):
  """Applies a function to the lines of the score file of fan."""

  def corrupt(package):
    path = scores_of(package)
    path.write_text("\n".join(function(path.read_text().splitlines())) + "\n")

  return corrupt


FAULTS = {
  "header": (
    corrupt_csv(lambda lines: ["file,score", *lines]),
    "row 1: 'score' is not a finite number (a header is not allowed)",
  ),
  "not finite": (
    corrupt_csv(lambda lines: ["section_00_0000.wav,nan", *lines[1:]]),
    "row 1: 'nan' is not a finite number",
  ),
  "three columns": (
    corrupt_csv(lambda lines: [*lines[:2], lines[2] + ",1", lines[3]]),
    "row 3 has 3 columns, expected 2",
  ),
  "empty line": (
    corrupt_csv(lambda lines: [lines[0], "", *lines[1:]]),
    "row 2 has 0 columns, expected 2",
  ),
  "duplicate": (
    corrupt_csv(lambda lines: [*lines, lines[1]]),
    "more than one row for section_00_0001.wav",
  ),
  "missing row": (
    corrupt_csv(lambda lines: lines[:-1]),
    "clips with a score or a decision only: section_00_0003.wav",
  ),
  "training clip": (
    corrupt_csv(
      lambda lines: ["section_00_source_train_normal_0000_x.wav,1", *lines]
    ),
    "names that are no test clips: section_00_source_train_normal_0000_x.wav",
  ),
  "other section": (
    corrupt_csv(lambda lines: ["section_01_0000.wav,1", *lines]),
    "names of another section: section_01_0000.wav",
  ),
  "byte order mark": (
    lambda p: change(scores_of(p), "section", "\ufeffsection"),
    "names that are no test clips: \ufeffsection_00_0000.wav",
  ),
  "empty file": (lambda p: scores_of(p).write_text(""), "is empty"),
  "null byte": (
    lambda p: decisions_of(p).write_bytes(b"\xff\x00,1\n"),
    "decision_result_fan_section_00_test.csv: ",
  ),
  "decision": (
    lambda p: change(decisions_of(p), ",1", ",True"),
    "row 2: 'True' is not 0 or 1",
  ),
  "no decisions": (
    lambda p: decisions_of(p).unlink(),
    "fan, section 00: 0 decision_result files, expected 1",
  ),
  "file name": (
    lambda p: scores_of(p).rename(p / "anomaly_score_fan_test.csv"),
    "anomaly_score_fan_test.csv: expected",
  ),
  "two files": (
    lambda p: (
      p / "anomaly_score_DCASE2026T2fan_section_00_test_seed1_id(0_).csv"
    ).write_bytes(scores_of(p).read_bytes()),
    "2 anomaly_score files, expected 1",
  ),
  "label": (
    lambda p: change(meta_of(p), LABEL, "Kim_LUDO_task2_2"),
    "submission.label is 'Kim_LUDO_task2_2', expected 'Kim_LUDO_task2_1'",
  ),
  "meta missing": (
    lambda p: meta_of(p).unlink(),
    "meta files: none; expected Kim_LUDO_task2_1.meta.yaml",
  ),
  "meta no yaml": (
    lambda p: meta_of(p).write_text("a: [1"),
    "meta.yaml: cannot be read",
  ),
  "meta no mapping": (
    lambda p: meta_of(p).write_text("- 1"),
    "holds list, expected a mapping",
  ),
  "key": (
    lambda p: change(meta_of(p), "decision_making:", "decision_maker:"),
    "system.description.decision_making is missing",
  ),
  "abbreviation": (
    lambda p: change(meta_of(p), "abbreviation: asd_jax", "abbreviation: 7"),
    "submission.abbreviation is 7, expected text",
  ),
  "number": (
    lambda p: change(meta_of(p), "parameters: !!null", "parameters: 90M"),
    "system.complexity.total_parameters is '90M', expected an integer",
  ),
  "author": (
    lambda p: change(meta_of(p), "firstname", "forename"),
    "author 1: firstname is missing",
  ),
  "corresponding": (
    lambda p: change(meta_of(p), "corresponding: true", "corresponding: false"),
    "0 corresponding authors, expected exactly 1",
  ),
  "results": (
    lambda p: change(
      meta_of(p),
      "development_dataset: !!null",
      "development_dataset: {fan: {auc_source: 120, pauc: 0.55}}",
    ),
    "fan.auc_source is 120, expected percent",
  ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found_and_named(package, fault):
  corrupt, message = FAULTS[fault]
  corrupt(package)
  problems = submission.check(package)
  assert any(message in problem for problem in problems), problems
  assert all(problem.startswith(LABEL) for problem in problems)


def test_package_of_four_systems_with_the_other_meta_suffix_is_valid(tmp_path):
  for number in range(1, 5):
    label = f"Kim_LUDO_task2_{number}"
    meta = submission_meta.build(label)
    submission_write.write(tmp_path, label, {"fan": {"00": rows()}}, meta)
    path = tmp_path / "task2" / label / f"{label}.meta.yaml"
    path.rename(path.with_suffix(".yml"))
  (tmp_path / "task2" / "Kim_LUDO_task2_1.technical_report.pdf").write_text("x")
  assert submission.check(tmp_path) == []
  assert len(submission.systems(tmp_path)) == 4
  with pytest.raises(ValueError, match="4 systems, expected 1"):
    submission.read_scores(tmp_path)


def test_labelled_names_of_all_years_are_test_clips(package):
  names = [
    "section_00_source_test_normal_0000_noAttribute.wav",
    "section_00_target_test_anomaly_0177_pro_y.wav",
    "section_00_source_normal_0035_weight15_BckgF.wav",
    "section_00_test_0000.wav",
    "normal_id_00_00000000.wav",
  ]
  for path in (scores_of(package), decisions_of(package)):
    path.write_text("".join(f"{name},1\n" for name in names))
  assert submission.check(package) == []


@pytest.mark.parametrize("suffix", ["", "_Eval"])
def test_files_of_the_official_baseline_are_read(package, suffix):
  for path in package.glob("*_section_00_test.csv"):
    kind, machine = path.name.split("_section_")[0].rsplit("_", 1)
    name = f"{kind}_DCASE2026T2{machine}_section_00_test_seed13711_id(0_)"
    path.rename(package / f"{name}{suffix}.csv")
  assert submission.check(package) == []
  assert set(submission.read_scores(package)) == {"fan", "3DPrinter"}


def baseline_runs(golden):
  """Reference results of the official baseline, whatever their data set."""
  default = ROOT / "tests" / "goldens"
  folder = Path(os.environ.get("ASD_JAX_GOLDENS", default)) / "systems"
  paths = sorted(folder.glob("baseline_ae_*.npz"))
  return [golden(f"systems/{path.stem}") for path in paths]


@pytest.mark.golden
def test_csv_texts_of_the_official_baseline_are_read(golden, tmp_path):
  runs = baseline_runs(golden)
  cases = [(run, m) for run in runs for m in run["machines"]]
  for mode in ("mse", "mahala"):
    for run, machine in cases:
      take = lambda name, r=run, m=machine: r[f"{m}/{name}"]
      for kind in ("anomaly_score", "decision_result"):
        path = tmp_path / str(take(f"{kind}_name"))
        path.write_text(str(take(f"{kind}_csv_{mode}")))
      (scores,) = submission.read_scores(tmp_path)[machine].values()
      expected = take(f"score_{mode}")
      names = [Path(str(name)).name for name in take("test_file")]
      assert list(scores) == names
      np.testing.assert_array_equal(list(scores.values()), expected)
      (decisions,) = submission.read_scores(tmp_path, kind=submission.DECISION)[
        machine
      ].values()
      np.testing.assert_array_equal(
        list(decisions.values()), take(f"decision_{mode}")
      )
      ours = files.csv_text(zip(names, expected.tolist(), strict=True))
      assert ours == str(take(f"anomaly_score_csv_{mode}"))


def test_a_faulty_score_file_cannot_be_read(package):
  change(scores_of(package), "section_00_0001", "section_00_0000")
  with pytest.raises(ValueError, match="more than one row"):
    submission.read_scores(package)


def run_script(monkeypatch, *arguments):
  script = ROOT / "scripts" / "check_submission.py"
  monkeypatch.setattr(sys, "argv", [str(script), *map(str, arguments)])
  known = set(flags.FLAGS)
  with pytest.raises(SystemExit) as stop:
    runpy.run_path(str(script), run_name="__main__")
  # Or the next script of this process would define them twice.
  for name in set(flags.FLAGS) - known:
    delattr(flags.FLAGS, name)
  return stop.value.code


def test_script_says_valid_or_what_is_wrong(package, monkeypatch, capsys):
  assert run_script(monkeypatch, package) == 0
  said = capsys.readouterr()
  assert said.err == ""
  head, fields = said.out.splitlines()
  assert head == "valid; 22 fields left to fill"
  assert fields.startswith(f"{LABEL}: submission.authors.1.firstname, ")
  filled = meta_of(package).read_text()
  for key, value in (
    ("external_datasets", "[]"),
    ("source_code", "x"),
    ("development_dataset", "{}"),
  ):
    filled = filled.replace(f"{key}: !!null", f"{key}: {value}")
  meta_of(package).write_text(filled.replace("!!null", "1"))
  assert run_script(monkeypatch, package) == 0
  assert capsys.readouterr().out == "valid\n"
  decisions_of(package).unlink()
  assert run_script(monkeypatch, package) == 2
  said = capsys.readouterr()
  assert said.out == ""
  assert "0 decision_result files, expected 1" in said.err
  assert run_script(monkeypatch, package / "nowhere") == 2
  assert "nowhere: no such folder" in capsys.readouterr().err
  assert run_script(monkeypatch) == 2
  assert "Traceback" not in capsys.readouterr().err
