import numpy as np
import scipy.stats
from sklearn import metrics as sk

from asd_jax.metrics import roc, uncertainty


def test_curves_and_areas_are_those_of_scikit_learn_to_the_last_bit():
  rng = np.random.default_rng(0)
  for num in (2, 3, 10, 50, 200):
    for levels in (1, 3, 1000):
      score = rng.integers(0, levels, num) / 7
      is_positive = np.arange(num) < rng.integers(1, num)
      found = roc.curve(score, is_positive)
      want = sk.roc_curve(is_positive, score)
      for one, other in zip(found, want, strict=False):
        np.testing.assert_array_equal(one, other)
      for part in (None, 0.1, 0.5):
        area = sk.roc_auc_score(is_positive, score, max_fpr=part)
        assert roc.area(score, is_positive, max_fpr=part) == area


def test_wilsons_interval_is_that_of_scipy_to_the_last_bit():
  for num in (1, 7, 200):
    for count in (0, 1, num // 2, num):
      test = scipy.stats.binomtest(count, num)
      low, high = test.proportion_ci(0.95, "wilson")
      found = uncertainty.wilson(count, num)
      assert found == (max(low, 0.0), min(high, 1.0))
