"""A statistic over test clips is found, whatever it is."""

import jax
import numpy as np
import pytest

from asd_jax.scores import guard

CLIPS = np.random.default_rng(0).normal(size=(7, 5)).astype(np.float32)
IS_TARGET = np.arange(7) > 3


def length(clips):
  return np.sqrt(np.sum(clips**2, axis=1))


def by_domain(clips):
  """Standardised within each domain of the test clips."""
  emb, is_target = clips
  out = length(emb)
  for domain in (True, False):
    rows = is_target == domain
    if rows.sum() > 1:
      out[rows] = (out[rows] - out[rows].mean()) / out[rows].std()
  return out


def running():
  seen = []

  def fn(clips):
    found = []
    for value in length(clips):
      seen.append(value)
      found.append(value - np.mean(seen))
    return np.array(found)

  return fn


REFUSED = {
  "mean": lambda x: length(x - x.mean(axis=0)),
  "z-score": lambda x: ((s := length(x)) - s.mean()) / (s.std() + 1e-9),
  "range": lambda x: (s := length(x)) / s.max(),
  "rank": lambda x: np.argsort(np.argsort(length(x))).astype(float),
  "percentile": lambda x: np.minimum(s := length(x), np.percentile(s, 90)),
  "neighbour": lambda x: length(x) - length(np.roll(x, 1, axis=0)),
  "running": running(),
}


@pytest.mark.parametrize("name", REFUSED)
def test_statistics_over_test_clips_are_refused(name):
  with pytest.raises(guard.TestStatisticError, match=r"clip \d: found the sco"):
    guard.scores(REFUSED[name], CLIPS)


# Every reduction that a guard of arrays would refuse along the clips.
REDUCTIONS = {
  name: getattr(np, name)
  for name in (
    *("sum", "mean", "std", "var", "min", "max", "median", "sort", "argsort"),
    *("argmin", "argmax", "cumsum"),
  )
} | {
  "percentile": lambda s: np.percentile(s, 25),
  "quantile": lambda s: np.quantile(s, 0.8),
  "rank": lambda s: np.argsort(np.argsort(s)),
  "norm": np.linalg.norm,
  "histogram": lambda s: np.histogram(s, bins=3)[1][1],
}


@pytest.mark.parametrize("name", REDUCTIONS)
def test_no_reduction_of_the_list_passes(name):
  reduce = REDUCTIONS[name]
  with pytest.raises(guard.TestStatisticError):
    guard.scores(lambda x: (s := length(x)) + reduce(s), CLIPS)


# What these clips do not show by themselves.
HIDDEN = {
  "outliers": lambda x: np.where((s := length(x)) > 9 * np.median(s), 0, s),
  "limit": lambda x: (s := length(x)) / max(1.0, s.max() / 100),
  "spread": lambda x: (s := length(x)) - (s.mean() if s.std() > 99 else 0),
  "dead channel": lambda x: length(x) * (2 if (length(x) == 0).any() else 1),
}


@pytest.mark.parametrize("name", HIDDEN)
def test_statistics_that_show_in_odd_company_only_are_refused(name):
  with pytest.raises(guard.TestStatisticError, match="beside (silence|loud)"):
    guard.scores(HIDDEN[name], CLIPS)


def test_clips_may_be_a_tree():
  with pytest.raises(guard.TestStatisticError, match="alone"):
    guard.scores(by_domain, (CLIPS, IS_TARGET))


def test_a_function_of_each_clip_passes():
  found = guard.scores(jax.vmap(lambda x: x @ x - 3.0), CLIPS)
  np.testing.assert_allclose(found, length(CLIPS) ** 2 - 3.0, rtol=1e-5)
  # One that has no score for a clip has none in any company.
  odd = lambda x: np.where(x[:, 0] > 0, length(x), np.nan)
  assert np.isnan(guard.scores(odd, CLIPS)).any()


def test_what_cannot_be_checked_is_refused():
  with pytest.raises(ValueError, match="found 1, expected two"):
    guard.scores(length, CLIPS[:1])
  with pytest.raises(ValueError, match=r"\(7, 5\), expected \(7,\)"):
    guard.scores(lambda x: x, CLIPS)
