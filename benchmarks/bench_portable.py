"""Detectors of one file: size, and a cold start up to the first score.

Run: python benchmarks/bench_portable.py [SYSTEM ...] [--clips=100]
  [--seconds=10] [--rounds=3] [--folder=DIR]

A system is a config's name; encoders get random weights, networks that are
trained one epoch. Clips are noise: it is size and time that count. A cold
start is `score.py --detector=FILE a.wav` in a process of its own with an empty
cache of programs, from the shell to its
end; a warm one finds the programs of an earlier start.
"""

import argparse
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
SYSTEMS = ("plain_knn", "konica_system4", "baseline_mahala")


def fitted(name, args, out):
  """Fits a system to noise; returns its folder and one clip."""
  import numpy as np
  import soundfile

  import asd_jax

  config = asd_jax.load_config(name, {"random_weights": True, "cache": "off"})
  for branch in config["branches"].values():
    if "recipe" in branch["encoder"]:
      branch["encoder"]["recipe"]["num_epochs"] = 1
  rng = np.random.default_rng(0)
  size = (args.clips, 2, round(args.seconds * config["sample_rate"]))
  waves = rng.normal(0, 0.1, size).astype(np.float32)
  num_target = max(1, args.clips // 10)
  domains = ["target"] * num_target
  domains = ["source"] * (args.clips - num_target) + domains
  found = asd_jax.fit(config, waves, domains=domains)
  clip = out / "clip.wav"
  soundfile.write(clip, waves[0].T, config["sample_rate"], subtype="PCM_16")
  return found.save(out), clip


def start(file, clip, cache):
  """Seconds, and seconds of processor time, of one scored clip."""
  env = {**os.environ, "OMP_NUM_THREADS": "2", "ASD_JAX_CACHE": str(cache)}
  command = [sys.executable, ROOT / "scripts/score.py", f"--detector={file}"]
  busy = resource.getrusage(resource.RUSAGE_CHILDREN)
  began = time.perf_counter()
  subprocess.run([*command, clip], env=env, check=True, capture_output=True)
  seconds = time.perf_counter() - began
  after = resource.getrusage(resource.RUSAGE_CHILDREN)
  used = after.ru_utime + after.ru_stime - busy.ru_utime - busy.ru_stime
  return seconds, used


def sizes(folder, file):
  """Bytes of state, fold models and weights as they are kept, and the file."""
  parts = [*folder.glob("*.safetensors")]
  weights = (folder.parents[1] / "encoders").rglob("*")
  parts += (p for p in weights if p.is_file())
  return sum(p.stat().st_size for p in parts), file.stat().st_size


def measure(name, args, out):
  """One line of the table."""
  from asd_jax.runs import export

  folder, clip = fitted(name, args, out)
  file = out / "detector.asd"
  began = time.perf_counter()
  export.run(str(folder), str(file))
  made = time.perf_counter() - began
  parts, size = sizes(folder, file)
  cold = [start(file, clip, out / f"cold{i}") for i in range(args.rounds)]
  warm = [start(file, clip, out / "cold0") for _ in range(args.rounds)]
  of_folder = start(folder, clip, out / "folder")
  print(
    f"| {name} | {parts / 1e6:.2f} | {size / 1e6:.2f} | {size / parts:.2f} |"
    f" {made:.1f} | {min(cold)[0]:.2f} ({min(c for _, c in cold):.2f}) |"
    f" {min(warm)[0]:.2f} | {of_folder[0]:.2f} |",
    flush=True,
  )


def main():
  """Measures each system."""
  parser = argparse.ArgumentParser()
  parser.add_argument("systems", nargs="*", default=SYSTEMS)
  parser.add_argument("--clips", type=int, default=100)
  parser.add_argument("--seconds", type=float, default=10.0)
  parser.add_argument("--rounds", type=int, default=3)
  parser.add_argument("--folder", default=None, help="where to work")
  args = parser.parse_args()
  print(
    "| system | state and weights, MB | file, MB | ratio | export, s | cold"
    " start, s (processor) | warm, s | of the folder, cold, s |\n"
    "| --- | --- | --- | --- | --- | --- | --- | --- |"
  )
  for name in args.systems:
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
      measure(name, args, pathlib.Path(folder))


if __name__ == "__main__":
  main()
