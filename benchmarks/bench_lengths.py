"""Eighty clips of eighty lengths against eighty of one length.

Run: python benchmarks/bench_lengths.py [CONFIG ...]

Own tones of two channels, 2.0 to 4.2 s and 3.1 s: 60 normal clips are learned
from, 20 are scored, by one process a side (`plain_knn`, `konica_system4` and
the smoke sizes of `ludo_system1` and `konica_system3` if no config is named).
Printed: seconds and seconds of processor time, cold (nothing was compiled
before) and warm (the same again with kept programs), and their ratio.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RATE, TRAIN, TEST = 16_000, 60, 20
CONFIGS = (
  "plain_knn",
  "konica_system4",
  "ludo_system1.py:smoke",
  "konica_system3.py:smoke",
)


def write(folder, *, alike):
  """Writes the clips of one side."""
  import numpy as np
  import soundfile

  for split, num, step in (("normal", TRAIN, 0.0371), ("test", TEST, 0.1113)):
    (folder / split).mkdir(parents=True)
    for i in range(num):
      rng = np.random.default_rng(i + len(split))
      size = int((3.1 if alike else 2.0 + i * step) * RATE)
      tone = np.sin(2 * np.pi * (200 + i % 7) * np.arange(size) / RATE)
      wave = 0.2 * tone[:, None] + 0.02 * rng.standard_normal((size, 2))
      soundfile.write(folder / split / f"{i:02d}.wav", wave, RATE)


def once(config, data, out, cache):
  """Seconds and processor seconds of one run."""
  before = resource.getrusage(resource.RUSAGE_CHILDREN)
  start = time.perf_counter()
  subprocess.run(
    [
      *(sys.executable, "-m", "asd_jax", "evaluate"),
      *(f"--config={config}", "--config.cache=off"),
      *(f"--config.normal={data}/normal", f"--config.test={data}/test"),
      f"--config.output_dir={out}",
    ],
    env={**os.environ, "ASD_JAX_CACHE": str(cache)},
    stdout=subprocess.DEVNULL,
    check=True,
  )
  after = resource.getrusage(resource.RUSAGE_CHILDREN)
  busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
  return time.perf_counter() - start, busy


def main():
  """Prints a JSON line a config."""
  with tempfile.TemporaryDirectory() as folder:
    top = Path(folder)
    sides = {"one length": True, "eighty lengths": False}
    for name, alike in sides.items():
      write(top / name, alike=alike)
    for config in sys.argv[1:] or CONFIGS:
      line = {"config": config}
      for state in ("cold", "warm"):
        taken = [
          once(
            config,
            top / name,
            top / f"{config} {name} {state}",
            top / f"cache {config} {name}",
          )
          for name in sides
        ]
        line[state] = dict(zip(sides, taken, strict=True))
        line[f"{state} ratio"] = [b / a for a, b in zip(*taken, strict=True)]
      print(json.dumps(line), flush=True)


if __name__ == "__main__":
  main()
