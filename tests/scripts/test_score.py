import csv
import io
import json
import shutil

import pytest

from asd_jax.runs import score as score_lib


def rows_of(text):
  header, *rows = csv.reader(io.StringIO(text, newline=""))
  assert header == ["file", "score", "decision", "p_value"]
  return rows


@pytest.fixture(scope="session")
def wanted(evaluated):
  """Base name to score and decision, as text, from the evaluate run."""
  text = (evaluated.out / "scores" / "fan.csv").read_text()
  rows = rows_of(text)
  assert len(rows) == 8
  return {name: cells for name, *cells in rows}


@pytest.fixture
def score(run, evaluated):
  return lambda *args: run(
    "score.py", f"--detector={evaluated.detector}", *args
  )


@pytest.fixture
def copy(evaluated, tmp_path):
  """A copy of the detector, to damage."""
  return shutil.copytree(evaluated.detector, tmp_path / "fan")


def test_a_folder_scores_as_in_the_evaluate_run(score, evaluated, wanted):
  folder = evaluated.data / "fan" / "test"
  end = score(folder)
  assert end.status == 0
  num = sum(cells[1] == "1" for cells in wanted.values())
  assert end.err == (
    "section 00: no decision possible: 6 normal clips, 9 needed for 0.1\n"
  )
  assert num == 0
  assert rows_of(end.out) == [
    [f"{folder}/{name}", *wanted[name]] for name in sorted(wanted)
  ]


@pytest.mark.parametrize("rule", ["quantile", "gamma"])
def test_a_rule_that_promises_no_rate_states_none(evaluated, rule, monkeypatch):
  scorer = score_lib.Scorer(str(evaluated.detector))
  sections = scorer.detector.sections
  enough = sections["00"].facts | {"num_train": 9}
  section = sections["00"]._replace(facts=enough)
  monkeypatch.setitem(sections, "00", section)
  assert scorer.summary(["00"] * 20, 3) == (
    "3 suspicious of 20 clips; about 2 false alarms expected at the stated rate"
    " 0.1 if all are normal"
  )
  changed = section._replace(limit=1.0, rule=section.rule._replace(name=rule))
  monkeypatch.setitem(sections, "00", changed)
  assert scorer.summary(["00"] * 20, 3) == (
    f"3 suspicious of 20 clips; no false-alarm rate is promised (rule {rule})"
  )


@pytest.mark.parametrize(
  "chosen", [[0], [3], [7, 2, 5], [7, 6, 5, 4, 3, 2, 1, 0], [1, 1]]
)
def test_any_order_and_subset_scores_the_same(score, evaluated, wanted, chosen):
  names = [sorted(wanted)[i] for i in chosen]
  paths = [evaluated.data / "fan" / "test" / name for name in names]
  end = score(*paths)
  assert rows_of(end.out) == [[str(path), *wanted[path.name]] for path in paths]


def test_paths_come_out_as_given(score, evaluated, wanted, monkeypatch):
  monkeypatch.chdir(evaluated.data / "fan")
  first, second, *_ = sorted(wanted)
  paths = [f"./test/../test/{first}", f"test/{second}", "test/"]
  end = score(*paths)
  found = [row[0] for row in rows_of(end.out)]
  assert found[:2] == paths[:2]
  assert found[2:] == [f"test/{name}" for name in sorted(wanted)]


def test_odd_names_are_quoted(score, evaluated, wanted, tmp_path):
  names = ['a, "b".wav', "<script>.wav", "two words.wav", "Lüfter 扇.WAV"]
  first = sorted(wanted)[0]
  for name in [*names, "two\nlines.wav"]:
    shutil.copy(evaluated.data / "fan" / "test" / first, tmp_path / name)
  end = score(tmp_path)
  assert sorted(rows_of(end.out)) == sorted(
    [str(tmp_path / name), *wanted[first]]
    for name in [*names, "two\nlines.wav"]
  )


def test_odd_input_is_noted_beside_the_csv(score, put_wave, tmp_path):
  path = put_wave(tmp_path / "a.wav", rate=8_000)
  end = score(path)
  assert end.status == 0
  assert len(rows_of(end.out)) == 1
  assert "a.wav" in end.err
  assert "resampled from 8000 to 16000 Hz" in end.err


def test_another_sample_format_scores_nearly_the_same(
  score, evaluated, wanted, put_wave, tmp_path
):
  name = sorted(wanted)[0]
  for subtype in ("PCM_24", "FLOAT"):
    end = score(put_wave(tmp_path / name, subtype=subtype))
    ((_, value, *_),) = rows_of(end.out)
    assert float(value) == pytest.approx(float(wanted[name][0]), rel=1e-5)


def test_other_channel_counts_and_rates_can_be_mixed(score, put_wave, tmp_path):
  put_wave(tmp_path / "mono.wav", channels=1)
  put_wave(tmp_path / "fast.wav", rate=48_000)
  put_wave(tmp_path / "long.wav", seconds=0.7)
  end = score(tmp_path)
  assert end.status == 0
  assert len(rows_of(end.out)) == 3


def test_sections_are_found_in_names_of_any_ending(evaluated, monkeypatch):
  """A recorder that writes .WAV."""
  scorer = score_lib.Scorer(str(evaluated.detector))
  sections = scorer.detector.sections
  monkeypatch.setitem(sections, "01", sections["00"])
  for ending in ("wav", "WAV", "Flac"):
    name = f"a/section_01_source_test_normal_0000_noAttribute.{ending}"
    assert scorer.section_of(name) == "01"


def test_a_section_can_be_named(score, evaluated, wanted):
  folder = evaluated.data / "fan" / "test"
  assert score("--section=00", folder).out == score(folder).out
  assert "found section '07'" in score("--section=07", folder).refused()


@pytest.mark.parametrize(
  ("content", "found"),
  [
    (b"", "found an empty file"),
    (b"this is text", "expected a wave file"),
    (None, "cut short"),
  ],
)
def test_a_damaged_clip_stops_none_of_the_others(
  score, put_wave, tmp_path, content, found
):
  good = put_wave(tmp_path / "a.wav")
  path = put_wave(tmp_path / "b.wav")
  path.write_bytes(path.read_bytes()[:-50] if content is None else content)
  end = score(tmp_path)
  assert end.status == 2
  (line,) = [x for x in end.err.splitlines() if x.startswith(f"{path}: ")]
  assert found in line
  assert "1 of 2 files could not be scored" in end.err.splitlines()
  rows = rows_of(end.out)
  assert [row[0] for row in rows] == [str(good), str(path)]
  assert rows[1][1:] == ["", "", ""]
  # Alone, it is the only thing to be told.
  assert score(path).refused() == line


def test_what_is_not_there_is_refused(score, tmp_path, put_wave):
  (tmp_path / "empty").mkdir()
  line = score(tmp_path / "empty").refused()
  assert f"{tmp_path / 'empty'}: found no wave files" in line
  line = score(tmp_path / "gone.wav").refused()
  assert f"{tmp_path / 'gone.wav'}: found nothing" in line
  short = put_wave(tmp_path / "short.wav", seconds=0.01)
  line = score(short).refused()
  assert f"{short}: found 160 samples" in line
  assert "at least 1024" in line


def test_flags_are_needed(run, evaluated):
  assert "--detector" in run("score.py").refused()
  end = run("score.py", f"--detector={evaluated.detector}")
  assert "0 paths" in end.refused()
  end = run("score.py", f"--detector={evaluated.detector}", "--watch=a", "b")
  assert "watch='a' and 1 paths" in end.refused()
  end = run("score.py", "--detectr=x", "a.wav")
  assert "Did you mean: detector" in end.refused()
  end = run("score.py", "--help")
  assert end.status == 0
  assert "--detector" in end.out


def damage_index(change):
  def act(folder):
    path = folder / "detector.json"
    index = json.loads(path.read_text())
    change(index)
    path.write_text(json.dumps(index))

  return act


def cut(name, size):
  def act(folder):
    path = folder / name
    path.write_bytes(path.read_bytes()[:size])

  return act


def flip(folder):
  path = folder / "section_00.safetensors"
  content = bytearray(path.read_bytes())
  content[-5] ^= 1
  path.write_bytes(content)


DAMAGES = {
  "no index": lambda f: (f / "detector.json").unlink(),
  "no state": lambda f: (f / "section_00.safetensors").unlink(),
  "cut index": cut("detector.json", 200),
  "empty index": cut("detector.json", 0),
  "binary index": lambda f: (f / "detector.json").write_bytes(b"\xff\xfe\0"),
  "another json": lambda f: (f / "detector.json").write_text("[1, 2]"),
  "cut state": cut("section_00.safetensors", -9),
  "empty state": cut("section_00.safetensors", 0),
  "changed state": flip,
  "newer format": damage_index(lambda i: i.update(format=99)),
  "no format": damage_index(lambda i: i.pop("format")),
  "no config": damage_index(lambda i: i.pop("config")),
  "odd config": damage_index(lambda i: i.update(config=[])),
  "unknown stage": damage_index(
    lambda i: i["config"]["branches"]["log_mel"]["backend"].update(name="x")
  ),
  "no sections": damage_index(lambda i: i.pop("sections")),
  "empty sections": damage_index(lambda i: i.update(sections={})),
  "odd sections": damage_index(lambda i: i.update(sections=[1])),
  "odd rule": damage_index(
    lambda i: i["sections"]["00"].update(rule={"name": "x"})
  ),
  "no folds": damage_index(lambda i: i["sections"]["00"].pop("num_target")),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_detector_is_refused(run, copy, evaluated, name):
  DAMAGES[name](copy)
  end = run("score.py", f"--detector={copy}", evaluated.data / "fan" / "test")
  assert str(copy) in end.refused()
  assert end.out == ""


def test_a_foreign_folder_is_refused(run, evaluated):
  for folder in (evaluated.data, evaluated.out, "/nowhere"):
    end = run(
      "score.py", f"--detector={folder}", evaluated.data / "fan" / "test"
    )
    assert f"{folder}/detector.json: found no detector" in end.refused()


def test_a_detector_works_from_another_place(run, copy, evaluated, wanted):
  folder = evaluated.data / "fan" / "test"
  end = run("score.py", f"--detector={copy}/", folder)
  assert [row[1:] for row in rows_of(end.out)] == [
    wanted[name] for name in sorted(wanted)
  ]


@pytest.mark.slow
def test_from_a_shell_the_score_is_the_same(spawn, evaluated, wanted):
  name = sorted(wanted)[0]
  end = spawn(
    "score.py",
    "--detector=detectors/fan",
    evaluated.data / "fan" / "test" / name,
    cwd=evaluated.out,
  )
  assert end.status == 0
  assert end.err.startswith("section 00: no decision possible: 6 normal clips")
  assert end.err.count("\n") == 1
  ((path, *cells),) = rows_of(end.out)
  assert path == str(evaluated.data / "fan" / "test" / name)
  assert cells == wanted[name]
