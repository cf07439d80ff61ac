"""The command `asd_jax`: every script by its name, installed or not.

A script is its own command: it is found in the folder of scripts and run as
`python scripts/<name>.py` would, so there is no second list to keep.
"""

import ast
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

from asd_jax import errors
from asd_jax.runs import cli, config_file

# Shorter names.
_ALIASES = {"convert": "convert_weights"}


def commands() -> dict[str, Path]:
  """The scripts that are here.

  Returns:
    Name to file, sorted; under both names where there is a shorter one.
  """
  # A folder, not a table: a new script is a command by being there.
  files = config_file.data_folder("scripts").glob("*.py")
  found = {p.stem: p for p in files if not p.stem.startswith("_")}
  short = {a: found[name] for a, name in _ALIASES.items() if name in found}
  return dict(sorted({**found, **short}.items()))


def _about(path: Path) -> str:
  """The first line of a script's docstring."""
  text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
  return text.partition("\n")[0]


def _help() -> str:
  lines = ["usage: asd_jax COMMAND [FLAGS ...]; asd_jax COMMAND --help", ""]
  known = commands()
  width = max(map(len, known))
  lines += [f"  {name:{width}s}  {_about(p)}" for name, p in known.items()]
  return "\n".join(lines)


def _general(arguments: Sequence[str]) -> None:
  """Answers a command line without a command."""
  first = arguments[0] if arguments else ""
  if first in ("-h", "--help", "help"):
    print(_help())  # noqa: T201
  elif first == "--version":
    print(f"asd_jax {cli.version('asd_jax')}")  # noqa: T201
  else:
    raise errors.InputError(
      f"asd_jax: found {f'command {first!r}' if first else 'no command'},"
      f" expected one of {', '.join(commands())}; asd_jax --help says more."
    )


def main() -> None:
  """Runs the command that the command line names."""
  arguments = sys.argv[1:]
  path = commands().get(arguments[0]) if arguments else None
  if path is None:
    cli.guard(lambda: _general(arguments))
  # What follows is the script's own net; its flags are defined as it runs.
  sys.argv = [str(path), *arguments[1:]]
  runpy.run_path(str(path), run_name="__main__")
