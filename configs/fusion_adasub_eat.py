"""KATECH's denoiser before a frozen EAT: nobody has run it.

AdaSub subtracts what the far channel says of the noise from the near spectra;
the near channel is put together again and heard by EAT-base, behind which are
MERL's scores: one bank a frequency, rescaled nearest neighbours. The row `eat`
of `merl_table3.py` (published 59.24) is the same without the denoiser. Needs
the weights of EAT-base (docs/weights.md).

Run: python scripts/evaluate.py --config=configs/fusion_adasub_eat.py
  --config.checkpoints.eat_base=FILE --config.data_dir=DIR
  --config.output_dir=OUT
"""

from configs import common


def get_config(arg=""):
  """Builds the config; `arg="smoke"` shrinks it."""
  c = common.run("fusion_adasub_eat", arg)
  c.batch_size = 4
  encoder = common.add_encoder(c, "eat", arg=arg)("output")
  c.branches = dict(
    eat=common.merl_branch(
      "eat",
      encoder,
      channels=(0, 1),
      denoise=dict(name="spectral", denoiser=dict(name="ada_sub")),
    )
  )
  return c
