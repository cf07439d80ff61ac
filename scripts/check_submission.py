"""Checks a challenge package: prints `valid`, or what is wrong with it.

Run: python scripts/check_submission.py FOLDER
or:  python scripts/check_submission.py FOLDER --rescore

FOLDER is a package, its `task2` folder or a single system folder. Exit status
0 when valid, 2 otherwise, with one problem a line on standard error. What is
left to fill in the meta file is listed. With --rescore the scores of a package
that evaluate.py wrote are derived again, one clip at a time, and must be the
same byte for byte: no score depends on another test clip.
"""

from collections.abc import Sequence
from pathlib import Path

from absl import flags

from asd_jax import errors
from asd_jax.runs import cli, devices

_RESCORE = flags.DEFINE_bool(
  "rescore", False, "derive the scores again, one clip at a time, and compare"
)
_RUN = flags.DEFINE_string(
  "run", "", "with --rescore: OUT of the run, where the package is not in it"
)
_DATA = flags.DEFINE_string(
  "data_dir", "", "with --rescore: where the challenge folders are now"
)


def _summary(folder: str) -> list[str]:
  """Lines on a valid package."""
  from asd_jax.data import submission, submission_meta

  num, lines = 0, []
  for system in submission.systems(folder):
    label = system.resolve().name
    content, _, _ = submission_meta.read(system, label)
    if empty := submission_meta.left_to_fill(content):
      num += len(empty)
      lines.append(f"{label}: {', '.join(empty)}")
    decisions = submission.read_scores(system, kind=submission.DECISION)
    silent = [
      f"{machine} {section}"
      for machine, sections in decisions.items()
      for section, values in sections.items()
      if not any(values.values())
    ]
    if silent:
      lines.append(
        f"{label}: no clip is called anomalous (none stands out, or training"
        f" clips are too few to decide): {', '.join(silent)}"
      )
  fields = f"; {num} field{'s' * (num != 1)} left to fill" if num else ""
  return [f"valid{fields}", *lines]


def _rescore(folder: str) -> list[str]:
  """Derives the package again; returns what differs."""
  devices.start()
  from asd_jax.runs import progress, rescore

  with progress.Progress() as bars:
    num, problems = rescore.rescore(
      Path(folder), run=_RUN.value, data_dir=_DATA.value, progress=bars
    )
  if not problems:
    print(f"{num} clips scored again, one at a time: the same bytes")
  return problems


def run(arguments: Sequence[str]) -> int:
  """Checks the folder of the command line."""
  if len(arguments) != 1:
    raise errors.InputError(
      f"flags: found {len(arguments)} folders, expected one: a package, its"
      " task2 folder or a single system folder."
    )
  from asd_jax.data import submission

  problems = submission.check(arguments[0])
  if not problems:
    print("\n".join(_summary(arguments[0])), flush=True)
    problems = _rescore(arguments[0]) if _RESCORE.value else []
  # Every problem, not the first alone: a package is sent once.
  return max(map(cli.fail, problems), default=0)


if __name__ == "__main__":
  cli.main(run, computes=False)
