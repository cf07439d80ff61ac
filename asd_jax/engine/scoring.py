"""Scores of a fitted section, put together from batches and fold models."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from asd_jax.data import clips, hearing
from asd_jax.engine import gather, windowed
from asd_jax.engine.embed import Advance, Room
from asd_jax.engine.opened import Opened
from asd_jax.engine.said import Judged
from asd_jax.engine.section import Section
from asd_jax.scores.fusion import Scores

Tree = Any


def score(
  opened: Opened,
  states: Sequence[Tree],
  section: Section,
  some: Sequence[clips.Clip],
  *,
  refit: bool,
  room: Room,
  advance: Advance,
) -> Judged:
  """Scores clips and windows, each by itself.

  Args:
    opened: the weights.
    states: of the whole fit, then of the K folds, on the devices.
    section: what was fitted.
    some: Q clips.
    refit: whether models of folds have features of their own.
    room: where clips are put, see `lengths.rooms`.
    advance: called with the number of clips done, after each batch.

  Returns:
    What is said of them, in the order given.

  Raises:
    InputError: for a clip that cannot be decoded, or scored.
  """
  state, *others = states
  by_fold = np.zeros((len(some), len(others)), np.float32)
  parts, order, notes = [], [], []
  for rows, scores, more, new in gather.score(
    opened.embedder,
    state,
    some,
    room=room,
    others=() if refit else others,
    advance=advance,
  ):
    parts.append(scores)
    order.append(rows)
    notes += new
    if not refit:
      by_fold[rows] = more
  # What was fitted before the features without a fold makes other features: a
  # pass over the clips for each.
  for k, other in enumerate(others if refit else ()):
    for rows, scores, _, _ in gather.score(
      opened.of_fold(k), other, some, room=room
    ):
      by_fold[rows, k] = scores.fused
  if not parts:
    none: Any = dict(fused=np.zeros(0), seeds=np.zeros((0, 1)))
    all_scores = Scores(**none, members={})
  else:
    # Batches come by shape and by what the cache holds, not as given.
    back = np.argsort(np.concatenate(order))
    all_scores = jax.tree.map(lambda *x: np.concatenate(x)[back], *parts)
  notes, heard = hearing.split(notes)
  notes += hearing.of_all(heard, section.facts.get("levels", {}))
  said = section.decide(np.asarray(all_scores.fused), by_fold)
  notes = windowed.together(notes, some)
  return Judged(all_scores, said.p_value, said.decision, notes)
