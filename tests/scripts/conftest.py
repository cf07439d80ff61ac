"""Runs the scripts as a user does, most of them inside this process."""

import contextlib
import io
import os
import runpy
import subprocess
import sys
import warnings
import zlib
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import numpy as np
import pytest
import soundfile
from absl import flags

from asd_jax.runs import suspects
from tests import quick, shared

ROOT = Path(__file__).parents[2]
KNN = ROOT / "configs" / "plain_knn.py"
TRAIN = [
  f"section_00_{domain}_train_normal_{i:04d}_spd_{i}.wav"
  for domain, num in (("source", 4), ("target", 2))
  for i in range(num)
]
TEST = [
  f"section_00_{domain}_test_{label}_{i:04d}_spd_1.wav"
  for domain in ("source", "target")
  for label in ("anomaly", "normal")
  for i in range(2)
]
ANONYMOUS = [f"section_00_{i:04d}.wav" for i in range(len(TEST))]


# Stands for a full disk: `python -c LIMITED <bytes> <script> ...`.
LIMITED = """
import os, resource, sys
size = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""


class Outcome(NamedTuple):
  """What a user sees of a run."""

  status: int
  out: str
  err: str

  def refused(self):
    """The only line on standard error of a run that refused its input."""
    assert self.status == 2, (self.status, self.out, self.err)
    assert "Traceback" not in self.err
    lines = self.err.splitlines()
    assert len(lines) == 1, self.err
    return lines[0]


def call(script, *args):
  """Runs a script with fresh flags in this process."""
  known = set(flags.FLAGS)
  out, err = io.StringIO(), io.StringIO()
  with contextlib.ExitStack() as stack:
    argv = [str(ROOT / "scripts" / script), *map(str, args)]
    stack.enter_context(mock.patch.object(sys, "argv", argv))
    stack.enter_context(contextlib.redirect_stdout(out))
    stack.enter_context(contextlib.redirect_stderr(err))
    stack.enter_context(warnings.catch_warnings())
    stack.enter_context(shared.programs())
    # What the page shows of many clips is tested where the page is.
    few = mock.patch.dict(suspects.choose.__kwdefaults__, per_machine=1)
    stack.enter_context(few)
    # ml_collections loads config files with it.
    warnings.filterwarnings("ignore", message=r"the load_module\(\) method")
    try:
      runpy.run_path(argv[0], run_name="__main__")
    except SystemExit as end:
      status = end.code
    else:
      pytest.fail(f"{script} did not end in sys.exit")
    finally:
      for name in set(flags.FLAGS) - known:
        delattr(flags.FLAGS, name)
  return Outcome(status, out.getvalue(), err.getvalue())


def write_wave(path, *, seconds=0.3, channels=2, rate=16_000, subtype="PCM_16"):
  """Writes noise that depends on the name of the file only."""
  path.parent.mkdir(parents=True, exist_ok=True)
  rng = np.random.default_rng(zlib.crc32(os.fsencode(path.name)))
  shape = (round(seconds * rate), channels)
  samples = rng.integers(-3000, 3000, shape).astype(np.int16)
  if subtype != "PCM_16":
    samples = samples / 32_768
  soundfile.write(path, samples, rate, subtype=subtype)
  return path


def write_machine(folder, *, train=TRAIN, test=TEST, **kwargs):
  """Writes a machine in the layout of the challenge."""
  for split, names in (("train", train), ("test", test)):
    for name in names:
      write_wave(folder / split / name, **kwargs)
  rows = ["file_name,d1p,d1v"]
  rows += [f"{folder.name}/train/{n},spd,{n[-5]}" for n in train]
  (folder / "attributes_00.csv").write_text("\n".join(rows))
  return folder


@pytest.fixture(scope="session")
def run():
  """`run(script, *args)` in this process."""
  return call


@pytest.fixture(scope="session")
def spawn():
  """`spawn(script, *args)` in a process of its own, from another folder."""

  def start(script, *args, cwd="/", largest_file=None):
    limited = [] if largest_file is None else ["-c", LIMITED, largest_file]
    command = [sys.executable, *limited, ROOT / "scripts" / script, *args]
    end = subprocess.run(
      list(map(str, command)),
      cwd=cwd,
      env=quick.environment(),
      capture_output=True,
      check=False,
    )
    return Outcome(end.returncode, end.stdout.decode(), end.stderr.decode())

  return start


@pytest.fixture(scope="session")
def put_wave():
  return write_wave


@pytest.fixture(scope="session")
def put_machine():
  return write_machine


@pytest.fixture
def evaluate(tmp_path):
  """Evaluates the quickest system on `tmp_path/data`, into `tmp_path/out`."""

  def start(*args, config=KNN, out=tmp_path / "out", data=tmp_path / "data"):
    where = [f"--config.data_dir={data}"] if data else []
    return call(
      "evaluate.py",
      f"--config={config}",
      f"--config.output_dir={out}",
      *where,
      *args,
    )

  return start


def without_reasons():
  """Reasons need many passes; what they are is tested elsewhere."""
  return mock.patch.dict(suspects.find.__kwdefaults__, seconds=-1.0)


@pytest.fixture(scope="module")
def no_reasons():
  with without_reasons():
    yield


class Evaluated(NamedTuple):
  """A finished run of two machines."""

  data: Path
  out: Path

  @property
  def detector(self):
    return self.out / "detectors" / "fan"


@pytest.fixture(scope="session")
def evaluated(tmp_path_factory):
  """Read only: shared by tests."""
  root = tmp_path_factory.mktemp("evaluated")
  write_machine(root / "data" / "fan")
  odd = [*TEST[:3], *(n.replace("spd_1", "spd_9") for n in TEST[3:6])]
  write_machine(root / "data" / "pump", test=odd)
  for name in TEST[2:4]:  # of other lengths than the rest
    write_wave(root / "data" / "fan" / "test" / name, seconds=0.4)
  end = call(
    "evaluate.py",
    f"--config={KNN}",
    f"--config.data_dir={root / 'data'}",
    f"--config.output_dir={root / 'out'}",
  )
  assert end.status == 0, end.err
  return Evaluated(root / "data", root / "out")
