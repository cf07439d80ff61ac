import jax
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from asd_jax.metrics import device, official

NUM = 128
# Exact counts; what remains is the rounding of float32 divisions and sums.
TOLERANCE = 1e-6


machine = jax.jit(device.domain_metrics)


def areas(score, is_positive, valid):
  """AUC and pAUC of clips of one domain."""
  source = np.zeros(len(score), bool)
  return np.asarray(machine(score, is_positive, source, valid=valid))[[0, 2]]


def draw(rng, num=NUM):
  """Scores from all different to nearly all tied, and a class balance."""
  decimals = int(rng.integers(-1, 8))
  score = rng.normal(size=num).round(decimals).astype(np.float32)
  return score, rng.random(num) < rng.uniform(0.05, 0.95)


def test_areas_are_those_of_scikit_learn_with_ties_and_masks():
  rng = np.random.default_rng(0)
  for trial in range(40):
    score, label = draw(rng)
    valid = rng.random(NUM) < rng.uniform(0.1, 1)
    score[~valid] = np.nan  # what is masked must not count, not even as NaN
    kept = label[valid], score[valid]
    ours = areas(score, label, valid)
    if len(set(kept[0])) < 2:
      assert np.isnan(ours).all()
      continue
    expected = [roc_auc_score(*kept), roc_auc_score(*kept, max_fpr=0.1)]
    np.testing.assert_allclose(
      ours, expected, atol=TOLERANCE, err_msg=f"trial {trial}"
    )


def test_domain_metrics_are_the_official_ones_in_one_vmap():
  rng = np.random.default_rng(1)
  label, target = rng.random((2, NUM)) < 0.5
  score = np.stack([draw(rng)[0] for _ in range(20)])
  ours = jax.vmap(machine, in_axes=(0, None, None))(score, label, target)
  for row, values in zip(score, np.asarray(ours), strict=True):
    expected = official.clip_metrics(row, label, target)
    np.testing.assert_allclose(
      values, [expected[k] for k in official.RANKED], atol=TOLERANCE
    )


@pytest.mark.golden
def test_device_metrics_are_the_official_evaluators(golden):
  reference = golden("metrics")
  columns = list(reference["metric_names"])
  order = [columns.index(n) for n in ("AUC (source)", "AUC (target)", "pAUC")]
  for key in reference.files:
    if not key.endswith("/score"):
      continue
    place = key.removesuffix("/score")
    # Ranks, for float32 would merge scores that differ by less than 1e-7.
    rank = np.unique(reference[key], return_inverse=True)[1]
    num = 1 << (len(rank) - 1).bit_length()  # few shapes, few compilations
    pad = lambda x, num=num: np.pad(x, (0, num - len(x)))
    ours = machine(
      pad(rank.astype(np.float32)),
      pad(reference[f"{place}/label"] > 0),
      pad(reference[f"{place}/domain"] > 0),
      valid=np.arange(num) < len(rank),
    )
    expected = reference[f"{place}/metrics"][order]
    np.testing.assert_allclose(ours, expected, atol=TOLERANCE, err_msg=place)


def test_perfect_worst_and_constant_scores_have_known_values():
  label, valid = np.arange(NUM) % 2 == 1, np.ones(NUM, bool)
  sign = np.where(label, 1, -1).astype(np.float32)
  perfect, worst = areas(sign, label, valid), areas(-sign, label, valid)
  np.testing.assert_allclose(perfect, 1, atol=TOLERANCE)
  assert worst[0] == 0
  np.testing.assert_allclose(worst[1], 9 / 19, atol=TOLERANCE)
  constant = areas(np.zeros(NUM, np.float32), label, valid)
  np.testing.assert_allclose(constant, 0.5, atol=TOLERANCE)


def test_infinite_scores_are_ranked_and_nan_gives_nan():
  label, valid = np.arange(NUM) % 2 == 1, np.ones(NUM, bool)
  score = np.where(label, np.inf, -np.inf).astype(np.float32)
  np.testing.assert_allclose(areas(score, label, valid), 1, atol=TOLERANCE)
  score[5] = np.nan
  assert np.isnan(areas(score, label, valid)).all()


def test_signed_zeros_are_tied():
  label, valid = np.arange(NUM) % 2 == 1, np.ones(NUM, bool)
  score = np.where(label, 0.0, -0.0).astype(np.float32)
  np.testing.assert_allclose(areas(score, label, valid), 0.5, atol=TOLERANCE)


def test_integer_scores_count_like_floats():
  rng = np.random.default_rng(2)
  label, valid = rng.random(NUM) < 0.5, np.ones(NUM, bool)
  score = rng.integers(0, 9, NUM)
  np.testing.assert_array_equal(
    areas(score, label, valid), areas(score.astype(np.float32), label, valid)
  )


def test_a_batch_of_scores_is_refused():
  with pytest.raises(ValueError, match="use vmap"):
    device.domain_metrics(np.zeros((2, 3)), *np.zeros((2, 2, 3), bool))
