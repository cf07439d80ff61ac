"""KATECH's negative results: what it tried beside AdaSub, one row an argument.

AdaSub with its plain scores is a rung of the ladder (published 64.70,
`katech_ablation:ada_sub`). `ledoit_wolf` has another covariance (+0.03 points).
The others have a second branch beside it, with as much weight:
`bottleneck_knn`: the nearest training clip by the mean code of the same
networks (no robust signal);
`outlier_exposure`: how unlikely a clip is to be of its machine among all, by a
classifier on frozen M2D tokens (+1.1 with one seed, -0.8 +- 0.8 over ten);
`lora`, `adapters`: the nearest training clip by M2D that learns to tell
machines apart, with small additions to its attention or by a head on frozen
tokens alone (at most +0.1).

The encoder and all forms but the first are our choice: the report names them
only. What it says too little of to build stands in docs/results.md. The last
three need the weights of M2D-CLAP (docs/weights.md, for evaluation only).

Run: python scripts/evaluate.py
  --config=configs/katech_negative.py:bottleneck_knn --config.data_dir=DIR
  --config.output_dir=OUT

A row with `,smoke` is shrunk to synthetic data and seconds.
"""

from configs import common, konica_system1

# Machines as classes; the head's outputs are their logits.
EXPOSED = dict(
  criteria=(dict(name="softmax", labels="machine"),),
  head=dict(name="context_projection", num_outputs=64),
)
TOLD = dict(criteria=(dict(name="arcface", labels="machine"),))
LORA = dict(name="lora", rank=8, alpha=16.0, targets=("q", "k", "v"))
FROZEN = dict(name="frozen")
RECIPE = konica_system1.RECIPE | dict(
  augment=(),
  optimiser=konica_system1.RECIPE["optimiser"] | dict(learning_rate=1e-4),
)
NEAREST = dict(backend=dict(name="knn", k=1, metric="cosine"))
UNLIKELY = dict(backend=dict(name="own_class"), reference="in_sample")
# Row: what of the encoder is trained and to what, and the scores.
ADAPTED = dict(
  outlier_exposure=(dict(trains=FROZEN) | EXPOSED, UNLIKELY),
  lora=(dict(trains=LORA) | TOLD, NEAREST),
  adapters=(dict(trains=FROZEN) | TOLD, NEAREST),
)
ROWS = ("ledoit_wolf", "bottleneck_knn", *ADAPTED)
# Rows that `scripts/reproduce.py` runs only if they are named.
ASKED = ROWS


def get_config(arg=""):
  """Builds the config of a row, `"lora"` or `"lora,smoke"`."""
  row, smoke = common.choice(arg, ROWS)
  c = common.katech(f"katech_negative_{row}", smoke)
  plain = dict(
    name="residual_mahalanobis",
    alpha=0.2,
    percentile=90.0,
    ridge=1e-3,
    ledoit_wolf=False,
  )
  if row == "ledoit_wolf":
    plain |= dict(ledoit_wolf=True, ridge=0.0)
  c.branches = dict(
    ada_sub=common.katech_branch("ada_sub", smoke, backend=plain)
  )
  if row == "bottleneck_knn":
    c.branches.code = code_branch(smoke)
  elif row in ADAPTED:
    c.branches.m2d = m2d_branch(c, row, smoke)
  return c


def code_branch(arg=""):
  """Nearest training clip by the mean code of AdaSub's networks."""
  branch = common.katech_branch("ada_sub", arg)
  return branch | dict(
    encoder=branch["encoder"] | dict(output="code"),
    pooling=dict(name="mean_time"),
    backend=dict(name="knn", k=1, metric="euclidean"),
    calibration=dict(name="zscore"),
    reference="loo",
  )


def m2d_branch(c, row, arg=""):
  """M2D that learns to tell machines apart, and a score of its embedding.

  Args:
    c: settings of a run, which get what the encoder needs.
    row: of `ADAPTED`.
    arg: "smoke" shrinks it.
  """
  c.batch_size = 4
  recipe, stages = ADAPTED[row]
  encoder = common.add_encoder(c, "m2d_clap", size="2025", arg=arg)
  return common.branch(
    frontend=common.LUDO_FRONTENDS["m2d_clap"],
    encoder=common.adapted(encoder("embedding"), RECIPE | recipe, arg),
    pooling=dict(name="mean_patches"),
    calibration=dict(name="zscore"),
    **stages,
  )
