"""MERL system 4: Dis NA-EAT where clips have attributes. Published 63.79.

Machines whose clips say their condition are scored by NA-EAT trained on as in
`merl_system1.py`, the others by NA-EAT as it is published; tokens averaged over
time, one bank a frequency, rescaled nearest neighbours, the scores of three
trainings averaged. Needs the weights of EAT-base and of its noise-aware layers
(docs/weights.md), and a GPU.

Run: python scripts/evaluate.py --config=configs/merl_system4.py
  --config.checkpoints.eat_base=FILE --config.data_dir=DIR
  --config.adapt.data_dirs="('EVAL',)" --config.output_dir=OUT
"""

from configs import common, merl_system1


def get_config(arg=""):
  """Builds the config; `arg="smoke"` shrinks it."""
  c = merl_system1.system("merl_system4", arg)
  for trained, when in ((True, "attributes"), (False, "no_attributes")):
    common.add_merl_branches(c, "na_eat", trained=trained, arg=arg, when=when)
  return merl_system1.with_seeds(c)
