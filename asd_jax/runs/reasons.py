"""Reasons of suspicious clips, kept: each takes dozens of passes.

They are found by the content of settings, weights, fitted state, recordings
and code, from any folder. One that took too long is kept as far as it came, so
that the next run goes on with it.
"""

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from asd_jax import errors, files, store
from asd_jax.data import clips, decode
from asd_jax.engine import identity, stages

Tree = Any
# Raised when the meaning of a kept reason changes.
_FORM = 1


class Known(NamedTuple):
  """What is known of a clip's reason.

  Attributes:
    neighbours: positions of the nearest training clips, and the score against
      each alone, nearest first.
    references: positions of the training clips that parts come from.
    scores: of the clip and of its swaps, in order, as far as they are known.
  """

  neighbours: list[tuple[int, float]]
  references: list[int]
  scores: list[float]


class Reasons:
  """What is known of the reasons of one system.

  Args:
    folder: of all reasons; None if nothing is kept.
    run: name of all that decides a score but state and recordings.
    mode: as of the embedding cache, see `cache.MODES`.
  """

  def __init__(self, folder: Path | None, run: str, mode: str) -> None:
    self._run, self._mode = run, "off" if folder is None else mode
    code = store.code_version(".")
    self._store = store.Store(folder or Path(), form=_FORM, code=code)

  @property
  def writes(self) -> bool:
    """Whether the next run finds what this one puts."""
    return self._mode in ("on", "clear")

  def key(
    self, state: Tree, clip: clips.Clip, train: Sequence[clips.Clip]
  ) -> str:
    """Names a reason; "" where nothing is kept, or a file is gone.

    Args:
      state: fitted state of the clip's section.
      clip: the clip.
      train: training clips of its section, in order.

    Returns:
      32 hex digits, or "".
    """
    if self._mode == "off":
      return ""
    try:
      heard = [decode.digest(c) for c in (clip, *train)]
    except errors.InputError:
      return ""
    return store.digest(self._run, heard, jax.tree.leaves(state))

  def get(self, key: str) -> Known | None:
    """Reads a reason.

    Args:
      key: of it.

    Returns:
      It, or None if there is none.
    """
    # What is to be cleared counts as absent, and is replaced.
    if not key or self._mode == "clear":
      return None
    kept = self._store.get(key)
    if kept is None:
      return None
    found = {k: v.tolist() for k, v in kept.arrays.items()}
    pairs = zip(found["nearest"], found["against"], strict=True)
    return Known([*pairs], found["references"], found["scores"])

  def put(self, key: str, known: Known) -> None:
    """Keeps a reason; a full disk is no reason to stop.

    Args:
      key: of it.
      known: as far as it is known.
    """
    if not key or not self.writes:
      return
    rows = lambda some: np.array([*some], np.int64)
    arrays = {
      "nearest": rows(i for i, _ in known.neighbours),
      "against": np.array([s for _, s in known.neighbours], np.float64),
      "references": rows(known.references),
      "scores": np.array(known.scores, np.float64),
    }
    with contextlib.suppress(errors.InputError):
      self._store.put(key, arrays, {}, sync=False)


def of_run(config: Mapping[str, Any], weights: Mapping[str, Any]) -> Reasons:
  """The reasons that are kept of a run's system.

  Args:
    config: of the run, complete.
    weights: `encoders.weights` of its results: digest to its branches.

  Returns:
    The reasons.
  """
  folder = files.cache_folder("reasons")
  # A user's code may read files of its own, which no name tells.
  if stages.is_imported({k: config[k] for k in ("branches", "fusion")}):
    folder = None
  used = sorted((digest, w["branches"]) for digest, w in weights.items())
  run = store.digest(identity.of_system(config), used)
  return Reasons(folder, run, config["cache"])
