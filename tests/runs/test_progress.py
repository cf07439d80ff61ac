"""Lines on a log, where there is no terminal."""

import pytest

from asd_jax.runs import progress


@pytest.fixture
def clock(monkeypatch):
  now = [0.0]
  monkeypatch.setattr(progress.time, "perf_counter", lambda: now[0])
  return now


def test_lines_come_at_intervals_with_rate_and_time_left(clock, capsys):
  with progress.Progress() as bars:
    advance = bars.task("fan training clips", 100)
    for _ in range(4):
      clock[0] += 4.0
      advance(10)
  lines = capsys.readouterr().err.splitlines()
  assert lines == ["fan training clips: 30 of 100, 2.5/s, 28 s left"]


def test_quiet_shows_nothing(clock, capsys):
  with progress.Progress(quiet=True) as bars:
    advance = bars.task("fan", 2)
    clock[0] += 60.0
    advance(1)
  assert capsys.readouterr().err == ""
