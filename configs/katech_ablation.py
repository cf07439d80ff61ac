"""The ladder of KATECH's tables 1 and 2, one rung an argument.

Run: python scripts/evaluate.py --config=configs/katech_ablation.py:ada_sub
  --config.data_dir=DIR --config.output_dir=OUT
or the whole ladder beside the published one: scripts/katech_ablation.py.
A rung with `,smoke` is shrunk to synthetic data and seconds.
"""

from configs import common

# Rung: title, denoisers of its branches, scores by domain, published mean,
# deviation and ensemble ([KATECH26] tables 1 and 2; 0.0 is not published).
LADDER = dict(
  ae=("AE (near channel)", ("",), False, 0.6029, 0.0083, 0.5970),
  ref_sub=("+ RefSub", ("ref_sub",), False, 0.6265, 0.0128, 0.6153),
  ada_sub=("+ AdaSub", ("ada_sub",), False, 0.6370, 0.0062, 0.6470),
  ada_sub_domain=(
    "+ DM + shrink + P95", ("ada_sub",), True, 0.6431, 0.0057, 0.6544,
  ),
  coh_gate=("CohGate", ("coh_gate",), False, 0.6035, 0.0044, 0.0),
  combo=("Combo", ("ada_sub", "coh_gate"), False, 0.6182, 0.0100, 0.0),
  coh_sub=("CohSub", ("coh_sub",), False, 0.0, 0.0, 0.0),
  wiener=("Wiener", ("wiener",), False, 0.0, 0.0, 0.0),
  mmse_lsa=("MMSE-LSA", ("mmse_lsa",), False, 0.0, 0.0, 0.0),
)  # fmt: skip
# Mean and deviation over seeds on the machine fan alone ([KATECH26] table 2).
FAN = dict(
  ae=(0.5413, 0.0187),
  ref_sub=(0.5869, 0.0230),
  ada_sub=(0.6008, 0.0031),
  coh_gate=(0.6551, 0.0077),
  combo=(0.6519, 0.0114),
)


def get_config(arg=""):
  """Builds the config of a rung, `"ada_sub"` or `"ada_sub,smoke"`."""
  parts = [p for p in arg.split(",") if p]
  smoke = "smoke" if "smoke" in parts else ""
  rungs = [p for p in parts if p != "smoke"] or ["ada_sub"]
  if len(rungs) > 1 or rungs[0] not in LADDER:
    raise ValueError(
      f"config argument: found {arg!r}, expected one of {tuple(LADDER)}, with"
      " ',smoke' to shrink it."
    )
  _, denoisers, by_domain, mean, _, ensemble = LADDER[rungs[0]]
  plain = dict(
    name="residual_mahalanobis", alpha=0.2, percentile=90.0, ridge=1e-3
  )
  backend = None if by_domain else plain
  c = common.katech(f"katech_ablation_{rungs[0]}", smoke)
  c.published = dict(
    development=ensemble or mean, evaluation=0.0, source="[KATECH26]"
  )
  c.branches = {
    d or "near": common.katech_branch(d, smoke, backend=backend)
    for d in denoisers
  }
  return c
