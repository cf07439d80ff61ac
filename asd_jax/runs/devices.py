"""Starts jax, and says what of the surroundings keeps it from starting."""

import os
import warnings
from collections.abc import Callable

from asd_jax import errors, files

# Variables that choose jax's devices.
_VARIABLES = ("JAX_PLATFORMS", "JAX_PLATFORM_NAME")
# Bytes of address space: with 400 MB jax's threads abort the process, with
# 1.2 GB NumPy finds too little memory, with 1.5 GB small systems run.
_LEAST_SPACE = 1 << 30


def _use_cache() -> None:
  """Keeps compiled programs, where the folder for them can be written."""
  import jax

  folder = files.cache_folder("xla")
  if folder is None:
    return
  try:
    folder.mkdir(parents=True, exist_ok=True)
  except OSError:
    return
  # A full disk costs only the time to compile again.
  warnings.filterwarnings("ignore", "Error .*persistent compilation cache")
  jax.config.update("jax_compilation_cache_dir", str(folder))
  jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


def _check_space() -> None:
  """Refuses a limit of memory within which jax would be aborted."""
  try:
    import resource
  except ImportError:  # of POSIX alone
    return
  limit, _ = resource.getrlimit(resource.RLIMIT_AS)
  if limit != resource.RLIM_INFINITY and limit < _LEAST_SPACE:
    raise errors.InputError(
      f"memory: found a limit of {limit >> 10} kB of address space (ulimit -v),"
      f" expected at least {_LEAST_SPACE >> 10}, or none."
    )


def start(*, join: Callable[[], None] | None = None) -> None:
  """Starts jax, so that what the environment makes of it is known at once.

  Args:
    join: joins the other processes of a run, before devices are looked for.

  Raises:
    InputError: if a variable names devices that are not here, or asks of jax
      what no command can work with.
  """
  _check_space()
  try:
    import jax
  except ValueError as e:  # it names the variable
    raise errors.InputError(f"environment: {e}") from e
  promotion = os.environ.get("JAX_NUMPY_DTYPE_PROMOTION", "standard")
  if promotion != "standard":
    raise errors.InputError(
      f"environment: found JAX_NUMPY_DTYPE_PROMOTION={promotion}, expected"
      " standard, or none."
    )
  _use_cache()
  if join:
    join()
  try:
    jax.local_devices()
  except (AssertionError, RuntimeError) as e:  # a missing plugin asserts
    told = {v: os.environ[v] for v in _VARIABLES if v in os.environ}
    named = " ".join(f"{k}={v}" for k, v in told.items())
    reason = str(e) or type(e).__name__
    raise errors.InputError(
      f"environment: found {named or 'no device'}, which jax cannot start here"
      f" ({reason}); expected cpu, or none to take what is there."
    ) from e
