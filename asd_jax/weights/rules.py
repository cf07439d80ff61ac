"""Official weights to our parameters: rules on names, in NumPy.

Two steps, each a pure function. `official` brings the layouts in which a
family is published (hub, training code, fine-tuned) to one set of names and
drops what an encoder does not use. `to_tree` moves each name to its place in
the parameter tree by a rule of the encoder. What is left over on either side
is an error.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from asd_jax import errors
from asd_jax.weights import entries, wrapped
from asd_jax.weights.byte_source import shown


class Layout(NamedTuple):
  """Another way in which a family names its weights.

  Attributes:
    mark: a name that matches it fully shows this layout.
    renames: (pattern at the start of a name, replacement); the first that
      matches is applied.
  """

  mark: str
  renames: tuple[tuple[str, str], ...]


class Names(NamedTuple):
  """How the published files of a family name their weights.

  Attributes:
    mark: pattern of a name that every file of the family has.
    look: pattern of a name, in any layout, by which to tell the family; other
      families may look alike.
    layouts: tried in order; the first whose mark is found is used.
    ignore: patterns of names that features do not need.
    idle: of these, norms that the published code has and never uses.
    refuse: (pattern, what such a file is).
    tied: (pattern of copies, name of the one that is kept).
    absent: (name of a weight that some published files lack, the numbers that
      the published code takes then).
    stacked: (pattern of a weight that holds several, one below the other; what
      each is called).
  """

  mark: str
  look: str
  layouts: tuple[Layout, ...] = ()
  ignore: tuple[str, ...] = ()
  idle: tuple[str, ...] = ()
  refuse: tuple[tuple[str, str], ...] = ()
  tied: tuple[tuple[str, str], ...] = ()
  absent: tuple[tuple[str, tuple[float, ...]], ...] = ()
  stacked: tuple[tuple[str, tuple[str, ...]], ...] = ()


class Rule(NamedTuple):
  r"""Where one kind of weight goes.

  Attributes:
    pattern: matches the official name fully.
    path: place in the parameter tree, `/` between levels; `\1` stands for the
      first group of the pattern.
    kind: key of `TRANSFORMS`.
  """

  pattern: str
  path: str
  kind: str = "same"


# Official name and array by place.
Placed = dict[str, tuple[str, np.ndarray]]


def _linear(x: np.ndarray) -> np.ndarray:
  return np.transpose(x)


def _conv_1d(x: np.ndarray) -> np.ndarray:
  return np.transpose(x, (2, 1, 0))


def _conv_2d(x: np.ndarray) -> np.ndarray:
  return np.transpose(x, (2, 3, 1, 0))


# PyTorch's order of axes to flax's: output channels last, kernel axes first.
TRANSFORMS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
  "same": lambda x: x,
  "linear": _linear,
  "conv_1d": _conv_1d,
  "conv_2d": _conv_2d,
}


def identify(names: Iterable[str], looks: Iterable[tuple[str, str]]) -> str:
  """What weights look like, told from their names.

  Args:
    names: official names, in any layout, whatever stands in front of them.
    looks: (pattern of a name, what has it), most telling first.

  Returns:
    The first that fits, or "an unknown model".
  """
  bare = [wrapped.bare(name) for name in names]
  looks = list(looks)
  some = bare[: wrapped.MAX_NAMES]
  inner = [n[len(p) :] for n in some for p in wrapped.starts(n)[1:]]
  for ends in (bare, inner):
    for pattern, title in looks:
      if any(re.fullmatch(pattern, name) for name in ends):
        return title
  return "an unknown model"


def _renamed(name: str, renames: tuple[tuple[str, str], ...]) -> str:
  for pattern, replacement in renames:
    if re.match(pattern, name):
      return re.sub(pattern, replacement, name, count=1)
  return name


def by_layout(
  short: Mapping[str, str], layouts: Iterable[Layout]
) -> dict[str, str]:
  """Official names of a family.

  Args:
    short: name without its prefix, by name in the file.
    layouts: in which the names may be.

  Returns:
    Official name by name in the file.
  """
  # One layout for all names of a file: its mark decides, not each name.
  renames: tuple[tuple[str, str], ...] = ()
  for layout in layouts:
    if any(re.fullmatch(layout.mark, name) for name in short.values()):
      renames = layout.renames
      break
  return {file: _renamed(name, renames) for file, name in short.items()}


def _matches(patterns: Iterable[str], name: str) -> bool:
  return any(re.fullmatch(p, name) for p in patterns)


def unwrap(
  names: Iterable[str],
  known: Names,
  *,
  title: str,
  prefix: str | None = None,
) -> wrapped.Unwrapped:
  """Takes off what training code put in front of a family's names.

  Args:
    names: in the file.
    known: how they may be named.
    title: what is expected, for messages.
    prefix: what to take off; None finds it.

  Returns:
    See `wrapped.unwrap`.

  Raises:
    InputError: the family is there more than once.
  """
  layouts = [(), *(layout.renames for layout in known.layouts)]

  def leads(name: str) -> bool:
    new = {_renamed(name, renames) for renames in layouts}
    return any(re.fullmatch(known.mark, n) for n in new)

  return wrapped.unwrap(names, leads, title=title, prefix=prefix)


def official(
  tensors: Mapping[str, np.ndarray],
  known: Names,
  *,
  title: str,
  others: Iterable[str] = (),
  looks: Iterable[tuple[str, str]] = (),
  prefix: str | None = None,
) -> dict[str, np.ndarray]:
  """Weights of a family by their official names, without what is not used.

  Args:
    tensors: arrays by the names of the file.
    known: how they may be named.
    title: what is expected, for messages.
    others: names in the file that hold no tensor.
    looks: what else it may be, see `identify`.
    prefix: what stands in front of the names; None finds it.

  Returns:
    Arrays by official name; of tied copies one; numbers of `absent` ones.

  Raises:
    InputError: it is another model, an entry that is needed is no tensor, two
      names become one, or copies that should be equal differ.
  """
  short = unwrap([*tensors, *others], known, title=title, prefix=prefix).names
  new = by_layout(short, known.layouts)
  # Refused before the mark is sought: such files may have it too.
  for pattern, what in known.refuse:
    if told := [n for n in new if re.fullmatch(pattern, new[n])]:
      raise errors.InputError(
        f"found {what} ({wrapped.listed(told)}), expected {title} weights."
      )
  if not any(re.fullmatch(known.mark, name) for name in new.values()):
    model, names = identify(short.values(), looks), wrapped.listed(short)
    raise errors.InputError(
      f"found {model} ({names}), expected {title} weights."
    )
  # A name without a tensor is an error only where its weight is needed.
  bare = [n for n in others if n in new and not _matches(known.ignore, new[n])]
  # Nested averages of the weights are what is not asked for.
  if bare := [n for n in bare if not entries.is_average(n)]:
    raise errors.InputError(
      f"found no tensor under {wrapped.listed(bare)}, expected one."
    )
  found: dict[str, np.ndarray] = {}
  for name, value in tensors.items():
    if name not in new or _matches(known.ignore, new[name]):
      continue
    if new[name] in found:
      raise errors.InputError(
        f"found {shown(new[name])} twice, expected it once."
      )
    found[new[name]] = value
  for name, numbers in known.absent:
    found.setdefault(name, np.array(numbers, np.float32))
  return _unstacked(_untied(found, known.tied), known.stacked)


def _unstacked(
  found: dict[str, np.ndarray], stacked: tuple[tuple[str, tuple[str, ...]], ...]
) -> dict[str, np.ndarray]:
  """Cuts weights that hold several into those."""
  for pattern, parts in stacked:
    for name in [n for n in found if re.fullmatch(pattern, n)]:
      whole = found.pop(name)
      if not whole.ndim or len(whole) % len(parts):
        raise errors.InputError(
          f"found {shown(name)} of shape {list(whole.shape)}, expected rows of"
          f" {len(parts)} equal weights."
        )
      cut = np.split(whole, len(parts))
      found |= {
        re.sub(pattern, part, name): x
        for part, x in zip(parts, cut, strict=True)
      }
  return found


def _untied(
  found: dict[str, np.ndarray], tied: tuple[tuple[str, str], ...]
) -> dict[str, np.ndarray]:
  """Drops copies, after a look that they are copies."""
  for pattern, kept in tied:
    for name in [n for n in found if re.fullmatch(pattern, n) and n != kept]:
      copy = found.pop(name)
      if kept not in found or not np.array_equal(copy, found[kept]):
        raise errors.InputError(
          f"found {shown(name)} unlike {kept}, expected a copy of it."
        )
  return found


def placed(tensors: Mapping[str, np.ndarray], rules: Iterable[Rule]) -> Placed:
  """Official name and array in our order of axes, by place; see `to_tree`."""
  rules = list(rules)
  out: Placed = {}
  unknown = []
  for name, value in tensors.items():
    fits = [(r, m) for r in rules if (m := re.fullmatch(r.pattern, name))]
    if not fits:
      unknown.append(name)
      continue
    # The order of rules must not matter.
    if len(fits) > 1:
      raise errors.InputError(
        f"found two rules for {shown(name)}, expected one."
      )
    rule, match = fits[0]
    # Counts and quantised numbers mean nothing without their scales.
    if value.dtype.kind in "biuc":
      raise errors.InputError(
        f"found {shown(name)} of type {value.dtype}, expected real"
        " floating-point numbers."
      )
    path = match.expand(rule.path)
    if path in out:
      raise errors.InputError(
        f"found {shown(out[path][0])} and {shown(name)} for the place"
        f" {shown(path)}, expected one."
      )
    try:
      out[path] = (name, TRANSFORMS[rule.kind](value))
    except ValueError:
      raise errors.InputError(
        f"found {shown(name)} of shape {list(value.shape)}, expected the axes"
        f" of a {rule.kind} weight."
      ) from None
  if unknown:
    raise errors.InputError(
      f"found weights without a place: {wrapped.listed(unknown)}; expected"
      " none."
    )
  return out


def to_tree(
  tensors: Mapping[str, np.ndarray],
  rules: Iterable[Rule],
  expected: Mapping[str, tuple[int, ...]],
) -> dict[str, Any]:
  """Moves weights to their places in a parameter tree.

  Args:
    tensors: arrays by official name (see `official`).
    rules: one must fit each name.
    expected: shape of every parameter by its place, such as
      `blocks_0/attn/qkv/kernel`.

  Returns:
    Nested mappings of arrays, views of the given ones where possible.

  Raises:
    InputError: names without a rule, parameters without a name, or other
      shapes; the first five are listed.
  """
  found = placed(tensors, rules)
  # Missing first, then extra, then shapes: each explains the next.
  missing = [path for path in expected if path not in found]
  if missing:
    raise errors.InputError(
      f"found no weights for {wrapped.listed(missing)}; expected all"
      f" {len(expected)} parameters."
    )
  extra = [name for path, (name, _) in found.items() if path not in expected]
  if extra:
    raise errors.InputError(
      f"found weights that the encoder does not have: {wrapped.listed(extra)};"
      " expected none (is it another size?)."
    )
  wrong = [
    f"{name} {list(value.shape)} for {list(expected[path])}"
    for path, (name, value) in found.items()
    if value.shape != tuple(expected[path])
  ]
  if wrong:
    raise errors.InputError(
      f"found other shapes: {wrapped.listed(wrong)}; expected those of the"
      " encoder (is it another size?)."
    )
  # In the order of the network, so that two files give one tree.
  tree: dict[str, Any] = {}
  for path in expected:
    *folders, leaf = path.split("/")
    place = tree
    for folder in folders:
      place = place.setdefault(folder, {})
    place[leaf] = found[path][1]
  return tree


def leaves(
  tree: Mapping[str, Any], *, place: str = ""
) -> Iterator[tuple[str, Any, str]]:
  """Goes through the parameters in the order of their paths.

  Args:
    tree: nested mappings.
    place: path of `tree` itself, with `/` at its end.

  Yields:
    The path, the mapping that holds the parameter, and its name there.
  """
  for name in sorted(tree):
    if isinstance(tree[name], Mapping):
      yield from leaves(tree[name], place=f"{place}{name}/")
    else:
      yield f"{place}{name}", tree, name


def in_float32(tree: dict[str, Any]) -> dict[str, Any]:
  """Numbers as float32, row-major, whatever the file stored; on several cores.

  Args:
    tree: nested mappings of arrays, each of which is replaced in its place, so
      that no more than one is there twice.

  Returns:
    The same tree.
  """

  def one(leaf: tuple[str, Any, str]) -> None:
    _, holder, name = leaf
    value = holder[name]
    flat = np.ascontiguousarray(value, np.float32)
    holder[name] = flat.reshape(value.shape)

  with ThreadPoolExecutor() as pool:
    for _ in pool.map(one, leaves(tree)):
      pass
  return tree
