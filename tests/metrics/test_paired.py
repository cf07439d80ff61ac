import math

import numpy as np
import pytest
from scipy import stats

from asd_jax.metrics import paired

close = {"rel": 1e-9}


def draws(num, *, seed=0, shift=0.01):
  rng = np.random.default_rng(seed)
  a = 0.6 + 0.02 * rng.normal(size=num)
  return a, a + shift + 0.015 * rng.normal(size=num)


@pytest.mark.parametrize("num", [2, 3, 10, 37])
def test_paired_seeds_agree_with_scipy(num):
  a, b = draws(num, seed=num)
  ours = paired.paired_seeds(a, b)
  theirs = stats.ttest_rel(b, a)
  ends = theirs.confidence_interval(0.95)
  assert ours.kind == "paired"
  assert (ours.num_a, ours.num_b) == (num, num)
  assert ours.difference == pytest.approx(np.mean(b - a), **close)
  assert ours.std == pytest.approx(np.std(b - a, ddof=1), **close)
  assert ours.standard_error == pytest.approx(stats.sem(b - a), **close)
  assert ours.p_t == pytest.approx(theirs.pvalue, **close)
  assert ours.interval == pytest.approx((ends.low, ends.high), **close)
  assert ours.wins == np.sum(b > a)
  assert ours.effect == pytest.approx(ours.difference / ours.std, **close)
  exact = stats.wilcoxon(b - a, method="exact")
  assert ours.p_wilcoxon == pytest.approx(exact.pvalue, **close)
  assert not ours.note


def test_signed_ranks_with_ties_are_counted_exactly():
  diff = np.array([1, 1, -1, 2, 2, -3, 4, 0]) / 100
  ranks = stats.rankdata(np.abs(diff[diff != 0]))
  found = ranks[diff[diff != 0] > 0].sum()
  signs = np.array(np.meshgrid(*[[0, 1]] * 7)).reshape(7, -1)
  sums = ranks @ signs
  expected = 2 * min(np.mean(sums >= found), np.mean(sums <= found))
  assert paired.signed_rank_p(diff) == pytest.approx(expected, **close)
  assert paired.signed_rank_p([0.0, 0.0]) is None


def test_many_signed_ranks_take_the_normal_limit():
  a, b = draws(400, shift=0.001)
  theirs = stats.wilcoxon(b - a, method="asymptotic", correction=False)
  ours = paired.signed_rank_p(b - a)
  assert ours == pytest.approx(theirs.pvalue, rel=1e-6)


def test_a_single_value_gives_a_one_sample_test():
  a, _ = draws(8)
  ours = paired.against_value(a, 0.61)
  theirs = stats.ttest_1samp(a, 0.61)
  assert ours.kind == "one sample"
  assert ours.p_t == pytest.approx(theirs.pvalue, **close)
  assert ours.difference == pytest.approx(0.61 - np.mean(a), **close)
  assert ours.wins == np.sum(a < 0.61)
  assert "single value" in ours.note


def test_other_seeds_give_welch():
  a, b = draws(5)[0], draws(9, seed=1)[1]
  ours = paired.unpaired_seeds(a, b)
  theirs = stats.ttest_ind(b, a, equal_var=False)
  ends = theirs.confidence_interval(0.95)
  assert ours.p_t == pytest.approx(theirs.pvalue, **close)
  assert ours.interval == pytest.approx((ends.low, ends.high), **close)
  assert "Welch" in ours.note
  assert ours.wins is None
  still = paired.unpaired_seeds([0.5, 0.5], b)
  error = np.std(b, ddof=1) / 3
  assert still.standard_error == pytest.approx(error, **close)
  assert still.p_t is not None


def test_detectable_difference_is_found_four_times_in_five():
  a, b = draws(10)
  record = paired.paired_seeds(a, b)
  rng = np.random.default_rng(0)
  diff = record.std * rng.normal(size=(20_000, 10)) + record.detectable
  p = stats.ttest_1samp(diff, 0, axis=1).pvalue
  # The approximation gives 0.79 here; its sampling error is 0.003.
  assert np.mean(p < 0.05) == pytest.approx(0.8, abs=0.02)


def test_missing_values_are_left_out_with_a_note():
  a, b = draws(5)
  given = [*a, None, 0.5], [*b, 0.7, math.nan]
  ours = paired.paired_seeds(*given)
  assert ours.note == "2 seeds left out: a value is missing"
  assert ours._replace(note="") == paired.paired_seeds(a, b)


def test_constant_differences_have_no_test():
  equal = paired.paired_seeds([0.1, 0.2, 0.3], [0.1, 0.2, 0.3])
  assert "equal in every seed" in equal.note
  assert (equal.std, equal.interval, equal.p_t) == (0, None, None)
  assert (equal.p_wilcoxon, equal.wins, equal.ties) == (None, 0, 3)
  moved = paired.paired_seeds([0.1, 0.2, 0.3], [0.2, 0.3, 0.4])
  assert "same amount" in moved.note
  assert (moved.p_t, moved.wins) == (None, 3)
  still = paired.unpaired_seeds([0.1, 0.1], [0.2, 0.2, 0.2])
  assert "no spread" in still.note


def test_one_seed_has_no_test():
  for ours in (
    paired.paired_seeds([0.5], [0.6]),
    paired.against_value([0.5], 0.6),
    paired.by_seed({1: 0.5}, {2: 0.6}),
  ):
    assert ours.kind == "none"
    assert ours.difference == pytest.approx(0.1)
    assert ours.p_t is None
    assert "no test" in ours.note


def test_the_seeds_choose_the_test():
  a, b = (dict(enumerate(v)) for v in draws(4))
  turned = dict(reversed(b.items()))
  assert paired.by_seed(a, turned) == paired.by_seed(a, b)
  assert paired.by_seed(a, b).kind == "paired"
  assert paired.by_seed(a, {9: 0.6}).kind == "one sample"
  assert paired.by_seed(a, {k + 1: v for k, v in b.items()}).kind == "welch"


@pytest.mark.parametrize("num", [1, 4])
def test_exchanging_the_sides_mirrors_the_record(num):
  a, b = (dict(enumerate(v)) for v in draws(4))
  b = {k: b[k] for k in range(num)}
  one, two = paired.by_seed(a, b), paired.by_seed(b, a)
  assert two.difference == pytest.approx(-one.difference)
  assert two.interval == pytest.approx((-one.interval[1], -one.interval[0]))
  assert one.wins + two.wins == 4
  assert (one.num_a, one.num_b) == (two.num_b, two.num_a)


def test_values_that_cannot_be_compared_are_refused():
  with pytest.raises(ValueError, match="expected pairs"):
    paired.paired_seeds([0.1], [0.1, 0.2])
  with pytest.raises(ValueError, match="both sides"):
    paired.paired_seeds([None, 0.1], [0.1, None])
  with pytest.raises(ValueError, match="finite"):
    paired.against_value([0.1, math.inf], 0.5)
  with pytest.raises(ValueError, match="no value"):
    paired.by_seed({1: None}, {1: 0.5})
  with pytest.raises(ValueError, match="two or more"):
    paired.unpaired_seeds([0.1], [0.2, 0.3])


def test_holm_is_the_step_down_of_bonferroni():
  assert paired.holm([0.01, None, 0.04, 0.03]) == pytest.approx(
    [0.03, None, 0.06, 0.06]
  )
  assert paired.holm([0.9, 0.8]) == [1, 1]
  assert paired.holm([None]) == [None]
