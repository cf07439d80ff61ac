"""Scores and cost of systems by number of training clips (docs/choosing.md).

Of each machine's source training clips some are drawn, all target clips stay;
drawn again with other seeds, the official score over all machines is averaged.

  python benchmarks/choosing.py --data_dir=DIR [--configs=plain_knn,...]
    [--clips=10,20,50,100] [--draws=5] [--out=table.json]
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np

import asd_jax
from asd_jax.data import clips
from asd_jax.engine import session
from asd_jax.metrics import official

CONFIGS = "plain_knn,plain_mahalanobis,konica_system4"


def machine_score(opened, machine, train):
  """Metrics of a machine's test clips, and seconds to fit and to score."""
  start = time.perf_counter()
  fitted = opened.fit(machine.name, train)
  middle = time.perf_counter()
  judged = opened.score(fitted.section, machine.test)
  end = time.perf_counter()
  found = official.clip_metrics(
    np.asarray(judged.scores.fused),
    np.array([c.label == "anomaly" for c in machine.test]),
    np.array([c.domain == "target" for c in machine.test]),
  )
  return found, middle - start, end - middle


def one_draw(opened, machines, num, seed):
  """Official score over all machines, and seconds a clip."""
  rng, scores, fit, score = np.random.default_rng(seed), [], 0.0, 0.0
  for machine in machines:
    source = [c for c in machine.train if c.domain == "source"]
    target = [c for c in machine.train if c.domain != "source"]
    picked = rng.permutation(len(source))[:num]
    train = [source[i] for i in sorted(picked)] + target
    found, a, b = machine_score(opened, machine, train)
    scores += official.ranked_values([found])
    fit, score = fit + a / len(train), score + b / len(machine.test)
  return official.official_score(scores), fit, score


def main():
  """Prints a row a system and number of clips."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--data_dir", required=True)
  parser.add_argument("--configs", default=CONFIGS)
  parser.add_argument("--clips", default="10,20,50,100")
  parser.add_argument("--draws", type=int, default=5)
  parser.add_argument("--out", default="")
  args = parser.parse_args()
  machines, table = clips.read_tree(args.data_dir), []
  for name in args.configs.split(","):
    config = asd_jax.load_config(name)
    config["cache"] = "off"
    opened = session.open(config)
    for num in map(int, args.clips.split(",")):
      one = lambda seed, opened=opened, num=num: one_draw(
        opened, machines, num, seed
      )
      one(0)  # programs of this number of clips are compiled
      found = np.array([one(seed) for seed in range(args.draws)])
      mean, spread = found.mean(0), found.std(0, ddof=1)
      row = dict(
        config=name,
        clips=num,
        score=mean[0],
        spread=spread[0],
        fit_ms=1e3 * found[:, 1].min() / len(machines),
        score_ms=1e3 * found[:, 2].min() / len(machines),
      )
      table.append(row)
      print(
        f"{name:20} {num:4} clips: official score {100 * row['score']:.2f} +-"
        f" {100 * row['spread']:.2f}, fit {row['fit_ms']:.1f} ms a clip, score"
        f" {row['score_ms']:.1f} ms a clip",
        flush=True,
      )
      if args.out:
        Path(args.out).write_text(json.dumps(table, indent=1))


if __name__ == "__main__":
  main()
