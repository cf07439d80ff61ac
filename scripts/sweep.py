"""Sweeps a system over settings, and writes a table, the best and a report.

Run: python scripts/sweep.py --config=configs/ludo_system3.py \
  --config.data_dir=DIR --config.output_dir=OUT \
  --sweep='view.alpha=linspace(-0.5,1,31)' \
  --sweep='bank.lam=[0.5,0.7,0.9]'

Keys: stage.key (every branch), branch.stage.key, weight.branch. Values: a list,
linspace(a,b,n), logspace(a,b,n), arange(start,stop,step). More than one --sweep
is a grid; without any, the config's own. A sweep that was stopped goes on from
OUT/sweep_parts.
"""

from collections.abc import Sequence
from pathlib import Path

from absl import flags
from ml_collections import config_flags

from asd_jax.runs import cli, config_file

_CONFIG = config_flags.DEFINE_config_file(
  "config", None, "config file, or the bare name of one such as plain_knn"
)
_SWEEP = flags.DEFINE_multi_string(
  "sweep", [], "KEY=VALUES; may be repeated: the outer product"
)
_FAST = flags.DEFINE_bool(
  "fast", True, "take the quick way (Gram blocks) where there is one"
)


def _shown(settings: dict) -> str:
  show = lambda v: f"{v:.6g}" if isinstance(v, float) else str(v)
  return ", ".join(f"{k}={show(v)}" for k, v in settings.items())


def run(arguments: Sequence[str]) -> None:
  """Runs the sweep that the flags describe."""
  from asd_jax.metrics import choice
  from asd_jax.report import text as report_text
  from asd_jax.runs import progress
  from asd_jax.runs.sweep import run as sweep_run

  config = config_file.prepared(_CONFIG.value, arguments)
  with progress.Progress() as bars:
    # Axes of the command line replace those of the config, never add.
    axes = _SWEEP.value or config["sweep"]
    found = sweep_run.run(config, axes, progress=bars, fast=_FAST.value)
  best, others = found["best"], found["leave_one_machine_out"]
  ways = found["ways"]
  # Which way was taken tells how far to trust the last digits.
  way = "Gram blocks" if ways["quick"] else "vmap"
  way = "Gram blocks and vmap" if min(ways.values()) else way
  print(f"{report_text.plural(found['num_points'], 'setting')}, {way}")
  ends = best["bootstrap"]
  span = ends and f" (95 % {100 * ends['low']:.2f} to {100 * ends['high']:.2f})"
  print(
    f"best {100 * best['score']:.2f}{span or ''}:"
    f" {report_text.visible(_shown(best['settings']))}"
  )
  if others:
    print(f"chosen by the other machines {100 * others['score']:.2f}")
  if missing := choice.missing(found["over"]):
    print(missing)
  print(found["warning"])
  print(f"report: {Path(config['output_dir']) / 'sweep.html'}")


if __name__ == "__main__":
  cli.main(run)
