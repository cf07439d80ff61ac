"""Runs every system whose weights are at hand, beside the published scores.

Run: python scripts/reproduce.py --data_dir=DIR --output=OUT
or, tiny networks on synthetic data:
python scripts/reproduce.py --output=OUT --smoke

Systems without weights are left out, with where to get them. What is finished
is not run again. OUT/systems.html and .csv have every number and the published.
"""

import importlib
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from asd_jax import errors
from asd_jax.runs import cli, config_file

_DATA = flags.DEFINE_string("data_dir", "", "challenge folders")
_OUTPUT = flags.DEFINE_string("output", "out/reproduce", "folder for all")
_SYSTEMS = flags.DEFINE_list("systems", [], "which, comma-separated; else all")
_WEIGHTS = flags.DEFINE_string("weights_dir", "weights", "folder of weights")
_SEEDS = flags.DEFINE_integer("seeds", 0, "networks a system; its own if 0")
_DECISIONS = flags.DEFINE_bool("decisions", False, "models of folds too")
_SMOKE = flags.DEFINE_bool("smoke", False, "tiny networks, synthetic data")

# Configs that are parts of a table of their own, or a sweep.
OTHERS = ("katech_ablation", "katech_table4", "ludo_fig1")
# Configs of which each row is a system; `ASKED` of them if they are named.
TABLES = ("konica_ablation", "katech_negative", "encoder_zoo", "merl_table3")


def rows(chosen: Sequence[str]) -> dict[str, list[str]]:
  """Configs of the systems by what `--systems` may call them."""
  found = {n: [n] for n in config_file.systems() if n not in OTHERS}
  for name in set(TABLES) & set(found):
    table = importlib.import_module(f"configs.{name}")
    named = any(c.startswith(name) for c in chosen)
    left_out = () if named else table.ASKED
    found[name] = [f"{name}:{r}" for r in table.ROWS if r not in left_out]
  return found


def settings(name: str, data: str, out: Path) -> dict:
  """The config of one system, of `name` or `name:row`."""
  name, _, row = name.partition(":")
  module = importlib.import_module(f"configs.{name}")
  config = module.get_config((row + ",smoke" * _SMOKE.value).strip(","))
  config_file.beside_others(config, out, config.system, data_dir=data)
  config.weights_dir = _WEIGHTS.value
  if _SEEDS.value:
    config.seeds = config.seeds[: _SEEDS.value]
    config.members = tuple(m for m in config.members if m[1] in config.seeds)
  if not _DECISIONS.value:
    config.threshold.folds = 0
  return config.lock().to_dict()


def run(arguments: Sequence[str]) -> int | None:
  """Runs the systems and prints their table."""
  wrong = arguments or _SEEDS.value < 0 or bool(_DATA.value) == _SMOKE.value
  if wrong or not _OUTPUT.value:
    raise errors.InputError(
      f"flags: found {[*arguments]}, seeds {_SEEDS.value}, expected either"
      " --data_dir=DIR or --smoke, --output=OUT and --seeds of 0 or more."
    )
  from asd_jax.data import clips, synthetic
  from asd_jax.report import systems
  from asd_jax.runs import table
  from configs import common, published

  out = Path(_OUTPUT.value).resolve()
  data = _DATA.value or str(out / "data")
  here = {
    group: [settings(n, data, out) for n in names]
    for group, names in rows(_SYSTEMS.value).items()
  }
  # The name of a table stands for all its rows.
  systems_of = lambda n: [c["system"] for c in here.get(n, [{"system": n}])]
  every = [c for group in here.values() for c in group]
  known = {n: published.of(n) for n in published.names()}
  for c in every:  # a row of the zoo brings what is printed of it
    own = c["published"] or {}
    known.setdefault(c["system"], own if own.get("development") else {})
  wanted = [s for name in _SYSTEMS.value for s in systems_of(name)]
  chosen = table.entries(every, known, chosen=wanted)
  if _SMOKE.value:
    synthetic.write(data, **common.SMOKE_DATA)
  heard, facts = clips.read_tree(data), published.FACTS
  show = lambda system: print(systems.line(system))
  found = table.run(chosen, out, machines=heard, known=facts, done=show)
  print("\n".join(systems.console(found)))
  print(f"page: {out / table.PAGE}\ntable: {out / table.CSV}")
  return None if found.ran else cli.BAD_INPUT


if __name__ == "__main__":
  cli.main(run)
