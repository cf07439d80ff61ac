"""Classes of training clips, from what is known of them.

A rule gives each clip the name of its class, or None; `number` counts the
names. Attributes are compared without their case (`names.fold`): read
literally, the case of some is the label of the clip. Nothing here needs labels:
of clips without any the class is their machine, and `pseudo` finds groups of
clips that sound alike.

Source: [KonicaMinolta26], [Dongyuan26], [MERL26] Sec. 3.1.
"""

import collections
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from asd_jax import errors
from asd_jax.data import names
from asd_jax.data.clips import Clip
from asd_jax.ops import cluster
from asd_jax.typing import Array

_k_means = jax.jit(
  cluster.k_means, static_argnums=2, static_argnames="num_starts"
)
# Rows of clips -> `[rows, D]` numbers of each, such as pooled embeddings.
Features = Callable[[Sequence[int]], Array]


class Labels(NamedTuple):
  """Classes over all machines.

  Attributes:
    id: `[N]` int32 class of each clip, its place in `classes`; -1 for none.
    classes: names, sorted.
  """

  id: np.ndarray
  classes: tuple[str, ...]


def number(found: Sequence[str | None]) -> Labels:
  """Classes of clips by the names of their classes.

  Args:
    found: name of the class of each clip, None for none.
  """
  classes = tuple(sorted({name for name in found if name is not None}))
  place: dict[str | None, int] = {name: i for i, name in enumerate(classes)}
  ids = [place.get(name, -1) for name in found]
  return Labels(np.asarray(ids, np.int32), classes)


def machine(clips: Sequence[Clip]) -> Labels:
  """One class a machine.

  Args:
    clips: of any machines.
  """
  return number([c.machine for c in clips])


def attribute(clips: Sequence[Clip]) -> Labels:
  """One class for each attribute text of a machine.

  Clips without attributes are classed by machine and domain.

  Args:
    clips: of any machines.

  Returns:
    A class for every clip.

  Source: [KonicaMinolta26] Sec. 2.2.
  """
  texts = spellings(clips)
  return number(
    [
      _path(c.machine, text or c.domain)
      for c, text in zip(clips, texts, strict=True)
    ]
  )


def attribute_or_none(clips: Sequence[Clip]) -> Labels:
  """One class for each attribute text of a machine; none without attributes.

  Args:
    clips: of any machines.

  Source: [Dongyuan26] Sec. 3.5.
  """
  texts = spellings(clips)
  return number(
    [
      _path(c.machine, text) if text else None
      for c, text in zip(clips, texts, strict=True)
    ]
  )


def domain(clips: Sequence[Clip], *, literal: bool = False) -> Labels:
  """One class for each domain of a machine.

  Args:
    clips: of any machines.
    literal: one class for each domain of all machines together, and none for
      clips of unknown domain. Of 990 source clips and 10 target clips a machine
      such a class says little.

  Source: [Dongyuan26] Sec. 3.5.
  """
  if literal:
    return number([c.domain for c in clips])
  return number([_path(c.machine, c.domain) for c in clips])


def pseudo(
  clips: Sequence[Clip],
  *,
  features: Features,
  num_clusters: int = 16,
  num_starts: int = 10,
) -> Labels:
  """Machine, domain and attributes; groups of clips where there are none.

  Args:
    clips: of any machines.
    features: of the rows of clips that are to be grouped, asked once for each
      machine without attributes.
    num_clusters: groups of a machine; one a clip where it has fewer.
    num_starts: of k-means.

  Returns:
    A class for every clip.

  Source: [MERL26] Sec. 3.1; [Fujimura25] for the number of groups.
  """
  group = np.full(len(clips), -1, np.int32)
  for name, rows in grouped(clips).items():
    x = features(rows)
    # A key of its own: other machines do not change the groups of this one.
    key = jax.random.fold_in(jax.random.key(0), zlib.crc32(name.encode()))
    num = min(num_clusters, len(rows))
    group[rows] = _k_means(key, x, num, num_starts=num_starts).label
  return in_groups(clips, group.tolist())


def grouped(clips: Sequence[Clip]) -> dict[str, list[int]]:
  """Rows of the clips that `pseudo` groups, by machine.

  These are the clips of machines of which no clip has attributes, but for those
  of the target domain, which are too few.

  Args:
    clips: of any machines.
  """
  told = {c.machine for c in clips if names.fold(c.attributes)}
  found: dict[str, list[int]] = collections.defaultdict(list)
  for row, clip in enumerate(clips):
    if clip.machine not in told and clip.domain != "target":
      found[clip.machine].append(row)
  return dict(found)


def in_groups(clips: Sequence[Clip], group: Sequence[int]) -> Labels:
  """Classes of machine, domain, and attributes or group.

  Args:
    clips: of any machines.
    group: `[N]` of each clip, -1 for none.
  """
  texts = spellings(clips)
  return number(
    [
      _path(c.machine, c.domain, text or (f"pseudo_{g}" if g >= 0 else ""))
      for c, text, g in zip(clips, texts, group, strict=True)
    ]
  )


# A rule takes clips, and `features` too if it has that argument.
RULES: dict[str, Callable[..., Labels]] = dict(
  machine=machine,
  attribute=attribute,
  attribute_or_none=attribute_or_none,
  domain=domain,
  pseudo=pseudo,
)


def of(
  rule: str | Mapping[str, Any],
  clips: Sequence[Clip],
  *,
  features: Features | None = None,
) -> Labels:
  """Classes of clips by a rule of `RULES`.

  Args:
    rule: its name, or the name and settings.
    clips: of any machines.
    features: for rules that group clips by sound, see `pseudo`.

  Raises:
    InputError: if the rule or a setting is unknown.
  """
  settings: dict[str, Any]
  settings = {"name": rule} if isinstance(rule, str) else dict(rule)
  name = settings.pop("name", None)
  known = {"domain": {"literal"}, "pseudo": {"num_clusters", "num_starts"}}
  if name not in RULES or settings.keys() - known.get(name, set()):
    raise errors.InputError(
      f"config: labels: found {rule!r}, expected one of {tuple(RULES)}, with"
      f" some of {sorted(known.get(str(name), ()))}."
    )
  if name == "pseudo":
    settings["features"] = features
  return RULES[name](clips, **settings)


def table(labels: Labels, clips: Sequence[Clip]) -> list[dict[str, Any]]:
  """Records of the classes, for people.

  Args:
    labels: classes of the clips.
    clips: of any machines.

  Returns:
    For each class its `name`, `machines` and numbers of clips: `source`,
    `target` and `unknown` by domain. A last record has the name None, and
    counts the clips without a class, if there are any.
  """
  found: dict[int, list[Clip]] = collections.defaultdict(list)
  for place, clip in zip(labels.id.tolist(), clips, strict=True):
    found[place].append(clip)
  records = []
  for place in (*range(len(labels.classes)), -1):
    if place in found:
      domains = collections.Counter(c.domain or "unknown" for c in found[place])
      records.append(
        dict(
          name=labels.classes[place] if place >= 0 else None,
          machines=sorted({c.machine for c in found[place]}),
          **{d: domains[d] for d in ("source", "target", "unknown")},
        )
      )
  return records


def spellings(clips: Sequence[Clip]) -> list[str]:
  """Attribute text of each clip, as the clips of its machine write it first.

  Args:
    clips: of any machines.

  Returns:
    Texts, "" for none. Two of a machine are equal if they differ in case only.
  """
  written: dict[tuple[str, str], str] = {}  # by machine and folded text
  for clip in clips:
    text = names.clean_attributes(clip.attributes).rstrip("_")
    key = (clip.machine, names.fold(text))
    # The first in the alphabet, so that the order of clips does not matter.
    written[key] = min(written.get(key, text), text)
  return [written[c.machine, names.fold(c.attributes)] for c in clips]


def _path(*parts: str | None) -> str:
  """A name of the parts that are known."""
  return "/".join(part for part in parts if part)
