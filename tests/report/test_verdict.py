import numpy as np

from asd_jax.metrics import paired
from asd_jax.report import verdict


def record(**kwargs):
  rng = np.random.default_rng(0)
  a = 0.6 + 0.02 * rng.normal(size=10)
  b = a + 0.01 + 0.015 * rng.normal(size=10)
  return paired.paired_seeds(a, b)._replace(**kwargs)


def test_the_verdict_says_what_the_test_says():
  better = record(difference=0.019, interval=paired.Interval(0.01, 0.028))
  said = verdict.verdict(better._replace(p_t=0.0004), fused=0.012)
  assert said == (
    "B is better than A by 1.90 points over ten seeds (95 % interval 1.00 to"
    " 2.80, p < 0.001, paired t test); the ensembles differ by +1.20 points"
    " (B - A)."
  )
  worse = record(difference=-0.019, interval=paired.Interval(-0.028, -0.01))
  said = verdict.verdict(worse._replace(kind="welch", p_t=0.0123))
  assert said == (
    "A is better than B by 1.90 points over 10 seeds of A and 10 of B (95 %"
    " interval 1.00 to 2.80, p = 0.012, Welch's t test of unpaired seeds)."
  )
  noise = record(difference=0.001, interval=paired.Interval(-0.01, 0.012))
  said = verdict.verdict(noise)
  assert said.startswith("No difference can be told from seed noise: B - A is")
  assert "-1.00 to +1.20" in said
  single = paired.by_seed({1: 0.5}, {1: 0.6})
  assert "no test over seeds is possible" in verdict.verdict(single)
  assert "per-clip scores" in verdict.verdict(single)
  equal = paired.paired_seeds([0.1, 0.2], [0.1, 0.2])
  assert verdict.verdict(equal) == "A and B are equal over two seeds."
  moved = paired.paired_seeds([0.1, 0.2], [0.2, 0.3])
  assert "by 10.00 points, without any spread" in verdict.verdict(moved)
  assert verdict.details(single) == ""
  assert "80 % power" in verdict.details(better)
