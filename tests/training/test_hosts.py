"""Processes of their own: two hosts in one run, and runs that are killed."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from asd_jax.training import run
from tests.training import toy
from tests.training.test_run import lines

# As users compile them: bytes are compared.
pytestmark = [pytest.mark.full, pytest.mark.optimised]
ROOT = Path(__file__).parents[2]
STEPS = 20

# argv: folder, sharded, address (or "none"), hosts, host.
CHILD = """
import pathlib, sys
import jax, numpy as np
from asd_jax import errors
from asd_jax.training import mesh, run
from tests.training import toy
folder, sharded, address, hosts, host = sys.argv[1:]
if address != "none":
  mesh.connect(coordinator=address, num_hosts=int(hosts), host=int(host))
folder = pathlib.Path(folder)
settings = run.Settings(sharded=sharded == "1", checkpoint_every=2)
try:
  found = run.run(
    toy.job(every=5), jax.random.key(0), settings=settings,
    folder=folder / "kept", logs=folder / "logs",
  )
except errors.Stopped as e:
  print(e, file=sys.stderr)
  sys.exit(e.status)
params = mesh.on_host(found.state.params)
if mesh.is_first():
  np.savez(folder / "params.npz", step=found.step, **params)
"""


def start(folder, *, sharded=False, address="none", hosts=1, host=0, devices=1):
  flags = f"--xla_force_host_platform_device_count={devices}"
  words = (folder, int(sharded), address, hosts, host)
  return subprocess.Popen(
    [sys.executable, "-c", CHILD, *map(str, words)],
    cwd=ROOT,
    env={
      **os.environ,
      "XLA_FLAGS": flags,
      "JAX_PLATFORMS": "cpu",
      "JAX_DISABLE_MOST_OPTIMIZATIONS": "0",
    },
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


def hosts(folder, *, num=2, **more):
  """Starts processes that make one run."""
  with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    address = f"127.0.0.1:{free.getsockname()[1]}"
  common = dict(address=address, hosts=num, **more)
  return [start(folder, host=i, **common) for i in range(num)]


def ended(processes, status=0):
  for process in processes:
    out, err = process.communicate(timeout=300)
    assert process.returncode == status, (process.returncode, out, err)
  return err


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
  folder = tmp_path_factory.mktemp("whole")
  found = run.run(
    toy.job(every=5),
    jax.random.key(0),
    folder=folder / "kept",
    logs=folder / "logs",
  )
  return found, [x["loss"] for x in lines(folder / "logs")]


@pytest.mark.parametrize("sharded", [False, True])
def test_two_hosts_give_what_one_gives(whole, tmp_path, sharded):
  ended(hosts(tmp_path, sharded=sharded, devices=2))
  found, losses = whole
  told = [x["loss"] for x in lines(tmp_path / "logs")]
  np.testing.assert_allclose(told, losses, rtol=1e-5)
  with np.load(tmp_path / "params.npz") as file:
    assert int(file["step"]) == found.step
    for name, value in found.state.params.items():
      # Adam makes steps of one size of gradients that are rounding alone.
      np.testing.assert_allclose(file[name], value, rtol=1e-4, atol=1e-4)


def stopped_at(folder, step):
  """Waits until a run has logged a step."""
  path = folder / "logs" / "metrics.jsonl"
  for _ in range(3000):
    if path.exists() and len(path.read_text().splitlines()) >= step:
      return
    time.sleep(0.02)
  raise AssertionError(f"no step {step}")


def test_one_host_that_is_asked_stops_both(whole, tmp_path):
  both = hosts(tmp_path, devices=1)
  stopped_at(tmp_path, 3)
  both[1].send_signal(signal.SIGTERM)
  told = [p.communicate(timeout=300)[1] for p in both]
  assert [p.returncode for p in both] == [143, 143], told
  assert all("is saved in" in text for text in told)
  ended(hosts(tmp_path, devices=2))
  losses = [x["loss"] for x in lines(tmp_path / "logs")]
  np.testing.assert_allclose(losses, whole[1], rtol=1e-5)


def test_a_run_killed_at_random_steps_gives_the_same_bytes(whole, tmp_path):
  draw = random.Random(0)
  for _ in range(4):
    process = start(tmp_path)
    done = len(lines(tmp_path / "logs")) if (tmp_path / "logs").exists() else 0
    stopped_at(tmp_path, min(done + draw.randint(1, 5), STEPS - 1))
    process.kill()
    process.communicate()
  ended([start(tmp_path)])
  found, losses = whole
  assert [x["loss"] for x in lines(tmp_path / "logs")] == losses
  with np.load(tmp_path / "params.npz") as file:
    for name, value in found.state.params.items():
      assert file[name].tobytes() == np.asarray(value).tobytes()
