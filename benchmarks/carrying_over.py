"""Whether tiny noise-aware encoders carry over to machines: official scores.

Compared are the encoder inside, on the near channel alone, and the students of
`distilling.py` around it, all frozen: tokens averaged over time, a bank a
frequency, nearest neighbours [MERL26].

  python benchmarks/carrying_over.py OUT --data_dir=DIR

OUT is the folder that `distilling.py` has filled.
"""

import argparse
import json
from pathlib import Path

import adapting
import numpy as np

from asd_jax.data import clips
from asd_jax.encoders import load, zoo
from asd_jax.weights import folder as weight_folder
from configs import common


def base_of(place, out):
  """Folder of the encoder inside a student's weights, made if missing."""
  about = weight_folder.read_about(place)
  student = zoo.FAMILIES[about["family"]](size="smoke")
  inner = zoo.FAMILIES["beats"](size="smoke")
  found = load.from_files({"x": (student, str(place))}, folder=out)["x"]
  base = load.named(inner, found.params["base"], "base")
  return load.keep(out / "weights", base)


def score(args, family, place):
  """Official score of a frozen encoder, and the values it is made of."""
  c = common.run("carrying_over", "smoke")
  encoder = dict(
    name=family,
    size="smoke",
    layer="output",
    dtype="float32",
    checkpoint=str(place),
  )
  near = dict(channels=(0,), frontend=dict(name="beats_fbank"))
  both = dict(channels=(0, 1), frontend=dict(name="beats_fbank"))
  branch = common.branch(
    encoder=encoder,
    wrappers=("per_frequency",),
    **(both if family == "na_beats" else near),
  )
  config = {**c.to_dict(), "branches": {family: branch}}
  config |= dict(
    data_dir=str(args.data_dir),
    training_dir=str(args.out / "training"),
    random_weights=False,
    synthetic={},
    cache="off",
  )
  config["threshold"]["folds"] = 0
  return adapting.score_of(config, clips.read_tree(args.data_dir))


def main():
  """Prints a row a seed, and what all seeds say."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("out", type=Path)
  parser.add_argument("--data_dir", type=Path, required=True)
  args = parser.parse_args()
  found = sorted((args.out / "weights" / "na_beats").glob("na_beats-seed_*"))
  base = base_of(found[0], args.out)
  frozen, values = score(args, "beats", base)
  print(json.dumps({"frozen": frozen, "values": values}))
  rows = []
  for place in found:
    near = args.out / "weights" / "d_beats" / place.name
    row = {"na_beats": score(args, "na_beats", place)}
    row["d_beats"] = score(args, "d_beats", near)
    print(json.dumps({"weights": place.name, **row}), flush=True)
    rows.append(row["na_beats"][0] - frozen)
  print(json.dumps({"more_than_frozen": np.mean(rows), "all": rows}))


if __name__ == "__main__":
  main()
