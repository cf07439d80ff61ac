"""LUDO system 1: SSLAM, Residual View and prototypes. Published score 63.24.

Needs the weights of SSLAM (docs/weights.md).

Run: python scripts/evaluate.py --config=configs/ludo_system1.py
  --config.checkpoints.sslam_base=FILE --config.data_dir=DIR
  --config.output_dir=OUT
"""

from configs import common, published


def get_config(arg=""):
  """Builds the config; `arg="smoke"` shrinks it."""
  c = common.ludo("ludo_system1", arg)
  c.published = published.of("ludo_system1")
  sslam = common.add_encoder(c, "sslam", arg=arg)
  c.branches = dict(sslam=common.ludo_branch("sslam", sslam("output")))
  return c
