"""Dongyuan system 4: the BEATs branch of system 1 alone. Published 61.04.

Mahalanobis distance to the nearer domain, not brought to another scale. That
the near channel is fed to both sides of the gate in use is our choice. Needs
the weights of BEATs (iter3; docs/weights.md).

Run: python scripts/evaluate.py --config=configs/dongyuan_system4.py
  --config.checkpoints.beats_base=FILE --config.data_dir=DIR
  --config.output_dir=OUT
"""

from configs import dongyuan_system1 as first


def get_config(arg=""):
  """Builds the config; `arg="smoke"` shrinks it."""
  return first.system("dongyuan_system4", arg, first.NEAR_TWICE, beats=1.0)
