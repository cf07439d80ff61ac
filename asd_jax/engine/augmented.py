"""Clips made from training clips, which only add rows to the bank."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from asd_jax.data import clips, decode
from asd_jax.engine.fronts import Fronts
from asd_jax.engine.normals import Augmented
from asd_jax.engine.programs import Programs
from asd_jax.engine.system import System

Tree = Any


def num_augmented(
  system: System, name: str, front: Tree, is_target: np.ndarray
) -> int:
  """How many clips a branch makes from training clips of these domains."""
  count = system.branches[name].front.augment.count
  num_source = int(np.sum(~is_target))
  return count(front[name]["augment"], num_source) if is_target.any() else 0


class Made(NamedTuple):
  """Clips made from training clips, enough for all folds.

  Attributes:
    clips: features, and the clip of each.
    number: `[M]` draw of each.
  """

  clips: Augmented
  number: np.ndarray

  def first(self, num: int) -> Augmented:
    """Those of the first draws."""
    keep = self.number < num
    host: Any = self.clips.features[keep], self.clips.clip[keep]
    return Augmented(*host)

  def masked(self, num: int, valid: np.ndarray) -> Augmented:
    """All of them, of which at most `num` made from valid clips count."""
    own = valid[self.clips.clip]
    # By number of the draw: rows lie in the order in which files were read.
    order = np.argsort(np.where(own, self.number, len(own) + self.number))
    rank = np.argsort(order)
    counts: Any = own & (rank < num)
    return self.clips.replace(valid=counts)


def augment(
  programs: Programs,
  fronts: Fronts,
  some: Sequence[clips.Clip],
  *,
  rate: int,
  room: Callable[[int], decode.Room] = decode.own_room,
) -> dict[str, Made]:
  """Makes clips from the target-domain training clips.

  Args:
    programs: the compiled system.
    fronts: fitted stages.
    some: training clips, which are read once a branch, in constant memory.
    rate: sample rate, Hz.
    room: where clips are put, see `lengths.rooms`.

  Returns:
    `Made` of branches whose statistics ask for any; vector i is made from
    target clip i modulo their number.
  """
  is_target = np.array([c.domain == "target" for c in some])
  targets = [int(i) for i in np.flatnonzero(is_target)]
  size, front = programs.batch_size, fronts.whole
  out = {}
  for name, branch in programs.system.branches.items():
    # A fold's statistics may ask for more than those of all clips.
    own_num, *others = (
      num_augmented(programs.system, name, f, is_target)
      for f in (front, *fronts.without)
    )
    num = max(own_num, *others, 0)
    if not num:
      continue
    # The first draws are those of a fit without folds.
    draws = jax.tree.map(
      lambda a, b: np.concatenate([a, b[len(a) :]]),
      *map(branch.front.augment.draw, (own_num, num)),
    )
    parts, rows, numbers = [], [], []
    chosen = [some[i] for i in targets[:num]]
    for batch in decode.batches(
      chosen, batch_size=size, sample_rate=rate, room=room
    ):
      # Every vector that is made from a clip of this batch, while it is read.
      own = [
        (place, i)
        for place, clip in enumerate(batch.index)
        if clip >= 0
        for i in range(int(clip), num, len(targets))
      ]
      for start in range(0, len(own), size):
        pairs = own[start : start + size]
        full = pairs + pairs[:1] * (size - len(pairs))
        place, i = (np.array(x) for x in zip(*full, strict=True))
        drawn = jax.tree.map(lambda x: x[i], draws)  # noqa: B023
        found = programs.augmented(
          name,
          front,
          batch.audio[place],
          drawn,
          num=None if batch.num is None else batch.num[place],
          most=batch.most,
          keep=np.arange(size) < len(pairs),
        )
        parts.append(np.asarray(found)[: len(pairs)])
        rows += [targets[j % len(targets)] for _, j in pairs]
        numbers += [j for _, j in pairs]
    host: Any = np.concatenate(parts), np.array(rows, np.int32)
    out[name] = Made(Augmented(*host), np.array(numbers))
  return out
