"""A run writes machine by machine, and goes on where it was stopped."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from asd_jax import errors
from asd_jax.engine import detector
from asd_jax.runs import evaluate, finished, folder, progress, suspects
from configs import plain_knn
from tests import quick, shared
from tests.scripts.conftest import ROOT, write_machine

MACHINES = ("fan", "pump")


@pytest.fixture(autouse=True, scope="module")
def one_card_a_machine():
  """What the page shows of many clips is tested where the page is."""
  few = mock.patch.dict(suspects.choose.__kwdefaults__, per_machine=1)
  with few, shared.programs():
    yield


@pytest.fixture(scope="module")
def data(tmp_path_factory):
  place = tmp_path_factory.mktemp("machines") / "data"
  for name in MACHINES:
    write_machine(place / name)
  return place


class Progress(progress.Progress):
  """Counts the machines that are fitted; may be interrupted before one."""

  def __init__(self, stop_at=None):
    super().__init__(quiet=True)
    self.fitted, self._stop_at = [], stop_at

  def task(self, label, total):
    machine, section, *rest = label.split()
    if rest == ["training", "clips"]:
      if machine == self._stop_at:
        raise KeyboardInterrupt
      self.fitted.append(machine)
    return super().task(label, total)


def config(data, out, **changes):
  c = plain_knn.get_config().to_dict()
  return {**c, "data_dir": str(data), "output_dir": str(out), **changes}


def same(a, b):
  """Results without what names the run's folder and its time."""
  drop = lambda r: {k: v for k, v in r.items() if k not in ("run", "config")}
  assert json.dumps(drop(a)) == json.dumps(drop(b))


@pytest.fixture(scope="module")
def unbroken(data, tmp_path_factory):
  out = tmp_path_factory.mktemp("unbroken")
  return out, evaluate.run(config(data, out), progress=Progress())


@pytest.fixture(scope="module")
def interrupted(data, tmp_path_factory):
  """The output of a run that was interrupted after its first machine."""
  out = tmp_path_factory.mktemp("interrupted")
  with pytest.raises(KeyboardInterrupt):
    evaluate.run(config(data, out), progress=Progress(stop_at="pump"))
  return out


@pytest.fixture
def stopped(interrupted, tmp_path):
  """A copy of it: where a run writes decides nothing of what it finds."""
  return shutil.copytree(interrupted, tmp_path / "out")


def texts(out):
  return {
    str(p.relative_to(out)): p.read_bytes()
    for kind in ("scores", "submission")
    for p in sorted((out / kind).rglob("*.csv"))
  }


def test_a_machine_leaves_its_files_before_the_next_begins(stopped, unbroken):
  assert not (stopped / "results.json").exists()
  assert not (stopped / "report.html").exists()
  found, want = texts(stopped), texts(unbroken[0])
  assert len(found) == 3
  assert found == {k: v for k, v in want.items() if "fan" in k}
  assert detector.load(stopped / "detectors" / "fan").machine == "fan"
  assert os.listdir(stopped / "detectors") == ["fan"]


def test_a_stopped_run_goes_on_and_ends_as_an_unbroken_one(
  data, stopped, unbroken
):
  rest = Progress()
  found = evaluate.run(config(data, stopped), progress=rest)
  assert rest.fitted == ["pump"]
  same(found, unbroken[1])
  same(json.loads((stopped / "results.json").read_text()), unbroken[1])
  assert texts(stopped) == texts(unbroken[0])
  # The reasons of the report need the states that were let go.
  pages = [(o / "report.html").read_text() for o in (stopped, unbroken[0])]
  assert pages[0].count("<figure") == pages[1].count("<figure") > 0
  assert not (stopped / finished.FOLDER).exists()
  again = Progress()
  evaluate.run(config(data, stopped), progress=again)
  assert again.fitted == list(MACHINES)  # a complete run is not continued


def test_states_do_not_stay(data, tmp_path, monkeypatch):
  seen = []
  put = finished.Records.put

  def counted(self, machine, scored):
    seen.extend(s.section.state for s in scored.values())
    put(self, machine, scored)

  monkeypatch.setattr(finished.Records, "put", counted)
  evaluate.run(config(data, tmp_path), progress=Progress())
  assert seen == [None] * len(MACHINES)


def other_setting(data, out):
  return config(data, out, threshold=dict(name="quantile"))


def other_clip(data, out):
  copy = shutil.copytree(data, out.parent / "other")
  path = copy / "fan" / "test" / os.listdir(copy / "fan" / "test")[0]
  content = bytearray(path.read_bytes())
  content[-2] ^= 1
  path.write_bytes(content)
  return config(copy, out, data_dir=str(copy))


def damaged_record(data, out):
  (path,) = (out / finished.FOLDER).iterdir()
  path.write_bytes(path.read_bytes()[:-3])
  return config(data, out)


def damaged_detector(data, out):
  path = out / "detectors" / "fan" / "section_00.safetensors"
  path.write_bytes(path.read_bytes()[:-3])
  return config(data, out)


def lost_detector(data, out):
  shutil.rmtree(out / "detectors")
  return config(data, out)


@pytest.mark.parametrize(
  ("change", "said"),
  [
    (other_setting, r"another run, of other settings \(threshold"),
    (other_clip, "another run, of other clips, labels or weights"),
  ],
)
def test_the_folder_of_another_run_is_refused(data, stopped, change, said):
  before = {p: p.read_bytes() for p in stopped.rglob("*") if p.is_file()}
  rest = Progress()
  with pytest.raises(errors.InputError, match=said):
    evaluate.run(change(data, stopped), progress=rest)
  assert not rest.fitted
  # Nothing is lost: not a byte, and nothing was added.
  found = {p: p.read_bytes() for p in stopped.rglob("*") if p.is_file()}
  assert found == before


def test_a_folder_of_results_that_no_run_claims_is_refused(data, tmp_path):
  (tmp_path / "results.json").write_text("{}")
  with pytest.raises(errors.InputError, match=r"no run\.json"):
    evaluate.run(config(data, tmp_path), progress=Progress())
  assert os.listdir(tmp_path) == ["results.json"]


def test_a_run_that_found_nothing_binds_nobody(data, tmp_path):
  for changes in ({}, dict(machines="fan")):
    c, halted = config(data, tmp_path, **changes), Progress(stop_at="fan")
    with pytest.raises(KeyboardInterrupt):
      evaluate.run(c, progress=halted)
    assert not (tmp_path / folder.FILE).exists()


@pytest.mark.parametrize(
  "change", [damaged_record, damaged_detector, lost_detector]
)
def test_what_is_not_as_it_was_is_made_again(data, stopped, unbroken, change):
  rest = Progress()
  found = evaluate.run(change(data, stopped), progress=rest)
  assert rest.fitted == list(MACHINES)
  damaged = [n for n in found["notes"] if "found damaged content" in n]
  assert len(damaged) == (change is damaged_record)
  found["notes"] = [n for n in found["notes"] if n not in damaged]
  same(found, unbroken[1])


@pytest.mark.slow
def test_a_killed_process_is_continued(data, tmp_path, unbroken):
  command = [
    sys.executable,
    ROOT / "scripts" / "evaluate.py",
    f"--config={ROOT / 'configs' / 'plain_knn.py'}",
    f"--config.data_dir={data}",
    f"--config.output_dir={tmp_path}",
  ]
  child = subprocess.Popen(
    [*map(str, command)],
    env=quick.environment(),
    stderr=subprocess.DEVNULL,
  )
  first = tmp_path / finished.FOLDER / "fan.safetensors"
  end = time.monotonic() + 120
  while not first.exists() and time.monotonic() < end:
    assert child.poll() is None
    time.sleep(0.001)
  child.send_signal(signal.SIGKILL)
  assert child.wait() == -signal.SIGKILL
  assert not (tmp_path / "results.json").exists()
  rest = Progress()
  c = config(data, Path(tmp_path))
  found = evaluate.run(c, progress=rest)
  assert "fan" not in rest.fitted
  assert np.isclose(found["official_score"], unbroken[1]["official_score"])
