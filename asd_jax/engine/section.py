"""One section of a machine: what is fitted, and what it says of clips.

Nothing here needs the code of a system: detectors of one file use it too.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from asd_jax.data import clips, windows
from asd_jax.engine import crossfit, decide

Tree = Any


class Section(NamedTuple):
  """One section of a machine, ready to score.

  Attributes:
    state: fitted state of the system.
    folds: models of folds, if there are any.
    limit: threshold on the score, where the rule has one: a greater score is
      anomalous.
    rule: how clips are called anomalous.
    facts: what the file says besides, such as `num_train`.
  """

  state: Tree
  folds: crossfit.Folds | None
  limit: float | None
  rule: decide.Rule
  facts: dict[str, Any]

  def decide(self, score: np.ndarray, by_fold: np.ndarray) -> decide.Decided:
    """p-values and decisions, see `crossfit.decide`."""
    return crossfit.decide(
      self.rule,
      self.limit,
      self.folds,
      score,
      by_fold,
      possible=not self.problem(),
    )

  def problem(self) -> str:
    """Why no clip can be called anomalous; "" where one can."""
    num, target = self.facts["num_train"], self.facts["num_target"]
    return decide.problem(self.rule, self.limit, num, target)

  def plan(self, some: Sequence[clips.Clip]) -> windows.Windowed:
    """Files to score, long recordings cut as this section cuts them."""
    # Detectors of older versions know of no windows.
    about = self.facts.get("windows")
    how = about and windows.Cut(*(about[k] for k in windows.Cut._fields))
    return windows.cut(some, how)

  def without_models(self) -> "Section":
    """The same without its states, which may be large."""
    folds = self.folds and self.folds._replace(states=())
    return self._replace(state=None, folds=folds)

  def about(self) -> dict[str, Any]:
    """What results say about decisions, see `report.record.Decision`."""
    num, target = self.facts["num_train"], self.facts["num_target"]
    counts = decide.counts(self.rule, num, target)
    return {
      "rule": self.rule.name,
      "false_alarm_rate": self.rule.false_alarm_rate,
      "by_domain": self.rule.by_domain,
      "folds": int(self.folds.fold.max()) + 1 if self.folds else 0,
      "num_train": min(counts.values()),
      "num_needed": decide.num_needed(self.rule),
      "possible": not self.problem(),
      "problem": self.problem(),
      "of_domain": counts if self.rule.by_domain else {},
    }

  def sees_own_clips(self) -> bool:
    """Whether scores of training clips are by models that have seen them."""
    return self.folds is None and "in_sample" in (
      self.facts["training_scores"].values()
    )

  def train_scores(self) -> np.ndarray:
    """`[N]` scores of the training clips by what scores new clips, ascending.

    Those by models of folds may be on other scales.
    """
    return np.asarray(self.facts["train_scores"])
