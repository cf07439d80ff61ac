"""Commands in surroundings that people have: one marked test, see the page on
tests."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

from tests import quick

from .conftest import KNN, ROOT
from .test_score import rows_of

STRANGER = ["setpriv", "--reuid=12345", "--regid=12345", "--clear-groups"]
ASCII = dict(LC_ALL="C", LANG="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")


def limited(option, value):
  """Words before a command that runs within a limit of the shell's."""
  return ["bash", "-c", f'ulimit {option} {value}; exec "$@"', "bash"]


# Variables (None: without it), words before the command, flags of Python.
SAME = {
  "no home": (dict(HOME=None, ASD_JAX_CACHE=None), [], []),
  "a stranger": (dict(HOME=None, ASD_JAX_CACHE=None), STRANGER, []),
  "no such home": (dict(HOME="/nonexistent", ASD_JAX_CACHE=None), STRANGER, []),
  "read-only home": (dict(HOME="{locked}", ASD_JAX_CACHE=None), STRANGER, []),
  "read-only cache": (dict(ASD_JAX_CACHE="{locked}"), STRANGER, []),
  "cache is a file": (dict(ASD_JAX_CACHE="{file}"), [], ["-W", "error"]),
  "no letters but ASCII": (ASCII, [], []),
  "doubles": (dict(JAX_ENABLE_X64="1"), [], []),
  "checked": (dict(JAX_DEBUG_NANS="1"), [], ["-X", "dev"]),
  "optimised": ({}, [], ["-OO"]),
  "warnings": ({}, [], ["-W", "error"]),
  "one core": ({}, ["taskset", "-c", "0"], []),
  "few files": ({}, limited("-n", 24), []),
  "small address space": ({}, limited("-v", 3_000_000), []),
}
REFUSED = {
  "no such device": (dict(JAX_PLATFORMS="cuda"), [], "JAX_PLATFORMS=cuda"),
  "strict": (dict(JAX_NUMPY_DTYPE_PROMOTION="strict"), [], "PROMOTION=strict"),
  "no memory": ({}, limited("-v", 700_000), "address space (ulimit -v)"),
}


class Place:
  """Files that a stranger may read, and commands on them."""

  def __init__(self, folder, evaluated):
    self.folder = folder
    shutil.copytree(evaluated.out / "detectors", folder / "out" / "detectors")
    shutil.copytree(evaluated.data, folder / "data")
    self.detector = folder / "out" / "detectors" / "fan"
    clips = folder / "data" / "fan" / "test"
    # A name whose letters are not ASCII, in one of its two normal forms.
    clip = min(clips.iterdir())
    clip.rename(clip.with_name("section_00_ü.wav"))
    (folder / "locked").mkdir()
    (folder / "file").touch()
    self.score = ["score.py", f"--detector={self.detector}", clips]
    subprocess.run(["chmod", "-R", "a+rX", folder], check=True)
    (folder / "locked").chmod(0o555)

  def environment(self, changes):
    env = quick.environment()
    for name in changes:
      env.pop(name, None)
    known = dict(locked=self.folder / "locked", file=self.folder / "file")
    told = {k: v.format(**known) for k, v in changes.items() if v is not None}
    return {**env, "PYTHONPATH": str(ROOT), **told}

  def start(self, script, *args, changes=None, before=(), python=(), **how):
    words = [*before, sys.executable, *python, ROOT / "scripts" / script, *args]
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    return subprocess.Popen(
      list(map(str, words)),
      cwd="/",
      env=self.environment(changes or {}),
      **{**pipes, **how},
    )

  def run(self, *words, **how):
    process = self.start(*words, **how)
    out, err = process.communicate()
    return process.returncode, out.decode("utf-8", "replace"), err.decode()

  def evaluate(self, out):
    return [
      *("evaluate.py", f"--config={KNN}", f"--config.output_dir={out}"),
      *(f"--config.data_dir={self.folder / 'data'}", "--config.machines=fan"),
    ]


def left_over(folder):
  return [p for p in folder.rglob("*") if p.name.endswith(".partial")]


def check_same(place):
  """The same csv wherever a command can run."""
  status, plain, _ = place.run(*place.score)
  assert status == 0
  for name, (changes, before, python) in SAME.items():
    status, out, err = place.run(
      *place.score, changes=changes, before=before, python=python
    )
    assert (status, out) == (0, plain), (name, err)
    assert "Traceback" not in err, (name, err)


def check_refused(place):
  """One line that names the cause wherever it cannot."""
  for name, (changes, before, words) in REFUSED.items():
    status, out, err = place.run(*place.score, changes=changes, before=before)
    assert (status, out, err.count("\n")) == (2, "", 1), (name, err)
    assert words in err, (name, err)


def check_doubles(place):
  """What a training draws is the same, and results say how it was computed."""
  found = {}
  for value in ("0", "1"):
    out = place.folder / f"doubles{value}"
    config = ROOT / "configs" / "baseline_mse.py:smoke"
    words = ["evaluate.py", f"--config={config}", f"--config.output_dir={out}"]
    status, _, err = place.run(*words, changes=dict(JAX_ENABLE_X64=value))
    assert status == 0, err
    text = (out / "results.json").read_text()
    assert f'"enable_x64": {str(value == "1").lower()}' in text
    (table, *_) = sorted((out / "scores").glob("*.csv"))
    found[value] = [float(row[1]) for row in rows_of(table.read_text())]
  np.testing.assert_allclose(found["0"], found["1"], rtol=1e-3)


def check_interrupts(place):
  """Ctrl-c at any time: one line, nothing half-written, and it goes on."""
  words = place.evaluate(place.folder / "whole")
  begin = time.perf_counter()
  assert place.run(*words)[0] == 0
  seconds = time.perf_counter() - begin
  out = place.folder / "stopped"
  for share in (0.15, 0.3, 0.45, 0.6, 0.75, 0.9):
    process = place.start(*place.evaluate(out))
    time.sleep(share * seconds)
    process.send_signal(signal.SIGINT)
    err = process.communicate()[1].decode()
    assert process.returncode in (0, 130), (share, err)
    assert "Traceback" not in err, (share, err)
    assert process.returncode == 0 or err.endswith("stopped\n"), (share, err)
    assert left_over(out) == [], share
  assert place.run(*place.evaluate(out))[0] == 0
  scores = [f / "scores" / "fan.csv" for f in (out, place.folder / "whole")]
  assert scores[0].read_bytes() == scores[1].read_bytes()


def check_two_at_once(place):
  """Two runs into one folder: each ends well or is refused, one is whole."""
  out = place.folder / "both"
  both = [place.start(*place.evaluate(out)) for _ in range(2)]
  ends = [(p.communicate()[1].decode(), p.returncode) for p in both]
  for err, status in ends:
    assert status in (0, 2), err
    assert "Traceback" not in err
  assert 0 in [status for _, status in ends]
  assert left_over(out) == []
  scores = [f / "scores" / "fan.csv" for f in (out, place.folder / "whole")]
  assert scores[0].read_bytes() == scores[1].read_bytes()


def check_stream(place):
  """A stream ends with its input, by ctrl-c, and when nobody reads it."""
  words = ["score.py", f"--detector={place.detector}", "--stream=-"]
  words += ["--window_seconds=0.3", "--stream_channels=2"]
  window = np.random.default_rng(0).integers(-999, 999, 9600).astype("<i2")
  for way in ("end", "ctrl-c", "pipe"):
    process = place.start(*words, stdin=subprocess.PIPE)
    process.stdin.write(window.tobytes() * 2)
    process.stdin.flush()
    lines = [process.stdout.readline() for _ in range(3)]
    assert lines[0].startswith(b"file,start_seconds"), process.stderr.read()
    assert lines[2].startswith(b"-,0.3,")
    if way == "ctrl-c":
      process.send_signal(signal.SIGINT)
    if way == "pipe":
      process.stdout.close()
      process.stdin.write(window.tobytes())
    process.stdin.close()
    status, err = process.wait(), process.stderr.read().decode()
    process.stdout.close()
    process.stderr.close()
    assert status == (130 if way == "ctrl-c" else 0), (way, err)
    assert "Traceback" not in err, (way, err)
    assert way == "pipe" or "no decision possible" in err, (way, err)


def check_watch(place):
  """A watch that is killed goes on, and one at a time has its memory."""
  folder = place.folder / "data" / "fan" / "test"
  words = ["score.py", f"--detector={place.detector}", f"--watch={folder}"]
  process = place.start(*words, "--interval_seconds=0.05")
  lines = [process.stdout.readline() for _ in range(4)]
  status, _, err = place.run(*words, "--once")
  assert (status, err.count("\n")) == (2, 1), err
  assert "found another watch" in err
  process.kill()
  # Not `communicate`, which leaves out what `readline` has read ahead.
  lines += process.stdout.read().splitlines()
  process.wait()
  process.stdout.close()
  process.stderr.close()
  status, out, err = place.run(*words, "--once", "--interval_seconds=0.05")
  assert status == 0, err
  # The last one may have been printed and not remembered.
  total = len(list(folder.iterdir()))
  assert total <= len(lines) - 1 + len(rows_of(out)) <= total + 1


@pytest.mark.full
@pytest.mark.slow
def test_commands_work_in_odd_surroundings_or_name_the_cause(evaluated):
  stranger = [*STRANGER, sys.executable, "-c", "import jax"]
  if os.geteuid() or subprocess.run(stranger, check=False).returncode:
    pytest.skip("needs to be root, and a Python that others can read")
  with tempfile.TemporaryDirectory() as name:
    os.chmod(name, 0o755)
    place = Place(Path(name), evaluated)
    for check in (
      check_same, check_refused, check_doubles, check_interrupts,
      check_two_at_once, check_stream, check_watch,
    ):  # fmt: skip
      check(place)
