"""Konica Minolta's system 3: each branch alone. Published 62.18 and 60.96.

`dif`: the features with three neighbours, where system 4 takes one.
`eat`: frozen EAT-large embeddings of the near channel; needs its weights
(docs/weights.md).

Run: python scripts/evaluate.py --config=configs/konica_ablation.py:dif
  --config.data_dir=DIR --config.output_dir=OUT

A row with `,smoke` is shrunk to synthetic data and seconds.
"""

from configs import common, konica_system3, published

ROWS = ("dif", "eat")


def get_config(arg=""):
  """Builds the config of a row, `"dif"` or `"dif,smoke"`."""
  row, smoke = common.choice(arg, ROWS)
  c = konica_system3.get_config(smoke)
  c.system = f"konica_ablation_{row}"
  c.published = published.of(c.system)
  if row == "dif":
    del c.branches.eat_large
    c.checkpoints = dict()
  else:
    del c.branches.dif
  # One branch needs no common scale: ranks would only tie.
  for branch in c.branches.values():
    branch.update(calibration=dict(name="identity"), weight=1.0)
  return c
