"""KATECH system 2: RefSub, a gentler denoiser, same scores. Published 63.08.

Run: python scripts/evaluate.py --config=configs/katech_system2.py
  --config.data_dir=DIR --config.output_dir=OUT
"""

from configs import common, published


def get_config(arg=""):
  """Builds the config; `arg="smoke"` shrinks it."""
  c = common.katech("katech_system2", arg)
  c.published = published.of("katech_system2")
  c.branches = dict(ref_sub=common.katech_branch("ref_sub", arg))
  return c
