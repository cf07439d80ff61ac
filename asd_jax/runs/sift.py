"""Files that cannot be scored stop none of the others."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from asd_jax import errors
from asd_jax.data import audio, clips

T = TypeVar("T")


class Sifted(NamedTuple):
  """Clips that could be scored, and those that could not.

  Attributes:
    good: positions of the former.
    unread: the latter.
  """

  good: list[int]
  unread: list[clips.Unread]


def checked(
  check: Callable[[Sequence[clips.Clip]], None], some: Sequence[clips.Clip]
) -> Sifted:
  """Finds clips that a system cannot use.

  Args:
    check: raises `InputError` for a clip that it cannot.
    some: clips.

  Returns:
    Which it can use.
  """
  good, unread = [], []
  for i, clip in enumerate(some):
    try:
      check([clip])
    except errors.InputError as e:
      unread.append(clips.Unread(clip.name, clip.section, str(e)))
    else:
      good.append(i)
  return Sifted(good, unread)


def scored(
  score: Callable[[list[clips.Clip]], T], some: Sequence[clips.Clip]
) -> tuple[T, Sifted]:
  """Scores clips; those that cannot be decoded are left out.

  Args:
    score: scores clips; raises `InputError` with a clip's path first where it
      cannot.
    some: clips.

  Returns:
    What `score` returns of the good ones, and which they are.

  Raises:
    InputError: of `score`, if it speaks of no clip.
  """
  good, problems = list(range(len(some))), {}
  while True:
    try:
      found = score([some[i] for i in good])
      break
    except errors.InputError as e:
      named = {
        i: str(e) for i in good if str(e).startswith(f"{some[i].path}: ")
      }
      if not named:
        raise
      problems |= named | _damaged(some, [i for i in good if i not in named])
      good = [i for i in good if i not in problems]
  unread = [
    clips.Unread(some[i].name, some[i].section, text)
    for i, text in sorted(problems.items())
  ]
  return found, Sifted(good, unread)


def _damaged(some: Sequence[clips.Clip], rows: Sequence[int]) -> dict[int, str]:
  """Of clips that were not asked for yet: a pass for each would be long."""
  found = {}
  for i in rows:
    try:
      audio.check(some[i].path)
    except errors.InputError as e:
      found[i] = str(e)
  return found


def unread(
  scored: Mapping[str, Mapping[str, Any]],
) -> dict[str, dict[str, str]]:
  """Test files of all machines that could not be scored.

  Args:
    scored: machine to section to `results.Scored`.

  Returns:
    Machine to file to what is wrong with it; of machines with any.
  """
  found = {
    name: {x.name: x.problem for s in sections.values() for x in s.unread}
    for name, sections in scored.items()
  }
  return {name: files for name, files in found.items() if files}
