"""A pre-training of two processes that is killed, against one that is not."""

import json
import os
import random
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.scripts import conftest

# As users compile them: losses are compared.
pytestmark = [pytest.mark.full, pytest.mark.optimised]
NAME, STEPS = "na_dasheng-seed_0", 12


def start(out, *more):
  words = [
    sys.executable,
    str(conftest.ROOT / "scripts" / "train.py"),
    f"--config={conftest.ROOT / 'configs' / 'na_dasheng.py'}:smoke",
    f"--config.output_dir={out}",
    f"--config.num_steps={STEPS}",
    "--checkpoint_every=2",
    *more,
  ]
  env = {**os.environ, "JAX_PLATFORMS": "cpu"}
  env["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "0"
  return subprocess.Popen(
    words, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
  )


def two(out):
  """Starts both processes of a run."""
  with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    address = f"127.0.0.1:{free.getsockname()[1]}"
  flags = lambda i: (
    f"--coordinator={address}",
    "--num_hosts=2",
    f"--host={i}",
  )
  return [start(out, *flags(i)) for i in range(2)]


def losses(out):
  path = out / "logs" / NAME / "metrics.jsonl"
  if not path.exists():
    return []
  return [json.loads(x)["loss"] for x in path.read_text().splitlines()]


def ended(processes):
  for process in processes:
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, (process.returncode, out, err)


def test_a_run_killed_at_random_steps_has_the_losses_of_one_that_is_not(
  tmp_path,
):
  ended([start(tmp_path / "whole")])
  want, out = losses(tmp_path / "whole"), tmp_path / "killed"
  draw = random.Random(0)
  for _ in range(3):
    both, done = two(out), len(losses(out))
    step = min(done + draw.randint(1, 4), STEPS - 1)
    for _ in range(6000):
      if len(losses(out)) >= step:
        break
      time.sleep(0.02)
    for process in both:
      process.kill()
    for process in both:
      process.communicate()
  ended(two(out))
  assert len(want) == STEPS
  np.testing.assert_allclose(losses(out), want, rtol=1e-4)


def test_a_host_that_is_lost_ends_the_other_and_both_go_on(tmp_path):
  both = two(tmp_path)
  for _ in range(6000):
    if len(losses(tmp_path)) >= 3:
      break
    time.sleep(0.02)
  both[1].kill()
  both[1].communicate()
  _, err = both[0].communicate(timeout=30)
  assert both[0].returncode == 143, err
  told = [x for x in err.splitlines() if "another host of this run" in x]
  assert len(told) == 1
  assert "Traceback" not in err
  ended(two(tmp_path))
  assert len(losses(tmp_path)) == STEPS
