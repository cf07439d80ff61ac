import numpy as np
import pytest

from asd_jax.metrics import official, paired, paired_clips


def section(num=60, *, seed=0, lift=0.0, domains=True):
  """Scores of two systems that go together; B is better by `lift`."""
  rng = np.random.default_rng(seed)
  anomaly = np.arange(num) % 2 > 0
  target = np.arange(num) % 4 > 1 if domains else None
  clip = rng.normal(size=num) + 0.6 * anomaly
  a, b = (clip + 0.3 * rng.normal(size=num) for _ in range(2))
  return paired_clips.Section(a, b + lift * anomaly, anomaly, target)


def score(sections, pick):
  """The official score of sections, clips `pick(i)` of the i-th."""
  out = []
  for side in range(2):
    entries = [
      official.clip_metrics(s[side][p], s.is_anomaly[p], s.is_target[p])
      for s, p in ((s, pick(i)) for i, s in enumerate(sections))
    ]
    out.append(official.official_score(official.ranked_values(entries)))
  return out[1] - out[0]


def test_the_bootstrap_is_that_of_a_plain_loop():
  sections = [section(40, seed=1), section(52, seed=2)]
  num = 20
  drawn = []
  for i, s in enumerate(sections):
    rng = np.random.default_rng(8 + i)
    picked = np.zeros((num, len(s.a)), int)
    for stratum in range(4):
      members = np.flatnonzero(2 * s.is_target + s.is_anomaly == stratum)
      picked[:, members] = rng.choice(members, (num, len(members)))
    drawn.append(picked)
  diff = [score(sections, lambda i, r=r: drawn[i][r]) for r in range(num)]
  total, rows = paired_clips.by_clip(
    [[sections[0]], [sections[1]]], seed=7, num_resamples=num
  )
  assert total.kind == "clips"
  assert (total.num_a, [r.num_a for r in rows]) == (92, [40, 52])
  whole = score(sections, lambda i: slice(None))
  assert total.difference == pytest.approx(whole, abs=1e-12)
  assert total.std == pytest.approx(np.std(diff, ddof=1), rel=1e-4)
  ends = np.quantile(diff, (0.025, 0.975))
  assert total.interval == pytest.approx(tuple(ends), abs=1e-6)
  tail = 1 + min(np.sum(np.array(diff) <= 0), np.sum(np.array(diff) >= 0))
  assert total.p_t == pytest.approx(min(1, 2 * tail / (num + 1)))


def test_sections_of_a_machine_make_one_row():
  sections = [section(40, seed=1), section(52, seed=2)]
  total, rows = paired_clips.by_clip([sections], num_resamples=50)
  assert rows == [total]
  assert total.num_a == 92


def test_exchanging_the_systems_turns_the_record():
  s = section(60, lift=0.2)
  one, _ = paired_clips.by_clip([[s]], num_resamples=200)
  two, _ = paired_clips.by_clip([[s._replace(a=s.b, b=s.a)]], num_resamples=200)
  assert two.difference == pytest.approx(-one.difference)
  assert two.interval == pytest.approx(paired.swapped(one).interval)
  assert two.p_t == one.p_t


def test_clips_in_another_order_differ_by_chance_only():
  s = section(80, lift=0.2)
  turn = np.random.default_rng(0).permutation(80)
  turned = paired_clips.Section(*(x[turn] for x in s))
  one, two = (
    paired_clips.by_clip([[x]], num_resamples=2000)[0] for x in (s, turned)
  )
  assert one.difference == pytest.approx(two.difference, abs=1e-12)
  assert one.std == pytest.approx(two.std, rel=0.1)


def test_pairing_tells_apart_what_two_single_intervals_cannot():
  s = section(200, lift=0.25)
  paired_std = paired_clips.by_clip([[s]], num_resamples=500)[0].std
  turn = np.random.default_rng(1)
  apart = s.b.copy()
  for anomaly in (False, True):
    for target in (False, True):
      at = np.flatnonzero((s.is_anomaly == anomaly) & (s.is_target == target))
      apart[at] = s.b[turn.permutation(at)]
  loose = paired_clips.by_clip([[s._replace(b=apart)]], num_resamples=500)[0]
  assert paired_std < 0.8 * loose.std


def test_equal_systems_have_no_test():
  s = section(40)
  record, _ = paired_clips.by_clip([[s._replace(b=2 * s.a)]], num_resamples=50)
  assert (record.difference, record.std) == (0.0, 0.0)
  assert record.interval is None
  assert record.p_t is None
  assert "no set of test clips" in record.note


def test_values_that_no_clip_has_are_left_out():
  s = section(60, lift=0.5, domains=False)
  record, _ = paired_clips.by_clip([[s]], num_resamples=100)
  areas = [official.clip_metrics(x, s.is_anomaly, None)["pauc"] for x in s[:2]]
  assert record.difference == pytest.approx(areas[1] - areas[0])
  only = s._replace(is_anomaly=np.zeros(60, bool))
  with pytest.raises(ValueError, match="no metric"):
    paired_clips.by_clip([[only]], num_resamples=10)
  with pytest.raises(ValueError, match="no machine"):
    paired_clips.by_clip([])


@pytest.mark.slow
def test_intervals_hold_the_true_difference_as_often_as_stated():
  # B ranks like A: the true difference is zero, and 5 % of intervals miss it.
  held = [
    paired_clips.by_clip([[section(80, seed=i)]], num_resamples=200)[0]
    for i in range(40)
  ]
  missed = [r.interval.low > 0 or r.interval.high < 0 for r in held]
  assert np.mean(missed) < 0.2
