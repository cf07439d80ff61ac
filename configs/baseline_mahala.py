"""Official baseline, MAHALA: selective Mahalanobis score. Published 57.66.

Run: python scripts/evaluate.py --config=configs/baseline_mahala.py
  --config.data_dir=DIR --config.output_dir=OUT
"""

from configs import common, published


def get_config(arg=""):
  """Builds the config; `arg="smoke"` shrinks it."""
  c = common.run("baseline_mahala", arg)
  c.threshold.folds = 2  # networks, trained again for each
  c.published = published.of("baseline_mahala")
  c.branches = dict(
    autoencoder=common.branch(
      frontend=dict(name="log_mel", num_mels=128),
      encoder=common.official_autoencoder(arg),
      pooling=dict(name="mean_frame"),
      backend=dict(name="selective_mahalanobis"),
      reference="in_sample",
    )
  )
  return c
