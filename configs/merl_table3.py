"""MERL's table 3: nine encoders behind the same scores, one a row.

`beats` (published 60.28), `eat` (59.24) and `eat_large` (59.95) hear the near
channel; `na_beats` (63.18) and `na_eat` (63.13) the far one too; `dis_beats`
(61.40), `dis_eat` (58.83), `dis_na_beats` (63.92) and `dis_na_eat` (64.35) are
trained on, see `merl_dis_beats.py` and `merl_system1.py`. Tokens averaged over
time, one bank a frequency, rescaled nearest neighbours; scores of three
trainings averaged. Needs the weights of the row (docs/weights.md), and a GPU
where it trains.

Run: python scripts/evaluate.py --config=configs/merl_table3.py:na_eat
  --config.checkpoints.eat_base=FILE --config.data_dir=DIR
  --config.output_dir=OUT
or all rows whose weights are at hand, beside the published ones:
python scripts/reproduce.py --data_dir=DIR --output=OUT --systems=merl_table3

A row with `,smoke` is shrunk to synthetic data and seconds.
"""

from configs import common, merl_dis_beats, merl_system1

# (family, size) of what hears near alone.
FROZEN = dict(
  beats=("beats", "base"), eat=("eat", "base"), eat_large=("eat", "large")
)
# (family, whether it is trained on) of noise-aware ones.
NOISE_AWARE = dict(
  na_beats=("na_beats", False),
  na_eat=("na_eat", False),
  dis_na_beats=("na_beats", True),
  dis_na_eat=("na_eat", True),
)
DIS = dict(dis_beats="beats", dis_eat="eat")
ROWS = (
  *FROZEN,
  "na_beats",
  "na_eat",
  *DIS,
  "dis_na_beats",
  "dis_na_eat",
)
# Rows that `scripts/reproduce.py` runs only if they are named: those of configs
# of their own, and those that train.
ASKED = tuple(row for row in ROWS if row.startswith("dis_"))


def get_config(arg=""):
  """Builds the config of a row, `"na_eat"` or `"na_eat,smoke"`."""
  row, smoke = common.choice(arg, ROWS)
  name = f"merl_{row}"
  if row in DIS:
    return merl_dis_beats.system(name, DIS[row], smoke)
  c = merl_system1.system(name, smoke)
  if row in FROZEN:
    family, size = FROZEN[row]
    encoder = common.add_encoder(c, family, size=size, arg=smoke)
    c.branches = {row: common.merl_branch(family, encoder("output"))}
    return c
  family, trained = NOISE_AWARE[row]
  common.add_merl_branches(c, family, trained=trained, arg=smoke)
  return merl_system1.with_seeds(c) if trained else c
