"""MERL system 1, the best published: Dis NA-EAT and Dis NA-BEATs. 66.20.

Both noise-aware encoders, trained on to tell conditions apart, each three
times: a published training of the layers with a seed of its own. Tokens of near
averaged over time, one bank a frequency, to which target clips are made
(SMOTE), the nearest counts; raw scores averaged, trainings first. Training is
as `merl_dis_beats.py` says; LoRA stands in the noise-aware layers too, and both
channels are heard. Needs the weights of EAT-base, BEATs (iter3) and of the
layers (docs/weights.md), and a GPU.

Run: python scripts/evaluate.py --config=configs/merl_system1.py
  --config.checkpoints.eat_base=FILE --config.checkpoints.beats_base=FILE
  --config.data_dir=DIR --config.adapt.data_dirs="('EVAL',)"
  --config.output_dir=OUT

The report trains on the clips of all twelve machines: DIR has those of the
development set, EVAL those of the additional training set.
"""

from configs import common, published

ENCODERS = ("na_eat", "na_beats")


def get_config(arg=""):
  """Builds the config; `arg="smoke"` shrinks it."""
  c = system("merl_system1", arg)
  for family in ENCODERS:
    common.add_merl_branches(c, family, trained=True, arg=arg, shift="smote")
  return with_seeds(c)


def system(name, arg):
  """Settings of a run of noise-aware encoders [MERL26], without branches."""
  c = common.run(name, arg)
  c.batch_size = 4
  c.branches = dict()
  if name in published.names():
    c.published = published.of(name)
  return c


def with_seeds(c):
  """The run with a seed for each training of the layers."""
  number = lambda name: 1 + int(name.rpartition("_")[2])
  c.seeds = tuple(sorted({number(name) for name in c.branches}))
  c.members = tuple((name, number(name)) for name in c.branches)
  return c
