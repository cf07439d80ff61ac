"""MERL's Dis EAT: EAT-base trained to tell conditions apart. Published 58.83.

Table 3's row, trained and scored as `merl_dis_beats.py` says. Needs the weights
of EAT-base (docs/weights.md).

Run: python scripts/evaluate.py --config=configs/merl_dis_eat.py
  --config.checkpoints.eat_base=FILE --config.data_dir=DIR
  --config.adapt.data_dirs="('EVAL',)" --config.output_dir=OUT
"""

from configs import merl_dis_beats


def get_config(arg=""):
  """Builds the config of `""`, `"rdp"`, `"smoke"` or `"rdp,smoke"`."""
  return merl_dis_beats.system("merl_dis_eat", "eat", arg)
