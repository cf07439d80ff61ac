"""MERL system 2: its three frozen branches. Published 63.43 with all five.

Frozen BEATs, EAT-base and EAT-large hear the near channel; one bank a
frequency, rescaled nearest neighbours, raw scores weighed 1, 0.5 and 0.5. The
two noise-aware branches (weight 1 each) are not in the package yet, so this
config runs the frozen ones, and says so in its name.

Run: python scripts/evaluate.py --config=configs/merl_system2.py
  --config.checkpoints.beats_base=FILE --config.checkpoints.eat_base=FILE
  --config.checkpoints.eat_large=FILE --config.data_dir=DIR
  --config.output_dir=OUT
"""

from configs import common

EAT = dict(name="eat_fbank", multiple=32)
# (encoder, size, front end, weight)
FROZEN = dict(
  beats=("beats", "base", dict(name="beats_fbank"), 1.0),
  eat=("eat", "base", EAT, 0.5),
  eat_large=("eat", "large", EAT, 0.5),
)


def get_config(arg=""):
  """Builds the config; `arg="smoke"` shrinks it."""
  c = common.run("merl_system2_frozen", arg)
  c.batch_size = 4
  c.branches = {
    name: frozen_branch(
      frontend, common.add_encoder(c, family, size=size, arg=arg), weight=weight
    )
    for name, (family, size, frontend, weight) in FROZEN.items()
  }
  return c


def frozen_branch(frontend, encoder, *, pooling="mean_time", weight=1.0):
  """A frozen encoder of the near channel, a bank a frequency [MERL26].

  Args:
    frontend: its settings.
    encoder: `layer -> settings`.
    pooling: over time.
    weight: in the mean over branches.
  """
  return common.branch(
    frontend=frontend,
    encoder=encoder("output"),
    pooling=dict(name=pooling),
    backend=dict(name="variance_minimised", k=4, metric="half_cosine"),
    wrappers=("per_frequency",),
    weight=weight,
  )
