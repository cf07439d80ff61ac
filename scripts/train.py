"""Trains the encoders that a config adapts to all machines, or pre-trains.

Run: python scripts/train.py --config=configs/konica_system1.py \
  --config.data_dir=DIR --config.output_dir=OUT

Trained are those that are missing, one a seed; evaluate.py finds them, and
would train them itself. --dry_run tells parameters, memory and time and trains
nothing. SIGTERM and Ctrl-C save the state and end with status 143 or 130; the
same command goes on, also on another number of devices. All devices of the
machine share a batch; several machines do when each is given --coordinator,
--num_hosts and --host, or --cluster. The configs na_beats, na_eat and
na_dasheng pre-train encoders on simulated mixtures (docs/pretraining.md).
"""

from collections.abc import Sequence
from pathlib import Path

from absl import flags
from ml_collections import config_flags

from asd_jax.runs import cli, config_file, devices

_CONFIG = config_flags.DEFINE_config_file(
  "config", None, "config file, or the bare name of one such as konica_system1"
)
_DRY_RUN = flags.DEFINE_bool(
  "dry_run",
  False,
  "tell how many parameters are trained and frozen, the memory and operations"
  " of the compiled step, and the time it will take; train nothing",
)
_MAX_STEPS = flags.DEFINE_integer(
  "max_steps",
  None,
  "step after which to save and end; the same command without it goes on",
  lower_bound=1,
)
_CHECKPOINT_EVERY = flags.DEFINE_integer(
  "checkpoint_every", 500, "steps between two saves", lower_bound=1
)
_SHARDED = flags.DEFINE_bool(
  "sharded",
  False,
  "divide large parameters and their moments among the devices, which takes"
  " less memory a device and more messages",
)
_PROFILE = flags.DEFINE_string(
  "profile", None, "folder for a trace of a few steps, for TensorBoard"
)
_SHOW_EXAMPLE = flags.DEFINE_integer(
  "show_example", None, "write this example of a pre-training instead"
)
_COORDINATOR = flags.DEFINE_string(
  "coordinator", None, "address:port of the first host, the same on all hosts"
)
_NUM_HOSTS = flags.DEFINE_integer("num_hosts", None, "hosts in all")
_HOST = flags.DEFINE_integer("host", None, "number of this host, from 0")
_CLUSTER = flags.DEFINE_bool(
  "cluster",
  False,
  "join the hosts that SLURM, Kubernetes, MPI or a TPU slice started",
)


def _join() -> None:
  """Joins the other hosts, where there are any."""
  from asd_jax.training import mesh

  if _CLUSTER.value or _COORDINATOR.value:
    mesh.connect(
      coordinator=_COORDINATOR.value,
      num_hosts=_NUM_HOSTS.value,
      host=_HOST.value,
    )


def run(arguments: Sequence[str]) -> None:
  """Trains what the flags describe."""
  devices.start(join=_join)
  from asd_jax.runs import progress, train
  from asd_jax.training import mesh
  from asd_jax.training import run as run_lib

  config = config_file.prepared(_CONFIG.value, arguments, trains=True)
  settings = run_lib.Settings(
    sharded=_SHARDED.value,
    checkpoint_every=_CHECKPOINT_EVERY.value,
    max_steps=_MAX_STEPS.value,
    profile=Path(_PROFILE.value) if _PROFILE.value else None,
  )
  how = train.How(settings, _DRY_RUN.value, _SHOW_EXAMPLE.value)
  with progress.Progress(quiet=not mesh.is_first()) as bars:
    lines = train.run(config, how, progress=bars)
  if mesh.is_first():
    print("\n".join(lines))


if __name__ == "__main__":
  cli.main(run, computes=False)
