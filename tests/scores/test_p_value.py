"""p-values from models of folds: what they count, and the rate they keep."""

import numpy as np
import pytest

from asd_jax.scores import p_value


def test_folds_are_balanced_by_domain():
  is_target = np.arange(47) % 9 == 0
  fold = p_value.folds(is_target, 10)
  for some in (np.ones(47, bool), is_target, ~is_target):
    size = np.bincount(fold[some], minlength=10)
    assert size.max() - size.min() <= 1
  np.testing.assert_array_equal(fold, p_value.folds(is_target, 10))


@pytest.mark.parametrize("num", [1, 2, 3])
def test_no_more_folds_than_clips(num):
  fold = p_value.folds(np.zeros(num, bool), 10)
  assert sorted(fold) == list(range(num))


def test_a_training_clip_counts_where_its_own_model_finds_it_as_odd():
  own = np.array([1.0, 2.0, 3.0, 4.0])
  fold = np.array([0, 0, 1, 1])
  is_target = np.array([False, True, False, True])
  # By model 0 the new clip has 2.0: clip 1 ties. By model 1 it has 3.5.
  new = np.array([[2.0, 3.5]])
  got = p_value.p_values(own, fold, is_target, new)
  assert got == (1 + 2) / 5
  got = p_value.p_values(own, fold, is_target, new, by_domain=True)
  assert got == max((1 + 0) / 3, (1 + 2) / 3)


def test_scores_that_are_no_numbers_raise_no_alarm():
  own, fold = np.array([1.0, np.nan]), np.array([0, 1])
  none = np.zeros(2, bool)
  new = np.array([[np.nan, 9.0], [np.inf, np.inf]])
  np.testing.assert_allclose(
    p_value.p_values(own, fold, none, new), [1.0, 2 / 3]
  )


@pytest.mark.parametrize(
  ("rate", "num"), [(0.1, 9), (0.05, 19), (0.2, 4), (0.3, 3), (0.01, 99)]
)
def test_the_fewest_clips_for_a_rate(rate, num):
  assert p_value.num_needed(rate) == num
  lowest = np.array([1 / (num + 1)])
  assert p_value.alarms(lowest, rate).all()
  assert not p_value.alarms(1 / np.array([num]), rate).any()
  assert p_value.nominal_rate(num, rate) == 1 / (num + 1)


@pytest.mark.parametrize("by_domain", [False, True])
def test_the_stated_rate_is_kept(by_domain):
  # Mean distance as a model that learns from few clips: in-sample scores
  # would be lower than those of new ones.
  rng, rate, num, dim = np.random.default_rng(0), 0.1, 60, 20
  is_target = np.arange(num) % 3 == 0
  found = {False: [], True: []}
  for _ in range(60):
    train = rng.normal(size=(num, dim)) + 3.0 * is_target[:, None]
    target = np.arange(200) % 2 == 0
    test = rng.normal(size=(200, dim)) + 3.0 * target[:, None]
    fold = p_value.folds(is_target, 10)
    gap = lambda x, bank: np.min(((x[:, None] - bank[None]) ** 2).sum(-1), 1)
    own, new = np.zeros(num), np.zeros((200, 10))
    for k in range(10):
      bank = train[fold != k]
      own[fold == k] = gap(train[fold == k], bank)
      new[:, k] = gap(test, bank)
    p = p_value.p_values(own, fold, is_target, new, by_domain=by_domain)
    alarm = p_value.alarms(p, rate)
    for domain in (False, True):
      found[domain].append(alarm[target == domain].mean())
  rates = {d: np.mean(v) for d, v in found.items()}
  # Of 20 target clips the lowest step is 1/21, of 40 source clips 4/41.
  if by_domain:
    assert 0.02 < rates[True] < 0.125
    assert rates[False] < 0.125
  else:
    # Target clips have fewer like them: their own rate is not kept.
    assert 0.05 < (2 * rates[False] + rates[True]) / 3 < 0.125
    assert rates[True] > 1.5 * rates[False]
