"""KATECH system 4: ten chosen (front end, seed) members. Published 65.34.

The members are chosen on a labelled development set, in two steps: evaluate
all twenty there (this config as it is), choose, then score with the choice.
Without a choice it is the mean of all twenty, which a note says, and has no
published number.

Run: python scripts/evaluate.py --config=configs/katech_system4.py
  --config.data_dir=DEV --config.output_dir=ALL
python scripts/select_members.py --results=ALL --num=10 --output=members.json
python scripts/evaluate.py --config=configs/katech_system4.py
  --config.selection=members.json --config.data_dir=DIR --config.output_dir=OUT
"""

from configs import common, published


def get_config(arg=""):
  """Builds the config; `arg="smoke"` shrinks it."""
  c = common.katech("katech_system4", arg)
  c.published = published.of("katech_system4", num_members=10)
  c.branches = dict(
    ada_sub=common.katech_branch("ada_sub", arg),
    ref_sub=common.katech_branch("ref_sub", arg),
  )
  return c
