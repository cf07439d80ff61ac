"""What a session finds: a fitted section, and what it says of clips."""

from typing import NamedTuple

import numpy as np

from asd_jax.engine import section as section_lib
from asd_jax.scores.fusion import Scores


class Fitted(NamedTuple):
  """One section after its fit.

  Attributes:
    section: ready to score, and to be saved.
    train_scores: `[N]` scores of the training clips, by models that have not
      seen them where there are models of folds.
    notes: odd but fine input.
  """

  section: section_lib.Section
  train_scores: np.ndarray
  notes: list[str]


class Judged(NamedTuple):
  """What a fitted section says of clips.

  Attributes:
    scores: in the order of the clips, leading axis Q.
    p_values: `[Q]`, NaN without models of folds.
    decisions: `[Q]` int8, 1 anomalous, 0 normal, -1 where none is possible.
    notes: odd but fine input.
  """

  scores: Scores
  p_values: np.ndarray
  decisions: np.ndarray
  notes: list[str]
