"""Decision thresholds from training values, on the host.

A clip is called anomalous if its score is greater than the threshold.
"""

import math

import numpy as np

from asd_jax import errors

# What is said of a clip; the last where there is too little to go by.
ANOMALOUS, NORMAL, UNDECIDED = 1, 0, -1
# What `conformal` promises where a config says nothing else.
FALSE_ALARM_RATE = 0.1


def conformal(
  scores: np.ndarray, *, false_alarm_rate: float = FALSE_ALARM_RATE
) -> float:
  """Smallest training score that keeps the promised false-alarm rate.

  The ceil((N + 1)(1 - rate))-th smallest of N training scores: a new normal
  clip, exchangeable with them, exceeds it with probability at most the rate.
  The promise needs scores of clips that the detector has not seen (leave one
  out or held out); in-sample scores are lower, and alarms then more frequent.

  Args:
    scores: `[N]` training scores.
    false_alarm_rate: promised rate, in (0, 1).

  Returns:
    Threshold; infinite if N is too small for the rate.

  Raises:
    InputError: if the rate is out of range.

  Source: [Vovk05].
  """
  if not 0.0 < false_alarm_rate < 1.0:
    raise errors.InputError(
      f"threshold: false_alarm_rate {false_alarm_rate}, expected in (0, 1)."
    )
  num = len(scores)
  # Rounded first: (N + 1)(1 - rate) may miss an integer by rounding error.
  rank = math.ceil(round((num + 1) * (1.0 - false_alarm_rate), 9))
  return float(np.sort(scores)[rank - 1]) if rank <= num else math.inf


def empirical_quantile(scores: np.ndarray, *, quantile: float = 0.95) -> float:
  """Quantile of training scores, interpolated; it promises no alarm rate.

  Args:
    scores: `[N]` training scores.
    quantile: in (0, 1).

  Returns:
    Threshold.

  Raises:
    InputError: if the quantile is out of range.

  Source: [LUDO26].
  """
  if not 0.0 < quantile < 1.0:
    raise errors.InputError(
      f"threshold: quantile {quantile}, expected in (0, 1)."
    )
  return float(np.quantile(np.asarray(scores, np.float64), quantile))


def gamma(values: np.ndarray, *, quantile: float = 0.9) -> float:
  """Quantile of a three-parameter gamma distribution fitted to values.

  Args:
    values: `[N]` positive values; the official baseline takes those of
      training batches, which are not on the scale of clips.
    quantile: in (0, 1).

  Returns:
    Threshold.

  Source: [DCASE26base], `scipy.stats.gamma.fit` with free location.
  """
  import scipy.stats  # 2 s to import, and scoring does not need it.

  shape, location, scale = scipy.stats.gamma.fit(values)
  return float(scipy.stats.gamma.ppf(quantile, shape, location, scale))
