"""Names of weights as wrappers of training code leave them.

DataParallel puts `module.` in front of all names, Lightning `model.` or what
the user called the network, `torch.compile` `_orig_mod.`; a file may hold
several copies that differ in the start of their names.
"""

import itertools
import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from asd_jax import errors
from asd_jax.weights import entries
from asd_jax.weights.byte_source import shown

# Stand anywhere in a name, and are part of no network's own names.
_INNER = re.compile(
  r"(?:(?<=\.)|^)(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module"
  r"|_forward_module)\."
)
# Wrappers in wrappers; real files have three at most.
_MAX_LEVELS = 6
_MAX_NAME = 500
# Names that are looked at; networks of an encoder have some hundred.
MAX_NAMES = 2_000
_SHOWN = 5


class Unwrapped(NamedTuple):
  """Names without what wrappers put in front of them.

  Attributes:
    names: bare name by name in the file; only those under `prefix`.
    prefix: start of the names, taken off; "" or with a dot at its end.
    inner: what was taken out of the midst of names.
    left_out: names of the file that are not under `prefix`.
    copies: other starts under which the weights are there once more.
  """

  names: dict[str, str]
  prefix: str
  inner: tuple[str, ...]
  left_out: tuple[str, ...]
  copies: tuple[str, ...]

  def said(self) -> list[str]:
    """What was done, in words; empty for names as they are published."""
    out = []
    if self.inner:
      out.append(f"took {', '.join(self.inner)} out of the names")
    if self.prefix:
      out.append(
        f"took the {len(self.names)} weights whose names begin with"
        f" {self.prefix}"
      )
    if self.copies:
      out.append(f"other copies of the weights: {', '.join(self.copies)}")
    if self.left_out:
      out.append(f"left out: {listed(self.left_out)}")
    return out


def listed(names: Iterable[str]) -> str:
  """The first five names and how many there are beyond.

  Args:
    names: of weights.

  Returns:
    Printable text on one line.
  """
  names = [shown(name) for name in names]
  more = len(names) - _SHOWN
  return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def starts(name: str) -> list[str]:
  """Every start of a name that a wrapper may have put there.

  Args:
    name: of a weight.

  Returns:
    "" first, then each up to a dot, shortest first.
  """
  if len(name) > _MAX_NAME:
    return [""]
  dots = [i + 1 for i, letter in enumerate(name) if letter == "."]
  return ["", *(name[:end] for end in dots[:_MAX_LEVELS])]


def bare(name: str) -> str:
  """A name without the wrappers that no network's own names have.

  Args:
    name: of a weight.

  Returns:
    The name.
  """
  return _INNER.sub("", name)


def unwrap(
  names: Iterable[str],
  leads: Callable[[str], bool],
  *,
  title: str,
  prefix: str | None = None,
) -> Unwrapped:
  """Finds what stands in front of the names of a network.

  Args:
    names: in the file.
    leads: whether a bare name tells that the network is there.
    title: of the network, for messages.
    prefix: what to take off; None finds it: the only start with which a
      telling name is there. Averages count only where there is nothing else.

  Returns:
    The names; as they are where none tells.

  Raises:
    InputError: the network is there more than once.
  """
  inner = {name: bare(name) for name in names}
  some = itertools.islice(inner.values(), MAX_NAMES)
  found = sorted(_prefixes(some, leads), key=lambda p: (len(p), p))
  plain = [p for p in found if not entries.is_average(p)]
  if prefix is None:
    likely = plain or found
    if len(likely) > 1 and "" not in likely:
      raise errors.InputError(
        f"found {title} weights more than once, under {listed(likely)},"
        " expected one: name it with --copy."
      )
    prefix = likely[0] if likely else ""
  # Names that begin alike everywhere may be part of the network's own.
  others = [p for p in found if p != prefix and p.startswith(prefix)]
  averages = tuple(p for p in others if entries.is_average(p))
  taken = {
    name: short.removeprefix(prefix)
    for name, short in inner.items()
    if short.startswith(prefix) and not short.startswith(averages)
  }
  wrappers = {m for n in inner for m in _INNER.findall(n)}
  return Unwrapped(
    names=taken,
    prefix=prefix,
    inner=tuple(sorted(wrappers)),
    left_out=tuple(name for name in inner if name not in taken),
    copies=tuple(p for p in found if p != prefix and (prefix or p in averages)),
  )


def _prefixes(names: Iterable[str], leads: Callable[[str], bool]) -> set[str]:
  """The starts with which a telling name is there, of each name one."""
  found = set()
  for name in names:
    for start in starts(name):
      if leads(name[len(start) :]):
        found.add(start)
        break
  return found
