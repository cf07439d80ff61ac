"""The best system of each team together, by percentile: nobody has run it.

`ludo_system1`, `konica_system3`, `dongyuan_system1`, `katech_system1` and
`merl_system1`, a fifth each. Scores of different kinds have no common scale but
their ranks, so every branch is ranked among its own training scores, with the
share that it has in its system; trainings of one network share theirs. Needs
the weights of SSLAM, EAT-large, BEATs (iter3), AudioMAE, EAT-base and of the
noise-aware layers (docs/weights.md), and a GPU.

Run: python scripts/evaluate.py --config=configs/fusion_best.py
  --config.data_dir=DIR --config.adapt.data_dirs="('EVAL',)"
  --config.output_dir=OUT
"""

from configs import (
  common,
  dongyuan_system1,
  katech_system1,
  konica_system3,
  ludo_system1,
  merl_system1,
)

SYSTEMS = dict(
  ludo=ludo_system1,
  konica=konica_system3,
  dongyuan=dongyuan_system1,
  katech=katech_system1,
  merl=merl_system1,
)


def get_config(arg=""):
  """Builds the config; `arg="smoke"` shrinks it."""
  c = common.run("fusion_best", arg)
  c.batch_size = 4
  c.threshold.folds = 2  # networks, trained again for each
  c.branches, members = {}, []
  for team, system in SYSTEMS.items():
    own = system.get_config(arg)
    seeds = _seeds(own)
    total = sum(b.weight for b in own.branches.values())
    _refer(c, own)
    for name, branch in own.branches.items():
      # Members count alike: a training has its part of the branch's share.
      share = branch.weight / total / len(SYSTEMS) / len(seeds[name])
      branch.update(calibration=dict(name="percentile"), weight=share)
      c.branches[f"{team}_{name}"] = branch
      members += [(f"{team}_{name}", seed) for seed in seeds[name]]
  c.seeds = tuple(sorted({seed for _, seed in members}))
  c.members = tuple(members)
  return c


def _seeds(own):
  """Seeds of each branch of a system."""
  if not own.members:
    return dict.fromkeys(own.branches, tuple(own.seeds))
  return {n: tuple(s for m, s in own.members if m == n) for n in own.branches}


def _refer(c, own):
  """Lets the run's checkpoints and precision set those of a system's branches.

  Args:
    c: settings of the run; `checkpoints` gets the system's entries.
    own: settings of the system.
  """
  own.get_ref("precision").set(c.get_ref("precision"))
  for entry in own.checkpoints:
    mine = own.checkpoints.get_ref(entry)
    if entry in c.checkpoints:
      mine.set(c.checkpoints.get_ref(entry))
    else:
      c.checkpoints[entry] = mine
