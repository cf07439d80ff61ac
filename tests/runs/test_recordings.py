"""Recordings longer than clips: scored by windows, flagged by alarms."""

import csv
import io
import json
from unittest import mock

import numpy as np
import pytest
import soundfile

from asd_jax import errors
from asd_jax.data import audio, clips
from asd_jax.runs import evaluate, finished, folder, progress, score, suspects
from configs import plain_knn

RATE, LENGTH = 16_000, 4800  # samples of a clip and of a window


def wave(num, seed, loud=()):
  """Noise of so many windows; those of `loud` stand out."""
  rng = np.random.default_rng(seed)
  out = rng.normal(0, 1000, (num, LENGTH))
  out[list(loud)] *= 8
  return out.reshape(-1).astype(np.int16)


def put(path, samples, rate=RATE):
  path.parent.mkdir(parents=True, exist_ok=True)
  soundfile.write(path, samples, rate)


def rows_of(text):
  return list(csv.DictReader(io.StringIO(text)))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
  """A machine of clips, and one of a recording to learn from."""
  root = tmp_path_factory.mktemp("recordings") / "data"
  name = "section_00_source_train_normal_{:04d}_noAttribute.wav"
  for i in range(12):
    put(root / "fan" / "train" / name.format(i), wave(1, i))
  put(root / "pump" / "train" / name.format(0), wave(24, 50))
  for machine in ("fan", "pump"):
    test = root / machine / "test"
    put(test / "section_00_0000.wav", wave(1, 100))
    put(test / "section_00_0001.wav", wave(9, 101, loud=[2, 4, 5, 6]))
    put(test / "section_00_0002.wav", wave(8, 102, loud=[1, 2, 5, 6]))
  return root


@pytest.fixture(scope="module")
def config(data, tmp_path_factory):
  c = plain_knn.get_config().to_dict()
  out = tmp_path_factory.mktemp("out")
  return {
    **c,
    "data_dir": str(data),
    "output_dir": str(out),
    "window_seconds": LENGTH / RATE,
  }


@pytest.fixture(scope="module")
def ran(config):
  """Results of a run, and what was kept of it until it was complete."""
  kept = {}
  clear = finished.Records.clear

  def first(self, machines):
    kept.update({m.name: self.get(m) for m in machines})
    clear(self, machines)

  few = mock.patch.dict(suspects.choose.__kwdefaults__, per_machine=1)
  none = mock.patch.dict(suspects.find.__kwdefaults__, seconds=-1.0)
  with few, none, mock.patch.object(finished.Records, "clear", first):
    bars = progress.Progress(quiet=True)
    return evaluate.run(config, progress=bars), kept


@pytest.fixture
def out(config, ran):
  return folder.Path(config["output_dir"])


def test_windows_score_as_clips_of_their_own(ran, out, data, tmp_path):
  table = rows_of((out / "scores" / "fan_windows.csv").read_text())
  assert [r["file"] for r in table] == (
    ["section_00_0001.wav"] * 9 + ["section_00_0002.wav"] * 8
  )
  assert [float(r["start_seconds"]) for r in table[:9]] == [
    pytest.approx(0.3 * i) for i in range(9)
  ]
  for i in range(9):
    whole, _ = audio.read(data / "fan" / "test" / "section_00_0001.wav")
    part = whole[0, i * LENGTH :][:LENGTH]
    put(tmp_path / f"section_00_{i:04d}.wav", part)
  found = score.run(str(out / "detectors" / "fan"), [str(tmp_path)])
  alone = rows_of(found.text)
  for a, b in zip(alone, table, strict=False):
    assert [a[k] for k in ("score", "decision", "p_value")] == [
      b[k] for k in ("score", "decision", "p_value")
    ]


@pytest.mark.parametrize("machine", ["fan", "pump"])
def test_three_in_a_row_flag_a_recording(ran, out, machine):
  table = rows_of((out / "scores" / f"{machine}_windows.csv").read_text())
  rows = rows_of((out / "scores" / f"{machine}.csv").read_text())
  own = [r for r in table if r["file"] == "section_00_0001.wav"]
  assert {2, 4, 5, 6} <= {i for i, r in enumerate(own) if r["decision"] == "1"}
  assert rows[1]["decision"] == "1"
  assert rows[2]["decision"] == "0"
  # A recording's row is that of one of its windows.
  for row in rows[1:]:
    cells = [row[k] for k in ("score", "decision", "p_value")]
    every = [r for r in table if r["file"] == row["file"]]
    assert cells in [
      [r[k] for k in ("score", "decision", "p_value")] for r in every
    ]
  part = ran[0]["machines"][machine]["sections"]["00"]
  assert part["n_test"] == 3
  first, second = part["recordings"]["files"]
  ((start, end),) = first["alarms"]
  assert start <= 4 * 0.3 + 1e-6
  assert end >= 7 * 0.3 - 1e-6
  assert second["alarms"] == []
  assert (first["windows"], second["windows"]) == (9, 8)


def test_false_alarms_are_measured_on_training_windows(ran):
  entries = {n: m["sections"]["00"] for n, m in ran[0]["machines"].items()}
  fan, pump = (entries[n]["recordings"]["alarm"] for n in ("fan", "pump"))
  assert fan["after"] == pump["after"] == 3
  assert fan["measured"] is None
  assert pump["measured"] == 0
  assert pump["hours"] == pytest.approx(24 * 0.3 / 3600)
  rate = 1 / 13  # what twelve clips can state of 0.1
  assert fan["by_chance"] == pytest.approx((1 - rate) * rate**3 * 12_000)
  assert entries["pump"]["n_train"] == 24
  assert any(
    "1 recording to learn from cut into 24 windows of 0.3 s" in note
    for note in ran[0]["notes"]
  )


def test_the_page_has_a_strip_for_each_recording(ran, out):
  page = (out / "report.html").read_text()
  assert page.count('<figure class="strip">') == 4
  assert "1 alarm (0:01 to 0:02)" in page
  assert "3 anomalous windows in a row make an alarm" in page


def test_what_a_stopped_run_keeps_is_the_same(ran, config):
  results, kept = ran
  for name, sections in kept.items():
    scored = sections["00"]
    assert [c.recording is None for c in scored.clips] == [True, False, False]
    entry = results["machines"][name]["sections"]["00"]
    found = entry["recordings"]["files"]
    assert len(scored.windows.file) == sum(f["windows"] for f in found)
  assert json.loads(json.dumps(results))["machines"] == results["machines"]


def test_score_says_of_recordings_what_the_run_said(ran, out, data, tmp_path):
  test = data / "pump" / "test"
  paths = [str(test / f"section_00_000{i}.wav") for i in (2, 1)]
  place = tmp_path / "windows.csv"
  found = score.run(str(out / "detectors" / "pump"), paths, windows=str(place))
  wanted = rows_of((out / "scores" / "pump.csv").read_text())
  rows = rows_of(found.text)
  assert [r["file"] for r in rows] == paths
  for row, want in zip(rows, wanted[:0:-1], strict=True):
    assert {**row, "file": want["file"]} == want
  table = rows_of((out / "scores" / "pump_windows.csv").read_text())
  mine = rows_of(place.read_text())
  assert [r["file"] for r in mine] == [paths[0]] * 8 + [paths[1]] * 9
  strip = lambda rows: [{**r, "file": ""} for r in rows]
  assert strip(mine) == strip(table[9:] + table[:9])
  assert not found.summary
  *_, first, second, promise = found.notes
  assert first.startswith(f"{paths[0]}: no alarm; ")
  assert second.startswith(f"{paths[1]}: 1 alarm (0:01 to 0:02)")
  assert "none in 0.002 h of training windows in the order of time" in promise


def test_notes_of_windows_are_one_sentence(ran, out, tmp_path):
  samples = wave(10, 7)
  samples[3 * LENGTH : 7 * LENGTH] = 0
  put(tmp_path / "section_00_0009.wav", samples)
  file = str(tmp_path / "section_00_0009.wav")
  found = score.run(str(out / "detectors" / "fan"), [file])
  assert [n for n in found.notes if "silent" in n] == [
    f"{file}: channel 0 is silent (all samples are zero)"
    " (window at 0:01 and 3 more)"
  ]


def test_folds_of_a_training_recording_are_blocks(ran, out):
  scorer = score.Scorer(str(out / "detectors" / "pump"))
  fold = scorer.detector.sections["00"].folds.fold
  assert (np.diff(fold) >= 0).all()
  assert fold.max() == 9


@pytest.mark.parametrize(
  ("change", "said"),
  [
    (dict(window_seconds=-1.0), "window_seconds: found -1.0"),
    (dict(hop_seconds=float("nan")), "hop_seconds: found nan"),
    (dict(alarm_after=0), "alarm_after: found 0"),
    (dict(hop_seconds=0.5), r"hop_seconds: found 0.5, expected at most a wind"),
  ],
)
def test_settings_that_cannot_be_are_refused(config, change, said, tmp_path):
  with pytest.raises(errors.InputError, match=said):
    evaluate.run(
      {**config, **change, "output_dir": str(tmp_path)},
      progress=progress.Progress(quiet=True),
    )


def test_an_old_detector_scores_recordings_whole(ran, out, data):
  scorer = score.Scorer(str(out / "detectors" / "fan"))
  section = scorer.detector.sections["00"]
  facts = {k: v for k, v in section.facts.items() if k != "windows"}
  path = data / "fan" / "test" / "section_00_0001.wav"
  clip = clips.Clip(
    path, "fan", "00", "test", None, None, "", audio.read_header(path)
  )
  assert section._replace(facts=facts).plan([clip]).clips == [clip]
  assert len(section.plan([clip]).clips) == 9
