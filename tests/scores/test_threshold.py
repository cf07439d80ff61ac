import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asd_jax.scores import calibration, fusion, threshold


def test_conformal_keeps_the_promised_false_alarm_rate():
  rng = np.random.default_rng(0)
  rates = []
  for _ in range(400):
    scores = rng.normal(size=200)
    value = threshold.conformal(scores[:100], false_alarm_rate=0.1)
    rates.append(np.mean(scores[100:] > value))
  assert 0.08 < np.mean(rates) <= 0.103


@pytest.mark.parametrize(
  ("num", "rank"), [(9, 9), (10, 10), (19, 18), (99, 90)]
)
def test_conformal_takes_the_right_order_statistic(num, rank):
  scores = np.random.default_rng(0).permutation(np.arange(1.0, num + 1))
  assert threshold.conformal(scores, false_alarm_rate=0.1) == rank


def test_conformal_with_too_few_clips_is_infinite():
  assert threshold.conformal(np.arange(8.0)) == math.inf
  assert threshold.conformal(np.arange(9.0)) == 8.0


@pytest.mark.parametrize("rate", [0.0, 1.0, -1.0, math.nan])
def test_conformal_refuses_a_rate_out_of_range(rate):
  with pytest.raises(ValueError, match="false_alarm_rate"):
    threshold.conformal(np.arange(9.0), false_alarm_rate=rate)


def test_zscore_of_constant_scores_only_centres():
  cal = calibration.zscore()
  state = cal.fit(jnp.full(5, 2.0), None)
  assert cal.apply(state, jnp.float32(5.0)) == 3.0


def test_zscore_equals_numpy():
  scores = jax.random.normal(jax.random.key(0), (50,))
  cal = calibration.zscore()
  got = cal.apply(cal.fit(scores, None), jnp.float32(1.5))
  np.testing.assert_allclose(
    got, (1.5 - np.mean(scores)) / np.std(scores), rtol=1e-5
  )


def test_weighted_mean_ignores_the_scale_of_weights():
  scores = jnp.array([1.0, 4.0])
  for weights in ([1.0, 2.0], [10.0, 20.0]):
    got = fusion.weighted_mean(scores, jnp.array(weights))
    np.testing.assert_allclose(got, 3.0)
