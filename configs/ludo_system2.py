"""LUDO system 2: five layers of three encoders. Published score 62.55.

Residual View and prototypes of each, raw scores averaged. The networks are run
once for all their layers. Needs the weights of BEATs (iter3), DaSheng base and
SSLAM (docs/weights.md).

Run: python scripts/evaluate.py --config=configs/ludo_system2.py
  --config.checkpoints.sslam_base=FILE --config.checkpoints.beats_base=FILE
  --config.checkpoints.dasheng_base=FILE --config.data_dir=DIR
  --config.output_dir=OUT
"""

from configs import common, published

# (family, layer); the submission calls DaSheng's output its layer 1.
MEMBERS = dict(
  beats_l6=("beats", "layer_6"),
  beats_l12=("beats", "layer_12"),
  dasheng_l1=("dasheng", "output"),
  sslam_l6=("sslam", "layer_6"),
  sslam_l12=("sslam", "layer_12"),
)


def get_config(arg=""):
  """Builds the config; `arg="smoke"` shrinks it."""
  c = common.ludo("ludo_system2", arg)
  c.published = published.of("ludo_system2")
  families = dict.fromkeys(family for family, _ in MEMBERS.values())
  encoders = {f: common.add_encoder(c, f, arg=arg) for f in families}
  c.branches = {
    name: common.ludo_branch(family, encoders[family](layer))
    for name, (family, layer) in MEMBERS.items()
  }
  return c
