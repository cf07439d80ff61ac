"""KATECH system 1: AdaSub, terms by domain, P95, ten seeds. Published 65.44.

Run: python scripts/evaluate.py --config=configs/katech_system1.py
  --config.data_dir=DIR --config.output_dir=OUT
"""

from configs import common, published


def get_config(arg=""):
  """Builds the config; `arg="smoke"` shrinks it."""
  c = common.katech("katech_system1", arg)
  c.published = published.of("katech_system1")
  c.branches = dict(ada_sub=common.katech_branch("ada_sub", arg))
  return c
