"""What a watch remembers on disk."""

import os

import pytest

from asd_jax import errors
from asd_jax.runs import watched

ABOUT = {"detector": "d1", "folder": "/new"}
ROWS = [
  watched.Entry("a.wav", 10, 2**62, "00", 0.1, 1, 0.0123, True),
  watched.Entry("deep/\udcff\n.wav", 20, 3, "00", -1e-300, ""),
  watched.Entry("bad.wav", 5, 7),
]


@pytest.fixture
def path(tmp_path):
  memory = watched.Memory(tmp_path / "deep" / "state.jsonl", ABOUT)
  for row in ROWS:
    memory.add(row)
  memory.close()
  return memory.path


def entries(path, about=ABOUT):
  memory = watched.Memory(path, about)
  try:
    return list(memory.entries())
  finally:
    memory.close()


def test_files_are_remembered_as_they_were(path):
  assert entries(path) == ROWS


def test_a_file_costs_a_line_and_nothing_is_written_again(path):
  before = path.read_bytes()
  memory = watched.Memory(path, ABOUT)
  memory.add(ROWS[0])
  memory.close()
  after = path.read_bytes()
  assert after.startswith(before)
  assert 0 < len(after) - len(before) < 100
  assert entries(path) == [*ROWS, ROWS[0]]


@pytest.mark.parametrize("num", [1, 5, 15])
def test_a_line_that_a_kill_cut_is_left_out_and_written_over(path, num):
  whole = path.read_bytes()
  path.write_bytes(whole[:-num])
  assert entries(path) == ROWS[:-1]
  memory = watched.Memory(path, ABOUT)
  list(memory.entries())
  memory.add(ROWS[2])
  memory.close()
  assert path.read_bytes() == whole


@pytest.mark.parametrize("num", [0, 1, 20])
def test_a_memory_killed_at_its_first_line_begins_anew(path, num):
  path.write_bytes(path.read_bytes()[:num])
  assert entries(path) == []
  assert entries(path) == []


@pytest.mark.parametrize(
  "line",
  [
    "",
    "[",
    "{}",
    "[1]",
    '["x",1,2,"00","y",1]',
    '["x",1,2,"",0.5,7]',
    '["x",1,2,"",0.5,1,"p"]',
  ],
)
def test_a_damaged_line_is_left_out(path, line):
  head, *lines = path.read_text().splitlines()
  path.write_text("\n".join([head, lines[0], line, *lines[1:], ""]))
  assert entries(path) == ROWS


def test_a_memory_of_another_watch_is_refused(path):
  with pytest.raises(errors.InputError, match="another detector, expected"):
    entries(path, {**ABOUT, "detector": "d2"})


@pytest.mark.parametrize("content", ["file,score\n", "x", "{}\n"])
def test_a_file_that_is_none_is_refused_and_stays(tmp_path, content):
  path = tmp_path / "scores.csv"
  path.write_text(content)
  with pytest.raises(errors.InputError, match=f"{path}: found a file that"):
    entries(path)
  assert path.read_text() == content


def test_one_watch_at_a_time(path):
  memory = watched.Memory(path, ABOUT)
  with pytest.raises(errors.InputError, match="another watch"):
    watched.Memory(path, ABOUT)
  memory.close()
  assert entries(path) == ROWS


def test_a_full_disk_leaves_whole_lines(path, monkeypatch):
  whole, write = path.read_bytes(), os.write
  memory = watched.Memory(path, ABOUT)
  monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:9]))
  with pytest.raises(errors.InputError, match=f"{path}: cannot be written"):
    memory.add(ROWS[0])
  memory.close()
  assert path.read_bytes() == whole


def test_a_place_that_cannot_be_written_to_is_named(tmp_path):
  (tmp_path / "file").write_text("")
  with pytest.raises(watched.ReadOnly, match="cannot be written"):
    watched.Memory(tmp_path / "file" / "state", ABOUT)


def test_its_place_depends_on_all_that_must_be_the_same(tmp_path):
  other = {**ABOUT, "folder": "/old"}
  places = {watched.default_path(tmp_path, a) for a in (ABOUT, other)}
  assert len(places) == 2
  assert all(tmp_path in place.parents for place in places)
