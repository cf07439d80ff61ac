"""LUDO's residual and prototypes on noise-aware tokens: nobody has run it.

The Residual View of `ludo_system1.py` takes part of the far embedding from the
near one; NA-EAT's layers have taken far noise out of the near tokens before.
Here near is what NA-EAT makes of both channels and far what its far stream
ends with, which is EAT's own. Whether the two steps add up is the question.
Three published trainings, raw scores averaged. Needs the weights of EAT-base
and of its noise-aware layers (docs/weights.md).

Run: python scripts/evaluate.py --config=configs/fusion_prps_na_eat.py
  --config.checkpoints.eat_base=FILE --config.data_dir=DIR
  --config.output_dir=OUT
"""

from configs import common


def get_config(arg=""):
  """Builds the config; `arg="smoke"` shrinks it."""
  c = common.ludo("fusion_prps_na_eat", arg)
  c.branches = {}
  for number in common.trainings(arg):
    encoder = common.add_noise_aware(c, "na_eat", training=number, arg=arg)
    c.branches[f"na_eat_{number}"] = common.ludo_branch(
      "na_eat", encoder("output")
    )
  return c
