"""Compares two runs of evaluate.py over their seeds and over test clips.

Run: python scripts/compare.py A/results.json B/results.json
or:  python scripts/compare.py A B --output=compare.html

A folder stands for the results.json in it. Differences are B - A. The scores of
test clips are read from scores/ beside it; systems that draw nothing at random
are compared over these alone.
"""

from collections.abc import Sequence
from pathlib import Path

from absl import flags

from asd_jax import errors
from asd_jax.runs import cli

_OUTPUT = flags.DEFINE_string("output", None, "page to write, if any")


def _write(path: str, text: str, inputs: Sequence[Path]) -> None:
  """Writes the page, never over what was read."""
  from asd_jax import files

  # `--output=A` is a slip of the finger that would cost a run.
  if Path(path).resolve() in [file.resolve() for file in inputs]:
    raise errors.InputError(
      f"{path}: found one of the two runs, expected a new file for --output."
    )
  files.atomic_write_text(path, text)


def run(arguments: Sequence[str]) -> None:
  """Compares the two runs of the command line."""
  if len(arguments) != 2 or _OUTPUT.value == "":
    raise errors.InputError(
      f"flags: found {len(arguments)} paths and output={_OUTPUT.value!r},"
      " expected two runs, each a results.json or its folder, and"
      " --output=FILE or none."
    )
  from asd_jax.report import compare as report_compare
  from asd_jax.runs import compare

  a, b = map(compare.read, arguments)
  found = compare.compare(a, b)
  if _OUTPUT.value:
    _write(_OUTPUT.value, report_compare.page(found), [a.file, b.file])
  print("\n".join(report_compare.console(found)))
  if _OUTPUT.value:
    print(f"page: {_OUTPUT.value}")


if __name__ == "__main__":
  cli.main(run)
