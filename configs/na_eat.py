"""Pre-trains NA-EAT: EAT that hears a machine among noises [MERL26].

As `configs/na_beats.py`, on EAT (base, epoch 30). The token of the clip is
refined as well, and counts in the loss as much as all patches. Needs the
weights of EAT (docs/weights.md), and an accelerator: docs/pretraining.md.

Run: python scripts/train.py --config=configs/na_eat.py
  --config.checkpoint=FILE --config.data_dir=TFDS --config.output_dir=OUT

TFDS has the corpora of the report, built once; with folders of wave files
instead: --config.target=DIR --config.noises="('DIR',)"
"""

from configs import pretraining


def get_config(arg=""):
  """Builds the config of `""` or `"smoke"`."""
  frontend = dict(name="eat_fbank", multiple=32)
  return pretraining.settings("na_eat", frontend, arg)
