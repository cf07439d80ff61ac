"""Lines on a log, where there is no terminal."""

import math

import pytest

from asd_jax.runs import progress
from asd_jax.training import meter


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


def test_an_adaptation_tells_loss_speed_and_time_left(clock, capsys):
  seen = lambda step, rate, left: meter.Seen(
    step, 9, {"loss": 1.5}, rate, 0.041, left
  )
  with progress.Progress() as bars:
    bars.adaptation("eat, seed 1", "adapting, lora")
    bars.adaptation("eat, seed 1", seen(1, math.nan, math.nan))
    clock[0] += 1.0
    bars.adaptation("eat, seed 1", seen(2, 8.0, 14.0))  # too soon
    clock[0] += 9.0
    bars.adaptation("eat, seed 1", seen(3, 8.0, 7200.0))
    best = seen(9, 8.25, 0.0)
    best.metrics["criterion"] = 0.25
    bars.adaptation("eat, seed 1", best)
  assert capsys.readouterr().err.splitlines() == [
    "eat, seed 1: adapting, lora",
    "eat, seed 1: step 1 of 9, loss 1.5",
    "eat, seed 1: step 3 of 9, loss 1.5, 8 clips/s, 4 % waiting for data,"
    " 2.0 h left",
    "eat, seed 1: step 9 of 9, loss 1.5, validation 0.25, 8.2 clips/s, 4 %"
    " waiting for data, 0 s left",
  ]


def test_quiet_shows_nothing(clock, capsys):
  with progress.Progress(quiet=True) as bars:
    advance = bars.task("fan", 2)
    clock[0] += 60.0
    advance(1)
  assert capsys.readouterr().err == ""
