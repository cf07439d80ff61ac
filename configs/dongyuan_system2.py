"""Dongyuan system 2: system 1 with near and far in use. Published 61.28.

The far channel is fed to the gate in use too, as in training. Needs the weights
of BEATs (iter3) and AudioMAE (docs/weights.md).

Run: python scripts/evaluate.py --config=configs/dongyuan_system2.py
  --config.checkpoints.beats_base=FILE --config.checkpoints.audiomae_base=FILE
  --config.data_dir=DIR --config.output_dir=OUT
"""

from configs import dongyuan_system1 as first


def get_config(arg=""):
  """Builds the config; `arg="smoke"` shrinks it."""
  return first.system(
    "dongyuan_system2", arg, first.NEAR_AND_FAR, beats=0.85, audiomae=0.15
  )
