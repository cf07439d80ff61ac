"""Pre-trains NA-DaSheng: DaSheng that hears a machine among noises.

As `configs/na_beats.py`, on DaSheng (base), which the public code of [MERL26]
has and its report has not. Needs the weights of DaSheng (docs/weights.md), and
an accelerator: docs/pretraining.md.

Run: python scripts/train.py --config=configs/na_dasheng.py
  --config.checkpoint=FILE --config.data_dir=TFDS --config.output_dir=OUT

TFDS has the corpora of the report, built once; with folders of wave files
instead: --config.target=DIR --config.noises="('DIR',)"
"""

from configs import pretraining


def get_config(arg=""):
  """Builds the config of `""` or `"smoke"`."""
  return pretraining.settings("na_dasheng", dict(name="dasheng_mel"), arg)
