"""Plain detector: log-mel mean and deviation, nearest training clip.

Run: python scripts/evaluate.py --config=configs/plain_knn.py
  --config.data_dir=DIR --config.output_dir=OUT
"""

from configs import common


def get_config(arg=""):
  """Builds the config; `arg="smoke"` shrinks it."""
  c = common.run("plain_knn", arg)
  c.branches = dict(
    log_mel=common.branch(
      frontend=dict(name="log_mel", num_mels=64),
      pooling=dict(name="mean_std"),
      transform=dict(name="standardise"),
    )
  )
  return c
