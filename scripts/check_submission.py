"""Checks a challenge package: prints `valid`, or what is wrong with it.

Run: python scripts/check_submission.py FOLDER

FOLDER is a package, its `task2` folder or a single system folder. Exit status
0 when valid, 2 otherwise, with one problem a line on standard error.
"""

import argparse
import sys
from collections.abc import Sequence

from asd_jax.data import submission


def main(arguments: Sequence[str] | None = None) -> int:
  """Runs the check.

  Args:
    arguments: of the command line; None takes the process's own.

  Returns:
    The exit status.
  """
  parser = argparse.ArgumentParser(
    description="Check a DCASE Task 2 challenge package."
  )
  parser.add_argument(
    "folder", help="package, its task2 folder or a single system folder"
  )
  folder = parser.parse_args(arguments).folder
  problems = submission.check(folder)
  for problem in problems:
    print(problem, file=sys.stderr)
  if not problems:
    print("valid")
  return 2 if problems else 0


if __name__ == "__main__":
  sys.exit(main())
