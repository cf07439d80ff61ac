"""MERL's Dis BEATs: BEATs trained to tell conditions apart. Published 61.40.

Table 3's row: small additions to the attention (LoRA of rank 64) learn with a
pooling and a layer that are left behind; in use it is the tokens that count,
one bank a frequency, with rescaled nearest neighbours. Machines without
attributes get groups of clips that sound alike. Three trainings, their scores
averaged. The far channel is not heard. Alpha and dropout of LoRA, the fixed
scale of the loss, 16 groups, the weight decay and the ten seconds that are
heard in training are our choice. Needs the weights of BEATs (iter3;
docs/weights.md).

Run: python scripts/evaluate.py --config=configs/merl_dis_beats.py
  --config.checkpoints.beats_base=FILE --config.data_dir=DIR
  --config.adapt.data_dirs="('EVAL',)" --config.output_dir=OUT

The report trains on the clips of all twelve machines: DIR has those of the
development set, EVAL those of the additional training set. With `rdp` as
argument, `configs/merl_dis_beats.py:rdp`, pooling over time weighs what stands
out of a clip; of that no number is published.
"""

from configs import common, published

POOLINGS = dict(average="mean_time", rdp="relative_deviation")


def get_config(arg=""):
  """Builds the config of `""`, `"rdp"`, `"smoke"` or `"rdp,smoke"`."""
  return system("merl_dis_beats", "beats", arg)


def system(name, family, arg):
  """A discriminative encoder of [MERL26].

  Args:
    name: of the system.
    family: of the encoder.
    arg: see `get_config`.
  """
  row, smoke = common.choice(arg, POOLINGS)
  plain = row == "average"
  c = common.run(name if plain else f"{name}_{row}", smoke)
  c.batch_size = 4
  c.seeds = (1, 2) if smoke else (1, 2, 3)
  if plain:
    c.published = published.of(name)
  encoder = common.add_encoder(c, family, arg=smoke)
  trained = common.adapted(encoder("output"), common.MERL_RECIPE, smoke)
  c.branches = {
    family: common.merl_branch(family, trained, pooling=POOLINGS[row])
  }
  return c
