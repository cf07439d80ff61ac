import contextlib
import os
import shutil
import threading
import time

import numpy as np
import pytest

from asd_jax import errors
from asd_jax.runs import score as score_lib
from asd_jax.runs import watch

from .test_score import rows_of

# --- arrivals --------------------------------------------------------------

A, B = watch.Stamp(1, 1), watch.Stamp(2, 2)


@pytest.fixture
def arrivals():
  found = watch.Arrivals()
  plain = found.update
  found.update = lambda stamps: plain(list(stamps), stamps.get)
  return found


def test_a_file_counts_when_it_stayed_the_same_between_two_scans(arrivals):
  assert arrivals.update({"x": A}) == []
  assert arrivals.still() == []
  arrivals.update({"x": B})
  assert arrivals.still() == []
  arrivals.update({"x": B})
  assert arrivals.still() == ["x"]
  assert arrivals.num_waiting == 1


def test_a_waiting_file_that_goes_is_told_once(arrivals):
  arrivals.update({"x": A, "y": A})
  assert arrivals.update({"y": A}) == ["x"]
  assert arrivals.update({"y": A}) == []


def test_a_scored_file_counts_again_only_when_it_is_another_one(arrivals):
  for _ in range(2):
    arrivals.update({"x": A})
  arrivals.done("x", "scored")
  for found in ({"x": A}, {"x": B}, {"x": B}, {}, {"x": A}, {"x": A}):
    assert arrivals.update(found) == []
    assert arrivals.still() == []
  for found in ({}, {"x": B}, {"x": B}):
    arrivals.update(found)
  assert arrivals.still() == ["x"]


def test_a_skipped_file_gets_another_chance_when_it_changes(arrivals):
  for _ in range(2):
    arrivals.update({"x": A})
  arrivals.done("x", "skipped")
  arrivals.update({"x": A})
  assert (arrivals.still(), arrivals.num_waiting) == ([], 0)
  for _ in range(2):
    arrivals.update({"x": B})
  assert arrivals.still() == ["x"]


def test_older_files_come_first(arrivals):
  for _ in range(2):
    arrivals.update({"a": B, "c": A, "b": A})
  assert arrivals.still() == ["b", "c", "a"]


# --- the host loop, its sleep replaced by what happens meanwhile -------------


@pytest.fixture(scope="session")
def scorer(evaluated):
  return score_lib.Scorer(str(evaluated.detector))


@pytest.fixture
def play(scorer, tmp_path):
  """Watches `tmp_path` while steps happen; names, notes and the watch."""

  def start(*steps):
    watched = watch.Watch(scorer, str(tmp_path))
    todo = iter(steps)
    events = []

    class Over(Exception):
      pass

    def sleep(seconds):
      assert seconds == 1.5
      step = next(todo, None)
      if step is None:
        raise Over
      step()

    with contextlib.suppress(Over):
      for event in watch.run(watched, interval_seconds=1.5, sleep=sleep):
        events.append(event)
    rows = [e.row for e in events if e.row]
    start.scores = {os.path.basename(r.file): r.score for r in rows}
    names = [os.path.basename(r.file) for r in rows]
    return names, [e.note for e in events if e.note], watched

  return start


def wait():
  pass


def test_new_files_are_scored_as_they_arrive_and_once(play, put_wave, tmp_path):
  put_wave(tmp_path / "b.wav")
  names, notes, watched = play(
    wait,
    lambda: put_wave(tmp_path / "a.wav"),
    lambda: put_wave(tmp_path / "deep" / "c.wav"),
    wait,
    lambda: os.utime(tmp_path / "b.wav"),
    wait,
    wait,
  )
  assert (names, notes) == (["b.wav", "a.wav", "c.wav"], [])
  assert "no decision possible: 6 normal clips" in watched.summary()


def test_scored_files_are_not_looked_at_again(
  play, put_wave, tmp_path, monkeypatch
):
  looks = []
  stat = os.stat
  # Whatever asks for a file, by `os`, `os.path` or `pathlib`, ends here.
  monkeypatch.setattr(
    os, "stat", lambda path, **k: (looks.append(str(path)), stat(path, **k))[1]
  )
  names = [f"{i}.wav" for i in range(5)]
  for name in names:
    put_wave(tmp_path / name)
  at = lambda name: sum(p.endswith(name) for p in looks)
  bad = tmp_path / "bad.wav"
  found, _, watched = play(wait, lambda: bad.write_text("no sound"), wait)
  assert (sorted(found), watched.num_waiting) == (names, 1)
  first = [at(name) for name in names]
  assert min(first) >= 2
  for _ in range(3):
    list(watched.poll())
  assert [at(name) for name in names] == first
  assert at("bad.wav") >= 5


def test_hidden_and_partial_files_are_left_alone(play, put_wave, tmp_path):
  path = put_wave(tmp_path / "a.wav")
  for name in (".b.wav", "c.wav.part", "d.txt", ".hidden/e.wav"):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    shutil.copy(path, tmp_path / name)
  assert play(wait, wait)[:2] == (["a.wav"], [])


def test_a_file_in_writing_is_scored_when_it_is_whole(play, put_wave, tmp_path):
  content = put_wave(tmp_path / "a.wav").read_bytes()
  path = tmp_path / "a.wav"

  def write(num):
    return lambda: path.write_bytes(content[:num])

  write(0)()
  steps = (wait, write(30), wait, write(5000), wait, wait, write(None), wait)
  assert play(*steps)[:2] == (["a.wav"], [])


def test_a_cut_file_is_told_once_after_some_intervals(play, put_wave, tmp_path):
  content = put_wave(tmp_path / "a.wav").read_bytes()
  put_wave(tmp_path / "b.wav")
  (tmp_path / "a.wav").write_bytes(content[:-50])
  early = play(*[wait] * (watch.PATIENCE - 1))
  assert early[:2] == (["b.wav"], [])
  names, notes, watched = play(*[wait] * (watch.PATIENCE + 5))
  assert names == ["b.wav"]
  assert len(notes) == 1
  assert f"{tmp_path / 'a.wav'}: found" in notes[0]
  assert "cut short" in notes[0]
  assert watched.num_waiting == 0


def test_a_removed_file_is_told_and_the_watch_goes_on(play, put_wave, tmp_path):
  put_wave(tmp_path / "a.wav")
  names, notes, _ = play(
    (tmp_path / "a.wav").unlink, lambda: put_wave(tmp_path / "b.wav"), wait
  )
  assert names == ["b.wav"]
  assert notes == [f"{tmp_path / 'a.wav'}: was removed before it could be read"]


def test_a_file_removed_between_header_and_samples_is_told(
  play, put_wave, tmp_path, scorer, monkeypatch
):
  check = scorer.check

  def check_and_remove(paths, headers):
    found = check(paths, headers)
    if paths[0].endswith("a.wav"):
      os.unlink(paths[0])
    return found

  monkeypatch.setattr(scorer, "check", check_and_remove)
  put_wave(tmp_path / "a.wav")
  put_wave(tmp_path / "b.wav")
  names, notes, _ = play(wait, wait)
  assert names == ["b.wav"]
  assert notes == [f"{tmp_path / 'a.wav'}: was removed before it could be read"]


def test_a_file_that_grows_while_it_is_read_waits(
  play, put_wave, tmp_path, scorer, monkeypatch
):
  score, times = scorer.score, []

  def score_and_touch(some, **kwargs):
    found = score(some, **kwargs)
    if not times:
      os.utime(tmp_path / "a.wav", ns=(1, 1))
    times.append(len(some))
    return found

  monkeypatch.setattr(scorer, "score", score_and_touch)
  put_wave(tmp_path / "a.wav")
  assert play(wait, wait, wait)[:2] == (["a.wav"], [])
  assert len(times) == 2


def test_bad_files_are_told_and_the_others_scored(play, put_wave, tmp_path):
  put_wave(tmp_path / "a.wav")
  put_wave(tmp_path / "short.wav", seconds=0.01)
  nan = put_wave(tmp_path / "nan.wav", subtype="FLOAT")
  nan.write_bytes(nan.read_bytes()[:-4] + np.float32("nan").tobytes())
  (tmp_path / "text.wav").write_text("no sound")
  put_wave(tmp_path / "slow.wav", rate=8_000)
  names, notes, watched = play(*[wait] * (watch.PATIENCE + 3))
  assert sorted(names) == ["a.wav", "slow.wav"]
  assert watched.num_waiting == 0
  text = "\n".join(notes)
  assert len(notes) == 4, text
  assert f"{tmp_path / 'short.wav'}: found 160 samples" in text
  assert f"{nan}: found nan" in text
  assert f"{tmp_path / 'text.wav'}: found a file that starts with" in text
  assert "slow.wav: resampled from 8000 to 16000 Hz" in text


def test_a_folder_that_vanishes_ends_the_watch(play, put_wave, tmp_path):
  put_wave(tmp_path / "a.wav")
  with pytest.raises(ValueError, match=f"{tmp_path}: found no readable folder"):
    play(wait, lambda: shutil.rmtree(tmp_path), wait)


def test_a_folder_below_that_vanishes_does_not(play, put_wave, tmp_path):
  put_wave(tmp_path / "deep" / "a.wav")
  put_wave(tmp_path / "b.wav")
  names, notes, _ = play(lambda: shutil.rmtree(tmp_path / "deep"), wait, wait)
  assert names == ["b.wav"]
  assert len(notes) == 1


def test_a_scan_during_which_a_folder_below_goes_is_dropped(
  tmp_path, monkeypatch
):
  def gone(folder):
    raise errors.InputError(f"{folder}/deep: found no readable folder")

  monkeypatch.setattr(score_lib, "inside", gone)
  assert watch.scan(str(tmp_path)) is None


def test_drift_is_told_once_and_changes_no_score(
  play, put_wave, tmp_path, scorer, evaluated, monkeypatch
):
  sections = scorer.detector.sections
  # Only the watch's yardstick: the decisions need one score a fold.
  low = lambda section: np.arange(200) / 200
  monkeypatch.setattr(type(sections["00"]), "train_scores", low)
  names = [f"{i:02d}.wav" for i in range(40)]
  for name in names:
    put_wave(tmp_path / name)
  found, notes, _ = play(wait)
  assert sorted(found) == names
  (note,) = notes
  assert f"{tmp_path}: drift: recent scores lie above" in note
  assert "the training clips" in note
  scores = play.scores
  plain = score_lib.run(str(evaluated.detector), [str(tmp_path)])
  assert [float(r[1]) for r in rows_of(plain.text)] == [
    scores[name] for name in names
  ]


def test_in_sample_training_scores_are_no_yardstick(scorer, monkeypatch):
  sections = scorer.detector.sections
  section = sections["00"]
  facts = section.facts | {"training_scores": {"log_mel": "in_sample"}}
  seen = section._replace(facts=facts, folds=None)
  monkeypatch.setitem(sections, "00", seen)
  watched = watch.Watch(scorer, os.getcwd())
  for i in range(30):
    assert watched._drift_note("00", 0.01 * (i % 3)) == ""
  texts = [watched._drift_note("00", 50.0 + i % 3) for i in range(60)]
  (note,) = filter(None, texts)
  assert "above those of the earlier clips of this watch" in note


# --- as a user runs it -------------------------------------------------------


@pytest.fixture
def start(run, evaluated):
  return lambda folder, *args: run(
    "score.py",
    f"--detector={evaluated.detector}",
    f"--watch={folder}",
    "--interval_seconds=0.05",
    *args,
  )


def test_watching_once_equals_scoring(start, run, evaluated, tmp_path):
  folder = shutil.copytree(evaluated.data / "fan" / "test", tmp_path / "new")
  end = start(folder, "--once")
  plain = run("score.py", f"--detector={evaluated.detector}", folder)
  assert end.status == 0
  assert sorted(rows_of(end.out)) == sorted(rows_of(plain.out))
  assert end.err == plain.err
  assert end.err.startswith("section 00: no decision possible")


def test_a_slow_writer_is_waited_for(start, put_wave, tmp_path):
  content = put_wave(tmp_path / "elsewhere.wav", seconds=1.0).read_bytes()
  folder = tmp_path / "new"
  folder.mkdir()

  def write():
    with open(folder / "a.wav", "wb", buffering=0) as file:
      for i in range(0, len(content), 8000):
        file.write(content[i : i + 8000])
        time.sleep(0.03)

  writer = threading.Thread(target=write)
  writer.start()
  end = start(folder, "--max_seconds=1.5")
  writer.join()
  assert (end.status, len(rows_of(end.out))) == (0, 1)
  assert end.err.startswith("section 00: no decision possible")


def test_an_empty_folder_is_fine(start, tmp_path):
  end = start(tmp_path, "--once")
  assert (end.status, end.out) == (0, "file,score,decision,p_value\n")
  assert end.err.startswith("section 00: no decision possible")


def test_a_folder_that_is_not_there_is_refused(start, put_wave, tmp_path):
  for path in (tmp_path / "no", put_wave(tmp_path / "a.wav")):
    end = start(path, "--once")
    assert f"{path}: found no readable folder" in end.refused()
    assert end.out == ""


def test_a_vanished_folder_is_one_line_and_status_two(start, tmp_path):
  folder = tmp_path / "new"
  folder.mkdir()
  timer = threading.Timer(0.5, folder.rmdir)
  timer.start()
  end = start(folder, "--max_seconds=20")
  timer.join()
  assert f"{folder}: found no readable folder" in end.refused()


@pytest.mark.parametrize("value", ["0", "-1", "nan"])
@pytest.mark.parametrize("name", ["interval_seconds", "max_seconds"])
def test_times_are_above_zero(start, tmp_path, name, value):
  end = start(tmp_path, "--once", f"--{name}={value}")
  assert f"--{name}: found {float(value)}" in end.refused()
