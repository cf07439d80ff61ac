"""Checks a challenge package: prints `valid`, or what is wrong with it.

Run: python scripts/check_submission.py FOLDER

FOLDER is a package, its `task2` folder or a single system folder. Exit status
0 when valid, 2 otherwise, with one problem a line on standard error.
"""

from collections.abc import Sequence

from asd_jax import errors
from asd_jax.runs import cli


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
    print("valid")
  # Every problem, not the first alone: a package is sent once.
  return max(map(cli.fail, problems), default=0)


if __name__ == "__main__":
  cli.main(run, computes=False)
