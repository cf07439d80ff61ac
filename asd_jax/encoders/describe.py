"""What is in a weight file, in words, and how near it is to each family."""

import itertools
import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from asd_jax.encoders import convert, noise_aware_files, zoo
from asd_jax.encoders import family as family_lib
from asd_jax.encoders.family import Family
from asd_jax.weights import folder as weight_folder
from asd_jax.weights import read as weights_file
from asd_jax.weights import rules, wrapped
from asd_jax.weights.byte_source import shown
from asd_jax.weights.stored_tensor import Stored

# Tensors with more numbers count by name and shape only.
_LOADED = 1 << 16
# Families that lack something.
_SHOWN = 3


def _million(num: int) -> str:
  return f"{num / 1e6:.2f} M" if num >= 1e4 else str(num)


def describe(
  checkpoint: str | Path, *, placeholders: Iterable[str] = (), copy: str = ""
) -> list[str]:
  """Lists what a weight file holds; no large tensor is loaded.

  Args:
    checkpoint: the file, the index of several, a folder with either, a
      converted folder, or `owner/name` on the hub.
    placeholders: exact names of further objects that are left out.
    copy: another copy of the weights, see `weights.read`.

  Returns:
    Lines of text: the container, then name, dtype and shape of each weight,
    then what else there is, then what it lacks to be of a family.

  Raises:
    InputError: if the file is refused.
  """
  path, _ = convert.locate(checkpoint, None)
  if path.is_dir():
    if (path / weight_folder.ABOUT).exists():
      return _converted(path)
    path = convert.official_in(path)
  found = weights_file.scan(path, placeholders=placeholders, copy=copy)
  if found.problem:
    return [
      f"{path}: {found.container}, no weights by name:"
      f" {_counted(found.tensors)}",
      f"not taken as weights: {found.problem}",
      *_rows(found.tensors),
    ]
  stored = {n: v for n, v in found.weights.items() if type(v) is Stored}
  where = f"entry {found.entry!r}" if found.entry else "the whole file"
  return [
    f"{path}: {found.container}, weights in {where}: {_counted(stored)}",
    f"looks like: {rules.identify(found.weights, zoo.LOOKS)}",
    *_rows(stored),
    *_beyond(found, stored),
    *_families(path, placeholders, copy),
  ]


def _converted(path: Path) -> list[str]:
  """What a folder of ours says about itself."""
  about = weight_folder.read_about(path)
  settings = ", ".join(f"{k} {v}" for k, v in about["encoder"].items())
  title = zoo.title_of(about["family"])
  return [
    f"{path}: converted weights of {title} ({settings}) from"
    f" {about.get('source')}"
  ]


def _counted(tensors: Mapping[str, Stored]) -> str:
  count = sum(math.prod(v.shape) for v in tensors.values())
  return f"{len(tensors)} tensors, {_million(count)} numbers"


def _rows(tensors: Mapping[str, Stored]) -> list[str]:
  """A line a tensor: name, dtype, shape."""
  width = max(len(shown(name)) for name in tensors)
  return [
    f"  {shown(name):{width}}  {value.dtype!s:9} {[*value.shape]}"
    for name, value in tensors.items()
  ]


def _beyond(
  found: weights_file.Contents, stored: Mapping[str, Stored]
) -> list[str]:
  """What a file holds beside the weights."""
  lines = []
  others = [n for n in found.weights if n not in stored]
  for title, names in (
    ("no tensor, not read", others),
    ("beside the weights", list(found.beside)),
  ):
    if names:
      text = ", ".join(
        str(n) if type(n) is int else shown(n) for n in names[:20]
      )
      lines.append(f"{title}: {text}{' ...' * (len(names) > 20)}")
  if (inner := len(found.tensors) - len(stored)) > 0:
    lines.append(f"tensors elsewhere in the file, not read: {inner}")
  copies = {
    place: count
    for place, count in found.entries.items()
    if place != found.entry and 2 * count > len(stored)
  }
  if copies:
    text = ", ".join(
      f"{place or 'the whole file'} ({num} tensors)"
      for place, num in copies.items()
    )
    lines.append(f"other copies, taken with --copy=NAME: {text}")
  return lines


def _families(path: Path, placeholders: Iterable[str], copy: str) -> list[str]:
  """How near a file is to each family, nearest first."""
  weights = weights_file.read(
    path, placeholders=placeholders, copy=copy, most=_LOADED
  )
  fits, wrong = [], {}
  for known in zoo.FAMILIES.values():
    try:
      fits.append(_fit(weights, known))
    except ValueError as error:
      wrong[known.name] = str(error).removeprefix(f"{path}: ")
  if fits:
    return fits
  near = [(_known_names(weights.tensors, f), f) for f in zoo.FAMILIES.values()]
  near = sorted((n for n in near if n[0][1]), key=lambda n: -len(n[0][1]))
  titles = ", ".join(f.title for f in zoo.FAMILIES.values())
  return [
    _lacking(weights, known, start, names, wrong[known.name])
    for (start, names), known in near[:_SHOWN]
  ] or [f"no name is of a family here ({titles})"]


def _fit(weights: weights_file.Weights, known: Family) -> str:
  """Says that a file is of a family; raises what is wrong otherwise."""
  tensors = convert.named(weights, known)
  said = "".join(f"; {note}" for note in convert.notes(weights, known))
  files = noise_aware_files
  if known.inner is not None and not files.holds_base(known, tensors):
    settings = files.layers_alone(known, tensors, weights.beside)
    told = ", ".join(f"{k} {settings[k]}" for k in files.TOLD)
    return (
      f"has all layers of {known.title} ({told}); the weights of"
      f" {known.inner.title} are another file, --base=FILE{said}"
    )
  _, settings = family_lib.port(known, tensors, weights.beside)
  size = family_lib.size_of(known, settings) or "no published size"
  told = ", ".join(f"{k} {v}" for k, v in settings.items())
  return f"has all of {known.title}, {size} ({told}){said}"


def _lacking(
  weights: weights_file.Weights,
  known: Family,
  start: str,
  names: Mapping[str, str],
  told: str,
) -> str:
  """What is missing beside the names that a family's rules know."""
  some = {new: weights.tensors[file] for new, file in names.items()}
  try:
    family_lib.port(known, some, weights.beside)
  except ValueError as error:
    told = str(error).replace("found no weights for", "missing", 1)
  under = f" under {shown(start)}" * bool(start)
  share = f"{len(some)} of {len(weights.tensors)} names{under}"
  return f"not {known.title}, which knows {share}: {told}"


def _known_names(
  names: Collection[str], known: Family
) -> tuple[str, dict[str, str]]:
  """The start of names under which rules know most; names by official one."""
  rule = re.compile("|".join(f"(?:{r.pattern})" for r in known.rules))
  some = itertools.islice(names, wrapped.MAX_NAMES)
  bare = {name: wrapped.bare(name) for name in some}
  counts = Counter(s for n in bare.values() for s in wrapped.starts(n))
  best: tuple[str, dict[str, str]] = ("", {})
  for start, count in counts.items():
    if 4 * count < len(bare):
      continue  # stands in front of few names
    short = {
      file: n[len(start) :] for file, n in bare.items() if n.startswith(start)
    }
    official = rules.by_layout(short, known.names.layouts)
    found = {new: f for f, new in official.items() if rule.fullmatch(new)}
    best = max(best, (start, found), key=lambda b: len(b[1]))
  return best
