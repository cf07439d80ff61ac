"""Official baseline, MSE: mean squared reconstruction error. Published 56.66.

Run: python scripts/evaluate.py --config=configs/baseline_mse.py
  --config.data_dir=DIR --config.output_dir=OUT
"""

from configs import common, published


def get_config(arg=""):
  """Builds the config; `arg="smoke"` shrinks it."""
  c = common.run("baseline_mse", arg)
  c.threshold.folds = 2  # networks, trained again for each
  c.published = published.of("baseline_mse")
  c.branches = dict(
    autoencoder=common.branch(
      frontend=dict(name="log_mel", num_mels=128),
      encoder=common.official_autoencoder(arg),
      pooling=dict(name="mean_square"),
      backend=dict(name="embedding"),
      reference="in_sample",
    )
  )
  return c
