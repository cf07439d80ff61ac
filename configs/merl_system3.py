"""MERL system 3: Dis NA-BEATs and relative deviations. Published 64.57.

Trained on as in `merl_system1.py`; pooling over time weighs what stands out of
a clip (RDP), one bank a frequency, rescaled nearest neighbours; the scores of
the three trainings averaged. Needs the weights of BEATs (iter3) and of its
noise-aware layers (docs/weights.md), and a GPU.

Run: python scripts/evaluate.py --config=configs/merl_system3.py
  --config.checkpoints.beats_base=FILE --config.data_dir=DIR
  --config.adapt.data_dirs="('EVAL',)" --config.output_dir=OUT
"""

from configs import common, merl_system1


def get_config(arg=""):
  """Builds the config; `arg="smoke"` shrinks it."""
  c = merl_system1.system("merl_system3", arg)
  common.add_merl_branches(
    c, "na_beats", trained=True, arg=arg, pooling="relative_deviation"
  )
  return merl_system1.with_seeds(c)
