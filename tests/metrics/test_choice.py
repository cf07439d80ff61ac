import json

import numpy as np
import pytest

from asd_jax.metrics import choice


def labels(num=16):
  places = np.arange(num)
  return places % 2 == 0, places % 4 < 2


def table(values, machines=("fan", "pump"), domains=True):
  """Points along one key; the three values of a machine are equal."""
  values = np.asarray(values, float)
  settings = [{"weight.one": i + 1.0} for i in range(len(values))]
  anomaly, target = labels()
  some = [
    choice.Section(m, anomaly, target if domains else None) for m in machines
  ]
  wide = np.repeat(values[..., None], 3, axis=2)
  return choice.make_table(["weight.one"], settings, some, wide)


def test_scores_are_harmonic_means_over_machines():
  found = table([[0.5, 1.0], [0.8, 0.8]])
  all_machines = choice.columns(found, choice.ALL)
  np.testing.assert_allclose(all_machines[:, 3], [2 / 3, 0.8])
  np.testing.assert_allclose(choice.columns(found, "pump")[:, 0], [1, 0.8])
  assert choice.best_of(all_machines[:, 3]) == 1


def test_each_machine_is_scored_at_the_choice_of_the_others():
  # Alone, fan would take point 0 and pump point 1; each gets the other's.
  found = choice.left_out(table([[0.9, 0.5], [0.6, 0.8]]))
  fan, pump = found["machines"]["fan"], found["machines"]["pump"]
  assert fan["settings"] == {"weight.one": 2.0}
  assert (fan["score"], fan["best_of_its_own"]) == pytest.approx((0.6, 0.9))
  assert (pump["score"], pump["best_of_its_own"]) == pytest.approx((0.5, 0.8))
  assert found["score"] == pytest.approx(2 / (1 / 0.6 + 1 / 0.5))


def test_one_machine_has_no_others():
  assert choice.left_out(table([[0.9], [0.6]], ["fan"])) is None


def test_a_setting_without_scores_is_never_best():
  found = table([[np.nan, 0.99], [0.6, 0.6]])
  scores = choice.columns(found, choice.ALL)[:, 3]
  assert choice.best_of(scores) == 1
  with pytest.raises(ValueError, match="no setting with a score"):
    choice.best_of(np.full(3, np.nan))


def test_values_that_no_setting_has_are_left_out():
  values = np.array([[0.5, np.nan], [0.8, np.nan]])
  np.testing.assert_allclose(choice.harmonic(values), [0.5, 0.8])


def test_values_by_domain_do_not_exist_without_domains():
  found = choice.columns(table([[0.5, 1.0]], domains=False), choice.ALL)
  np.testing.assert_allclose(found, [[np.nan, np.nan, 2 / 3, 2 / 3]])
  blind = table([[0.5, 1.0]], domains=False)
  out = choice.describe(
    blind, lambda i, p: (labels()[0] * 1.0, np.ones((1, 16)))
  )
  # The mean of pAUCs chooses, but it is not the challenge's score.
  assert out["best"]["official_score"] is None
  assert out["best"]["score"] is not None
  assert out["over"] == dict(num_values=2, num_expected=6, is_official=False)
  said = choice.missing(out["over"])
  assert said.startswith("scores are means of 2 of 6 values and no official")


def test_the_choice_comes_with_its_uncertainty():
  rng = np.random.default_rng(0)
  found = table([[0.5, 0.6], [0.7, 0.8]])
  seeds = rng.normal(size=(3, 16)) + labels()[0]
  out = choice.describe(found, lambda i, p: (seeds.mean(0), seeds))
  best = out["best"]
  assert best["settings"] == {"weight.one": 2.0}
  assert best["official_score"] == best["score"]
  assert choice.missing(out["over"]) == ""
  assert best["bootstrap"]["low"] < best["bootstrap"]["high"]
  assert len(best["seeds"]["scores"]) == 3
  assert best["seeds"]["std"] > 0
  assert "model selection" in out["warning"]
  json.dumps(out, allow_nan=False)
