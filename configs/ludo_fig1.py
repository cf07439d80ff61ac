"""LUDO figure 1: every layer of SSLAM by the coefficient of the far channel.

Residual View without prototypes; alpha 0 is the near channel alone. One pass
through the network gives all layers. Needs the weights of SSLAM
(docs/weights.md).

Run: python scripts/sweep.py --config=configs/ludo_fig1.py
  --config.checkpoints.sslam_base=FILE --config.data_dir=DIR
  --config.output_dir=OUT
"""

from configs import common

ALPHAS = "view.alpha=linspace(-0.5, 1, 7)"


def get_config(arg=""):
  """Builds the config; `arg="smoke"` shrinks it."""
  c = common.ludo("ludo_fig1", arg)
  sslam = common.add_encoder(c, "sslam", arg=arg)
  c.branches = dict(
    sslam=common.ludo_branch("sslam", sslam("output"), prototypes=False)
  )
  layers = [f"layer_{i}" for i in range(1, 3 if arg == "smoke" else 13)]
  c.sweep = (f"encoder.layer={layers}", ALPHAS)
  return c
