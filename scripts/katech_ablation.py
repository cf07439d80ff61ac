"""Runs KATECH's ladder of front ends and prints it beside the published one.

Run: python scripts/katech_ablation.py --data_dir=DIR --output=OUT
or, in seconds on synthetic data:
python scripts/katech_ablation.py --output=OUT --smoke
or table 4, machine by machine:
python scripts/katech_ablation.py --data_dir=DIR --output=OUT --table=4

Each rung is configs/katech_ablation.py:RUNG; rungs that hear the same sound
share their trained networks, and a stopped run goes on where it was.
"""

from collections.abc import Sequence
from pathlib import Path

from absl import flags

from asd_jax import errors
from asd_jax.runs import cli, config_file

_DATA = flags.DEFINE_string("data_dir", "", "challenge folders")
_OUTPUT = flags.DEFINE_string("output", "", "folder for everything")
_RUNGS = flags.DEFINE_list("rungs", [], "which, comma-separated; all if empty")
_SEEDS = flags.DEFINE_integer("seeds", 10, "networks a rung")
_EPOCHS = flags.DEFINE_integer("epochs", 0, "epochs; the config's if 0")
_TABLE = flags.DEFINE_enum(
  "table", None, ["4"], "the table by machine, and not the ladder"
)
_SMOKE = flags.DEFINE_bool("smoke", False, "tiny networks, synthetic data")


def settings(rung: str) -> dict:
  """The config of one rung."""
  from configs import katech_ablation

  out = Path(_OUTPUT.value)
  smoke = ",smoke" if _SMOKE.value else ""
  config = katech_ablation.get_config(rung + smoke)
  config.seeds = tuple(range(1, 1 + (2 if smoke else _SEEDS.value)))
  config.threshold.folds = 0  # the table has no decisions
  data = _DATA.value or str(out / "data")
  config_file.beside_others(
    config, out, rung, data_dir=data, num_epochs=_EPOCHS.value
  )
  return config.lock().to_dict()


def run(arguments: Sequence[str]) -> None:
  """Runs the rungs and prints the table."""
  from configs import common, katech_ablation, katech_table4, published

  ladder = katech_ablation.LADDER
  unknown = sorted(set(_RUNGS.value) - set(ladder))
  given = bool(_DATA.value) != _SMOKE.value
  both = bool(_TABLE.value and _RUNGS.value)
  wrong = arguments or unknown or both or not given or _SEEDS.value < 1
  if wrong or not _OUTPUT.value:
    raise errors.InputError(
      f"flags: found {list(arguments)}, rungs {unknown}, seeds {_SEEDS.value};"
      " expected --output=OUT with either --data_dir=DIR or --smoke, --seeds of"
      f" 1 or more, and --table or rungs of {list(ladder)}."
    )
  from asd_jax.data import clips
  from asd_jax.report import systems
  from asd_jax.runs import ladder as more
  from asd_jax.runs import table

  rungs = katech_table4.COLUMNS if _TABLE.value else _RUNGS.value or ladder
  out = Path(_OUTPUT.value)
  configs = {rung: settings(rung) for rung in rungs}
  if _SMOKE.value:
    from asd_jax.data import synthetic

    synthetic.write(out / "data", **common.SMOKE_DATA)
  found = table.run(
    [
      table.Entry(ladder[rung][0], c, c["published"])
      for rung, c in configs.items()
    ],
    out,
    machines=clips.read_tree(_DATA.value or str(out / "data")),
    known=published.FACTS,
    done=lambda system: print(systems.line(system)),
  )
  if _TABLE.value:
    oracle = published.KATECH_ORACLE / 100
    lines = more.by_machine(found, oracle)
  else:
    lines = [*systems.console(found), "", *more.on_fan(found)]
  print("\n".join(lines))
  print(f"page: {out / table.PAGE}")


if __name__ == "__main__":
  cli.main(run)
