"""What p-values cost: fit and score with models of folds and without them.

One machine of two-channel clips of machine-like noise. Each side is a process
of its own, alternated; a side fits and scores twice and the second counts, so
compiling is left out.

  python benchmarks/bench_decisions.py [--clips=1000] [--seconds=10]
    [--configs=plain_knn,...] [--repeats=3] [--epochs=2]
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import paired

RATE = 16000
CONFIGS = "plain_knn,plain_mahalanobis,konica_system4"


def write_clips(folder, num, seconds, first):
  """Writes wav files of coloured noise, names as the challenge has them."""
  import numpy as np
  import scipy.io.wavfile
  import scipy.signal

  folder.mkdir(parents=True)
  for i in range(first, first + num):
    rng = np.random.default_rng(i)
    near, far = rng.standard_normal((2, round(seconds * RATE)))
    hum = scipy.signal.lfilter([1.0], [1.0, -1.6, 0.8], near)
    wave = 0.02 * np.stack([hum, 0.5 * hum + far], axis=1)
    domain = "target" if i % 100 == 99 else "source"
    name = f"section_00_{domain}_{folder.name}_normal_{i:04}_x.wav"
    wave = np.clip(wave * 32767, -32768, 32767).astype(np.int16)
    scipy.io.wavfile.write(folder / name, RATE, wave)


def side(args):
  """Prints seconds of the second fit and the second score."""
  import asd_jax
  from asd_jax.data import clips
  from asd_jax.engine import session

  config = asd_jax.load_config(args.side)
  if args.without:
    config["threshold"] = {**config["threshold"], "folds": 0}
  config["synthetic"] = {}
  for branch in config["branches"].values():
    encoder = branch["encoder"]
    if "recipe" in encoder:
      encoder["recipe"] = {**encoder["recipe"], "num_epochs": args.epochs}
  opened = session.open(config)
  (machine,) = clips.read_tree(args.data_dir)
  out = {}
  for _ in range(2):
    start = time.perf_counter()
    fitted = opened.fit(machine.name, machine.train)
    middle = time.perf_counter()
    opened.score(fitted.section, machine.test)
    out = {
      "seconds": middle - start,
      "score_seconds": time.perf_counter() - middle,
    }
  print(json.dumps(out))


def main():
  """Prints a row a system."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--clips", type=int, default=1000)
  parser.add_argument("--seconds", type=float, default=10.0)
  parser.add_argument("--configs", default=CONFIGS)
  parser.add_argument("--repeats", type=int, default=3)
  parser.add_argument("--epochs", type=int, default=2)
  parser.add_argument("--side", default="")
  parser.add_argument("--without", action="store_true")
  parser.add_argument("--data_dir", default="")
  args = parser.parse_args()
  if args.side:
    return side(args)
  with tempfile.TemporaryDirectory() as folder:
    for i, (part, num) in enumerate((("train", args.clips), ("test", 100))):
      write_clips(Path(folder, "noise", part), num, args.seconds, 10000 * i)
    for name in args.configs.split(","):
      command = [
        sys.executable,
        __file__,
        f"--side={name}",
        f"--data_dir={folder}",
        f"--epochs={args.epochs}",
      ]
      sides = {"without": [*command, "--without"], "with": command}
      got = paired.compare(sides, repeats=args.repeats)
      ratio = lambda key, got=got: got["with"][key] / got["without"][key]
      print(
        f"{name:20} fit {got['without']['seconds']:.2f} s, with folds"
        f" {got['with']['seconds']:.2f} s ({ratio('seconds'):.2f});"
        f" 100 clips scored {got['without']['score_seconds']:.3f} s,"
        f" {got['with']['score_seconds']:.3f} s"
        f" ({ratio('score_seconds'):.2f})",
        flush=True,
      )
  return None


if __name__ == "__main__":
  main()
