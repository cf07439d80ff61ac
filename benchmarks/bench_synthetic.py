"""Clips a second of the synthetic machines, writing included.

Run: python benchmarks/bench_synthetic.py [--folder=DIR]

Each round is a process of its own on two threads, compilation included,
import apart; the target is 50 clips of 10 s a second.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

ROUNDS = 5
TARGET = 50.0
SETTINGS = {
  "a set (4 machines, 180 clips of 10 s each)": dict(seconds=10.0),
  "smoke (4 machines, 24 clips of 1 s each)": dict(
    seconds=1.0, num_source=12, num_target=4, num_test=2
  ),
}


def measure(folder, name):
  """Writes one set; prints how many clips, and how long it took."""
  from asd_jax.data import synthetic

  start, cpu = time.perf_counter(), time.process_time()
  paths = synthetic.write(folder, **SETTINGS[name])
  seconds = time.perf_counter() - start
  print(json.dumps([len(paths), seconds, time.process_time() - cpu]))


def main():
  """Runs the benchmark, or one side of it in its own process."""
  parser = argparse.ArgumentParser()
  parser.add_argument(
    "--folder", default=None, help="where to write, then gone"
  )
  parser.add_argument("--measure", default="", help=argparse.SUPPRESS)
  args = parser.parse_args()
  if args.measure:
    return measure(args.folder, args.measure)
  env = {**os.environ, "OMP_NUM_THREADS": "2"}
  print(f"{os.cpu_count()} CPUs, minimum of {ROUNDS}")
  for name in SETTINGS:
    times, cpu_times = [], []
    for _ in range(ROUNDS):
      with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        command = [sys.executable, __file__, "--folder", folder]
        out = subprocess.run(
          [*command, "--measure", name],
          env=env,
          check=True,
          stdout=subprocess.PIPE,
        ).stdout
      num, seconds, cpu_seconds = json.loads(out)
      times.append(seconds)
      cpu_times.append(cpu_seconds)
    rate = num / min(times)
    print(
      f"{name}: {min(times):.2f} s, {rate:.1f} clips/s (target {TARGET:g}); "
      f"{1e3 * min(cpu_times) / num:.1f} ms of CPU time a clip",
      flush=True,
    )
  return None


if __name__ == "__main__":
  main()
