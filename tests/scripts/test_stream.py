"""Scores of raw samples from standard input."""

import io
import os
import sys
import threading

import numpy as np
import pytest
import soundfile

from asd_jax.runs import score as score_lib
from asd_jax.runs import stream

from .test_score import rows_of

RATE, SECONDS = 16_000, 0.3
WINDOW = int(RATE * SECONDS)


@pytest.fixture
def listen(run, evaluated, monkeypatch):
  """`listen(samples [S, C], *args)`: a run whose standard input they are."""

  def start(samples, *args):
    read_end, write_end = os.pipe()

    def write():
      with open(write_end, "wb") as file:
        file.write(samples.astype("<i2").tobytes())

    writer = threading.Thread(target=write)
    writer.start()
    with open(read_end) as source:
      monkeypatch.setattr(sys, "stdin", source)
      end = run(
        "score.py",
        f"--detector={evaluated.detector}",
        "--stream=-",
        f"--window_seconds={SECONDS}",
        *args,
      )
    writer.join()
    return end

  return start


def test_a_stream_scores_as_its_windows_do(listen, evaluated, tmp_path):
  samples = np.random.default_rng(0).integers(
    -3000, 3000, (WINDOW * 11 // 4, 2)
  )
  end = listen(samples, "--stream_channels=2")
  assert end.status == 0, end.err
  assert "-: 16-bit samples, 16000 Hz, 2 channels; windows of 0.3 s" in end.err
  header, *rows = [line.split(",") for line in end.out.splitlines()]
  assert tuple(header) == stream.Stream.header
  starts = [0, WINDOW, len(samples) - WINDOW]
  assert [float(row[1]) for row in rows] == [s / RATE for s in starts]
  paths = [str(tmp_path / f"{i}.wav") for i in range(3)]
  for path, first in zip(paths, starts, strict=True):
    part = samples[first : first + WINDOW].astype(np.int16)
    soundfile.write(path, part, RATE)
  plain = score_lib.run(str(evaluated.detector), paths)
  assert [row[2:] for row in rows] == [row[1:] for row in rows_of(plain.text)]


def test_odd_windows_are_told_and_the_stream_goes_on(listen):
  samples = np.zeros((WINDOW * 2, 2))
  samples[WINDOW:] = np.arange(2 * WINDOW).reshape(-1, 2) % 50
  end = listen(samples, "--stream_channels=2")
  assert end.status == 0
  assert len(end.out.splitlines()) == 1 + 2
  assert "-: channel 0 is silent (all samples are zero) (window at 0 s)" in (
    end.err
  )


def test_what_cannot_be_heard_is_refused(run, evaluated, monkeypatch):
  monkeypatch.setattr(sys, "stdin", io.StringIO())
  start = lambda *args: run(
    "score.py", f"--detector={evaluated.detector}", *args
  ).refused()
  assert "--stream: found 'a'" in start("--stream=a")
  assert "stream='-', watch=None and 1 paths" in start("--stream=-", "a.wav")
  for flag in ("stream_rate", "stream_channels", "alarm_after"):
    assert f"--{flag}: found 0" in start("--stream=-", f"--{flag}=0")
  assert "--hop_seconds: found 2" in start(
    "--stream=-", "--window_seconds=1", "--hop_seconds=2"
  )
  line = start("--stream=-", "--window_seconds=0.01")
  assert "-: found 160 samples" in line
