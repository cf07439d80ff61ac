"""What adapting a tiny encoder is worth: scores against its frozen start.

Encoders are the tiny networks of the families with weights drawn at random, so
that there is something to learn and nothing to download; recipes are those of
the systems, with rates and steps for networks of this size. Without
`--data_dir` each seed draws synthetic machines of its own; with it each trains
anew on these.

  python benchmarks/adapting.py OUT [--data_dir=DIR]
    [--systems=konica_system1,dongyuan_system2] [--seeds=5] [--first_seed=1]
    [--steps=300] [--labels=machine,attribute_or_none]
    [--recipe=JSON] [--branch=JSON] [--machines=JSON]

`--labels` names classes in place of those of the systems, an ArcFace each.
`--recipe` changes how networks are trained, `--branch` what is scored and how,
of the frozen start too, and `--machines` what synthetic machines there are.
Networks are kept: scored in another way they are not trained again.
"""

import argparse
import importlib
import json
from pathlib import Path

import choosing
import numpy as np

from asd_jax.data import clips, synthetic
from asd_jax.engine import session
from asd_jax.metrics import official

MACHINES = dict(
  machines=("fan", "gearbox", "valve"),
  num_source=90,
  num_target=10,
  num_test=20,
)
SECONDS = 2.0
NUM_FRAMES = 208
RATES = dict(learning_rate=1e-3, head_learning_rate=1e-3, warmup=0.1)


def merged(plain, changes):
  """Settings with changes; those that give a name take the place of all."""
  if not isinstance(plain, dict) or "name" in changes:
    return changes
  new = {
    k: merged(plain.get(k), v) if isinstance(v, dict) else v
    for k, v in changes.items()
  }
  return {**plain, **new}


def shrink(branch, rate, recipe):
  """Makes a branch hear short clips; frozen if there is no recipe."""
  branch["frontend"]["num_samples"] = int(SECONDS * rate)
  if "num_frames" in branch["frontend"]:
    branch["frontend"]["num_frames"] = NUM_FRAMES
  adapt = branch["encoder"].pop("adapt")
  if recipe:
    branch["encoder"]["adapt"] = {**adapt, **recipe}
    return
  branch["encoder"]["layer"] = "output"
  # Nothing but a learned gate takes both channels at once.
  if branch["denoise"]["name"] == "identity":
    branch["channels"] = (0,)


def config_of(name, recipe, seed, data, out, changes=None):
  """Plain settings of a run."""
  module = importlib.import_module(f"configs.{name}")
  config = module.get_config("smoke").to_dict()
  for key, branch in config["branches"].items():
    branch = merged(branch, changes or {})
    shrink(branch, config["sample_rate"], recipe)
    config["branches"][key] = branch
  config |= dict(data_dir=str(data), training_dir=str(out))
  config |= dict(seeds=(seed,), cache="off", synthetic={})
  config["threshold"]["folds"] = 0
  return config


def score_of(config, machines):
  """Official score over all machines, and the values it is made of."""
  opened, values = session.open(config), {}
  for machine in machines:
    found, _, _ = choosing.machine_score(opened, machine, machine.train)
    values[machine.name] = official.ranked_values([found])
  return official.official_score(sum(values.values(), [])), values


def machines_of(args, seed):
  """Folder of a seed's machines, made if it is not given, and its clips."""
  data = Path(args.data_dir or args.out / f"data_{seed}")
  if not args.data_dir:
    sizes = {**MACHINES, **args.machines}
    synthetic.write(data, seconds=SECONDS, seed=seed, **sizes)
  return data, clips.read_tree(data)


def summary(table, name):
  """What all seeds say of a system."""
  rows = [r for r in table if r["system"] == name]
  gain = 100 * np.array([r["adapted"] - r["frozen"] for r in rows])
  return (
    f"{name}: {gain.mean():+.2f} +- {gain.std(ddof=1):.2f} points over"
    f" {len(gain)} seeds, from {gain.min():+.2f} to {gain.max():+.2f}"
  )


def recipe_of(args):
  """How networks are trained, as the options say it."""
  recipe = dict(num_steps=args.steps, batch_size=16, optimiser=RATES)
  if args.labels:
    rules = args.labels.split(",")
    recipe["criteria"] = [dict(name="arcface", labels=r) for r in rules]
  return merged(recipe, args.recipe)


def options():
  """What the command line says."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("out", type=Path)
  parser.add_argument("--data_dir", default="")
  parser.add_argument("--systems", default="konica_system1,dongyuan_system2")
  parser.add_argument("--seeds", type=int, default=5)
  parser.add_argument("--first_seed", type=int, default=1)
  parser.add_argument("--steps", type=int, default=300)
  parser.add_argument("--labels", default="")
  parser.add_argument("--recipe", type=json.loads, default={})
  parser.add_argument("--branch", type=json.loads, default={})
  parser.add_argument("--machines", type=json.loads, default={})
  return parser.parse_args()


def row_of(args, name, seed, data, machines):
  """Scores of a system, frozen and adapted."""
  row = dict(system=name, seed=seed)
  for kind, recipe in (("frozen", None), ("adapted", recipe_of(args))):
    config = config_of(
      name, recipe, seed, data, args.out / "training", args.branch
    )
    row[kind], row[f"{kind}_values"] = score_of(config, machines)
  return row


def main():
  """Prints a row a system and seed, and what all seeds say."""
  args, table = options(), []
  systems = args.systems.split(",")
  for seed in range(args.first_seed, args.first_seed + args.seeds):
    data, machines = machines_of(args, seed)
    for name in systems:
      row = row_of(args, name, seed, data, machines)
      table.append(row)
      print(
        f"{name} seed {seed}: frozen {100 * row['frozen']:.2f}, adapted"
        f" {100 * row['adapted']:.2f}",
        flush=True,
      )
      (args.out / "adapting.json").write_text(json.dumps(table, indent=1))
  print("\n".join(summary(table, name) for name in systems))


if __name__ == "__main__":
  main()
