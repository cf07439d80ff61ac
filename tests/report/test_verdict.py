import numpy as np

from asd_jax.metrics import paired
from asd_jax.report import verdict


def record(**kwargs):
  rng = np.random.default_rng(0)
  a = 0.6 + 0.02 * rng.normal(size=10)
  b = a + 0.01 + 0.015 * rng.normal(size=10)
  return paired.paired_seeds(a, b)._replace(**kwargs)


def clips(low, high, **kwargs):
  found = paired.Comparison("clips", 60, 60, (low + high) / 2)
  found = found._replace(p_t=0.2, interval=paired.Interval(low, high))
  return found._replace(**kwargs)


BETTER = dict(difference=0.019, interval=paired.Interval(0.01, 0.028))
WORSE = dict(difference=-0.019, interval=paired.Interval(-0.028, -0.01))
NOISE = dict(difference=0.001, interval=paired.Interval(-0.01, 0.012))


def test_better_is_said_only_where_seeds_and_clips_agree():
  over_seeds = record(**BETTER, p_t=0.0004)
  said = verdict.verdict(over_seeds, clips(0.01, 0.03, p_t=0.0123))
  assert said == (
    "B is better than A: B - A is +1.90 points over ten seeds (95 % interval"
    " +1.00 to +2.80, p < 0.001, paired t test), and +2.00 points of the"
    " ensembles over 60 common test clips (95 % interval +1.00 to +3.00,"
    " p = 0.012, paired bootstrap over clips)."
  )
  said = verdict.verdict(record(**WORSE, kind="welch"), clips(-0.03, -0.01))
  assert said.startswith("A is better than B: B - A is -1.90 points over 10")
  for over_seeds, over_clips, why in (
    (BETTER, clips(-0.01, 0.03), "cannot be told from the choice of clips."),
    (NOISE, clips(0.01, 0.03), "cannot be told from seed noise."),
    (NOISE, clips(-0.01, 0.03), "neither from seed noise nor from the choice"),
    (BETTER, clips(-0.03, -0.01), "seeds and clips say the opposite."),
    (BETTER, None, "whether other test clips would agree is not known."),
    (NOISE, None, "it cannot be told from seed noise."),
  ):
    said = verdict.verdict(record(**over_seeds), over_clips)
    assert said.startswith("Neither is shown to be better: B - A is ")
    assert why in said


def test_systems_without_seeds_are_compared_over_clips_alone():
  single = paired.by_seed({1: 0.5}, {1: 0.6})
  said = verdict.verdict(single, clips(0.01, 0.03), drawn=False)
  assert said.startswith("B is better than A: B - A is +2.00 points over 60")
  noise = verdict.verdict(single, clips(-0.01, 0.03), drawn=False)
  assert noise.startswith("Neither is shown to be better")
  assert not any("seed" in s or "ensemble" in s for s in (said, noise))
  # One seed of a system that draws something is not enough for "better".
  one = verdict.verdict(single, clips(0.01, 0.03))
  assert one.startswith("Neither is shown to be better")
  assert "one seed says nothing about training again" in one


def test_the_verdict_copes_with_what_cannot_be_tested():
  single = paired.by_seed({1: 0.5}, {1: 0.6})
  assert "no test is possible" in verdict.verdict(single, None)
  assert "per-clip scores" in verdict.verdict(single, None)
  equal = paired.paired_seeds([0.1, 0.2], [0.1, 0.2])
  same = clips(0.0, 0.0, interval=None, p_t=None)
  assert verdict.verdict(equal, None) == "A and B are equal over two seeds."
  assert verdict.verdict(equal, same) == (
    "A and B are equal over two seeds and over 60 common test clips."
  )
  moved = paired.paired_seeds([0.1, 0.2], [0.2, 0.3])
  assert "without any spread" in verdict.verdict(moved, None)
  assert verdict.details(single) == ""
  assert "80 % power" in verdict.details(record())
