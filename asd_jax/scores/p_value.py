"""p-values of new clips from training clips scored by models without them.

The training clips are cut into folds, and one model is fitted without each.
`own` are the training clips' scores, each by the model of its own fold; a new
clip is scored by all of those models, so that each training clip is compared
with it by a model that has seen neither.
"""

import math

import numpy as np


def folds(
  is_target: np.ndarray,
  num: int,
  *,
  seed: int = 0,
  order: np.ndarray | None = None,
) -> np.ndarray:
  """Cuts training clips into folds at random, each domain by itself.

  Args:
    is_target: `[N]` True for target-domain clips.
    num: folds K; there are no more than clips.
    seed: of the draw.
    order: `[N]` places in time of windows of long recordings, -1 for clips.
      Neighbours are nearly copies, so windows are not drawn: their folds are
      blocks of time.

  Returns:
    `[N]` fold of each clip. Without windows sizes differ by at most one, and
    so do the clips of either domain.
  """
  if order is not None and (order >= 0).any():
    return _blocks(is_target, num, order, seed)
  rng = np.random.default_rng(seed)
  parts = [np.flatnonzero(is_target == domain) for domain in (False, True)]
  # One domain goes on where the other ends, or the first folds would get the
  # remainders of both.
  order = np.concatenate([rng.permutation(part) for part in parts])
  out = np.zeros(len(order), np.int32)
  out[order] = np.arange(len(order)) % max(1, min(num, len(order)))
  return out


def _blocks(
  is_target: np.ndarray, num: int, order: np.ndarray, seed: int
) -> np.ndarray:
  """Folds of windows by blocks of time, of clips at random."""
  most = max(1, min(num, len(order)))
  out = np.zeros(len(order), np.int32)
  alone = np.flatnonzero(order < 0)
  out[alone] = folds(is_target[alone], most, seed=seed)
  for domain in (False, True):
    own = np.flatnonzero((order >= 0) & (is_target == domain))
    own = own[np.argsort(order[own])]
    out[own] = np.arange(len(own)) * most // max(1, len(own))
  # Few windows of both domains may leave a fold empty.
  return np.unique(out, return_inverse=True)[1].astype(np.int32)


def _shares(
  own: np.ndarray, fold: np.ndarray, new: np.ndarray, among: np.ndarray
) -> np.ndarray:
  """`[Q]` p-values among some training clips."""
  # A score that is no number counts as the higher one: it must not make an
  # alarm.
  lower = own[None, among] < new[:, fold[among]]  # [Q, n]
  return (1 + np.sum(~lower, axis=1)) / (int(among.sum()) + 1)


def p_values(
  own: np.ndarray,
  fold: np.ndarray,
  is_target: np.ndarray,
  new: np.ndarray,
  *,
  by_domain: bool = False,
) -> np.ndarray:
  """CV+ p-values: how rarely a normal clip scores as high as each new one.

  `(1 + n) / (N + 1)`, n the training clips whose score by the model of their
  fold is at least the new clip's by that same model. Of clips like the
  training clips, at most a share `2 rate + min(2 (1 - 1 / K) / (N / K + 1),
  (1 - K / N) / (K + 1))` has one of `rate` or less; in practice about `rate`.

  Args:
    own: `[N]` training clips' scores, each by the model of its fold.
    fold: `[N]` their folds.
    is_target: `[N]` their domains.
    new: `[Q, K]` new clips' scores by the models.
    by_domain: the larger of the two domains' p-values, so that the promise
      holds for clips of either.

  Returns:
    `[Q]` in (0, 1].

  Source: [Barber21] theorem 4, CV+; [Vovk05].
  """
  every = np.ones(len(own), bool)
  if not by_domain:
    return _shares(own, fold, new, every)
  parts = [is_target == domain for domain in (False, True)]
  return np.maximum(*(_shares(own, fold, new, part) for part in parts))


def own_p_values(
  own: np.ndarray, is_target: np.ndarray, *, by_domain: bool = False
) -> np.ndarray:
  """p-values of training clips among the others.

  Args:
    own: `[N]` training clips' scores, each by the model of its fold.
    is_target: `[N]` their domains.
    by_domain: the larger of the p-values in both domains.

  Returns:
    `[N]` in (0, 1]: how many of the clips, itself counted, score as high.
  """

  def among(these: np.ndarray) -> np.ndarray:
    lower = np.searchsorted(np.sort(own[these]), own, side="left")
    # A clip of the other domain joins these, as a new clip does.
    joins = (~these).astype(np.int64)
    size = int(these.sum())
    return (size - lower + joins) / (size + joins)

  if not by_domain:
    return among(np.ones(len(own), bool))
  return np.maximum(among(is_target), among(~is_target))


def num_needed(rate: float) -> int:
  """Fewest training clips with which a p-value can be as low as a rate.

  Args:
    rate: in (0, 1).

  Returns:
    `ceil(1 / rate) - 1`.
  """
  # Rounded first: 1 / rate may miss an integer by rounding error.
  return math.ceil(round(1.0 / rate, 9)) - 1


def alarms(p_value: np.ndarray, rate: float) -> np.ndarray:
  """Which clips are called anomalous.

  Args:
    p_value: `[Q]`.
    rate: stated false-alarm rate.

  Returns:
    `[Q]` True where the p-value is at most the rate.
  """
  # Both are rounded: 3 / 30 must not be above 0.1.
  return p_value <= rate + 1e-12


def nominal_rate(num: int, rate: float) -> float:
  """The rate that N training clips can state, at most the wanted one.

  Args:
    num: training clips N.
    rate: wanted false-alarm rate.

  Returns:
    `floor((N + 1) rate) / (N + 1)`.
  """
  return math.floor(round((num + 1) * rate, 9)) / (num + 1)
