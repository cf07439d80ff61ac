"""Times two sides, each in a process of its own, alternated.

JAX and PyTorch in one process spoil each other's threads; so does a side that
runs while the other is still warm. Each side is a command that prints one JSON
line with `seconds` (and what else it measured); the least of the runs counts.
"""

import json
import os
import subprocess
import sys


def run_side(command):
  """Runs one side once and returns its JSON line."""
  env = {
    **os.environ,
    "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "2"),
  }
  done = subprocess.run(
    command, capture_output=True, text=True, env=env, check=False
  )
  if done.returncode:
    sys.exit(f"{' '.join(command)}\n{done.stderr}")
  return json.loads(done.stdout.strip().splitlines()[-1])


def compare(sides, *, repeats=5):
  """Alternates the sides.

  Args:
    sides: name to command.
    repeats: runs of each.

  Returns:
    Name to the JSON line of its quickest run.
  """
  best = {}
  for _ in range(repeats):
    for name, command in sides.items():
      got = run_side(command)
      if name not in best or got["seconds"] < best[name]["seconds"]:
        best[name] = got
  return best
