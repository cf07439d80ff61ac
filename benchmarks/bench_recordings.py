"""Time and memory of scoring a long recording.

Run: python benchmarks/bench_recordings.py [--minutes=60] [--folder=DIR]

Fits plain_knn to 60 clips of 10 s, then scores one recording of 16 kHz and
one of 48 kHz, two channels each, with `scripts/score.py` in a process of its
own, start and compilation included. Targets: an hour at 16 kHz in 15 s on two
cores, and 1 GB at any rate; ten minutes before, to see that memory does not
grow with the length.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

ROOT = Path(__file__).parents[1]
KNN = ROOT / "configs" / "plain_knn.py"
CLIP_SECONDS = 10


def write_noise(path, seconds, rate, seed=0):
  """Writes coloured noise of two channels, a minute at a time."""
  path.parent.mkdir(parents=True, exist_ok=True)
  rng = np.random.default_rng(seed)
  with soundfile.SoundFile(path, "w", rate, 2, "PCM_16") as file:
    while seconds > 0:
      part = min(seconds, 60)
      wave = rng.normal(0, 0.05, (round(part * rate) + 1, 2))
      file.write(wave[1:] + wave[:-1])
      seconds -= part


def run(script, *args):
  """Runs a script.

  Returns:
    Seconds, those of the processors, and the largest size of the process, GB.
  """
  start = time.perf_counter()
  command = [sys.executable, ROOT / "scripts" / script, *args]
  child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
  _, status, used = os.wait4(child.pid, 0)
  if status:
    sys.exit(f"{script} ended with status {status}")
  busy = used.ru_utime + used.ru_stime
  return time.perf_counter() - start, busy, used.ru_maxrss * 1024 / 1e9


def main():
  """Runs the benchmark."""
  parser = argparse.ArgumentParser()
  parser.add_argument("--minutes", type=float, default=60.0)
  parser.add_argument("--folder", default=None, help="for the recordings")
  args = parser.parse_args()
  with tempfile.TemporaryDirectory(dir=args.folder) as name:
    folder = Path(name)
    for i in range(60):
      write_noise(folder / "normal" / f"{i}.wav", CLIP_SECONDS, 16_000, i)
    write_noise(folder / "test" / "a.wav", CLIP_SECONDS, 16_000)
    run(
      "evaluate.py",
      f"--config={KNN}",
      f"--config.normal={folder / 'normal'}",
      f"--config.test={folder / 'test'}",
      f"--config.output_dir={folder / 'out'}",
      "--config.machines=pump",
    )
    detector = f"--detector={folder / 'out' / 'detectors' / 'pump'}"
    for minutes in (10.0, args.minutes):
      for rate in (16_000, 48_000):
        path = folder / "long.wav"
        write_noise(path, 60 * minutes, rate, 100)
        seconds, busy, size = run("score.py", detector, path)
        print(
          f"{minutes:g} min at {rate} Hz, two channels: {seconds:.1f} s"
          f" ({busy:.1f} s of processor time), {size:.2f} GB at most",
          flush=True,
        )


if __name__ == "__main__":
  main()
