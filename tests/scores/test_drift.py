import random
import statistics

import numpy as np
import pytest

from asd_jax.scores import drift as drift_lib


def first_note(drift, scores):
  """Number of clips until the first note, and its side."""
  for i, x in enumerate(scores, 1):
    if side := drift.add(x):
      return i, side
  return None, None


def test_p_value_is_the_smoothed_rank_from_the_top():
  past = [1.0, 2.0, 2.0, 3.0]
  assert drift_lib.p_value(past, 5.0, 0.5) == 0.5 / 5
  assert drift_lib.p_value(past, 0.0, 0.5) == 4.5 / 5
  assert drift_lib.p_value(past, 2.0, 0.25) == (1 + 0.25 * 3) / 5
  assert drift_lib.p_value([], 7.0, 0.3) == 0.3


def test_p_values_of_a_normal_stream_are_uniform_whatever_its_distribution():
  rng = random.Random(0)
  past, found = [], []
  for _ in range(4000):
    x = float(rng.choice((0, 0, 1, 5)))  # many ties
    found.append(drift_lib.p_value(past, x, rng.random()))
    past = sorted([*past, x])[-4000:]
  counts = np.histogram(found, bins=10, range=(0, 1))[0]
  chi2 = ((counts - 400) ** 2 / 400).sum()
  assert chi2 < 27.9  # 99.9% of chi-squared with 9 degrees of freedom


def test_evidence_follows_the_recursion_and_is_fair():
  assert drift_lib.bet((0.0, 0.0, 0.0, 0.0), 0.25) == (0.5, 0.75, 1.25, 1.5)
  assert drift_lib.bet((1.0, 2.0, 3.0, 4.0), 0.5) == (2.0, 3.0, 4.0, 5.0)
  grid = (np.arange(1000) + 0.5) / 1000
  means = np.mean(
    [drift_lib.bet((1.0, 2.0, 3.0, 4.0), p) for p in grid], axis=0
  )
  np.testing.assert_allclose(means, (2.0, 3.0, 4.0, 5.0), rtol=1e-12)


@pytest.mark.parametrize("num_train", [0, 6, 200])
def test_false_notes_on_normal_streams_are_as_rare_as_stated(num_train):
  limit, num_clips, num_streams = 200, 100, 400
  rng = random.Random(num_train)
  notes = 0
  for _ in range(num_streams):
    # The streams of one detector share a distribution, not training clips.
    train = [rng.lognormvariate(0, 1) for _ in range(num_train)]
    drift = drift_lib.Drift(train, clips_per_false_note=limit)
    stream = (rng.lognormvariate(0, 1) for _ in range(num_clips))
    notes += first_note(drift, stream)[0] is not None
  bound = num_clips / limit
  error = (bound * (1 - bound) / num_streams) ** 0.5
  assert notes / num_streams <= bound + 3 * error
  assert notes > 0.2 * bound * num_streams  # neither far too careful


def test_the_mean_run_to_a_false_note_is_at_least_the_stated_number():
  rng = random.Random(1)
  lengths = []
  for _ in range(200):
    drift = drift_lib.Drift([], clips_per_false_note=50)
    lengths.append(first_note(drift, iter(rng.random, 2.0))[0])
  error = statistics.stdev(lengths) / len(lengths) ** 0.5
  assert statistics.mean(lengths) + 3 * error >= 50
  assert statistics.mean(lengths) < 250


@pytest.mark.parametrize(
  ("shift", "side", "soon"),
  [(4.0, "above", 25), (-4.0, "below", 25), (1.0, "above", 60)],
)
@pytest.mark.parametrize("before", [0, 100])
def test_a_shift_is_noted_soon(shift, side, soon, before):
  delays = []
  for seed in range(10):
    rng = np.random.default_rng(seed)
    drift = drift_lib.Drift(rng.normal(size=200))
    assert first_note(drift, rng.normal(size=before)) == (None, None)
    delay, found = first_note(drift, rng.normal(shift, size=300))
    assert found == side
    delays.append(delay)
  assert statistics.median(delays) <= soon


def test_without_training_scores_a_change_within_the_stream_is_noted():
  rng = np.random.default_rng(0)
  drift = drift_lib.Drift([])
  assert first_note(drift, rng.normal(9.0, 1.0, size=100)) == (None, None)
  delay, side = first_note(drift, rng.normal(14.0, 1.0, size=100))
  assert side == "above"
  assert delay < 40


def test_an_episode_is_noted_once_and_a_second_one_again():
  rng = np.random.default_rng(0)
  drift = drift_lib.Drift(rng.normal(size=200))
  stream = [
    rng.normal(size=100),
    rng.normal(4.0, size=500),
    rng.normal(size=100),
    rng.normal(-4.0, size=500),
  ]
  notes = [[s for s in map(drift.add, part) if s] for part in stream]
  assert notes == [[], ["above"], [], ["below"]]


def test_a_stream_without_end_takes_no_more_memory(monkeypatch):
  monkeypatch.setattr(drift_lib, "MOST_PAST", 20)
  found = drift_lib.Drift(range(10))
  draw = random.Random(0)
  for _ in range(100):
    found.add(10 * draw.random())
  assert len(found._past) == 20
