"""Looks at a folder of very many files, and scores of a stream.

Run: python benchmarks/bench_watch.py [--files=N] [--minutes=M]

A detector is fitted to made-up clips of 10 s. Then `score.py --watch` goes on
with a memory of N files, and `score.py --stream` gets M minutes of noise: all
at once, then window by window, each written when the last one was scored.
"""

import argparse
import datetime
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

from asd_jax.runs import follow, score, watch, watched

ROOT = Path(__file__).parents[1]
RATE, SECONDS, NUM_TRAIN = 16_000, 10, 60


def noise(rng, seconds):
  """`[S, 2]` int16."""
  return rng.integers(-3000, 3000, (seconds * RATE, 2)).astype(np.int16)


def script(name, *args, **how):
  """Starts a script."""
  command = [sys.executable, ROOT / "scripts" / name, *args]
  return subprocess.Popen(list(map(str, command)), **how)


def fitted(root):
  """Folder of a detector of plain_knn."""
  rng = np.random.default_rng(0)
  for split, num in (("normal", NUM_TRAIN), ("test", 2)):
    (root / split).mkdir()
    for i in range(num):
      soundfile.write(root / split / f"{i}.wav", noise(rng, SECONDS), RATE)
  end = script(
    *("evaluate.py", f"--config={ROOT / 'configs' / 'plain_knn.py'}"),
    *(f"--config.normal={root / 'normal'}", f"--config.test={root / 'test'}"),
    *(f"--config.output_dir={root / 'out'}",),
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
  ).wait()
  assert end == 0
  (detector,) = (root / "out" / "detectors").iterdir()
  return detector


def looks(root, detector, num):
  """Seconds of a look at a folder of files that were scored before."""
  folder = root / "folder"
  folder.mkdir()
  about = {"folder": str(folder)}
  memory = watched.Memory(root / "memory.jsonl", about)
  for i in range(num):
    path = folder / f"machine_{i:06d}_2026-11-28.wav"
    path.touch()
    facts = path.stat()
    stamp = facts.st_size, facts.st_mtime_ns
    said = i % 977 / 977, 0, (1 + i % 97) / 97
    memory.add(watched.Entry(path.name, *stamp, "00", *said))
  memory.close()
  size = memory.path.stat().st_size
  scorer = score.Scorer(str(detector))
  start = time.perf_counter()
  memory = watched.Memory(root / "memory.jsonl", about)
  found = watch.Watch(scorer, str(folder), follow.PLAIN, memory)
  begin = time.perf_counter() - start
  times = []
  for _ in range(12):
    start = time.perf_counter()
    assert not [e for e in found.poll() if e.row or e.note]
    times.append(time.perf_counter() - start)
  found.close()
  return {
    "files": num,
    "memory_bytes": size,
    "start_s": begin,
    "first_look_s": times[0],
    "look_s": sorted(times[1:])[len(times) // 2],
    "slowest_look_s": max(times[1:]),
  }


def listening(detector):
  """`score.py --stream`, ready for its first sample."""
  process = script(
    *("score.py", f"--detector={detector}", "--stream=-"),
    *("--stream_channels=2", f"--window_seconds={SECONDS}"),
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    stderr=subprocess.DEVNULL,
  )
  assert process.stdout.readline().startswith(b"file,start_seconds")
  return process


def streamed(detector, minutes):
  """Speed of a stream that is there at once, and latency of its windows."""
  rng = np.random.default_rng(1)
  num = minutes * 60 // SECONDS
  windows = [noise(rng, SECONDS).tobytes() for _ in range(num)]
  process = listening(detector)
  start = time.perf_counter()
  with process.stdin:
    for window in windows:
      process.stdin.write(window)
  assert len(process.stdout.readlines()) == num
  fast = minutes * 60 / (time.perf_counter() - start)
  process.wait()
  process, late = listening(detector), []
  for window in windows[:20]:
    process.stdin.write(window)
    process.stdin.flush()
    start = time.perf_counter()
    process.stdout.readline()
    late.append(time.perf_counter() - start)
  process.stdin.close()
  process.wait()
  return {
    "minutes": minutes,
    "times_real_time": fast,
    "latency_s": sorted(late)[len(late) // 2],
    "worst_latency_s": max(late),
  }


def main():
  """Prints a line of JSON for each."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--files", type=int, default=100_000)
  parser.add_argument("--minutes", type=int, default=60)
  args = parser.parse_args()
  with tempfile.TemporaryDirectory() as folder:
    root = Path(folder)
    detector = fitted(root)
    about = {"date": str(datetime.date.today()), "cores": os.cpu_count()}
    print(json.dumps(about | streamed(detector, args.minutes)))
    print(json.dumps(about | looks(root, detector, args.files)))


if __name__ == "__main__":
  main()
