"""What the shared entry point makes of errors, flags and surroundings."""

import errno
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from asd_jax import errors, files
from asd_jax.runs import cli
from tests.data import containers

ROOT = Path(__file__).parents[2]


def ended(monkeypatch, capsys, run, *args, computes=False):
  """Exit status and lines on standard error of a command."""
  monkeypatch.setattr(sys, "argv", ["command.py", *args])
  with pytest.raises(SystemExit) as end:
    cli.main(run, computes=computes)
  return end.value.code, capsys.readouterr().err.splitlines()


def raises(error):
  def run(arguments):
    raise error

  return run


@pytest.mark.parametrize(
  "error",
  [
    errors.InputError("a.csv: found 1,\nexpected 2"),
    FileNotFoundError(errno.ENOENT, "No such file", "a.csv"),
    OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
  ],
  ids=["input", "file", "disk"],
)
def test_wrong_input_is_one_line_and_status_2(monkeypatch, capsys, error):
  status, lines = ended(monkeypatch, capsys, raises(error))
  assert status == 2
  assert lines == [" ".join(str(error).split())]


@pytest.mark.parametrize(
  "error",
  [ValueError("odd"), KeyError("odd"), OSError("odd"), RuntimeError("odd")],
  ids=lambda e: type(e).__name__,
)
def test_anything_else_is_a_bug_with_its_traceback(monkeypatch, capsys, error):
  status, lines = ended(monkeypatch, capsys, raises(error))
  assert status == 1
  assert lines[0] == "Traceback (most recent call last):"
  assert "in run" in " ".join(lines)
  assert lines[-2].endswith(("odd", "'odd'"))
  for word in ("This is a bug", "asd_jax 0.", "jax 0.", "Python 3."):
    assert word in lines[-1]


@pytest.mark.parametrize(
  "error",
  [
    MemoryError(),
    RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 8 bytes.\nmore"),
    ImportError("libx.so: failed to map segment from shared object"),
    OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)),
  ],
  ids=lambda e: type(e).__name__,
)
def test_too_little_memory_is_no_bug(monkeypatch, capsys, error):
  status, (line,) = ended(monkeypatch, capsys, raises(error))
  assert status == 2
  assert line.startswith("memory: found too little (")
  assert (str(error) or "MemoryError").splitlines()[0] in line


def test_an_interrupted_command_ends_with_130(monkeypatch, capsys):
  status, lines = ended(monkeypatch, capsys, raises(KeyboardInterrupt()))
  assert (status, lines) == (130, ["stopped"])


def test_an_interrupt_within_a_callback_is_not_lost(monkeypatch, capsys):
  class Interrupted:
    def __del__(self):
      raise KeyboardInterrupt

  def run(left):
    Interrupted()
    time.sleep(20)

  begin = time.monotonic()
  # Processes that run tests side by side ignore it.
  before = signal.signal(signal.SIGINT, signal.default_int_handler)
  try:
    status, lines = ended(monkeypatch, capsys, run)
  finally:
    signal.signal(signal.SIGINT, before)
  assert (status, lines) == (130, ["stopped"])
  assert time.monotonic() - begin < 10


def test_a_command_that_saved_and_stopped_tells_where(monkeypatch, capsys):
  stopped = errors.Stopped("stopped by SIGTERM: step 3 is saved", 143)
  status, lines = ended(monkeypatch, capsys, raises(stopped))
  assert (status, lines) == (143, ["stopped by SIGTERM: step 3 is saved"])


def test_a_command_that_ends_well_ends_with_0(monkeypatch, capsys):
  assert ended(monkeypatch, capsys, lambda left: None, "a") == (0, [])


def test_a_folder_that_was_removed_is_no_place_to_work(
  monkeypatch, capsys, tmp_path
):
  gone = tmp_path / "gone"
  gone.mkdir()
  monkeypatch.chdir(gone)
  gone.rmdir()
  status, (line,) = ended(monkeypatch, capsys, lambda left: None)
  assert status == 2
  assert line.startswith("working directory: ")


def in_shell(tmp_path, change, *args):
  """A script in a process of its own, its environment changed."""
  env = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
  for name, value in change.items():
    env.pop(name, None)
    if value is not None:
      env[name] = value
  env["PYTHONPATH"] = str(ROOT)
  command = [sys.executable, ROOT / "scripts" / "compare.py", *args]
  end = subprocess.run(
    list(map(str, command)),
    cwd=tmp_path,
    env=env,
    capture_output=True,
    check=False,
    text=True,
  )
  return end.returncode, end.stderr.splitlines()


@pytest.mark.parametrize(
  ("name", "value"),
  [
    ("JAX_PLATFORMS", "nowhere"),
    ("JAX_PLATFORM_NAME", "nowhere"),
    ("JAX_NUMPY_DTYPE_PROMOTION", "strict"),
    ("JAX_ENABLE_X64", "maybe"),
  ],
)
def test_what_the_environment_asks_in_vain_is_named(tmp_path, name, value):
  """Variables that another program left behind."""
  status, lines = in_shell(tmp_path, {name: value}, "a", "b")
  assert status == 2, lines
  assert len(lines) == 1
  assert name in lines[0]
  assert value in lines[0]


def test_no_home_means_no_cache(monkeypatch, capsys):
  def nowhere():
    raise RuntimeError("Could not determine home directory.")

  monkeypatch.delenv("ASD_JAX_CACHE")
  monkeypatch.setattr(Path, "home", nowhere)
  assert files.cache_folder("xla") is None
  assert ended(monkeypatch, capsys, lambda left: None, computes=True) == (0, [])


def test_a_limit_in_which_jax_cannot_start_is_named(monkeypatch, capsys):
  limits = (600 << 20, resource.RLIM_INFINITY)
  monkeypatch.setattr(resource, "getrlimit", lambda which: limits)
  status, (line,) = ended(monkeypatch, capsys, lambda left: None, computes=True)
  assert status == 2
  assert "found a limit of 614400 kB of address space (ulimit -v)" in line


def test_names_are_printed_whatever_the_terminal_knows(tmp_path):
  code = (
    "from asd_jax.runs import cli; "
    r"cli.main(lambda left: print('\udcff\u6247'), computes=False)"
  )
  env = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONPATH": str(ROOT)}
  end = subprocess.run(
    [sys.executable, "-c", code], env=env, capture_output=True, check=False
  )
  assert (end.returncode, end.stderr) == (0, b"")
  assert end.stdout == b"\xff\xe6\x89\x87\n"


def test_names_are_bytes_whatever_the_locale_says(tmp_path):
  """Found by a flag, in a folder and a table, written as the disk has them."""
  code = """
import sys
from asd_jax import files
from asd_jax.data import clips, score_table
from asd_jax.runs import cli
def run(left):
  found = clips.read_plain(*left[:2], ground_truth=left[2]).test
  rows = [score_table.row(c.name, 1.0, 0, 0.5) for c in found]
  files.atomic_write_text(left[3], score_table.text(rows))
  print([c.label for c in found], found[0].path)
  cli.tell(found[1].path)
cli.main(run, computes=False)
"""
  place = os.fsencode(tmp_path) + b"/L\xc3\xbcfter"
  names = [b"L\xc3\xbcfter \xe6\x89\x87.wav", b"\xff.wav"]
  for folder in (b"/ok", b"/new"):
    os.makedirs(place + folder)
    for name in names:
      with open(place + folder + b"/" + name, "wb") as file:
        file.write(containers.riff(containers.pcm16(containers.tone())))
  with open(place + b".csv", "wb") as file:
    file.write(names[0] + b",0\n" + names[1] + b",1\n")
  env = {
    **{k: v for k, v in os.environ.items() if not k.startswith("LC_")},
    **{"PYTHONPATH": str(ROOT), "LC_ALL": "C"},
    **{"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
  }
  out = os.fsencode(tmp_path) + b"/\xc3\xb6.csv"
  args = [place + b"/ok", place + b"/new", place + b".csv", out]
  end = subprocess.run(
    [sys.executable, "-c", code, *args],
    env=env,
    capture_output=True,
    check=False,
  )
  assert end.returncode == 0, end.stderr
  first, second = (place + b"/new/" + name for name in names)
  assert end.stdout == b"['normal', 'anomaly'] " + first + b"\n"
  assert end.stderr == second + b"\n"
  with open(out, "rb") as file:
    rows = file.read().splitlines()[1:]
  assert rows == [name + b",1.0,0,0.5" for name in names]
