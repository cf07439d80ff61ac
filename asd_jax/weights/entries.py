"""Which mapping of a file holds the weights, and which ones are copies.

Training code saves a state dict as the whole file, or under an entry such as
`model` (many) or `state_dict` (Lightning), often beside an average of the
weights (EMA) under the same names. The average is never taken unless it is
asked for, or alone.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from asd_jax.weights.byte_source import WeightsFileError, shown
from asd_jax.weights.restricted_pickle import Placeholder
from asd_jax.weights.stored_tensor import Stored

# Real files have some thousand tensors, with names of some ten letters.
_MAX_PARTS = 50_000
_MAX_PLACE = 500
# Weights lie at `checkpoint/model/state_dict` at most; deeper mappings are of
# optimizers.
_MAX_DEPTH = 4
# Names that training code gives to the one mapping with the weights, first
# those that are never part of a state dict.
_FIRST = ("model", "state_dict", "model_state_dict", "module")
_SECOND = (
  "net",
  "network",
  "encoder",
  "backbone",
  "student",
  "weights",
  "params",
)
_AVERAGE = {
  "averaged",
  "avg",
  "ema",
  "momentum",
  "shadow",
  "swa",
  "target",
  "teacher",
}
_TRAINING = re.compile(r"optim|sched|scaler|amp_|loops|callbacks", re.I)


class Entry(NamedTuple):
  """A mapping of a file that holds tensors by name.

  Attributes:
    path: keys that lead to it; `()` is the whole file.
    items: its content.
    count: how many of its values are tensors.
  """

  path: tuple[Any, ...]
  items: dict[str, Any]
  count: int


class Parts(NamedTuple):
  """What lies where in a file.

  Attributes:
    tensors: all tensors by place, such as `model/norm.weight`.
    entries: mappings that hold tensors by name, by place; "" is the whole
      file. The deepest ones, which are never weights, are left out.
  """

  tensors: dict[str, Stored]
  entries: dict[str, Entry]


def is_average(name: str) -> bool:
  """Whether a name is one that averages of weights have.

  Args:
    name: of an entry, or the start of names.

  Returns:
    True for `_ema`, `state_dict_ema`, `teacher.` and the like.
  """
  return bool(_AVERAGE & set(re.split(r"[\W_]+", name.lower())))


def walk(tree: Any) -> Parts:
  """Goes through a file; each container is entered once, in any depth.

  Args:
    tree: plain values, with `Stored` for each tensor.

  Returns:
    Its parts.

  Raises:
    WeightsFileError: there are more than any file has.
  """
  found = Parts({}, {})
  seen: set[int] = set()
  # A list of things to do, as depth without bounds would exhaust the stack.
  todo: list[tuple[tuple, int, Any]] = [((), 0, tree)]
  if not isinstance(tree, dict | list | tuple | Stored):
    return found
  while todo:
    place, depth, value = todo.pop()
    if type(value) is Stored:
      name = _joined(place)
      if name in found.tensors:
        name = f"{name}#{len(found.tensors)}"
      found.tensors[name] = value
      continue
    # Containers may be shared, or be part of themselves.
    if id(value) in seen:
      continue
    seen.add(id(value))
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    inner = [(n, v) for n, v in pairs if isinstance(v, dict | list | tuple)]
    if isinstance(value, dict) and depth < _MAX_DEPTH:
      _note(found.entries, place, value)
    todo += [((place, name), depth + 1, part) for name, part in inner[::-1]]
    if len(found.tensors) + len(todo) > _MAX_PARTS:
      raise WeightsFileError(
        f"found more than {_MAX_PARTS} tensors and mappings, expected fewer."
      )
  return found


def _note(entries: dict[str, Entry], place: tuple, value: dict) -> None:
  """Notes a mapping if it holds tensors by name."""
  names = [n for n, v in value.items() if type(v) is Stored]
  if any(type(n) is str for n in names):
    entries.setdefault(_joined(place), Entry(_path(place), value, len(names)))


def _path(place: tuple) -> tuple[Any, ...]:
  """`("model", "a", 0)` from the linked names `((((), "model"), "a"), 0)`."""
  parts: list[Any] = []
  while place:
    place, name = place
    parts.append(name)
  return tuple(parts[::-1])


def _joined(place: tuple) -> str:
  """`model/a/0` from linked names."""
  parts: list[str] = []
  # Cut, or the names would grow with the square of the depth.
  while place and len(parts) < 64:
    place, name = place
    parts.append(str(name) if type(name) is int else shown(name))
  return "/".join(["..."] * bool(place) + parts[::-1])[-_MAX_PLACE:]


def _rank(entry: Entry) -> tuple[int, int, int]:
  """Which entries are the weights, first ones first."""
  names = [str(n) for n in entry.path]
  if names and set(names) <= {*_FIRST}:
    return 0, len(names), _FIRST.index(names[0])
  if not names:
    return 1, 0, 0
  if set(names) <= {*_FIRST, *_SECOND}:
    return 2, 0, 0
  if any(_TRAINING.search(n) for n in names):
    return 5, 0, 0
  return (4 if any(map(is_average, names)) else 3), 0, 0


def choose(tree: Any, entries: Mapping[str, Entry]) -> str:
  """The place of the weights.

  Args:
    tree: of the file.
    entries: see `Parts`.

  Returns:
    Key of `entries`.

  Raises:
    WeightsFileError: there are none, or several that may be meant.
  """
  if not isinstance(tree, dict):
    kind = "a tensor" if type(tree) is Stored else f"a {type(tree).__name__}"
    raise WeightsFileError(
      f"found {kind} in the file, expected names and tensors."
    )
  ranks = {place: _rank(entry) for place, entry in entries.items()}
  best = min(ranks.values(), default=(5, 0, 0))
  found = [place for place, rank in ranks.items() if rank == best]
  if best[0] == 5:
    raise WeightsFileError(_nothing(tree))
  if len(found) > 1:
    several = listed(entries, found)
    raise WeightsFileError(
      f"found weights in several entries ({several}), expected one: name it"
      " with --copy."
    )
  return found[0]


def _nothing(tree: dict) -> str:
  """What is wrong with a file without weights."""
  inner = tree.get(_FIRST[0])
  if _FIRST[0] not in tree:
    return "found no tensor in the file, expected names and tensors."
  where = f"the entry {_FIRST[0]!r}"
  if not isinstance(inner, dict):
    kind = type(inner).__name__
    return f"found {kind} as {where}, expected names and tensors."
  return f"found no tensor in {where}, expected names and tensors."


def listed(entries: Mapping[str, Entry], places: Iterable[str]) -> str:
  """Entries with the number of their tensors, for messages.

  Args:
    entries: see `Parts`.
    places: keys of `entries`.

  Returns:
    Text on one line, five at most.
  """
  places = list(places)
  text = ", ".join(
    f"{place or 'the whole file'}: {entries[place].count}"
    for place in places[:5]
  )
  return text + f" and {len(places) - 5} more" * (len(places) > 5)


def split(copy: str, entries: Mapping[str, Entry]) -> tuple[str, str | None]:
  """The entry and the start of names that a user names.

  Args:
    copy: place of an entry, of what starts alike in one
      (`state_dict/ema_model.`), or such a start in the whole file.
    entries: see `Parts`.

  Returns:
    Key of `entries`, and the start, None where it is the whole entry.

  Raises:
    WeightsFileError: nothing in the file starts so.
  """
  if copy in entries:
    return copy, None
  above = [p for p in entries if copy.startswith(f"{p}/" if p else "")]
  for place in sorted(above, key=len, reverse=True):
    start = copy[len(place) + 1 :] if place else copy
    start = start.rstrip(".") + "."
    names = entries[place].items
    if any(type(n) is str and n.startswith(start) for n in names):
      return place, start
  raise WeightsFileError(
    f"found no copy of the weights named {shown(copy)!r}, expected one of"
    f" {listed(entries, entries) or 'none'} (or the start of names in one,"
    " ENTRY/START.)."
  )


def check(place: str, items: Mapping[Any, Any]) -> None:
  """Raises for what may be a weight and is none that can be read.

  Args:
    place: of the entry.
    items: its content.

  Raises:
    WeightsFileError: for a name that is no string, and an object.
  """
  where = f"the entry {place!r}" if place else "the file"
  for name, value in items.items():
    # An object in the midst of the weights may be one of them: to leave it out
    # would give a network that lacks it.
    if type(name) is not str or type(value) is Placeholder:
      raise WeightsFileError(
        f"found {shown(name)} that is no tensor by name in {where}, expected"
        " only such."
      )


def beside(tree: Any, path: tuple[Any, ...]) -> dict[str, Any]:
  """What stands beside an entry and above it.

  Args:
    tree: of the file.
    path: of the entry.

  Returns:
    Values by name; of two with one name the nearer one.
  """
  out: dict[str, Any] = {}
  for depth, key in enumerate(path):
    if isinstance(tree, dict):
      # Tensors beside an inner entry are another copy of the weights.
      plain = lambda value, outer=not depth: outer or type(value) is not Stored
      out |= {n: v for n, v in tree.items() if n != key and plain(v)}
    tree = tree[key]
  return out
