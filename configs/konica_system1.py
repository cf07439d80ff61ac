"""Konica Minolta system 1: EAT-large trained on masked sound. Published 64.41.

A mask from the coherence and the power ratio of near and far cleans the near
channel. All of EAT-large, a pooling and a projection learn to tell the
operating conditions of all machines apart (ArcFace); a clip's score is the
cosine distance of its embedding, the mean of ten crops, to the nearest training
clip of its machine. Scale of the loss, rates, batches and epochs are our
choice, as are the ten seconds that are heard. Needs the weights of EAT-large
(docs/weights.md), and a GPU: docs/training.md.

Run: python scripts/evaluate.py --config=configs/konica_system1.py
  --config.checkpoints.eat_large=FILE --config.data_dir=DIR
  --config.output_dir=OUT
"""

from configs import common, published

RECIPE = dict(
  trains=dict(name="full"),
  head=dict(name="attentive_projection"),
  criteria=(dict(name="arcface", labels="attribute", scale=30.0, margin=0.2),),
  augment=(dict(name="temporal_crop", low=0.6, high=1.0),),
  optimiser=dict(
    learning_rate=1e-5,
    head_learning_rate=1e-4,
    weight_decay=0.01,
    schedule="warmup_cosine",
    warmup=0.05,
  ),
  batch_size=32,
  num_epochs=20,
)
MASK = dict(name="spectral", denoiser=dict(name="coherence_mask", weight=0.7))


def get_config(arg=""):
  """Builds the config; `arg="smoke"` shrinks it."""
  c = common.run("konica_system1", arg)
  c.published = published.of("konica_system1")
  c.branches = dict(eat_large=branch(c, RECIPE, arg))
  return c


def branch(c, recipe, arg="", **stages):
  """EAT-large and its nearest training clip by cosine [KonicaMinolta26].

  Args:
    c: settings of a run, which get what the encoder needs.
    recipe: how the encoder is trained; None leaves it frozen, and averages its
      tokens.
    arg: "smoke" shrinks it.
    **stages: others than the plain ones.
  """
  c.batch_size = 4
  encoder = common.add_encoder(c, "eat", size="large", arg=arg)
  if recipe is None:
    encoder = encoder("output")
  else:
    encoder = common.adapted(encoder("embedding"), recipe, arg)
  plain = dict(
    channels=(0, 1),
    denoise=MASK,
    frontend=common.LUDO_FRONTENDS["eat"],
    encoder=encoder,
    tta=dict(name="crops", num=10, shortest=0.6),
    pooling=dict(name="mean_patches"),
    backend=dict(name="knn", k=1, metric="cosine"),
  )
  return common.branch(**{**plain, **stages})
