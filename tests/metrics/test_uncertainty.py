import time

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from asd_jax.metrics import official, uncertainty


def test_seed_summary_divides_by_one_less_than_the_seeds():
  assert uncertainty.seed_summary([1, 2, 3]) == {"mean": 2, "std": 1}
  assert uncertainty.seed_summary([0.5]) == {"mean": 0.5, "std": None}
  with pytest.raises(ValueError, match="expected finite"):
    uncertainty.seed_summary([])


def clips(num=200, seed=0):
  rng = np.random.default_rng(seed)
  is_anomaly, is_target = np.arange(num) % 2 == 0, np.arange(num) % 4 < 2
  # Differences below the precision of float32, and ties.
  score = 1e6 + 1e-3 * np.round(rng.normal(size=num) + 0.8 * is_anomaly, 1)
  return score, is_anomaly, is_target


def test_resampled_metrics_are_those_of_the_drawn_clips():
  score, is_anomaly, is_target = clips()
  ours = uncertainty.resampled_metrics(score, is_anomaly, is_target, seed=3)
  rng = np.random.default_rng(3)
  drawn = np.zeros((1000, 200), int)
  for target, anomaly in ((0, 0), (0, 1), (1, 0), (1, 1)):
    inside = np.flatnonzero((is_target == target) & (is_anomaly == anomaly))
    drawn[:, inside] = rng.choice(inside, (1000, len(inside)))
  for index, values in zip(drawn[:8], ours[:8], strict=True):
    expected = official.clip_metrics(score[index], is_anomaly, is_target)
    np.testing.assert_allclose(
      values, [expected[k] for k in official.RANKED], atol=1e-6
    )


def test_intervals_hold_the_estimate_and_grow_with_fewer_clips():
  widths = []
  for num in (60, 200):
    found = uncertainty.bootstrap(*clips(num))
    known = official.clip_metrics(*clips(num))
    for key in official.RANKED:
      assert found[key].low < known[key] < found[key].high
    widths.append(found["score"].high - found["score"].low)
  assert widths[0] > widths[1]
  assert "bootstrap" in found["kind"]
  assert found["num_resamples"] == 1000


def test_the_interval_of_an_auc_has_its_analytic_width():
  # The standard error of an AUC after Hanley and McNeil's placements.
  score, is_anomaly, _ = clips()
  wins = score[is_anomaly][:, None] - score[~is_anomaly]
  wins = (wins > 0) + 0.5 * (wins == 0)
  error = np.sqrt(wins.mean(0).var() / 100 + wins.mean(1).var() / 100)
  domains = np.zeros(200, bool)
  low, high = uncertainty.bootstrap(score, is_anomaly, domains)["auc_source"]
  np.testing.assert_allclose((high - low) / 2, 1.96 * error, rtol=0.1)
  middle = roc_auc_score(is_anomaly, score)
  np.testing.assert_allclose((low + high) / 2, middle, atol=0.2 * error)


def test_the_same_seed_gives_the_same_interval():
  first, again = (uncertainty.bootstrap(*clips(), seed=1) for _ in range(2))
  assert first == again
  assert first != uncertainty.bootstrap(*clips(), seed=2)


def test_what_is_missing_has_no_interval():
  score, is_anomaly, is_target = clips()
  found = uncertainty.bootstrap(score, is_anomaly, None)
  assert found["auc_source"] is None
  assert found["score"] is None
  assert found["pauc"] is not None
  no_target = is_target & is_anomaly
  found = uncertainty.bootstrap(score, is_anomaly, no_target)
  assert found["auc_target"] is None
  assert found["auc_source"] is not None


def test_machines_combine_to_an_interval_of_the_official_score():
  samples = np.stack(
    [uncertainty.resampled_metrics(*clips(seed=s), seed=s) for s in range(3)],
    axis=1,
  )
  low, high = uncertainty.interval_of_score(samples)
  one = uncertainty.interval_of_score(samples[:, 0])
  assert high - low < one.high - one.low
  values = [official.clip_metrics(*clips(seed=s)) for s in range(3)]
  score = official.official_score(official.ranked_values(values))
  assert low < score < high


def test_a_thousand_resamples_take_less_than_a_second():
  uncertainty.bootstrap(*clips())  # compiles once for this number of clips
  seconds = []
  for _ in range(3):
    start = time.perf_counter()
    uncertainty.bootstrap(*clips())
    seconds.append(time.perf_counter() - start)
  assert min(seconds) < 1
