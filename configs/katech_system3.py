"""KATECH system 3: Combo, the mean of AdaSub and CohGate. Published 61.40.

Run: python scripts/evaluate.py --config=configs/katech_system3.py
  --config.data_dir=DIR --config.output_dir=OUT
"""

from configs import common, published


def get_config(arg=""):
  """Builds the config; `arg="smoke"` shrinks it."""
  c = common.katech("katech_system3", arg)
  c.published = published.of("katech_system3")
  c.branches = dict(
    ada_sub=common.katech_branch("ada_sub", arg),
    coh_gate=common.katech_branch("coh_gate", arg),
  )
  return c
