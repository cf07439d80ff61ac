"""Runs KATECH's ladder of front ends and prints it beside the published one.

Run: python scripts/katech_ablation.py --data_dir=DIR --output=OUT
or, in seconds on synthetic data: ... --output=OUT --smoke

Each rung is configs/katech_ablation.py:RUNG; rungs that hear the same sound
share their trained networks, and a stopped run goes on where it was.
"""

from collections.abc import Sequence
from pathlib import Path

from absl import flags

from asd_jax import errors
from asd_jax.runs import cli

_DATA = flags.DEFINE_string("data_dir", "", "challenge folders")
_OUTPUT = flags.DEFINE_string("output", "", "folder for everything")
_RUNGS = flags.DEFINE_list("rungs", [], "which; all if empty")
_SEEDS = flags.DEFINE_integer("seeds", 10, "networks a rung")
_EPOCHS = flags.DEFINE_integer("epochs", 0, "epochs; the config's if 0")
_SMOKE = flags.DEFINE_bool("smoke", False, "tiny networks, synthetic data")


def settings(rung: str) -> dict:
  """The config of one rung."""
  from configs import katech_ablation

  out = Path(_OUTPUT.value)
  smoke = ",smoke" if _SMOKE.value else ""
  config = katech_ablation.get_config(rung + smoke)
  config.data_dir = _DATA.value or str(out / "data")
  config.output_dir = str(out / rung)
  # One folder for all: rungs that hear the same sound share networks.
  config.training_dir = str(out / "training")
  config.seeds = tuple(range(1, 1 + (2 if smoke else _SEEDS.value)))
  if _EPOCHS.value:
    for branch in config.branches.values():
      branch.encoder.recipe.num_epochs = _EPOCHS.value
  return config.lock().to_dict()


def row(rung: tuple, found: dict) -> str:
  """One line of the table."""
  # The paper leaves some rungs out: 0 is not published.
  cell = lambda x: f"{100 * x:.2f}" if x else "-"
  title, _, _, mean, std, ensemble = rung
  summary = found["seed_summary"] or {"mean": 0.0, "std": 0.0}
  cells = [
    f"{cell(summary['mean'])} +- {cell(summary['std'])}",
    cell(found["official_score"]),
    f"{cell(mean)} +- {cell(std)}",
    cell(ensemble),
  ]
  return f"{title:22s}" + "".join(f"{c:>18s}" for c in cells)


def run(arguments: Sequence[str]) -> None:
  """Runs the rungs and prints the table."""
  from configs import common, katech_ablation

  ladder = katech_ablation.LADDER
  unknown = sorted(set(_RUNGS.value) - set(ladder))
  given = bool(_DATA.value) != _SMOKE.value
  if arguments or unknown or not _OUTPUT.value or not given or _SEEDS.value < 1:
    raise errors.InputError(
      f"flags: found {list(arguments)}, rungs {unknown}, seeds {_SEEDS.value};"
      " expected --output=OUT with either --data_dir=DIR or --smoke, --seeds of"
      f" 1 or more and rungs of {list(ladder)}."
    )
  from asd_jax.runs import evaluate, progress

  configs = {rung: settings(rung) for rung in _RUNGS.value or ladder}
  if _SMOKE.value:
    from asd_jax.data import synthetic

    synthetic.write(Path(_OUTPUT.value) / "data", **common.SMOKE_DATA)
  lines = []
  for rung, config in configs.items():
    with progress.Progress() as bars:
      found = evaluate.run(config, progress=bars)
    lines.append(row(ladder[rung], found))
  heads = ("mean +- std", "ensemble", "published", "ensemble")
  print(f"{'official score, %':22s}" + "".join(f"{h:>18s}" for h in heads))
  print("\n".join(lines))


if __name__ == "__main__":
  cli.main(run)
