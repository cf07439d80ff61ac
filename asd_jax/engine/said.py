"""What a session finds: a fitted section, and what it says of clips."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from asd_jax.data.clips import Clip
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


class Windows(NamedTuple):
  """What is said of windows of long recordings, in the order of time.

  Attributes:
    file: `[W]` position of the recording among the files.
    start_seconds: `[W]` where each begins.
    score: `[W]` fused scores.
    decision: `[W]` int8, as of files.
    p_value: `[W]`, as of files.
  """

  file: np.ndarray
  start_seconds: np.ndarray
  score: np.ndarray
  decision: np.ndarray
  p_value: np.ndarray


NO_WINDOWS = Windows(*np.zeros((5, 0)))


class Judged(NamedTuple):
  """What a fitted section says of files.

  Attributes:
    scores: in the order of the files, leading axis Q.
    p_values: `[Q]`, NaN without models of folds.
    decisions: `[Q]` int8, 1 anomalous, 0 normal, -1 where none is possible.
    notes: odd but fine input.
    clips: `[Q]` what was scored: the file, of a recording one of its windows.
    windows: of all recordings.
  """

  scores: Scores
  p_values: np.ndarray
  decisions: np.ndarray
  notes: list[str]
  clips: Sequence[Clip] = ()
  windows: Windows = NO_WINDOWS
