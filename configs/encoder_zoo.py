"""LUDO figure 2: the last layer of an encoder, alone and with LUDO's two steps.

The argument names an encoder of `ENCODERS` and a row of `STEPS`: the near
channel alone, Residual View, or Residual View with prototypes (PRPS). All take
the same embeddings, which are computed once. The report prints numbers of SSLAM
and of AudioMAE++ tiny. Needs the encoder's weights (docs/weights.md).

Run: python scripts/evaluate.py --config=configs/encoder_zoo.py:sslam_base,prps
  --config.checkpoints.sslam_base=FILE --config.data_dir=DIR
  --config.output_dir=OUT

With `,smoke` it is shrunk to synthetic data and seconds.
"""

from configs import common, published

SIZES = dict(
  sslam=("base",),
  audiomaepp=("tiny", "base", "large"),
  audiomae=("base",),
  audiomae_finetuned=("base",),
  beats=("base",),
  ced=("tiny", "mini", "small", "base"),
  dasheng=("base", "0.6B", "1.2B"),
  eat=("base", "large"),
  fisher=("tiny", "mini", "small"),
  m2d_clap=("2024", "2024_finetuned", "2025"),
)
ENCODERS = {f"{f}_{s}": (f, s) for f, sizes in SIZES.items() for s in sizes}
# Coefficient of the far channel, and whether there are prototypes.
STEPS = dict(near=(0.0, False), residual=(0.5, False), prps=(0.5, True))
ROWS = tuple(f"{e},{s}" for e in ENCODERS for s in STEPS)
# Rows that `scripts/reproduce.py` runs only if they are named.
ASKED = ROWS


def get_config(arg=""):
  """Builds the config of `"sslam_base,prps"` or `"sslam_base,prps,smoke"`."""
  parts = [p for p in arg.split(",") if p]
  smoke = "smoke" if "smoke" in parts else ""
  named = ",".join(p for p in parts if p != "smoke") or ROWS[0]
  if named not in ROWS:
    raise ValueError(
      f"config argument: found {arg!r}, expected an encoder of {[*ENCODERS]}"
      f" and a step of {tuple(STEPS)}, as in 'sslam_base,prps'; with ',smoke'"
      " to shrink it."
    )
  encoder, step = named.split(",")
  family, size = ENCODERS[encoder]
  c = common.ludo(f"encoder_zoo_{encoder}_{step}", smoke)
  c.published = published.zoo(encoder, step)
  layer = common.add_encoder(c, family, size=size, arg=smoke)
  alpha, prototypes = STEPS[step]
  c.branches = {
    family: common.ludo_branch(
      family, layer("output"), alpha=alpha, prototypes=prototypes
    )
  }
  return c
