"""What the far channel is worth: distance to the clean sound, held out.

Tiny networks with random weights as teachers. Compared on mixtures of
recordings that were held out, with rooms, crops and ratios of their own: the
frozen encoder on the near channel alone, layers of the same size that hear the
near channel alone (`d_beats`), and noise-aware layers (`na_beats`), trained
alike. Nothing is chosen by what is held out: the last state counts.

  python benchmarks/distilling.py OUT --target=DIR --noise=DIR
    [--first=0] [--seeds=3] [--steps=1500] [--seconds=1.0] [--batch=16]
    [--rooms=256] [--rate=2e-3]
"""

import argparse
import importlib
import json
from pathlib import Path

import jax
import numpy as np

from asd_jax.data import sources
from asd_jax.data.batches import Batches
from asd_jax.engine import distil, distil_config
from asd_jax.training import distillation
from asd_jax.training import run as run_lib
from asd_jax.training.job import Validation
from asd_jax.training.program import Program

STUDENTS = ("na_beats", "d_beats")
# Passes over the held-out targets that are measured, by another seed than any
# training has.
PASSES, SEED = 8, 1_000


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
  config.optimiser.learning_rate = args.rate
  return distil_config.prepared(config.to_dict())


def held_out(found, seed):
  """Mixtures of the recordings that no training heard."""
  size = found.config["batch_size"]
  batches = Batches(
    sources.training(found.recordings.valid, seed=SEED, num_epochs=PASSES), size
  )
  loss = distillation.make(found.plan(seed)).loss
  return Validation(loss, batches, batches.num_steps, size, every=1)


def distances(args, student, seed):
  """Distances on held-out mixtures: of the frozen encoder, and learned."""
  found = distil.Pretraining(config_of(args, student))
  key, label = jax.random.key(seed), f"{student}-{seed}"
  look = held_out(found, seed)
  with found.job(seed) as job, look.batch_at:
    job = job._replace(validation=None)
    program = Program(job, key, sharded=False)
    judge = program.judge(look)
    start = judge(*program.start())
    logs = args.out / "logs" / label
    trained = run_lib.run(job, key, folder=args.out / label, logs=logs)
    found.keep(seed, trained, args.out / "weights" / student)
    return start, judge(trained.state, trained.frozen)


def main():
  """Reads the command line and runs."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("out", type=Path)
  parser.add_argument("--target", required=True)
  parser.add_argument("--noise", required=True)
  parser.add_argument("--first", type=int, default=0)
  parser.add_argument("--seeds", type=int, default=3)
  parser.add_argument("--steps", type=int, default=1500)
  parser.add_argument("--seconds", type=float, default=1.0)
  parser.add_argument("--batch", type=int, default=16)
  parser.add_argument("--rooms", type=int, default=256)
  parser.add_argument("--rate", type=float, default=2e-3)
  args = parser.parse_args()
  rows = []
  for seed in range(args.first, args.first + args.seeds):
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
