"""What the far channel is worth: distance to the clean sound, held out.

Tiny networks with random weights as teachers. Compared on mixtures of
recordings that were held out: the frozen encoder on the near channel alone,
layers of the same size that hear the near channel alone (`d_beats`), and
noise-aware layers (`na_beats`), trained alike.

  python benchmarks/distilling.py OUT --target=DIR --noise=DIR
    [--seeds=3] [--steps=600] [--seconds=2.0] [--batch=16] [--rooms=256]
"""

import argparse
import importlib
import json
from pathlib import Path

import jax
import numpy as np

from asd_jax.engine import distil, distil_config
from asd_jax.training import run as run_lib
from asd_jax.training.program import Program

STUDENTS = ("na_beats", "d_beats")


def config_of(args, student):
  """Settings of one student: those of `na_beats:smoke`, longer."""
  config = importlib.import_module("configs.na_beats").get_config("smoke")
  config.encoder.name = student
  config.target, config.noises = args.target, (args.noise,)
  config.rooms.update(num=args.rooms, num_valid=args.rooms // 4, max_order=20)
  config.update(
    holdout="0.3",
    seconds=args.seconds,
    batch_size=args.batch,
    num_steps=args.steps,
    ema_start=args.steps // 2,
    ema=0.99,
  )
  config.valid.update(every=10, num=args.valid)
  return distil_config.prepared(config.to_dict())


def distances(args, student, seed):
  """Distances on held-out mixtures: of the frozen encoder, and learned."""
  found = distil.Pretraining(config_of(args, student))
  key, label = jax.random.key(seed), f"{student}-{seed}"
  with found.job(seed) as job:
    program = Program(job, key, sharded=False)
    start = program.judge(job.validation)(*program.start())
    trained = run_lib.run(
      job,
      key,
      folder=Path(args.out) / label,
      logs=Path(args.out) / "logs" / label,
    )
  return start, trained.criterion


def main():
  """Reads the command line and runs."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("out")
  parser.add_argument("--target", required=True)
  parser.add_argument("--noise", required=True)
  parser.add_argument("--seeds", type=int, default=3)
  parser.add_argument("--steps", type=int, default=600)
  parser.add_argument("--seconds", type=float, default=2.0)
  parser.add_argument("--batch", type=int, default=16)
  parser.add_argument("--rooms", type=int, default=256)
  parser.add_argument("--valid", type=int, default=64)
  args = parser.parse_args()
  rows = []
  for seed in range(args.seeds):
    found = {n: distances(args, n, seed) for n in STUDENTS}
    row = {n: learned for n, (_, learned) in found.items()}
    row["frozen"] = found["na_beats"][0]
    rows.append(row)
    print(json.dumps({"seed": seed, **row}), flush=True)
  for other in ("frozen", "d_beats"):
    gap = np.array([r[other] - r["na_beats"] for r in rows])
    spread = float(gap.std(ddof=1)) if len(gap) > 1 else float("nan")
    print(json.dumps({"less_than": other, "mean": gap.mean(), "std": spread}))


if __name__ == "__main__":
  main()
