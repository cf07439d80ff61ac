import numpy as np
import pytest
from sklearn import metrics

from asd_jax.metrics import decisions, uncertainty


def test_rates_are_those_of_scikit_learn():
  rng = np.random.default_rng(0)
  anomaly, target = rng.random(80) < 0.4, rng.random(80) < 0.3
  decided = rng.random(80) < np.where(anomaly, 0.7, 0.2)
  found = decisions.measured(decided, anomaly, target)
  keeps = {"all": np.ones(80, bool), "source": ~target, "target": target}
  for name, keep in keeps.items():
    truth, said = anomaly[keep], decided[keep]
    tn, fp, fn, tp = metrics.confusion_matrix(truth, said).ravel()
    counts = dict(zip(decisions.KINDS, (tp, fp, fn, tn), strict=True))
    assert found[name]["confusion"] == counts
    for key, function in (
      ("recall", metrics.recall_score),
      ("precision", metrics.precision_score),
      ("f1", metrics.f1_score),
    ):
      assert found[name][key] == pytest.approx(function(truth, said))
    assert found[name]["false_alarm_rate"] == pytest.approx(fp / (fp + tn))
  together = decisions.pooled([found, {"all": found["all"]}])
  assert list(together) == ["all"]
  assert together["all"]["recall"] == found["all"]["recall"]
  assert decisions.pooled([]) == {}


def test_what_is_not_there_has_no_rate():
  found = decisions.measured([0, 1], [0, 0], None)
  assert list(found) == ["all"]
  assert found["all"]["false_alarm_rate"] == 0.5
  for key in ("recall", "recall_interval", "f1"):
    assert found["all"][key] is None
  assert decisions.measured([0], [1], None)["all"]["precision"] is None
  with pytest.raises(ValueError, match="0 and 1"):
    decisions.measured([-1], [0], None)


def test_wilsons_interval_is_his_formula():
  z = 1.959964
  for count, num in ((0, 10), (3, 22), (22, 22)):
    share = count / num
    middle = (share + z**2 / (2 * num)) / (1 + z**2 / num)
    root = np.sqrt(share * (1 - share) / num + z**2 / (4 * num**2))
    half = z * root / (1 + z**2 / num)
    low, high = uncertainty.wilson(count, num)
    assert low == pytest.approx(middle - half, abs=1e-6)
    assert high == pytest.approx(middle + half, abs=1e-6)
    assert 0 <= low < high <= 1
  assert uncertainty.wilson(0, 0) is None
