"""Konica Minolta system 3: two branches by percentile. Published score 62.34.

Domain-invariant features (0.60, published alone 62.18) and frozen EAT-large
embeddings of the near channel (0.40), each ranked among its training scores.
Needs the weights of EAT-large (docs/weights.md).

Run: python scripts/evaluate.py --config=configs/konica_system3.py
  --config.checkpoints.eat_large=FILE --config.data_dir=DIR
  --config.output_dir=OUT
"""

from configs import common, konica_system4, published

# The two nearest clips but one lower the score where the bank is sparse.
NEIGHBOURS = dict(
  name="three_neighbours", metric="euclidean", second=-0.35, third=-0.05
)


def get_config(arg=""):
  """Builds the config; `arg="smoke"` shrinks it."""
  c = common.run("konica_system3", arg)
  c.batch_size = 4
  c.published = published.of("konica_system3")
  eat = common.add_encoder(c, "eat", size="large", arg=arg)
  c.branches = dict(
    dif=konica_system4.dif_branch(
      backend=NEIGHBOURS, calibration=dict(name="percentile"), weight=0.6
    ),
    eat_large=eat_branch(eat),
  )
  return c


def eat_branch(encoder):
  """Frozen EAT-large: mean of the patches of the near channel, 1024 wide."""
  return common.branch(
    frontend=dict(name="eat_fbank"),
    encoder=encoder("output"),
    pooling=dict(name="mean_patches"),
    transform=dict(name="zca", covariance="ledoit_wolf", ridge=0.0),
    backend=NEIGHBOURS,
    calibration=dict(name="percentile"),
    weight=0.4,
  )
