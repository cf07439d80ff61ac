"""Pre-trains NA-BEATs: BEATs that hears a machine among noises [MERL26].

A trained layer behind each block of the frozen BEATs (iter3) looks at the far
channel. On recordings simulated in rooms of two microphones the tokens are to
be those that BEATs alone makes of the clean sound: AdamW at 1e-4, batches of
160 clips of ten seconds, 200 passes, averages of the weights after 20,000
steps, the state that does best on held-out mixtures. Needs the weights of
BEATs (docs/weights.md), and an accelerator: docs/pretraining.md.

Run: python scripts/train.py --config=configs/na_beats.py
  --config.checkpoint=FILE --config.data_dir=TFDS --config.output_dir=OUT

TFDS has the corpora of the report, built once; with folders of wave files
instead: --config.target=DIR --config.noises="('DIR',)"
"""

from configs import pretraining


def get_config(arg=""):
  """Builds the config of `""` or `"smoke"`."""
  return pretraining.settings("na_beats", dict(name="beats_fbank"), arg)
