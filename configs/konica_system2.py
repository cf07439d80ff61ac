"""Konica Minolta system 2: four trainings of system 1. Published score 63.72.

Scores of each are brought to zero mean and unit deviation by the leave-one-out
scores of the training clips, then averaged. Needs the weights of EAT-large
(docs/weights.md).

Run: python scripts/evaluate.py --config=configs/konica_system2.py
  --config.checkpoints.eat_large=FILE --config.data_dir=DIR
  --config.output_dir=OUT
"""

from configs import common, konica_system1, published


def get_config(arg=""):
  """Builds the config; `arg="smoke"` shrinks it."""
  c = common.run("konica_system2", arg)
  c.published = published.of("konica_system2")
  c.seeds = (1, 2) if arg == "smoke" else (1, 2, 3, 4)
  scale = dict(calibration=dict(name="zscore"))
  recipe = konica_system1.RECIPE
  c.branches = dict(eat_large=konica_system1.branch(c, recipe, arg, **scale))
  return c
