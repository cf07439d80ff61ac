"""MERL system 2: five encoders as they are published. Published 63.43.

BEATs, EAT-base and EAT-large hear the near channel, NA-EAT and NA-BEATs near
and far; nothing is trained. One bank a frequency, rescaled nearest neighbours,
raw scores weighed 1, 0.5, 0.5, 1 and 1, where the three published trainings of
a noise-aware encoder count as one. Needs the weights of all five
(docs/weights.md).

Run: python scripts/evaluate.py --config=configs/merl_system2.py
  --config.checkpoints.beats_base=FILE --config.checkpoints.eat_base=FILE
  --config.checkpoints.eat_large=FILE --config.data_dir=DIR
  --config.output_dir=OUT

The files of the noise-aware layers, `dcase2026_nabeats_seed0.ckpt` and so on,
are sought in the folder of weights; `--config.checkpoints.na_beats_seed0=FILE`
names another place. `configs/merl_system2.py:frozen` is the first three alone,
of which no number is published.
"""

from configs import common, published

# (encoder, size, weight)
FROZEN = dict(
  beats=("beats", "base", 1.0),
  eat=("eat", "base", 0.5),
  eat_large=("eat", "large", 0.5),
)
NOISE_AWARE = dict(na_eat=1.0, na_beats=1.0)


def get_config(arg=""):
  """Builds the config of `""`, `"frozen"`, `"smoke"` or `"frozen,smoke"`."""
  row, smoke = common.choice(arg, ("all", "frozen"))
  whole = row == "all"
  c = common.run("merl_system2" if whole else "merl_system2_frozen", smoke)
  c.batch_size = 4
  c.branches = {
    name: common.merl_branch(
      family,
      common.add_encoder(c, family, size=size, arg=smoke)("output"),
      weight=weight,
    )
    for name, (family, size, weight) in FROZEN.items()
  }
  if whole:
    c.published = published.of("merl_system2")
    for family, weight in NOISE_AWARE.items():
      common.add_merl_branches(c, family, arg=smoke, weight=weight)
  return c
