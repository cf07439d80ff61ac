"""False-alarm rates of decisions on normal clips that were kept apart.

Of each machine's source training clips, NUM_TRAIN train a detector and the
others are judged, over random splits; the rule is conformal at 0.1 for every
system. Networks are trained for a few epochs with two seeds, frozen encoders
have tiny random weights: a promise must hold whatever the scores are.

  python benchmarks/check_decisions.py --data_dir=DIR [--configs=plain_knn,...]
    [--splits=20] [--num_train=60] [--out=table.json] [--training_dir=DIR]

Systems whose networks hear the same sound share them in DIR.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import scipy.stats

import asd_jax
from asd_jax.data import clips
from asd_jax.engine import session
from asd_jax.frontends import dif
from asd_jax.scores import p_value

RATE = 0.1
CLOSED = (
  "plain_knn",
  "plain_mahalanobis",
  "konica_system4",
  "konica_system3",
  "ludo_system1",
  "ludo_system2",
  "ludo_system3",
  "ludo_system4",
  "merl_system2:frozen",
)
TRAINED = (
  "baseline_mse",
  "baseline_mahala",
  "katech_system1",
  "katech_system2",
  "katech_system3",
  "katech_system4",
)
SMALL = ("konica_system3", "ludo", "merl")
# Kept of DIF's features for the clip numbers about which its whitening changes
# the covariance.
NUM_CLIFF = 60


def open_system(name, epochs, features=(), training_dir=""):
  """A session of a system at the benchmark's settings."""
  if name.startswith(SMALL):
    name += ",smoke" if ":" in name else ":smoke"
  config = asd_jax.load_config(name)
  config["threshold"] = {
    **config["threshold"],
    "name": "conformal",
    "false_alarm_rate": RATE,
  }
  config["synthetic"], config["training_dir"] = {}, training_dir
  for branch in config["branches"].values():
    encoder = branch["encoder"]
    if "recipe" in encoder:
      encoder["recipe"] = {**encoder["recipe"], "num_epochs": epochs}
      config["seeds"] = (1, 2)
    if features:
      branch["frontend"] = {**branch["frontend"], "features": features}
  return session.open(config)


def rates(opened, machine, num_train, splits, num_check=40):
  """Share of false alarms of each split."""
  source = [c for c in machine.train if c.domain == "source"]
  out = []
  for split in range(splits):
    order = np.random.default_rng(split).permutation(len(source))
    train = [source[i] for i in order[:num_train]]
    # Where few are left, the judged ones are fewer.
    check = [source[i] for i in order[num_train : num_train + num_check]]
    fitted = opened.fit(machine.name, train)
    judged = opened.score(fitted.section, check)
    assert (judged.decisions >= 0).all()
    out.append((int(judged.decisions.sum()), len(check)))
    print(f"{machine.name} split {split}: {out[-1]}", file=sys.stderr)
  return out


def outside(found, num_train):
  """Splits outside the 99 % band of alarms that chance allows."""
  # The chance of an alarm is Beta(num, num_train + 1 - num) over splits.
  num = round((num_train + 1) * p_value.nominal_rate(num_train, RATE))
  band = lambda q, m: scipy.stats.betabinom.ppf(q, m, num, num_train + 1 - num)
  return sum(not band(0.005, m) <= k <= band(0.995, m) for k, m in found)


def main():
  """Prints, and keeps, a row a system."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--data_dir", required=True)
  parser.add_argument("--configs", default=",".join(CLOSED + TRAINED))
  parser.add_argument("--splits", type=int, default=20)
  parser.add_argument("--num_train", type=int, default=60)
  parser.add_argument("--epochs", type=int, default=10)
  parser.add_argument("--num_features", type=int, default=0)
  parser.add_argument("--training_dir", default="")
  parser.add_argument("--out", default="")
  args = parser.parse_args()
  machines = clips.read_tree(args.data_dir)
  table = []
  nominal = p_value.nominal_rate(args.num_train, RATE)
  print(f"nominal rate {nominal:.4f}, {args.num_train} clips, limit {RATE}")
  for name in args.configs.split(","):
    features = tuple(dif.NAMES[: args.num_features])
    opened = open_system(name, args.epochs, features, args.training_dir)
    start, every = time.perf_counter(), []
    row = {"config": name, "num_train": args.num_train}
    for machine in machines:
      found = rates(opened, machine, args.num_train, args.splits)
      row[machine.name] = float(np.mean([k / m for k, m in found]))
      row[f"{machine.name} splits"] = [k for k, _ in found]
      every += found
    row["mean"] = float(np.mean([k / m for k, m in every]))
    row["outside"] = outside(every, args.num_train)
    row["num_splits"] = len(every)
    row["seconds"] = round(time.perf_counter() - start, 1)
    table.append(row)
    shown = " ".join(f"{m.name} {row[m.name]:.4f}" for m in machines)
    print(
      f"{name:20} mean {row['mean']:.4f} {shown} outside"
      f" {row['outside']}/{len(every)} {row['seconds']} s",
      flush=True,
    )
    if args.out:
      Path(args.out).write_text(json.dumps(table, indent=1))


if __name__ == "__main__":
  main()
