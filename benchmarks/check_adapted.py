"""False alarms of an encoder that was adapted, on normal clips kept apart.

As `check_decisions.py`, but the encoder is trained on the training clips of all
machines first, anew for each split: once, so that it has seen the clips that
p-values are taken from, and in turn without each of two folds (`adapt.folds`).
Encoders are tiny with weights drawn at random; without `--data_dir` each split
draws synthetic machines of its own.

  python benchmarks/check_adapted.py OUT [--data_dir=DIR]
    [--system=konica_system1] [--splits=5] [--steps=200] [--num_train=60]
    [--num_check=40]
"""

import argparse
import json
from pathlib import Path

import adapting
import check_decisions
import numpy as np

from asd_jax.data import clips, synthetic
from asd_jax.engine import session
from asd_jax.scores import p_value

FOLDS = dict(seen=dict(threshold=10, adapt=0), folds=dict(threshold=2, adapt=2))


def machines_of(args, split):
  """Clips of a split's machines, made if they are not given."""
  data = Path(args.data_dir or args.out / f"data_{split}")
  if not args.data_dir:
    synthetic.write(
      data,
      machines=adapting.MACHINES["machines"],
      num_source=args.num_train + args.num_check,
      num_target=0,
      num_test=0,
      seconds=adapting.SECONDS,
      seed=split,
    )
  return data, clips.read_tree(data)


def divided(machines, split, args):
  """Training clips and those that are judged, source clips of each machine."""
  out = {}
  for machine in machines:
    source = [c for c in machine.train if c.domain == "source"]
    order = np.random.default_rng(split).permutation(len(source))
    some = [source[i] for i in order]
    end = args.num_train + args.num_check
    out[machine.name] = some[: args.num_train], some[args.num_train : end]
  return out


def alarms(config, parts):
  """False alarms of each machine, and clips that were judged."""
  train = [c for own, _ in parts.values() for c in own]
  opened, found = session.open(config, train=train), {}
  for name, (own, check) in parts.items():
    judged = opened.score(opened.fit(name, own).section, check)
    assert (judged.decisions >= 0).all()
    found[name] = int(judged.decisions.sum()), len(check)
  return found


def config_of(args, split, data, folds):
  """Plain settings of a split."""
  recipe = dict(num_steps=args.steps, batch_size=16, optimiser=adapting.RATES)
  config = adapting.config_of(
    args.system, recipe, split, data, args.out / "training"
  )
  config["threshold"] |= dict(
    name="conformal",
    false_alarm_rate=check_decisions.RATE,
    folds=folds["threshold"],
  )
  config["adapt"]["folds"] = folds["adapt"]
  return config


def told(table, kind, num_train):
  """What all splits say of a kind of folds."""
  rows = [r[kind] for r in table]
  every = [pair for row in rows for pair in row.values()]
  shares = {
    m: np.array([k / n for k, n in (r[m] for r in rows)]) for m in rows[0]
  }
  by_machine = ", ".join(f"{m} {x.mean():.3f}" for m, x in shares.items())
  spread = [np.mean([k / n for k, n in row.values()]) for row in rows]
  error = (
    np.std(spread, ddof=1) / len(spread) ** 0.5 if len(spread) > 1 else np.nan
  )
  return (
    f"{kind}: {np.mean(spread):.3f} +- {error:.3f} (standard error over"
    f" {len(rows)} splits; {by_machine}), outside the band of chance"
    f" {check_decisions.outside(every, num_train)} of {len(every)}"
  )


def main():
  """Prints a row a split, and what all splits say."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("out", type=Path)
  parser.add_argument("--data_dir", default="")
  parser.add_argument("--system", default="konica_system1")
  parser.add_argument("--splits", type=int, default=5)
  parser.add_argument("--steps", type=int, default=200)
  parser.add_argument("--num_train", type=int, default=60)
  parser.add_argument("--num_check", type=int, default=40)
  args, table = parser.parse_args(), []
  for split in range(1, args.splits + 1):
    data, machines = machines_of(args, split)
    parts = divided(machines, split, args)
    table.append(
      {
        kind: alarms(config_of(args, split, data, folds), parts)
        for kind, folds in FOLDS.items()
      }
    )
    print(f"split {split}: {table[-1]}", flush=True)
    (args.out / "check_adapted.json").write_text(json.dumps(table, indent=1))
  nominal = p_value.nominal_rate(args.num_train, check_decisions.RATE)
  print(f"nominal rate {nominal:.4f}, {args.num_train} clips")
  print("\n".join(told(table, kind, args.num_train) for kind in FOLDS))


if __name__ == "__main__":
  main()
