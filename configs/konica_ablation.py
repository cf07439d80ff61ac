"""Konica Minolta's ablations, one row an argument.

Of system 3, each branch alone (published 62.18 and 60.96):
`dif`: the features with three neighbours, where system 4 takes one;
`eat`: frozen EAT-large embeddings of the near channel.

Of system 1, table 3: `frozen` (56.27), `full` (62.07), `mask` (64.41), and what
the text compares with it, by the published differences in points: `mask_power`,
a mask without the coherence (-1.3); `cosface` (-0.8), `elasticface` (-2.5) and
`magface` (-2.6) in place of ArcFace; `lora` of rank 16 (-3.3); `dann` (+0.2 at
most); `mixstyle`, and of the embeddings `mean_shift`, `unit` and `zscore`, of
which it says that they gave no meaningful improvement. Rows that train need the
weights of EAT-large (docs/weights.md) and a GPU.

Run: python scripts/evaluate.py --config=configs/konica_ablation.py:dif
  --config.data_dir=DIR --config.output_dir=OUT

A row with `,smoke` is shrunk to synthetic data and seconds.
"""

from configs import common, konica_system1, konica_system3, published

RECIPE = konica_system1.RECIPE
DOMAINS = dict(name="dann", labels=dict(name="domain", literal=True))
NEAR = dict(channels=(0,), denoise=dict(name="identity"))
MASK_POWER = dict(
  name="spectral", denoiser=dict(name="coherence_mask", weight=0.0)
)


def _criteria(*criteria):
  """System 1's recipe with other losses."""
  labelled = [dict(labels="attribute") | c for c in criteria]
  return {**RECIPE, "criteria": tuple(labelled)}


LORA = dict(name="lora", rank=16, alpha=16.0, dropout=0.0, targets=("q", "v"))
# The adapters' rate is that of the head: 1e-5 is one for all of a network.
LORA_RATES = {**RECIPE["optimiser"], "learning_rate": 1e-4}
# Row: recipe, stages of the branch.
STEPS = dict(
  frozen=(None, NEAR),
  full=(RECIPE, NEAR),
  mask=(RECIPE, {}),
  mask_power=(RECIPE, dict(denoise=MASK_POWER)),
  cosface=(_criteria(dict(name="cosface", scale=30.0, margin=0.35)), {}),
  elasticface=(
    _criteria(dict(name="elasticface_arc", margin=0.5, deviation=0.05)),
    {},
  ),
  magface=(_criteria(dict(name="magface")), {}),
  lora=({**RECIPE, "trains": LORA, "optimiser": LORA_RATES}, {}),
  dann=(_criteria(*RECIPE["criteria"], DOMAINS), {}),
  mixstyle=({**RECIPE, "mixstyle": dict(probability=0.5, beta=0.1)}, {}),
  mean_shift=(RECIPE, dict(transform=dict(name="domain_mean"))),
  unit=(RECIPE, dict(transform=dict(name="unit"))),
  zscore=(RECIPE, dict(transform=dict(name="domain_zscore"))),
)
ALONE = dict(dif="eat_large", eat="dif")
ROWS = (*ALONE, *STEPS)
# Rows that `scripts/reproduce.py` runs only if they are named.
ASKED = tuple(STEPS)


def get_config(arg=""):
  """Builds the config of a row, `"dif"` or `"dif,smoke"`."""
  row, smoke = common.choice(arg, ROWS)
  name = f"konica_ablation_{row}"
  if row in ALONE:
    return _alone(name, ALONE[row], smoke)
  c = common.run(name, smoke)
  c.published = published.step(row)
  recipe, stages = STEPS[row]
  c.branches = dict(eat_large=konica_system1.branch(c, recipe, smoke, **stages))
  return c


def _alone(name, other, smoke):
  """One branch of system 3 without the other."""
  c = konica_system3.get_config(smoke)
  c.system = name
  c.published = published.of(c.system)
  if other == "eat_large":
    c.checkpoints = dict()
  del c.branches[other]
  # One branch needs no common scale: ranks would only tie.
  for branch in c.branches.values():
    branch.update(calibration=dict(name="identity"), weight=1.0)
  return c
