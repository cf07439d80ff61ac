"""The ladder of KATECH's tables 1 and 2, one rung an argument.

Run: python scripts/evaluate.py --config=configs/katech_ablation.py:ada_sub
  --config.data_dir=DIR --config.output_dir=OUT
or the whole ladder beside the published one: scripts/katech_ablation.py.
A rung with `,smoke` is shrunk to synthetic data and seconds.
"""

from configs import common, published

# Rung: title, denoisers of its branches, scores by domain.
LADDER = dict(
  ae=("AE (near channel)", ("",), False),
  ref_sub=("+ RefSub", ("ref_sub",), False),
  ada_sub=("+ AdaSub", ("ada_sub",), False),
  ada_sub_domain=("+ DM + shrink + P95", ("ada_sub",), True),
  coh_gate=("CohGate", ("coh_gate",), False),
  combo=("Combo", ("ada_sub", "coh_gate"), False),
  coh_sub=("CohSub", ("coh_sub",), False),
  wiener=("Wiener", ("wiener",), False),
  mmse_lsa=("MMSE-LSA", ("mmse_lsa",), False),
)


def get_config(arg=""):
  """Builds the config of a rung, `"ada_sub"` or `"ada_sub,smoke"`."""
  rung, smoke = common.choice(arg, LADDER)
  _, denoisers, by_domain = LADDER[rung]
  plain = dict(
    name="residual_mahalanobis", alpha=0.2, percentile=90.0, ridge=1e-3
  )
  backend = None if by_domain else plain
  c = common.katech(f"katech_ablation_{rung}", smoke)
  c.published = published.rung(rung)
  c.branches = {
    d or "near": common.katech_branch(d, smoke, backend=backend)
    for d in denoisers
  }
  return c
