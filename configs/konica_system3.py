"""Konica Minolta system 3, its first branch only. Published 62.18 alone.

System 3 adds the percentiles of two branches: domain-invariant features (0.60)
and frozen EAT-large embeddings (0.40; published together 62.34). The encoder
`eat_large` is not in the package yet, so this config runs the first branch,
and says so in its name; `eat_branch` is ready for the second.

Run: python scripts/evaluate.py --config=configs/konica_system3.py
  --config.data_dir=DIR --config.output_dir=OUT
"""

from configs import common, konica_system4

# The two nearest clips but one lower the score where the bank is sparse.
NEIGHBOURS = dict(
  name="knn", k=3, metric="euclidean", weights=(1.0, -0.35, -0.05)
)


def get_config(arg=""):
  """Builds the config; `arg="smoke"` shrinks it."""
  c = common.run("konica_system3_dif", arg)
  c.published = dict(
    development=0.6218, evaluation=0.0, source="[KonicaMinolta26]"
  )
  c.branches = dict(
    dif=konica_system4.dif_branch(
      backend=NEIGHBOURS, calibration=dict(name="percentile"), weight=0.6
    )
  )
  return c


def eat_branch():
  """Frozen EAT-large: mean of the patches of the near channel, 1024 wide."""
  return common.branch(
    frontend=dict(name="eat_fbank"),
    encoder=dict(name="eat_large"),
    transform=dict(name="zca", covariance="ledoit_wolf", ridge=0.0),
    backend=NEIGHBOURS,
    calibration=dict(name="percentile"),
    weight=0.4,
  )
