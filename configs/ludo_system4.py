"""LUDO system 4: AudioMAE++ tiny, Residual View, prototypes. Published 59.80.

The network's `output` is what its authors' code returns; its groups are no
bands (docs/encoders.md). Needs the weights of AudioMAE++ tiny
(docs/weights.md).

Run: python scripts/evaluate.py --config=configs/ludo_system4.py
  --config.checkpoints.audiomaepp_tiny=FILE --config.data_dir=DIR
  --config.output_dir=OUT
"""

from configs import common, published


def get_config(arg=""):
  """Builds the config; `arg="smoke"` shrinks it."""
  c = common.ludo("ludo_system4", arg)
  c.published = published.of("ludo_system4")
  audiomaepp = common.add_encoder(c, "audiomaepp", size="tiny", arg=arg)
  c.branches = dict(
    audiomaepp=common.ludo_branch("audiomaepp", audiomaepp("output"))
  )
  return c
