"""Konica Minolta system 4: domain-invariant features. Published 62.15.

Nothing is trained: whitened features of both channels, nearest clip of a bank
that is filled up with made target clips and moved source clips. With no more
training clips than features (120) the whitening shrinks its covariance.

Run: python scripts/evaluate.py --config=configs/konica_system4.py
  --config.data_dir=DIR --config.output_dir=OUT

The kept features are the 120 of the report's groups. To choose them by their
shift on one's own training clips instead:
python scripts/select_features.py --data_dir=DIR --output=features.json
python scripts/evaluate.py --config=configs/konica_system4.py
  --config.feature_selection=features.json --config.data_dir=DIR
  --config.output_dir=OUT
"""

from configs import common, published


def get_config(arg=""):
  """Builds the config; `arg="smoke"` shrinks it."""
  c = common.run("konica_system4", arg)
  c.published = published.of("konica_system4")
  c.branches = dict(dif=dif_branch())
  return c


def dif_branch(**stages):
  """Domain-invariant features, whitened, with made rows in the bank."""
  plain = dict(
    channels=(0, 1),
    frontend=dict(name="dif", features="default"),
    augment=dict(name="residual", low=0.5, high=1.5),
    transform=dict(
      name="zca", covariance="by_rank", ridge=1e-5, drop_constant=True
    ),
    bank=dict(name="pseudo_target"),
    backend=dict(name="knn", k=1, metric="euclidean"),
  )
  return common.branch(**{**plain, **stages})
