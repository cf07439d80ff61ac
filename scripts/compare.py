"""Compares runs of evaluate.py over their seeds and over test clips.

Run: python scripts/compare.py A/results.json B/results.json
or:  python scripts/compare.py A B --output=compare.html
or, each beside the published numbers and against the best of them:
python scripts/compare.py A B C D --output=compare.html

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


def _file(path: str) -> Path:
  """The results.json that a path means."""
  return Path(path, "results.json") if Path(path).is_dir() else Path(path)


def _write(path: str, text: str, inputs: Sequence[Path]) -> None:
  """Writes the page, never over what was read."""
  from asd_jax import files

  # `--output=A` is a slip of the finger that would cost a run.
  if Path(path).resolve() in [file.resolve() for file in inputs]:
    raise errors.InputError(
      f"{path}: found one of the runs, expected a new file for --output."
    )
  files.atomic_write_text(path, text)


def _pair(paths: Sequence[str]) -> tuple[list[str], str]:
  """Lines and page of two runs."""
  from asd_jax.report import compare as report_compare
  from asd_jax.runs import compare

  found = compare.compare(*map(compare.read, paths))
  return report_compare.console(found), report_compare.page(found)


def _several(paths: Sequence[str]) -> tuple[list[str], str]:
  """Lines and page of more runs than two."""
  from asd_jax.report import systems, systems_page
  from asd_jax.runs import table

  found = table.of_runs(paths, _OUTPUT.value)
  return systems.console(found), systems_page.page(found)


def run(arguments: Sequence[str]) -> None:
  """Compares the runs of the command line."""
  if len(arguments) < 2 or _OUTPUT.value == "":
    raise errors.InputError(
      f"flags: found {len(arguments)} paths and output={_OUTPUT.value!r},"
      " expected two runs or more, each a results.json or its folder, and"
      " --output=FILE or none."
    )
  lines, page = (_pair if len(arguments) == 2 else _several)(arguments)
  if _OUTPUT.value:
    _write(_OUTPUT.value, page, [_file(path) for path in arguments])
  print("\n".join(lines))
  if _OUTPUT.value:
    print(f"page: {_OUTPUT.value}")


if __name__ == "__main__":
  cli.main(run)
