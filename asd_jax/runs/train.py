"""What `train.py` does: adapts encoders over machines, or pre-trains them."""

from pathlib import Path
from typing import Any, NamedTuple

from asd_jax import errors
from asd_jax.engine import adapt, distil_config, session
from asd_jax.runs import folder
from asd_jax.runs import progress as progress_lib
from asd_jax.training import plan
from asd_jax.training import run as run_lib
from asd_jax.training.job import Job
from asd_jax.typing import Key

Config = dict[str, Any]


class How(NamedTuple):
  """What is asked of the command beside the config.

  Attributes:
    settings: of each training.
    dry_run: only tell what each will take.
    show_example: number of an example of a pre-training that is written
      instead; None writes none.
  """

  settings: run_lib.Settings
  dry_run: bool = False
  show_example: int | None = None


def run(
  config: Config, how: How, *, progress: progress_lib.Progress
) -> list[str]:
  """Trains what is missing of the encoders that a config adapts.

  What is trained is kept by its content, where every system finds it.

  Args:
    config: plain data, see `configs/common.py`; of a system or of a
      pre-training.
    how: flags.
    progress: where progress is shown.

  Returns:
    Lines for people.

  Raises:
    InputError: for bad input.
    Stopped: after a signal; the state is saved.
  """
  if distil_config.is_one(config):
    from asd_jax.runs import distil  # what reads corpora takes a second

    if how.show_example is not None:
      return distil.show(config, how.show_example)
    return distil.run(
      config, how.settings, dry_run=how.dry_run, progress=progress
    )
  if how.show_example is not None:
    raise errors.InputError(
      f"flags: --show_example: found it with {config['system']}, expected a"
      " pre-training such as configs/na_beats.py."
    )
  config = {**config, "training_dir": folder.training_dir(config)}
  tell = adapt.silent if how.dry_run else progress.adaptation
  opened = session.open(config, tell=tell)
  said: list[str] = []

  def carry_out(
    job: Job, key: Key, kept: Path, logs: Path | None
  ) -> run_lib.Trained | None:
    said.extend(n for n in job.notes if n not in said)
    if how.dry_run:
      found = plan.plan(job, key, sharded=how.settings.sharded)
      said.extend(plan.lines(job.name, found))
      return None
    trained = run_lib.run(
      job,
      key,
      settings=how.settings,
      folder=kept,
      logs=logs,
      show=lambda seen: progress.adaptation(job.name, seen),
    )
    said.append(_line(job, trained, logs))
    said.extend(trained.notes)
    return trained

  there = opened.adapt(carry_out)
  said += [f"{label}: found, trained before" for label in there]
  name = config["system"]
  return said or [f"{name}: trains no encoder over machines: nothing to do"]


def _line(job: Job, trained: run_lib.Trained, logs: Path | None) -> str:
  """What has come of a job, in a line."""
  best = trained.criterion
  found = "" if best is None else f", validation loss {best:.4g}"
  where = f"; logs in {logs}" if logs else ""
  if trained.complete:
    return f"{job.name}: trained, state of step {trained.step}{found}{where}"
  return (
    f"{job.name}: saved at step {trained.step} of {job.num_steps}, the same"
    f" command goes on{where}"
  )
