"""Alarms: decisions in a row, and the window that speaks for a recording."""

import numpy as np
import pytest

from asd_jax.scores import alarm, p_value

FLAGS = [1, 1, 0, 1, 1, 1, 0, 0, 1, 1, 1, 1]


@pytest.mark.parametrize(
  ("after", "want"),
  [
    (1, [[0, 2], [3, 6], [8, 12]]),
    (3, [[3, 6], [8, 12]]),
    (4, [[8, 12]]),
    (5, []),
  ],
)
def test_a_run_is_one_alarm(after, want):
  found = alarm.alarms(np.array(FLAGS), after)
  assert found.tolist() == want


def test_short_recordings_need_all_their_windows():
  assert alarm.alarms(np.array([1, 1]), 3).tolist() == [[0, 2]]
  assert alarm.alarms(np.array([1, 0]), 3).tolist() == []
  assert alarm.alarms(np.array([-1, -1, -1]), 3).tolist() == []


@pytest.mark.parametrize("by_score", [False, True])
@pytest.mark.parametrize("after", [1, 2, 3])
def test_the_window_that_speaks_is_flagged_where_there_is_an_alarm(
  after, by_score
):
  rng, seen = np.random.default_rng(after), set()
  for num in [1, 2, 3] + [12] * 60:
    score = rng.normal(size=num)
    # Models of folds: p-values follow scores, but not strictly, and tie.
    p = np.clip(np.round(0.5 - score / 3 + rng.normal(0, 0.1, num), 1), 0.1, 1)
    flagged = score > 0.3 if by_score else p <= 0.4
    row = alarm.weakest(score, p, after, by_score=by_score)
    want = len(alarm.alarms(flagged, after)) > 0
    assert flagged[row] == want
    seen.add(want)
    # No other window of a run is less suspicious than what is said of it.
    length = min(after, num)
    least = [score[i : i + length].min() for i in range(num - length + 1)]
    if by_score:
      assert score[row] == max(least)
    else:
      most = [p[i : i + length].max() for i in range(num - length + 1)]
      assert p[row] == min(most)
  assert seen == {False, True}


def test_without_p_values_scores_decide():
  score = np.array([0.0, 3.0, 2.0, 5.0])
  none = np.full(4, np.nan)
  assert alarm.weakest(score, none, 2, by_score=False) == 2


def test_expected_alarms_are_those_of_independent_windows():
  rng = np.random.default_rng(0)
  flags = rng.random(400_000) < 0.3
  num = len(alarm.alarms(flags.astype(int), 2))
  hours = len(flags) * 10.0 / 3600
  assert alarm.by_chance(0.3, 2, 10.0) == pytest.approx(num / hours, rel=0.02)
  assert alarm.by_chance(0.1, 3, 10.0) == pytest.approx(0.324)


def test_training_clips_have_p_values_among_each_other():
  own = np.array([1.0, 2.0, 2.0, 4.0, 0.0])
  none = np.zeros(5, bool)
  np.testing.assert_allclose(
    p_value.own_p_values(own, none), [0.8, 0.6, 0.6, 0.2, 1.0]
  )
  target = np.array([False, True, False, True, False])
  np.testing.assert_allclose(
    p_value.own_p_values(own, target, by_domain=True),
    # A clip counts itself, and joins the clips of the other domain.
    [1.0, 1.0, 1.0, 1 / 2, 1.0],
  )


def test_folds_of_windows_are_blocks_of_time():
  order = np.r_[-np.ones(7, int), np.arange(40)[::-1]]
  fold = p_value.folds(np.zeros(47, bool), 5, order=order)
  in_time = fold[np.argsort(order)][7:]
  assert (np.diff(in_time) >= 0).all()
  assert np.bincount(in_time).tolist() == [8] * 5
  alone = p_value.folds(np.zeros(7, bool), 5)
  np.testing.assert_array_equal(fold[:7], alone)
  # No fold is empty, whatever the domains.
  target = np.arange(9) >= 5
  fold = p_value.folds(target, 9, order=np.arange(9))
  assert set(fold) == set(range(fold.max() + 1))
  plain = p_value.folds(target, 3)
  same = p_value.folds(target, 3, order=np.full(9, -1))
  np.testing.assert_array_equal(plain, same)
