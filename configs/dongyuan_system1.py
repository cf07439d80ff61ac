"""Dongyuan system 1: BEATs and AudioMAE, near and far gated. Published 61.43.

Small additions to the attention of both networks (LoRA) and a gate between the
tokens of near and far learn to tell attributes and domains of all machines
apart; in use the near channel is fed to both sides of the gate. Mahalanobis
distance of the BEATs embedding to the nearer domain (0.85) and mean cosine
distance of the AudioMAE embedding to three training clips (0.15), each on the
scale of its own training scores. The scale and margin of the losses, rates,
batches, epochs and strengths of the augmentation are our choice, as are the ten
seconds that are heard. Needs the weights of BEATs (iter3) and AudioMAE
(docs/weights.md).

The report chooses on labelled development machines, then trains on the clips of
the machines to be scored; both commands stand in docs/training.md.

Run: python scripts/evaluate.py --config=configs/dongyuan_system1.py
  --config.checkpoints.beats_base=FILE --config.checkpoints.audiomae_base=FILE
  --config.data_dir=DIR --config.output_dir=OUT
"""

from configs import common, published

NEAR_TWICE, NEAR_AND_FAR = (0, 0), (0, 1)
RECIPE = dict(
  trains=dict(
    name="lora",
    rank=8,
    alpha=16.0,
    dropout=0.1,
    targets=("q", "k", "v", "out"),
  ),
  head=dict(name="gated_projection"),
  criteria=(
    dict(name="arcface", labels="attribute_or_none", scale=30.0, margin=0.2),
    dict(name="arcface", labels="domain", scale=30.0, margin=0.2),
  ),
  augment=(
    dict(name="channel_swap", probability=0.1),
    dict(name="channel_gain", probability=0.5, decibel=6.0),
    dict(name="channel_dropout", probability=0.1),
  ),
  optimiser=dict(
    learning_rate=1e-4,
    weight_decay=0.01,
    schedule="warmup_cosine",
    warmup=0.05,
  ),
  # Whatever is fed in use, both channels are heard in training.
  channels=NEAR_AND_FAR,
  batch_size=16,
  num_epochs=20,
)
SCORES = dict(
  beats=dict(
    # ArcFace fixes directions only, so that lengths say nothing.
    transform=dict(name="unit"),
    backend=dict(name="mahalanobis"),
    wrappers=("per_domain",),
    reference="in_sample",
  ),
  audiomae=dict(backend=dict(name="knn", k=3, metric="cosine")),
)


def get_config(arg=""):
  """Builds the config; `arg="smoke"` shrinks it."""
  return system("dongyuan_system1", arg, NEAR_TWICE, beats=0.85, audiomae=0.15)


def system(name, arg, channels, **weights):
  """A system of one or both encoders [Dongyuan26].

  Args:
    name: of the system.
    arg: "smoke" shrinks it.
    channels: fed to the gate in use.
    **weights: of the encoders' branches.
  """
  c = common.run(name, arg)
  c.batch_size = 4
  c.published = published.of(name)
  c.branches = {
    family: common.branch(
      channels=channels,
      frontend=common.LUDO_FRONTENDS[family],
      encoder=common.adapted(
        common.add_encoder(c, family, arg=arg)("embedding"), RECIPE, arg
      ),
      pooling=dict(name="mean_patches"),
      # A branch alone needs no common scale.
      calibration=dict(
        name="robust_zscore" if len(weights) > 1 else "identity"
      ),
      weight=weight,
      **SCORES[family],
    )
    for family, weight in weights.items()
  }
  return c
