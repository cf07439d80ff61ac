import contextlib
import datetime
import json
import os
import shutil
import threading
import time

import numpy as np
import pytest

from asd_jax import errors
from asd_jax.data import folders, score_table
from asd_jax.runs import arrivals as arrivals_lib
from asd_jax.runs import follow, watch
from asd_jax.runs import score as score_lib
from asd_jax.scores import p_value

from .test_score import rows_of

# --- arrivals --------------------------------------------------------------

A, B = arrivals_lib.Stamp(1, 1), arrivals_lib.Stamp(2, 2)
TOUCHED = arrivals_lib.Stamp(1, 2)


@pytest.fixture
def arrivals():
  found = arrivals_lib.Arrivals()
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
  touched = [{"x": TOUCHED}] * 2
  for found in ({"x": A}, *touched, {}, {"x": A}, {"x": A}):
    assert arrivals.update(found) == []
    assert arrivals.still() == []
  for found in ({}, *touched):
    arrivals.update(found)
  assert arrivals.still() == ["x"]
  assert not arrivals.was_scored("x")


def test_a_scored_file_that_grows_counts_again(arrivals):
  for found in (A, A):
    arrivals.update({"x": found})
  arrivals.done("x", "scored")
  arrivals.update({"x": B})
  assert (arrivals.still(), arrivals.num_waiting) == ([], 1)
  arrivals.update({"x": B})
  assert arrivals.still() == ["x"]
  assert arrivals.was_scored("x")
  arrivals.done("x", "scored")
  assert not arrivals.was_scored("x")


def test_a_look_asks_for_few_of_the_files_that_were_scored():
  found = arrivals_lib.Arrivals()
  num = 3 * arrivals_lib.IN_TURN
  names = [f"{i}.wav" for i in range(num)]
  for name in names:
    found.known(name, A, "scored")
  asked = []
  most = 0
  for _ in range(5):
    before = len(asked)
    found.update(names, lambda path: asked.append(path) or A)
    most = max(most, len(asked) - before)
  assert set(asked) == set(names)
  assert most <= arrivals_lib.LATEST + arrivals_lib.IN_TURN


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
  *_, last = watched.finish()
  assert "no decision possible: 6 normal clips" in last.note


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


def test_a_header_that_is_not_finished_is_waited_for(
  play, put_wave, tmp_path, scorer
):
  path = put_wave(tmp_path / "a.wav", seconds=0.4)
  whole = path.read_bytes()
  # As a recorder writes it before it knows the sizes.
  unfinished = whole[:4] + bytes(4) + whole[8:40] + bytes(4) + whole[44:]
  start = lambda num: lambda: path.write_bytes(unfinished[:num])
  some = 44 + (len(whole) - 44) * 3 // 4
  start(some)()
  early = play(*[wait] * (watch.PATIENCE - 1))
  assert early[:2] == ([], [])
  assert early[2].num_waiting == 1
  names, notes, _ = play(
    *[wait] * watch.PATIENCE, lambda: path.write_bytes(whole), wait, wait
  )
  assert names == ["a.wav", "a.wav"]
  assert "a.wav: the header was never finished" in notes[0]
  assert f"{path}: has changed since it was scored: once more" in notes[1:]


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

  monkeypatch.setattr(folders, "paths_below", gone)
  assert watch.scan(str(tmp_path)) is None


def test_drift_is_told_once_and_changes_no_score(
  play, put_wave, tmp_path, scorer, evaluated, monkeypatch
):
  sections = scorer.detector.sections
  section = sections["00"]
  folds = section.folds._replace(
    own=np.arange(200) / 1e9,
    fold=np.zeros(200, int),
    is_target=np.zeros(200, bool),
  )
  monkeypatch.setitem(sections, "00", section._replace(folds=folds))
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


def test_models_of_folds_may_score_on_scales_of_their_own(scorer, monkeypatch):
  rng = np.random.default_rng(0)
  folds = scorer.detector.sections["00"].folds
  scale = 5.0 * np.arange(1, 1 + len(folds.states))
  fold = np.arange(200) % len(scale)
  own = rng.normal(size=200) + scale[fold]
  sections = scorer.detector.sections
  folds = folds._replace(own=own, fold=fold, is_target=np.zeros(200, bool))
  changed = sections["00"]._replace(folds=folds)
  monkeypatch.setitem(sections, "00", changed)
  followed = follow.Follow(scorer, "here", follow.PLAIN)

  def notes(scores, is_long=False):
    p = p_value.p_values(own, fold, folds.is_target, scores[:, None] + scale)
    rows = [
      score_table.row("a", *both) for both in zip(scores, 0 * p, p, strict=True)
    ]
    events = [
      e for row in rows for e in followed.add("00", row, is_long=is_long)
    ]
    return [e.note for e in events if e.note]

  assert notes(rng.normal(size=400)) == []
  # What is said of recordings is said of their most suspicious windows.
  assert notes(rng.normal(4.0, size=100), is_long=True) == []
  (note,) = notes(rng.normal(4.0, size=60))
  assert "above those of the training clips" in note


def test_in_sample_training_scores_are_no_yardstick(scorer, monkeypatch):
  sections = scorer.detector.sections
  section = sections["00"]
  facts = section.facts | {"training_scores": {"log_mel": "in_sample"}}
  seen = section._replace(facts=facts, folds=None)
  monkeypatch.setitem(sections, "00", seen)
  followed = follow.Follow(scorer, "here", follow.PLAIN)

  def notes(values):
    rows = [score_table.Row("a", v, 0, "") for v in values]
    events = [e for row in rows for e in followed.add("00", row)]
    return [e.note for e in events if e.note]

  assert notes([0.01 * (i % 3) for i in range(30)]) == []
  (note,) = notes([50.0 + i % 3 for i in range(60)])
  assert "above those of the earlier clips of this watch" in note


# --- what becomes of scores ---------------------------------------------------


class Days:
  """A calendar that is turned by hand."""

  def __init__(self):
    self.date = datetime.date(2026, 11, 28)

  def __call__(self):
    return self.date


@pytest.fixture
def follows(scorer):
  """Notes and alarms of made-up decisions."""

  def start(settings):
    followed = follow.Follow(scorer, "here", settings)

    def add(decisions):
      rows = [
        score_table.Row(f"{i}.wav", 0.0, d, 0.01)
        for i, d in enumerate(decisions)
      ]
      return [e for row in rows for e in followed.add("00", row)]

    return followed, add

  return start


def test_alarms_call_the_hook_and_are_told(follows):
  calls = []

  class Hook:
    call = lambda self, *told: calls.append(told) or "failed"
    ended = wait = lambda self: []

  followed, add = follows(follow.Settings(3, Hook()))
  events = add([1, 1, 0, 1, 1, 1, 1, "", 1])
  assert [e.row.file for e in events if e.is_alarm] == ["5.wav"]
  assert [e.note for e in events if e.note] == [
    "5.wav: alarm: 3 suspicious clips in a row",
    "failed",
  ]
  assert calls == [("5.wav", 0.0, 0.01, None)]
  followed, add = follows(follow.Settings(1, Hook()))
  assert sum(e.is_alarm for e in add([1, 1, 0, 1])) == 3


def test_a_long_recording_is_an_alarm_by_itself(follows):
  followed, add = follows(follow.Settings(3))
  row = score_table.Row("long.wav", 0.0, 1, 0.01)
  add([1, 1])
  (event,) = followed.add("00", row, is_long=True)
  assert event.is_alarm
  # Clips before and after it are in a row.
  assert sum(e.is_alarm for e in add([1])) == 1


def test_a_day_that_is_over_is_summed_up_once(follows):
  days = Days()
  followed, add = follows(follow.Settings(2, None, days))
  add([1, 1, 0])
  assert list(followed.look()) == []
  days.date += datetime.timedelta(1)
  notes = lambda: [e.note for e in followed.look()]
  assert notes() == ["here: 2026-11-28: 3 clips, 2 suspicious, 1 alarm"]
  assert notes() == []
  days.date += datetime.timedelta(1)
  assert notes() == ["here: 2026-11-29: no clips"]


def test_how_often_an_alarm_is_false_is_said(scorer, monkeypatch):
  sections = scorer.detector.sections
  facts = sections["00"].facts | {"num_train": 60, "num_target": 0}

  def said(after, seconds=0.0, **more):
    windows = facts["windows"] | more
    section = sections["00"]._replace(facts=facts | {"windows": windows})
    monkeypatch.setitem(sections, "00", section)
    followed = follow.Follow(scorer, "here", follow.Settings(after))
    return followed.promise(every_seconds=seconds)

  # Of 60 clips 6 of 61 is what can be stated: (61 / 6)^3 * 61 / 55.
  assert said(3) == [
    "an alarm: 3 suspicious clips in a row; a false one in about 1,165 normal"
    " clips if their decisions are independent"
  ]
  assert said(1) == [
    "an alarm: each clip that is suspicious; a false one in about 10 normal"
    " clips"
  ]
  measured = dict(training_hours=0.5, training_runs=[4, 3, 1])
  (line,) = said(3, 10.0, **measured)
  assert "1,165 normal clips (3.2 h) if" in line
  assert line.endswith("; on the training recordings, 2 in 0.5 h")
  assert said(1, **measured)[0].endswith(
    "; on the training recordings, 8 in 0.5 h"
  )


def test_the_log_has_a_line_for_all_that_happens(tmp_path):
  path = tmp_path / "deep" / "log.jsonl"
  log = follow.Log(str(path))
  row = score_table.Row("\udcff.wav", 0.1, "", "")
  assert log.write(follow.Event(row, start_seconds=2.5)) == ""
  assert log.write(follow.Event(row._replace(decision=1), "", True)) == ""
  path.rename(path.with_suffix(".1"))
  assert log.write(follow.Event(None, "odd")) == ""
  read = lambda p: [json.loads(line) for line in p.read_text().splitlines()]
  first, second = read(path.with_suffix(".1"))
  (third,) = read(path)
  assert first["file"] == "\udcff.wav"
  assert (first["score"], first["start_seconds"]) == (0.1, 2.5)
  assert (first["decision"], first["p_value"]) == (None, None)
  assert (second["decision"], second["alarm"]) == (1, True)
  assert third["note"] == "odd"
  assert datetime.datetime.fromisoformat(third["time"]).tzinfo is not None
  shutil.rmtree(path.parent)
  path.parent.write_text("")
  assert "cannot be written" in log.write(follow.Event(None, "odd"))
  assert log.write(follow.Event(None, "odd")) == ""
  with pytest.raises(errors.InputError, match="cannot be written"):
    follow.Log(str(path))


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


def test_a_watch_goes_on_where_the_last_one_ended(start, put_wave, tmp_path):
  folder, state = tmp_path / "new", tmp_path / "state.jsonl"
  for name in ("a.wav", "b.wav"):
    put_wave(folder / name)
  options = ("--once", f"--state={state}", f"--log={tmp_path / 'log'}")
  first = start(folder, *options)
  assert len(rows_of(first.out)) == 2
  before = state.read_bytes()
  put_wave(folder / "c.wav")
  os.utime(folder / "a.wav")
  put_wave(folder / "b.wav", seconds=0.4)
  second = start(folder, *options)
  names = [os.path.basename(row[0]) for row in rows_of(second.out)]
  assert sorted(names) == ["b.wav", "c.wav"]
  assert f"{state}: 2 files were dealt with before" in second.err
  assert f"{folder / 'b.wav'}: has changed since it was scored" in second.err
  assert state.read_bytes().startswith(before)
  assert len((tmp_path / "log").read_text().splitlines()) >= 4
  third = start(folder, *options)
  assert (third.status, rows_of(third.out)) == (0, [])
  assert len(rows_of(start(folder, "--once", "--state=").out)) == 3


def test_a_slow_writer_is_waited_for(start, put_wave, tmp_path):
  content = put_wave(tmp_path / "elsewhere.wav", seconds=0.4).read_bytes()
  folder = tmp_path / "new"
  folder.mkdir()

  def write():
    with open(folder / "a.wav", "wb", buffering=0) as file:
      for i in range(0, len(content), 3000):
        file.write(content[i : i + 3000])
        time.sleep(0.03)

  writer = threading.Thread(target=write)
  writer.start()
  end = start(folder, "--max_seconds=1.5")
  writer.join()
  assert (end.status, len(rows_of(end.out))) == (0, 1)
  assert "section 00: no decision possible" in end.err


def test_an_empty_folder_is_fine(start, tmp_path):
  end = start(tmp_path, "--once")
  assert (end.status, end.out) == (0, "file,score,decision,p_value\n")
  assert "section 00: no decision possible" in end.err


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
