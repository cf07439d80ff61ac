"""Dongyuan system 3: system 1 with more weight on BEATs. Published 61.27.

The report says only that BEATs has a higher weight than in system 1; 0.90, and
the near channel on both sides of the gate, are our choice. Needs the weights of
BEATs (iter3) and AudioMAE (docs/weights.md).

Run: python scripts/evaluate.py --config=configs/dongyuan_system3.py
  --config.checkpoints.beats_base=FILE --config.checkpoints.audiomae_base=FILE
  --config.data_dir=DIR --config.output_dir=OUT
"""

from configs import dongyuan_system1 as first


def get_config(arg=""):
  """Builds the config; `arg="smoke"` shrinks it."""
  return first.system(
    "dongyuan_system3", arg, first.NEAR_TWICE, beats=0.9, audiomae=0.1
  )
