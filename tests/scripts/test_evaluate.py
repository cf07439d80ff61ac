import csv
import errno
import importlib
import io
import json
import math
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asd_jax.runs import config_file
from tests.scripts.conftest import KNN, TEST, TRAIN, without_reasons

ROOT = Path(__file__).parents[2]
CONFIGS = config_file.systems()
SCRIPT = "<script>alert(1)<script>.wav"
ODD_NAMES = [
  'a, "b".wav',
  SCRIPT,
  "two words.wav",
  "lüfter 扇風機.WAV",
  "'.wav",
]
METRICS = ("auc_source", "auc_target", "pauc", "score")


def results_in(out):
  def refuse(text):
    raise AssertionError(f"{text} is no JSON")

  text = (out / "results.json").read_text()
  return json.loads(text, parse_constant=refuse)


def rows_in(path):
  with open(path, newline="", encoding="utf-8") as file:
    header, *rows = csv.reader(file)
  assert header == ["file", "score", "decision", "p_value"]
  assert all(math.isfinite(float(score)) for _, score, *_ in rows)
  assert {decision for *_, decision, _ in rows} <= {"0", "1", ""}
  return rows


def done(end, out):
  """Results of a run that must have succeeded, its files checked."""
  assert end.status == 0, end.err
  results = results_in(out)
  for name, entry in results["machines"].items():
    assert len(rows_in(out / "scores" / f"{name}.csv")) == entry["n_test"]
    assert (out / "detectors" / name / "detector.json").is_file()
  assert (out / "report.html").read_text().startswith("<!doctype html>")
  assert not list(out.rglob("*.partial"))
  return results


def noted(results, text):
  """The notes that hold a text."""
  found = [note for note in results["notes"] if text in note]
  assert found, results["notes"]
  return found


def nothing_left(out):
  """No result and no part of a file in the output folder."""
  files = [p for p in out.rglob("*") if p.is_file()] if out.is_dir() else []
  assert files == []


# Every system, and what a run writes.


# The rest with `-m full`; one that trains runs in `test_katech.py`.
SMALLEST = "plain_mahalanobis"


@pytest.mark.slow
@pytest.mark.parametrize(
  "name",
  [
    pytest.param(n, marks=() if n == SMALLEST else pytest.mark.full)
    for n in CONFIGS
  ],
)
def test_every_config_runs_as_smoke(evaluate, tmp_path, name):
  out = tmp_path / "out"
  end = evaluate(config=f"{ROOT / 'configs' / name}.py:smoke", data=None)
  results = done(end, out)
  assert set(results["machines"]) == {"fan", "valve"}
  config = importlib.import_module(f"configs.{name}").get_config("smoke")
  assert results["system"] == config.system
  assert 0 <= results["official_score"] <= 1
  package = list((out / "submission" / "task2").iterdir())
  assert len(package) == 1
  assert len(list(package[0].glob("*.csv"))) == 4
  assert len(list(package[0].glob("*.yaml"))) == 1


def test_results_follow_the_contract(evaluated):
  results = results_in(evaluated.out)
  assert results["system"] == "plain_knn"
  assert results["config"]["batch_size"] == 16
  assert isinstance(results["seeds"], list)
  assert set(results["machines"]) == {"fan", "pump"}
  for entry in results["machines"].values():
    assert entry["n_train"] == 6
    assert set(entry["sections"]) == {"00"}
  fan, pump = (results["machines"][name] for name in ("fan", "pump"))
  assert (fan["n_test"], pump["n_test"]) == (8, 6)
  assert all(0 <= fan[key] <= 1 for key in METRICS)
  assert 0 <= results["official_score"] <= 1
  assert len(results["per_seed"]) == 1
  single = results["per_seed"][0]["official_score"]
  assert single == pytest.approx(results["official_score"], rel=1e-9)


def test_the_official_score_is_the_harmonic_mean(evaluated):
  results = results_in(evaluated.out)
  every = [m[key] for m in results["machines"].values() for key in METRICS[:3]]
  values = [max(v, np.finfo(float).eps) for v in every if v is not None]
  wanted = len(values) / sum(1 / v for v in values)
  assert results["official_score"] == pytest.approx(wanted, rel=1e-6)
  # One value is missing: whoever reads the mean is told.
  assert results["official_score_over"] == {
    "machines": ["fan", "pump"],
    "num_values": 5,
    "num_expected": 6,
    "missing": {"pump": "no normal target test clips"},
  }
  said = "official score over 5 of 6 values (pump: no normal target test clips)"
  noted(results, said)
  assert said in (evaluated.out / "report.html").read_text()


def test_scores_are_the_same_in_the_challenge_files(evaluated):
  (package,) = (evaluated.out / "submission" / "task2").iterdir()
  for machine in ("fan", "pump"):
    rows = rows_in(evaluated.out / "scores" / f"{machine}.csv")
    for kind, column in (("anomaly_score", 1), ("decision_result", 2)):
      path = package / f"{kind}_{machine}_section_00_test.csv"
      with open(path, newline="") as file:
        found = dict(csv.reader(file))
      # What cannot be decided counts as normal in the challenge.
      assert found == {row[0]: row[column] or "0" for row in rows}


def test_without_enough_clips_there_is_a_p_value_and_no_decision(evaluated):
  results = results_in(evaluated.out)
  section = results["machines"]["fan"]["sections"]["00"]
  assert section["threshold"] is None
  assert section["decision"]["num_needed"] == 9
  assert not section["decision"]["possible"]
  text = "fan 00: no decision possible: 6 normal clips, 9 needed for 0.1"
  assert text in results["notes"]
  rows = rows_in(evaluated.out / "scores" / "fan.csv")
  assert {decision for *_, decision, _ in rows} == {""}
  # Shares of six training clips and the clip itself.
  steps = [float(f"{n / 7:.6g}") for n in range(1, 8)]
  assert {float(p) for *_, p in rows} <= set(steps)


def test_machines_restrict_what_is_scored(evaluate, evaluated, tmp_path):
  seeds = "--config.seeds=(1,2)"
  end = evaluate("--config.machines= pump ", seeds, data=evaluated.data)
  results = done(end, tmp_path / "out")
  # Nor do seeds change a score of what draws nothing.
  assert noted(results, "seeds have no effect")
  assert results["draws"] is False
  assert list(results["machines"]) == ["pump"]
  assert os.listdir(tmp_path / "out" / "scores") == ["pump.csv"]
  path = Path("scores") / "pump.csv"
  assert (tmp_path / "out" / path).read_bytes() == (
    evaluated.out / path
  ).read_bytes()


def test_models_of_folds_leave_every_byte_of_a_score(
  evaluate, evaluated, tmp_path
):
  more = ["--config.machines=pump", "--config.threshold.folds=0"]
  done(evaluate(*more, data=evaluated.data), tmp_path / "out")
  path = Path("scores") / "pump.csv"
  with_folds, without = (
    rows_in(out / path) for out in (evaluated.out, tmp_path / "out")
  )
  assert [row[:2] for row in without] == [row[:2] for row in with_folds]
  assert {row[3] for row in without} == {""}
  assert "" not in {row[3] for row in with_folds}


def test_a_rate_can_hold_for_either_domain(evaluate, evaluated, tmp_path):
  # Four clips state 0.2 at least, two a third; with this rate some stand out.
  rule = ["by_domain=True", "false_alarm_rate=0.7"]
  rule = [f"--config.threshold.{setting}" for setting in rule]
  end = evaluate("--config.machines=fan", *rule, data=evaluated.data)
  results = done(end, tmp_path / "out")
  how = results["machines"]["fan"]["sections"]["00"]["decision"]
  assert how["possible"]
  assert how["of_domain"] == {"source": 4, "target": 2}
  (meta,) = (tmp_path / "out" / "submission").rglob("*.yaml")
  assert "conformal, false alarm rate 0.7, by domain" in meta.read_text()
  path = Path("scores") / "fan.csv"
  before, rows = (
    rows_in(out / path) for out in (evaluated.out, tmp_path / "out")
  )
  for (name, score, decision, p), (*same, _, of_all) in zip(
    rows, before, strict=True
  ):
    assert [name, score] == same
    # Clips of both domains that score as high, which are of so many of each.
    num = round(7 * float(of_all)) - 1
    larger = [
      max((1 + s) / 5, (1 + num - s) / 3) for s in range(5) if 0 <= num - s <= 2
    ]
    assert float(p) in {float(f"{x:.6g}") for x in larger}
    assert decision == str(int(float(p) <= 0.7))
  assert {row[2] for row in rows} == {"0", "1"}


def test_a_second_run_replaces_the_first(evaluate, evaluated, tmp_path):
  out = shutil.copytree(evaluated.out, tmp_path / "out")
  first = (out / "scores" / "fan.csv").read_bytes()
  before = (out / "results.json").stat().st_mtime_ns
  done(evaluate(data=evaluated.data), out)
  assert (out / "results.json").stat().st_mtime_ns > before
  assert (out / "scores" / "fan.csv").read_bytes() == first


# Plain folders and evaluation sets.


@pytest.mark.parametrize("channels", [1, 2])
def test_plain_folders_of_any_names_are_scored(
  evaluate, put_wave, tmp_path, channels
):
  for name in ODD_NAMES:
    put_wave(tmp_path / "press 4" / "good" / name, channels=channels)
    put_wave(tmp_path / "new" / name, channels=channels)
  end = evaluate(
    f"--config.normal={tmp_path / 'press 4' / 'good'}",
    f"--config.test={tmp_path / 'new'}",
    data=None,
  )
  results = done(end, tmp_path / "out")
  ((name, entry),) = results["machines"].items()
  assert name == "press 4"
  assert (entry["n_train"], entry["n_test"]) == (5, 5)
  assert [entry[key] for key in METRICS] == [None] * 4
  assert results["official_score"] is None
  rows = rows_in(tmp_path / "out" / "scores" / "press 4.csv")
  assert [row[0] for row in rows] == sorted(ODD_NAMES)
  # Such names have no place in a challenge package.
  assert not (tmp_path / "out" / "submission").exists()
  assert not any("challenge files" in note for note in results["notes"])


def test_plain_folders_of_one_name_can_be_named(evaluate, put_wave, tmp_path):
  for i in range(4):
    put_wave(tmp_path / "good" / f"{i}.wav")
    put_wave(tmp_path / "new" / f"{i}.wav")
  labels = tmp_path / "labels.csv"
  labels.write_text(
    "file,label\n0.wav,normal\n1.wav,0\n2.wav,1\n3.wav,anomaly\n"
  )
  end = evaluate(
    f"--config.normal={tmp_path / 'good'}",
    f"--config.test={tmp_path / 'new'}",
    f"--config.ground_truth={labels}",
    "--config.machines=press",
    "--config.threshold.name=quantile",
    data=None,
  )
  results = done(end, tmp_path / "out")
  assert list(results["machines"]) == ["press"]
  # Labels without domains: an AUC of all clips, and no official score.
  section = results["machines"]["press"]["sections"]["00"]
  assert 0 <= section["auc"] <= 1
  assert 0 <= results["machines"]["press"]["pauc"] <= 1
  assert results["official_score"] is None
  assert results["labels_from"] == "ground_truth"
  missing = "no official score: press: domains of 4 of 4 test clips unknown"
  noted(results, missing)
  assert missing in end.out
  percent = f"{100 * section['auc']:.2f}"
  assert results["machines"]["press"]["auc"] == section["auc"]
  heads, cells = (line.split() for line in end.out.splitlines()[-4:-2])
  assert heads[:2] == ["machine", "AUC"]
  assert cells[:2] == ["press", percent]
  none = "no false-alarm rate is promised (rule quantile)"
  noted(results, none)
  assert f"of 4 clips anomalous; {none}" in end.out


@pytest.mark.parametrize(
  "given", [("normal",), ("test",), ("normal", "test", "data_dir")]
)
def test_plain_folders_come_as_a_pair(evaluate, tmp_path, given):
  end = evaluate(*(f"--config.{k}={tmp_path}" for k in given), data=None)
  assert "expected either data_dir, or both normal and test" in end.refused()


UNKNOWN = [f"section_00_{i:04d}.wav" for i in range(4)]


def anonymous(tmp_path, put_machine):
  put_machine(tmp_path / "data" / "Sander", test=UNKNOWN)
  return UNKNOWN


@pytest.fixture(scope="module")
def unlabelled(run, put_machine, tmp_path_factory):
  """A run of anonymous clips; read only."""
  root = tmp_path_factory.mktemp("unlabelled")
  anonymous(root, put_machine)
  end = run(
    "evaluate.py",
    f"--config={KNN}",
    f"--config.data_dir={root / 'data'}",
    f"--config.output_dir={root / 'out'}",
  )
  return root / "out", done(end, root / "out")


def put_truth(folder, names):
  for kind, values in dict(data="0011", domain="0101").items():
    path = folder / f"ground_truth_{kind}"
    path.mkdir(parents=True)
    rows = zip(names, values, strict=True)
    (path / "ground_truth_Sander_section_00_test.csv").write_text(
      "".join(f"{name},{value}\n" for name, value in rows)
    )


def test_anonymous_clips_are_scored_without_truth(unlabelled):
  out, results = unlabelled
  entry = results["machines"]["Sander"]
  assert [entry[key] for key in METRICS] == [None] * 4
  assert results["official_score"] is None
  noted(results, "labels of 4 of 4 test clips unknown")
  rows = rows_in(out / "scores" / "Sander.csv")
  assert [row[0] for row in rows] == UNKNOWN
  assert list((out / "submission").rglob("*.csv"))


@pytest.mark.parametrize("inside", [True, False])
def test_ground_truth_labels_anonymous_clips(
  evaluate, put_machine, tmp_path, unlabelled, inside
):
  names = anonymous(tmp_path, put_machine)
  plain_out, plain = unlabelled
  place = tmp_path / ("data" if inside else "truth")
  put_truth(place, names)
  args = [] if inside else [f"--config.ground_truth={place}"]
  results = done(evaluate(*args), tmp_path / "out")
  assert all(0 <= results["machines"]["Sander"][key] <= 1 for key in METRICS)
  assert plain["official_score"] is None
  assert plain["labels_from"] is None
  assert results["labels_from"] == "ground_truth"
  path = Path("scores") / "Sander.csv"
  first, second = plain_out / path, tmp_path / "out" / path
  assert first.read_bytes() == second.read_bytes()


# Input that is fine.


def set_silent(path):
  soundfile.write(path, np.zeros((4800, 2), np.int16), 16_000)


def own_names(machine):
  """File names that tell the machine, for notes on clips do not."""
  return {
    split: [n.replace("_spd_", f"_{machine}_") for n in names]
    for split, names in (("train", TRAIN), ("test", TEST))
  }


def run_of_many(run, root):
  """A run of many machines, of which scores and notes are looked at."""
  with without_reasons():
    return run(
      "evaluate.py",
      f"--config={KNN}",
      f"--config.data_dir={root / 'data'}",
      f"--config.output_dir={root / 'out'}",
      "--config.threshold.folds=0",
    )


@pytest.fixture(scope="module")
def odd(run, put_machine, tmp_path_factory):
  """One run over machines with something odd each; read only."""
  root = tmp_path_factory.mktemp("odd")
  make = lambda name, **kwargs: put_machine(root / "data" / name, **kwargs)
  source = [f"section_00_source_train_normal_{i:04d}_.wav" for i in range(6)]
  make("untargeted", train=source)
  folder = make("few", **own_names("few"))
  silent, loud = sorted((folder / "test").iterdir())[:2]
  set_silent(silent)
  set_silent(sorted((folder / "train").iterdir())[0])
  samples, _ = soundfile.read(loud, dtype="int16")
  samples[:200] = 32_767
  soundfile.write(loud, samples, 16_000)
  for split in ("train", "test"):
    name = f"quiet{split}"
    for path in (make(name, **own_names(name)) / split).iterdir():
      set_silent(path)
  make("PCM_24", subtype="PCM_24")
  make("FLOAT", subtype="FLOAT")
  make("mono", channels=1)
  end = run_of_many(run, root)
  return root, done(end, root / "out")


def test_no_target_clips_are_noted(odd):
  (note,) = noted(odd[1], "no target clips in train")
  assert note.startswith("untargeted: ")


def test_a_machine_without_test_clips_is_fitted(
  evaluate, put_machine, tmp_path
):
  put_machine(tmp_path / "data" / "fan", test=[])
  results = done(evaluate(), tmp_path / "out")
  noted(results, "no test clips")
  assert results["machines"]["fan"]["score"] is None
  assert results["official_score"] is None


def test_clipped_and_silent_clips_are_noted(odd):
  root, results = odd
  silent, loud = sorted((root / "data" / "few" / "test").iterdir())[:2]
  quiet = sorted((root / "data" / "few" / "train").iterdir())[0]
  assert any(silent.name in n for n in noted(results, "is silent"))
  assert any(quiet.name in n for n in noted(results, "is silent"))
  assert any(loud.name in n for n in noted(results, "is clipped at 4.17%"))


@pytest.mark.parametrize("silent", ["train", "test"])
def test_only_silent_clips_are_scored(odd, silent):
  root, results = odd
  assert len(rows_in(root / "out" / "scores" / f"quiet{silent}.csv")) == 8
  # 2 of few, 6 and 8 of the quiet ones: a few by name, the others counted.
  noted(results, "11 more: channel 0 is silent")


@pytest.mark.parametrize("subtype", ["PCM_24", "FLOAT"])
def test_other_sample_formats_are_noted(odd, evaluated, subtype):
  root, results = odd
  assert any(n.startswith(subtype) for n in noted(results, subtype))
  read = lambda path: {n: float(s) for n, s, *_ in rows_in(path)}
  found = read(root / "out" / "scores" / f"{subtype}.csv")
  # Fan's clips, but two of them of another length.
  want = read(evaluated.out / "scores" / "fan.csv")
  same = found.keys() - set(TEST[2:4])
  assert len(same) == 6
  for name in same:
    assert found[name] == pytest.approx(want[name], rel=1e-4)


def test_mono_clips_suffice_for_one_channel(odd):
  assert len(rows_in(odd[0] / "out" / "scores" / "mono.csv")) == 8


def test_mixed_lengths_are_noted(evaluated):
  noted(results_in(evaluated.out), "fan: lengths go from 0.3 to 0.4 s")


def test_another_rate_is_resampled_and_noted(evaluate, put_machine, tmp_path):
  put_machine(tmp_path / "data" / "fan", rate=44_100)
  results = done(evaluate(), tmp_path / "out")
  noted(results, "sample rate is 44100 Hz, not 16000 Hz")


def test_odd_names_are_escaped_everywhere(evaluate, tmp_path, put_machine):
  machine = "<i>fan & co"
  fan = put_machine(tmp_path / "data" / machine, test=ODD_NAMES)
  for name in ODD_NAMES:
    soundfile.write(
      fan / "test" / name, np.zeros((4800, 2), np.int16), 16_000, format="WAV"
    )
  results = done(evaluate(), tmp_path / "out")
  assert list(results["machines"]) == [machine]
  noted(results, SCRIPT)
  report = (tmp_path / "out" / "report.html").read_text()
  assert "alert(1)" in report
  assert "<script>alert" not in report
  assert "<i>fan" not in report
  rows = rows_in(tmp_path / "out" / "scores" / f"{machine}.csv")
  assert [row[0] for row in rows] == sorted(ODD_NAMES)
  found = [
    next(csv.reader(io.StringIO(line, newline="")))[0]
    for path in (tmp_path / "out" / "submission").rglob("anomaly_score*.csv")
    for line in path.read_text().splitlines()
  ]
  assert sorted(found) == sorted(ODD_NAMES)


# Input that is not: one case a line, (change, texts of the message).


def first(fan, split="test"):
  return sorted((fan / split).iterdir())[0]


def bad_sample(value, split):
  def act(fan, put_wave):
    del put_wave
    path = first(fan, split)
    samples, rate = soundfile.read(path)
    samples[7, 1] = value
    soundfile.write(path, samples, rate, subtype="FLOAT")

  return act


def content(make, split="test"):
  def act(fan, put_wave):
    del put_wave
    path = first(fan, split)
    path.write_bytes(make(path.read_bytes()))

  return act


def rewrite(split="test", **kwargs):
  return lambda fan, put_wave: put_wave(first(fan, split), **kwargs)


def remove(name):
  return lambda fan, put_wave: shutil.rmtree(fan / name)


def twice(fan, put_wave):
  put_wave(fan / "source_test" / first(fan).name)


def drop_row(fan, put_wave):
  del put_wave
  path = fan / "attributes_00.csv"
  path.write_text("\n".join(path.read_text().splitlines()[:-1]))


def no_clips(fan, put_wave):
  del put_wave
  for path in (fan / "train").iterdir():
    path.unlink()


def one_clip(fan, put_wave):
  del put_wave
  (fan / "attributes_00.csv").unlink()
  for path in sorted((fan / "train").iterdir())[1:]:
    path.unlink()


def other_section(fan, put_wave):
  put_wave(fan / "test" / "section_05_source_test_normal_0000_.wav")


T0 = "section_00_source_test_anomaly_0000_spd_1.wav"
N0 = "section_00_source_train_normal_0000_spd_0.wav"
BAD = {
  "empty folder": (remove("."), "data: found no", "expected"),
  "no train folder": (remove("train"), "fan/train: found no wave files"),
  "no train clips": (no_clips, "fan/train: found no wave files"),
  "one train clip": (
    one_clip,
    "fan/train: found 1 normal clip (fan 00)",
    "expected 2 or more",
  ),
  "mono among stereo": (
    rewrite("train", channels=1),
    "found 2 channels, expected 1 channels",
    N0,
  ),
  "another rate": (
    rewrite("train", rate=8_000),
    "found 16000 Hz, expected 8000 Hz",
    N0,
  ),
  "eight channels": (
    rewrite("train", channels=8),
    f"{N0}: found 8 channels",
    "recorder_channels=",
  ),
  "truncated": (content(lambda x: x[:-50], "train"), "cut short", N0),
  "NaN": (bad_sample(np.nan, "train"), f"{N0}: found nan"),
  "duplicate": (twice, f"{T0}: found the file name of", "source_test", "once"),
  "csv row": (drop_row, "attributes_00.csv: found rows for 5 train clips"),
  "no frame in train": (rewrite("train", seconds=0.02), N0, "expect"),
  "unknown section": (other_section, "fan: found test clips of section ['05']"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_clips_are_refused(evaluate, put_machine, put_wave, tmp_path, name):
  change, *texts = BAD[name]
  change(put_machine(tmp_path / "data" / "fan"), put_wave)
  line = evaluate().refused()
  assert str(tmp_path) in line or "fan" in line
  for text in texts:
    assert text in line
  nothing_left(tmp_path / "out")


UNREAD = {
  "eight channels": (rewrite(channels=8), "found 8 channels"),
  "truncated": (content(lambda x: x[:-50]), "cut short"),
  "zero bytes": (content(lambda x: b""), "found an empty file"),
  "no wave": (content(lambda x: b"ID3 " * 99), "expected a wave file"),
  "no samples": (rewrite(seconds=0), "found no samples"),
  "NaN": (bad_sample(np.nan, "test"), "found nan at sample 7"),
  "infinite": (bad_sample(np.inf, "test"), "found inf at sample 7"),
  "too short": (rewrite(seconds=0.02), "found 320 samples"),
}


@pytest.fixture(scope="module")
def unread(run, put_machine, put_wave, tmp_path_factory):
  """One run over machines with a bad test file each, of which one has two."""
  root = tmp_path_factory.mktemp("unread")
  for name, (change, _) in UNREAD.items():
    change(put_machine(root / "data" / name), put_wave)
  path = root / "data" / "NaN" / "test" / TEST[5]
  path.write_bytes(b"no recording")
  end = run_of_many(run, root)
  return root, end


@pytest.mark.parametrize("name", UNREAD)
def test_a_bad_test_file_stops_none_of_the_others(unread, name):
  root, end = unread
  assert end.status == 2
  path = root / "data" / name / "test" / T0
  told = UNREAD[name][1]
  (line,) = [x for x in end.err.splitlines() if x.startswith(f"{path}: ")]
  assert told in line
  results = results_in(root / "out")
  assert results["unread"][name][T0] == line
  noted(results, f"not scored: {line}")
  num = 6 if name == "NaN" else 7
  assert results["machines"][name]["n_test"] == num
  text = (root / "out" / "scores" / f"{name}.csv").read_text()
  _, *rows = csv.reader(io.StringIO(text, newline=""))
  assert len(rows) == 8
  assert [T0, "", "", ""] in rows
  assert sum(bool(score) for _, score, *_ in rows) == num


def test_bad_test_files_are_counted(unread):
  _, end = unread
  assert end.err.splitlines()[-1] == "9 test files could not be scored"


def test_ground_truth_with_missing_rows_is_refused(
  evaluate, put_machine, tmp_path
):
  put_truth(tmp_path / "data", anonymous(tmp_path, put_machine))
  table = "ground_truth_data/ground_truth_Sander_section_00_test.csv"
  path = tmp_path / "data" / table
  path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))
  line = evaluate().refused()
  assert f"{path}: found 3 rows, expected 4" in line
  assert "section_00_0000.wav" in line


def test_equal_names_of_plain_folders_are_scored_as_score_does(
  evaluate, run, put_wave, tmp_path
):
  """A recorder with eight channels that numbers its files anew each day."""
  for day in ("05-01", "05-02"):
    for i in range(3):
      put_wave(tmp_path / "good" / day / f"REC{i}.WAV", channels=8)
    put_wave(tmp_path / "new" / day / "REC7.WAV", channels=8, seconds=0.4)
  (tmp_path / "new" / "notes.wav").write_text("none")
  end = evaluate(
    f"--config.normal={tmp_path / 'good'}",
    f"--config.test={tmp_path / 'new'}",
    "--config.machines=press",
    "--config.recorder_channels=(3,5)",
    data=None,
  )
  assert end.status == 2
  text = (tmp_path / "out" / "scores" / "press.csv").read_text()
  _, *rows = csv.reader(io.StringIO(text, newline=""))
  names = ["05-01/REC7.WAV", "05-02/REC7.WAV", "notes.wav"]
  assert [row[0] for row in rows] == names
  detector = tmp_path / "out" / "detectors" / "press"
  end = run("score.py", f"--detector={detector}", tmp_path / "new")
  assert end.status == 2
  _, *found = csv.reader(io.StringIO(end.out, newline=""))
  assert found == [[f"{tmp_path / 'new'}/{n}", *row] for n, *row in rows]
  assert "notes.wav: found a file that starts with b'none'" in end.err
  assert "1 of 3 files could not be scored" in end.err


def test_an_unknown_machine_names_the_nearest(evaluate, evaluated, tmp_path):
  line = evaluate("--config.machines=pmp", data=evaluated.data).refused()
  assert "found no machine 'pmp', expected one of pump, fan" in line
  nothing_left(tmp_path / "out")


def test_one_channel_is_too_few_for_two(evaluate, put_machine, tmp_path):
  put_machine(tmp_path / "data" / "fan", channels=1)
  line = evaluate("--config.branches.log_mel.channels=(0,1)").refused()
  assert "found 1 channel" in line
  assert T0 in line or N0 in line
  nothing_left(tmp_path / "out")


# Flags and configs.


@pytest.mark.parametrize(
  ("flag", "texts"),
  [
    ("--config.batch_sizee=3", ["'batch_sizee'", "'batch_size'"]),
    ("--config.machine=fan", ["'machine'", "'machines'"]),
    (
      "--config.branches.log_mel.frontend.num_mel=3",
      ["'num_mel'", "'num_mels'"],
    ),
    ("--config.zzz=1", ["'zzz'"]),
    ("--config.batch_size=x", ["--config.batch_size=x"]),
    ("--confg=x", ["'confg'", "Did you mean: config"]),
    ("--nothing", ["'nothing'"]),
    ("stray", ["'stray'"]),
    ("--config.batch_size=0", ["batch_size", "0", "expected"]),
    ("--config.sample_rate=0", ["sample_rate", "0", "expected"]),
    ("--config.threshold.false_alarm_rate=2.0", ["2.0", "expected in (0, 1)"]),
    ("--config.threshold.name=x", ["'x'", "conformal"]),
    (
      "--config.threshold.name=gamma",
      ["'gamma'", "plain_knn has none", "'conformal' or 'quantile'"],
    ),
    ("--config.fusion.name=x", ["'x'", "weighted_mean"]),
    ("--config.branches.log_mel.backend.k=0", ["k", "0"]),
    ("--config.branches.log_mel.view.name=nera", ["'nera'", "'near'"]),
    ("--config.submission.label=bad", ["'bad'", "expected"]),
    ("--config.seeds=()", ["seeds", "expected"]),
    ("--config.seeds=x", ["seeds", "expected"]),
  ],
)
def test_wrong_flags_are_refused(evaluate, evaluated, tmp_path, flag, texts):
  line = evaluate("--config.machines=fan", flag, data=evaluated.data).refused()
  for text in texts:
    assert text in line
  nothing_left(tmp_path / "out")


def test_missing_flags_are_named(run, evaluate, tmp_path):
  assert "--config=configs/<system>.py" in run("evaluate.py").refused()
  assert "--config.data_dir=DIR" in evaluate(data=None).refused()
  line = evaluate(data=tmp_path, out="").refused()
  assert "--config.output_dir=OUT" in line


def test_help_is_shown(run):
  end = run("evaluate.py", "--help")
  assert end.status == 0
  assert "--config.data_dir=DIR" in end.out


CONFIG = (
  "from configs import plain_knn\n\n"
  "def get_config(arg=''):\n"
  "  c = plain_knn.get_config(arg)\n"
  "  {}\n"
  "  return c\n"
)


@pytest.mark.parametrize(
  ("line", "texts"),
  [
    ("c.batch_sizee = 3", ["'batch_sizee'", "'batch_size'"]),
    ("c.threshold.false_alarm = 0.1", ["'false_alarm'", "'false_alarm_rate'"]),
    ("c.branches.log_mel.poling = {}", ["'poling'", "'pooling'"]),
    ("c.branches.log_mel.backend.kk = 3", ["'kk'", "'k'"]),
    ("del c.branches", ["branches", "found none"]),
    ("c = undefined", ["mine.py, line 5", "'undefined'"]),
    ("c = = 3", ["SyntaxError", "mine.py, line 5"]),
    ("import gone", ["mine.py, line 5", "'gone'"]),
    ("raise ValueError('because')", ["mine.py", "because"]),
  ],
)
def test_wrong_config_files_are_refused(
  evaluate, evaluated, tmp_path, line, texts
):
  path = tmp_path / "mine.py"
  path.write_text(CONFIG.format(line))
  end = evaluate("--config.machines=fan", config=path, data=evaluated.data)
  for text in texts:
    assert text in end.refused()
  nothing_left(tmp_path / "out")


def test_what_a_config_leaves_out_is_the_plain_choice(
  evaluate, evaluated, tmp_path
):
  path = tmp_path / "mine.py"
  path.write_text(CONFIG.format("del c.fusion, c.branches.log_mel.view"))
  end = evaluate("--config.machines=fan", config=path, data=evaluated.data)
  assert end.status == 0, end.err
  found = (tmp_path / "out" / "scores" / "fan.csv").read_text()
  assert found == (evaluated.out / "scores" / "fan.csv").read_text()


def test_a_config_that_is_not_there_is_refused(evaluate, tmp_path):
  line = evaluate(config=tmp_path / "gone.py").refused()
  assert f"found no file '{tmp_path / 'gone.py'}'" in line
  line = evaluate(config=ROOT / "configs" / "plain_knn.py:smok").refused()
  assert "found 'smok', expected 'smoke'" in line


# Output that cannot be written.


@pytest.mark.parametrize("place", ["out", "out/a/b", "out/scores"])
def test_a_file_in_the_place_of_the_folder_is_refused(
  evaluate, evaluated, tmp_path, place
):
  (tmp_path / "out").write_text("mine")
  end = evaluate(out=tmp_path / place, data=evaluated.data)
  line = end.refused()
  assert str(tmp_path / place) in line
  assert "cannot be written" in line
  assert (tmp_path / "out").read_text() == "mine"


# The probe, half a detector, scores, a challenge file, whose folder it is, a
# finished machine, the report: one of each writer.
@pytest.mark.parametrize("number", [0, 2, 3, 5, 6, 7, 14])
def test_a_full_disk_leaves_no_half_a_file(
  evaluate, evaluated, tmp_path, monkeypatch, number
):
  calls = iter(range(10**6))
  sync = os.fsync

  def full(descriptor):
    if next(calls) >= number:
      raise OSError(errno.ENOSPC, "No space left on device")
    sync(descriptor)

  monkeypatch.setattr(os, "fsync", full)
  end = evaluate("--config.machines=fan", data=evaluated.data)
  assert end.status == 2
  *before, line = end.err.splitlines()
  assert before in ([], ["fan: done"])
  assert line.startswith(str(tmp_path / "out"))
  assert "No space left on device" in line
  out = tmp_path / "out"
  assert not (out / "results.json").exists()
  assert not [p for p in out.rglob("*") if "tmp" in p.suffix]
  assert not list(out.rglob("*.partial"))


# From a shell.


@pytest.mark.full
def test_a_run_from_another_folder_works(spawn, evaluated, tmp_path):
  end = spawn(
    "evaluate.py",
    f"--config={ROOT / 'configs' / 'plain_knn.py'}",
    f"--config.data_dir={evaluated.data}",
    "--config.output_dir=here",
    "--config.machines=pump",
    cwd=tmp_path,
  )
  results = done(end, tmp_path / "here")
  assert "official score" in end.out
  assert f"{100 * results['official_score']:.2f}" in end.out
  path = Path("scores") / "pump.csv"
  first, second = (
    folder / path for folder in (tmp_path / "here", evaluated.out)
  )
  assert first.read_bytes() == second.read_bytes()


@pytest.mark.slow
def test_wrong_input_from_a_shell_exits_with_2(spawn, tmp_path):
  end = spawn(
    "evaluate.py",
    f"--config={ROOT / 'configs' / 'plain_knn.py'}",
    f"--config.data_dir={tmp_path}",
    f"--config.output_dir={tmp_path / 'out'}",
  )
  assert f"{tmp_path}: found no machine" in end.refused()


@pytest.mark.slow
@pytest.mark.parametrize(
  "config",
  ["plain_knn", pytest.param("baseline_mse", marks=pytest.mark.full)],
)
def test_a_full_disk_from_a_shell_exits_with_2(
  spawn, evaluated, tmp_path, config
):
  recipe = "--config.branches.autoencoder.encoder.recipe"
  end = spawn(
    "evaluate.py",
    f"--config={ROOT / 'configs' / config}.py",
    f"--config.data_dir={evaluated.data}",
    f"--config.output_dir={tmp_path / 'out'}",
    "--config.machines=fan",
    *([f"{recipe}.num_epochs=1"] if config == "baseline_mse" else []),
    largest_file=2000,
  )
  assert str(tmp_path / "out") in end.refused()
  nothing_left(tmp_path / "out")
