import numpy as np
import pytest

from asd_jax.scores import in_a_row


def begins(flags, after):
  rule = in_a_row.InARow(after)
  return [i for i, flag in enumerate(flags) if rule.add(flag == "x")]


def test_an_alarm_begins_once_a_run():
  flags = "xx.xxxxxxx.x.xxx"
  assert begins(flags, 3) == [5, 15]
  assert begins(flags, 2) == [1, 4, 14]
  assert begins(flags, 8) == []


def test_with_one_each_flagged_clip_is_an_alarm():
  assert begins("xx..x", 1) == [0, 1, 4]


@pytest.mark.parametrize("after", [1, 2, 3])
def test_independent_decisions_alarm_as_often_as_is_said(after):
  num, rate = 200_000, 0.2
  flags = np.random.default_rng(after).random(num) < rate
  rule = in_a_row.InARow(after)
  found = sum(rule.add(bool(flag)) for flag in flags)
  expected = num / in_a_row.clips_between(rate, after)
  # Four standard errors of a count.
  assert abs(found - expected) < 4 * expected**0.5
