"""Input of a pre-training: examples a second from data sets on disk.

Run: python benchmarks/bench_sources.py [--folder=DIR] [--seconds=N]

Noise of the length of real corpora's recordings is made and built, then
batches of 10 s examples are taken for a while: by threads of this process, and
by worker processes. An example is a target and four noises, 1.6 MB.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

from asd_jax.data import pools, sources, tfds_sources
from asd_jax.data.batches import Batches

# Recordings and seconds of each; enough that no two crops are the same.
TARGETS, NOISES = (200, 12), (24, 120)
BATCH = 16


def make(folder, num, seconds):
  """Writes noise as wave files."""
  folder.mkdir()
  rng = np.random.default_rng(num)
  for i in range(num):
    samples = rng.normal(0, 3_000, seconds * 16_000).astype(np.int16)
    soundfile.write(folder / f"{i}.wav", samples, 16_000)


def rate(examples, num_workers, seconds):
  """Examples a second, once the first batches are there."""
  with Batches(examples, BATCH, num_workers=num_workers) as batches:
    for step in range(3 + num_workers):
      batches(step, slice(0, BATCH))
    start, begun = step + 1, time.perf_counter()
    while time.perf_counter() - begun < seconds:
      step += 1
      batches(step, slice(0, BATCH))
    return (step + 1 - start) * BATCH / (time.perf_counter() - begun)


def main():
  """Builds and measures."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--folder", default=None)
  parser.add_argument("--seconds", type=float, default=10.0)
  args = parser.parse_args()
  with tempfile.TemporaryDirectory(dir=args.folder) as name:
    root = Path(name)
    for kind, what in (("target", TARGETS), ("noise", NOISES)):
      make(root / kind, *what)
      tfds_sources.prepare("wav_folder", root / kind, root / "sets", name=kind)
    target, noise = (
      pools.Built(root / "sets", "wav_folder", split="train", name=kind)
      for kind in ("target", "noise")
    )
    found = sources.of(target, [noise], crop_seconds=10.0)
    examples = sources.training(found, seed=0, num_epochs=10_000)
    cores = os.cpu_count()
    for num_workers in (0, 1, 2):
      found_rate = rate(examples, num_workers, args.seconds)
      print(
        f"{num_workers} workers, {cores} cores: {found_rate:.0f} examples/s, "
        f"{found_rate * 1.6:.0f} MB/s"
      )


if __name__ == "__main__":
  main()
