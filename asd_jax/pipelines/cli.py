"""The entry point that all scripts share."""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
from absl import flags

# Wrong input or wrong flags.
BAD_INPUT = 2


def compilation_cache() -> Path:
  """Folder of compiled programs, kept between runs.

  `ASD_JAX_CACHE` names another folder than `~/.cache/asd_jax`.
  """
  base = os.environ.get("ASD_JAX_CACHE") or Path.home() / ".cache" / "asd_jax"
  return Path(base) / "xla"


def _fail(message: object) -> int:
  """Prints one line on standard error."""
  print(" ".join(str(message).split()), file=sys.stderr)  # noqa: T201
  return BAD_INPUT


def main(run: Callable[[Sequence[str]], int | None]) -> None:
  """Parses flags, runs, and turns wrong input into exit status 2.

  Args:
    run: gets the arguments that are not flags; returns an exit status or
      None for 0. A `ValueError` or `OSError` is wrong input: its message is
      printed on one line, without a traceback.
  """
  try:
    left = flags.FLAGS(sys.argv)[1:]
  except (flags.Error, ValueError, OSError, AttributeError, KeyError) as e:
    sys.exit(_fail(f"flags: {e}"))
  cache = str(compilation_cache())
  jax.config.update("jax_compilation_cache_dir", cache)
  jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
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
