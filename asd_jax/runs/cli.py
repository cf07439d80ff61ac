"""The entry point that all scripts share."""

import inspect
import os
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
from absl import flags

from asd_jax import errors, files

# Wrong input or wrong flags.
BAD_INPUT = 2
_HELP = ("-h", "-help", "--help", "-helpfull", "--helpfull")
# What a config file, which is a program, may raise when it is loaded.
_CONFIG_ERRORS = (
  ArithmeticError,
  AttributeError,
  ImportError,
  LookupError,
  NameError,
  OSError,
  SyntaxError,
  TypeError,
  ValueError,
)


def _use_cache() -> None:
  """Keeps compiled programs, where the folder for them can be written."""
  folder = files.cache_folder("xla")
  try:
    folder.mkdir(parents=True, exist_ok=True)
  except OSError:
    return
  # A full disk costs only the time to compile again.
  warnings.filterwarnings("ignore", "Error .*persistent compilation cache")
  jax.config.update("jax_compilation_cache_dir", str(folder))
  jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


def _fail(message: object) -> int:
  """Prints one line on standard error."""
  print(" ".join(str(message).split()), file=sys.stderr)  # noqa: T201
  return BAD_INPUT


def _config_file(argv: Sequence[str]) -> str | None:
  """The path in `--config=PATH:argument`, if there is one."""
  for flag, after in zip(argv, [*argv[1:], ""], strict=True):
    name, has_value, value = flag.partition("=")
    if name in ("-config", "--config"):
      return (value if has_value else after).split(":")[0]
  return None


def _unknown_key(error: Exception) -> str:
  """What a `KeyError` of a config says, in words; "" for other errors."""
  if not isinstance(error, AttributeError | KeyError):
    return ""
  text = str(error)
  if near := re.search('Did you mean "(.*)" instead of "(.*)"', text):
    return f"found no key {near[2]!r}, did you mean {near[1]!r}?"
  if plain := re.fullmatch(r"""['"\\]*(\w+)['"\\]*""", text):
    return f"found no key {plain[1]!r}, expected one of the config's."
  return ""


def _parse(argv: Sequence[str]) -> list[str]:
  """Parses flags.

  Args:
    argv: the program and its arguments.

  Returns:
    The arguments that are not flags.

  Raises:
    InputError: if a flag is wrong or a config file cannot be loaded.
  """
  path = _config_file(argv)
  if path is not None and not os.path.isfile(path):
    raise errors.InputError(
      f"flags: --config: found no file {path!r}, expected a config file such as"
      " configs/plain_knn.py (with :smoke for synthetic data)."
    )
  try:
    return flags.FLAGS(argv)[1:]
  except flags.Error as e:
    # An error in a config with an argument comes with its traceback.
    text = re.sub("Traceback.*\n", "", str(e).strip(), flags=re.DOTALL)
    raise errors.InputError(f"flags: {text}") from e
  except _CONFIG_ERRORS as e:
    path = path or "the config"
    if text := _unknown_key(e):
      raise errors.InputError(f"flags: --config={path}: {text}") from e
    frames = traceback.extract_tb(e.__traceback__)
    lines = [f.lineno for f in frames if f.filename.endswith(path)]
    line = f", line {lines[-1]}" if lines else ""
    raise errors.InputError(
      f"flags: --config={path}{line}: found {type(e).__name__}: {e}"
    ) from e


def _find_own_stages(argv: Sequence[str]) -> None:
  """Lets configs name functions of files beside them or in this folder."""
  config = _config_file(argv)
  beside = [Path(config).resolve().parent] if config else []
  for folder in map(str, (*beside, Path.cwd())):
    if folder not in sys.path:
      sys.path.append(folder)


def _show_help() -> None:
  """Prints what the script is for, and its flags."""
  about = inspect.getdoc(sys.modules["__main__"]) or ""
  print(f"{about}\n{flags.FLAGS.main_module_help()}")  # noqa: T201


def main(run: Callable[[Sequence[str]], int | None]) -> None:
  """Parses flags, runs, and turns wrong input into exit status 2.

  Args:
    run: gets the arguments that are not flags; returns an exit status or
      None for 0. A `ValueError` or `OSError` is wrong input: its message is
      printed on one line, without a traceback.
  """
  if set(_HELP) & set(sys.argv[1:]):
    _show_help()
    sys.exit(0)
  _find_own_stages(sys.argv)
  try:
    left = _parse(sys.argv)
  except ValueError as e:
    sys.exit(_fail(e))
  _use_cache()
  try:
    status = run(left)
    sys.stdout.flush()
  except BrokenPipeError:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    status = 0
  except (ValueError, OSError) as e:
    status = _fail(e)
  except KeyboardInterrupt:
    print("stopped", file=sys.stderr)  # noqa: T201
    status = 130
  sys.exit(status or 0)
