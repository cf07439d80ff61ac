"""Synthetic machines, weight-free systems, their reports and one page for all.

Run: bash scripts/demo.sh
or:  python scripts/demo.py --output=OUT
"""

import importlib
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from asd_jax import errors
from asd_jax.runs import cli, config_file

_OUTPUT = flags.DEFINE_string("output", "out/demo", "folder for everything")
_EPOCHS = flags.DEFINE_integer(
  "epochs", 15, "epochs of the official autoencoder"
)

MACHINES = ("fan", "gearbox", "valve")
SYSTEMS = (
  "plain_knn",
  "plain_mahalanobis",
  "baseline_mse",
  "baseline_mahala",
  "katech_system1",
  "konica_system4",
)
# Ten networks of a hundred epochs take an hour: two small ones, a few epochs.
SHORT = {"katech_system1": dict(seeds=(1, 2), num_epochs=2)}
SMALL = {"katech_system1": dict(num_hidden=128, num_blocks=1)}
# Three minutes of listening a machine: enough to see the systems differ.
DATA = dict(num_source=90, num_target=10, num_test=12, seconds=2.0)


def settings(name: str, out: Path) -> dict:
  """The config of one system, with short training."""
  config = importlib.import_module(f"configs.{name}").get_config("")
  short = SHORT.get(name, {})
  config.seeds = short.get("seeds", config.seeds)
  for branch in config.branches.values():
    branch.encoder.update(SMALL.get(name, {}))
  epochs = short.get("num_epochs", _EPOCHS.value)
  config_file.beside_others(
    config, out, name, data_dir=str(out / "data"), num_epochs=epochs
  )
  return config.lock().to_dict()


def run(arguments: Sequence[str]) -> None:
  """Makes the data, runs the systems, prints the table."""
  if arguments:
    raise errors.InputError(
      f"flags: found {list(arguments)}, expected only flags."
    )
  from asd_jax.data import clips, synthetic
  from asd_jax.report import systems
  from asd_jax.runs import table

  out = Path(_OUTPUT.value)
  print(f"making recordings of {', '.join(MACHINES)} in {out / 'data'}")
  synthetic.write(out / "data", machines=MACHINES, **DATA)
  print(f"\n{'system':20s}" + "".join(f"{m:>10s}" for m in MACHINES), end="")
  print(f"{'all':>10s}   (harmonic mean of AUCs and pAUC, percent)", flush=True)

  def show(system: systems.System) -> None:
    found = system.results or {}
    scores = [found["machines"][m]["score"] for m in MACHINES]
    cells = [*scores, found["official_score"]]
    line = f"{system.name:20s}" + "".join(f"{100 * s:10.2f}" for s in cells)
    print(f"{line}   {out / system.link}", flush=True)

  table.run(
    table.entries([settings(name, out) for name in SYSTEMS], {}),
    out,
    machines=clips.read_tree(out / "data"),
    known={},
    done=show,
  )
  print(f"\nall systems side by side: {out / table.PAGE}")


if __name__ == "__main__":
  cli.main(run)
