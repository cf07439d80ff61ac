"""The entry point that all commands share: flags in, an exit status out.

Whatever a command does happens inside its net, the import of jax included:
wrong input becomes one line, anything else a bug with its traceback.
"""

import codecs
import errno
import functools
import inspect
import io
import os
import platform
import re
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NoReturn

from absl import flags

from asd_jax import errors
from asd_jax.runs import config_file, devices, options

BUG = 1
# Wrong input or wrong flags.
BAD_INPUT = 2
_INTERRUPTED = 130
# Another process of the run is gone: as if asked to end, what was saved stays.
_LEFT_ALONE = 143
_HELP = ("-h", "-help", "--help", "-helpfull", "--helpfull")
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
# What errors say where a process on the other side of a message is gone.
_GONE = ("Gloo", "NCCL", "coordination service")
# What errors say where memory, or a limit that stands for it, has run out.
_NO_MEMORY = (
  "RESOURCE_EXHAUSTED",
  "Cannot allocate memory",
  "failed to map segment",
  "can't start new thread",
)


def tell(message: object) -> None:
  """Says something to people: one line on standard error.

  Args:
    message: what to say.
  """
  line = " ".join(str(message).split())
  if sys.stderr is None:  # closed, and `print` would take standard output
    return
  print(line, file=sys.stderr, flush=True)  # noqa: T201


def fail(message: object) -> int:
  """Tells what is wrong with the input.

  Args:
    message: what to tell.

  Returns:
    The exit status.
  """
  tell(message)
  return BAD_INPUT


def version(package: str) -> str:
  """Version of an installed package.

  Args:
    package: its name.

  Returns:
    The version, or that it is not installed.
  """
  try:
    return metadata.version(package)
  except metadata.PackageNotFoundError:
    return "(not installed)"


def _tell_bug() -> int:
  """Prints the traceback of the error at hand, and what a report needs."""
  traceback.print_exc()
  versions = ", ".join(f"{p} {version(p)}" for p in ("asd_jax", "jax"))
  tell(
    f"This is a bug; please report it with all lines above: {versions}, Python"
    f" {platform.python_version()}, {platform.platform()}"
  )
  return BUG


def _is_of_a_file(error: OSError) -> bool:
  """Whether the user can mend it: a file is named, or the disk is full."""
  return error.filename is not None or error.errno in _DISK_FULL


def _is_of_memory(error: Exception) -> bool:
  """Whether there was too little memory; XLA has no type for that."""
  return isinstance(error, MemoryError) or any(
    words in str(error) for words in _NO_MEMORY
  )


def _is_of_several() -> bool:
  """Whether this process is one of a run of several."""
  jax = sys.modules.get("jax")
  return jax is not None and jax.distributed.is_initialized()


def _is_of_a_loss(error: Exception) -> bool:
  """Whether another process of the run is gone; jax has no type for that."""
  return _is_of_several() and any(words in str(error) for words in _GONE)


def _left_alone(error: Exception) -> int:
  """Tells that this process cannot go on by itself."""
  reason = str(error).splitlines()[0]
  tell(
    "stopped: another host of this run was lost or has ended"
    f" ({reason[:200]}); the same command on all hosts goes on from what was"
    " saved last"
  )
  return _LEFT_ALONE


def _no_memory(error: Exception) -> str:
  """What to say where memory has run out."""
  reason = (str(error) or type(error).__name__).splitlines()[0]
  return (
    f"memory: found too little ({reason[:200]}), expected more; less is needed"
    " with a smaller --config.batch_size."
  )


def _end(error: Exception) -> int:
  """Tells an error that is no `InputError`, the one at hand.

  Returns:
    The exit status.
  """
  if _is_of_a_loss(error):
    return _left_alone(error)
  if _is_of_memory(error):
    return fail(_no_memory(error))
  if isinstance(error, OSError) and _is_of_a_file(error):
    return fail(error)
  return _tell_bug()


def _config_place(argv: Sequence[str]) -> tuple[int, str] | None:
  """Index of the argument that names the config, and what comes before it."""
  for i, flag in enumerate(argv):
    name, has_value, _ = flag.partition("=")
    if name in ("-config", "--config"):
      return (i, f"{name}=") if has_value else (i + 1, "")
  return None


def _with_config(argv: Sequence[str]) -> tuple[list[str], str | None]:
  """The arguments with the config's full path, and that path."""
  place = _config_place(argv)
  if place is None or place[0] >= len(argv):
    return [*argv], None
  i, before = place
  found = config_file.locate(argv[i].removeprefix(before))
  return [*argv[:i], before + found, *argv[i + 1 :]], found.split(":")[0]


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


def _parse(argv: Sequence[str], path: str | None) -> list[str]:
  """Parses flags.

  Args:
    argv: the program and its arguments.
    path: of the config file among them.

  Returns:
    The arguments that are not flags.

  Raises:
    InputError: if a flag is wrong or a config file cannot be loaded.
  """
  try:
    return flags.FLAGS(argv)[1:]
  except flags.Error as e:
    # An error in a config with an argument comes with its traceback.
    text = re.sub("Traceback.*\n", "", str(e).strip(), flags=re.DOTALL)
    raise errors.InputError(f"flags: {text}") from e
  except errors.OF_A_PROGRAM as e:
    path = path or "the config"
    if text := _unknown_key(e):
      raise errors.InputError(f"flags: --config={path}: {text}") from e
    frames = traceback.extract_tb(e.__traceback__)
    lines = [f.lineno for f in frames if f.filename.endswith(path)]
    line = f", line {lines[-1]}" if lines else ""
    raise errors.InputError(
      f"flags: --config={path}{line}: found {type(e).__name__}: {e}"
    ) from e


def _find_own_stages(config: str | None) -> None:
  """Lets configs name functions of files beside them or in this folder."""
  try:
    here = Path.cwd()
  except FileNotFoundError:
    raise errors.InputError(
      "working directory: found none, it was removed; expected one to be in."
    ) from None
  beside = [Path(config).resolve().parent] if config else []
  for folder in map(str, (*beside, here)):
    if folder not in sys.path:
      sys.path.append(folder)


def parse(argv: Sequence[str]) -> list[str]:
  """Parses flags, the config among them, wherever that is found.

  Args:
    argv: the program and its arguments; becomes `sys.argv`.

  Returns:
    The arguments that are not flags.

  Raises:
    InputError: if a flag is wrong or a config file cannot be loaded.
  """
  config_file.offer()
  # The flags of a config look into `sys.argv` for what overrides it.
  sys.argv, path = _with_config(argv)
  _find_own_stages(path)
  return _parse(sys.argv, path)


def _settings_help() -> str:
  """What `--config.KEY` may set, of the config that is named if there is one.

  Raises:
    InputError: if that cannot be loaded.
  """
  parse([flag for flag in sys.argv if flag not in _HELP])
  if given := flags.FLAGS["config"].value:
    return options.help_text(given.to_dict(), named=True)
  from asd_jax.engine import settings

  return options.help_text(settings.DEFAULTS, named=False)


def _show_help() -> None:
  """Prints what the script is for, its flags, and what its config takes."""
  about = inspect.getdoc(sys.modules["__main__"]) or ""
  if config_file.is_installed():  # there is no scripts/ to call
    about = re.sub(r"python scripts/(\w+)\.py", r"asd_jax \1", about)
  listed = [about, flags.FLAGS.main_module_help()]
  if "config" in flags.FLAGS:
    listed.append(_settings_help())
  print("\n".join(listed))  # noqa: T201


def _as_bytes(error: Any) -> tuple[bytes, int]:
  """File names that are not UTF-8 come out as their bytes, others escaped."""
  letter = error.object[error.start]
  is_byte = "\udc80" <= letter <= "\udcff"
  way = "surrogateescape" if is_byte else "backslashreplace"
  return letter.encode("ascii", way), error.start + 1


def _open_output() -> None:
  """Lets names be printed as the disk has them, whatever a terminal knows."""
  codecs.register_error("asd_jax", _as_bytes)
  for stream in (sys.stdout, sys.stderr):
    if isinstance(stream, io.TextIOWrapper):
      # What made text of the bytes of a name makes bytes of it again.
      stream.reconfigure(encoding=sys.getfilesystemencoding(), errors="asd_jax")


def _work(
  run: Callable[[Sequence[str]], int | None], computes: bool
) -> int | None:
  """Flags, surroundings, then the command."""
  if set(_HELP) & set(sys.argv[1:]):
    _show_help()
    return 0
  left = parse(sys.argv)
  if computes:
    devices.start()
  return run(left)


def _interrupt_again(before: Callable[[Any], None], found: Any) -> None:
  """Ctrl-c within a callback, where Python drops it, comes once more.

  Args:
    before: what is done with other errors that cannot be raised.
    found: the error.
  """
  if issubclass(found.exc_type, KeyboardInterrupt):
    # A little later, when the callback is over; a true signal, which ends
    # waiting too.
    told = threading.main_thread().ident, signal.SIGINT
    threading.Timer(0.01, signal.pthread_kill, told).start()
  else:
    before(found)


def _exit(status: int, failed: bool) -> NoReturn:
  """Ends the process.

  Args:
    status: exit status.
    failed: whether it ends for a reason of its own. At the end jax waits for
      all processes of a run, and those wait for the one that failed.
  """
  if failed and _is_of_several():
    for stream in (sys.stdout, sys.stderr):
      if stream is not None:
        stream.flush()
    os._exit(status)
  sys.exit(status)


def guard(work: Callable[[], int | None]) -> NoReturn:
  """Turns what happens in a piece of work into an exit status, and ends.

  Args:
    work: returns an exit status, or None for 0. An `InputError`, and an
      `OSError` that names a file, is told on one line: status 2, as is too
      little memory. Any other exception is a bug: its traceback, status 1.
      `Stopped` tells its own.
  """
  before, failed = sys.unraisablehook, False
  sys.unraisablehook = functools.partial(_interrupt_again, before)
  try:
    _open_output()
    status = work()
    if sys.stdout is not None:
      sys.stdout.flush()
  except BrokenPipeError:
    # Who reads has enough, as `head` does: nobody is left to tell.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    status = 0
  except errors.InputError as e:
    status, failed = fail(e), True
  except errors.Stopped as e:
    tell(e)
    status = e.status
  except KeyboardInterrupt:
    tell("stopped")
    status = _INTERRUPTED
  except Exception as e:  # the one place: what nobody foresaw is a bug
    status, failed = _end(e), True
  finally:
    sys.unraisablehook = before
  _exit(status or 0, failed)


def main(
  run: Callable[[Sequence[str]], int | None], *, computes: bool = True
) -> None:
  """Parses flags and runs a command under the net of `guard`.

  Args:
    run: gets the arguments that are not flags; returns an exit status or None
      for 0.
    computes: whether it needs jax and its devices.
  """
  guard(lambda: _work(run, computes))
