import re

import numpy as np
import pytest
from sklearn import metrics as sk

from asd_jax.metrics import official
from tests.metrics import official_files

NAMES = {
  "AUC (all)": "auc",
  "AUC (source)": "auc_source",
  "AUC (target)": "auc_target",
  "pAUC": "pauc",
  "precision (source)": "precision_source",
  "precision (target)": "precision_target",
  "recall (source)": "recall_source",
  "recall (target)": "recall_target",
  "F1 score (source)": "f1_source",
  "F1 score (target)": "f1_target",
}
ROWS = (
  "arithmetic mean",
  "harmonic mean",
  "source harmonic mean",
  "target harmonic mean",
)
close = {"rtol": 1e-12, "atol": 1e-12}


@pytest.fixture(scope="module")
def golden_metrics(golden):
  return golden("metrics")


def evaluate(reference, place):
  keys = ("score", "label", "domain")
  return official.clip_metrics(
    *(reference[f"{place}/{k}"] for k in keys),
    decision=reference[f"{place}/decision"],
  )


def sets_of_part_a(reference):
  return {str(n): [f"A/{n}"] for n in reference["A/names"]}


def sets_of_part_b(reference):
  """Machine name to the places of its sections."""
  machines = {}
  for key in reference.files:
    if found := re.fullmatch(r"(B/(m\d+)/s\d+)/score", key):
      machines.setdefault(found[2], []).append(found[1])
  return machines


def assert_rows(reference, prefix, entries, separator=" "):
  rows = official_files.mean_rows(entries)
  columns = [str(c) for c in reference["mean_columns"]]
  assert tuple(rows) == ROWS
  for row, values in rows.items():
    expected = reference[prefix + row.replace(" ", separator)]
    ours = [values[column] for column in columns]
    np.testing.assert_allclose(ours, expected, err_msg=prefix + row, **close)


@pytest.mark.golden
@pytest.mark.parametrize("sets", [sets_of_part_a, sets_of_part_b])
def test_clip_metrics_are_the_official_evaluators(golden_metrics, sets):
  columns = [NAMES[str(name)] for name in golden_metrics["metric_names"]]
  for places in sets(golden_metrics).values():
    for place in places:
      ours = evaluate(golden_metrics, place)
      np.testing.assert_allclose(
        [ours[column] for column in columns],
        golden_metrics[f"{place}/metrics"],
        err_msg=place,
        **close,
      )


@pytest.mark.golden
def test_partial_aucs_of_a_domain_are_the_official_baselines(golden_metrics):
  for (place,) in sets_of_part_a(golden_metrics).values():
    ours = evaluate(golden_metrics, place)
    np.testing.assert_allclose(
      [ours["pauc_source"], ours["pauc_target"]],
      golden_metrics[f"{place}/pauc_source_target_own"],
      err_msg=place,
      **close,
    )


@pytest.mark.golden
@pytest.mark.parametrize("sets", [sets_of_part_a, sets_of_part_b])
def test_mean_rows_are_the_official_evaluators(golden_metrics, sets):
  for places in sets(golden_metrics).values():
    entries = [evaluate(golden_metrics, place) for place in places]
    prefix = re.sub(r"/s\d+$", "", places[0]) + "/means/"
    assert_rows(golden_metrics, prefix, entries)


@pytest.mark.golden
@pytest.mark.parametrize("sets", [sets_of_part_a, sets_of_part_b])
def test_aggregates_are_the_official_evaluators(golden_metrics, sets):
  machines = sets(golden_metrics)
  places = [place for found in machines.values() for place in found]
  entries = [evaluate(golden_metrics, place) for place in places]
  prefix = f"{places[0][0]}/aggregate/"
  assert_rows(golden_metrics, prefix, entries, "_")
  score = official.official_score(official.ranked_values(entries))
  expected = golden_metrics[prefix + "official_score"]
  np.testing.assert_allclose(score, expected, rtol=1e-12)


def random_clips(rng, num=80, decimals=1):
  is_anomaly = rng.random(num) < 0.5
  is_target = rng.random(num) < 0.4
  score = np.round(rng.normal(size=num) + is_anomaly, decimals)
  return score, is_anomaly, is_target


def plain_auc(score, is_anomaly):
  above = score[is_anomaly][:, None] - score[~is_anomaly]
  return np.mean((above > 0) + 0.5 * (above == 0))


def test_domain_auc_takes_the_anomalies_of_both_domains():
  score, is_anomaly, is_target = random_clips(np.random.default_rng(0))
  ours = official.clip_metrics(score, is_anomaly, is_target)
  for name, inside in (("source", ~is_target), ("target", is_target)):
    keep = inside | is_anomaly
    expected = plain_auc(score[keep], is_anomaly[keep])
    np.testing.assert_allclose(ours[f"auc_{name}"], expected, **close)
    wrong = plain_auc(score[inside], is_anomaly[inside])
    assert abs(ours[f"auc_{name}"] - wrong) > 1e-3


def test_partial_auc_is_standardised_as_printed():
  # P, the mean over the top tenth of the normal clips, has no ties here.
  rng = np.random.default_rng(1)
  score, is_anomaly = rng.normal(size=80), np.arange(80) % 2 == 0
  top = np.sort(score[~is_anomaly])[-4:]
  share = np.mean(score[is_anomaly][:, None] > top)
  expected = 0.5 * (1 + (share - 0.05) / 0.95)
  ours = official.clip_metrics(score, is_anomaly, None)["pauc"]
  np.testing.assert_allclose(ours, expected, **close)


def test_decision_metrics_are_those_of_scikit_learn():
  rng = np.random.default_rng(2)
  score, is_anomaly, is_target = random_clips(rng)
  decision = score > 0.7
  ours = official.clip_metrics(score, is_anomaly, is_target, decision=decision)
  for name, inside in (("source", ~is_target), ("target", is_target)):
    pair = is_anomaly[inside], decision[inside]
    for metric in ("precision", "recall", "f1"):
      expected = getattr(sk, f"{metric}_score")(*pair)
      np.testing.assert_allclose(ours[f"{metric}_{name}"], expected, **close)


def test_perfect_worst_and_constant_scores_have_known_values():
  is_anomaly, is_target = np.arange(40) % 2 == 1, np.arange(40) < 20
  metrics = lambda score: official.clip_metrics(score, is_anomaly, is_target)
  assert set(metrics(1.0 * is_anomaly).values()) == {1.0}
  worst = metrics(-1.0 * is_anomaly)
  assert worst["auc_source"] == worst["auc_target"] == 0
  np.testing.assert_allclose(worst["pauc"], 9 / 19, **close)
  assert set(metrics(np.zeros(40)).values()) == {0.5}


def test_order_of_clips_and_scale_of_scores_do_not_matter():
  rng = np.random.default_rng(3)
  score, is_anomaly, is_target = random_clips(rng)
  order = rng.permutation(len(score))
  ours = official.clip_metrics(score, is_anomaly, is_target)
  moved = official.clip_metrics(
    np.exp(2 * score[order]), is_anomaly[order], is_target[order]
  )
  assert ours == pytest.approx(moved, abs=1e-14)


def test_what_is_missing_is_none():
  score, is_anomaly, is_target = random_clips(np.random.default_rng(4))
  unlabelled = official.clip_metrics(score, None, is_target, decision=score > 0)
  assert len(unlabelled) == 14
  assert set(unlabelled.values()) == {None}
  known = official.clip_metrics(score, is_anomaly, None)
  assert {k for k, v in known.items() if v is not None} == {"auc", "pauc"}
  no_target = official.clip_metrics(
    score, is_anomaly, is_target & is_anomaly, decision=score > 0
  )
  missing = {k for k, v in no_target.items() if v is None}
  assert missing == {
    *(f"{m}_target" for m in ("auc", "pauc", "precision", "recall", "f1")),
    "auc_target_same",
  }
  normal = official.clip_metrics(score, np.zeros_like(is_anomaly), is_target)
  assert set(normal.values()) == {None}


@pytest.mark.parametrize(
  ("score", "is_anomaly", "message"),
  [
    ([0.0, np.nan], [0, 1], "1 of 2 scores are not finite"),
    ([0.0, 1.0], [0, 1, 1], "is_anomaly has shape"),
    ([[0.0], [1.0]], [0, 1], "score has shape"),
    ([0.0, 1.0], [0, 2], "other than 0 and 1"),
  ],
)
def test_wrong_input_is_refused(score, is_anomaly, message):
  with pytest.raises(ValueError, match=message):
    official.clip_metrics(score, is_anomaly, None)


def test_official_score_raises_zeros_to_epsilon_and_skips_none():
  eps = np.finfo(np.float64).eps
  np.testing.assert_allclose(official.official_score([0.0, 1.0]), 2 * eps)
  assert official.official_score([[0.5, None], [0.25, None]]) == 1 / 3
  assert official.official_score([None]) is None
  with pytest.raises(ValueError, match="NaN"):
    official.official_score([0.5, float("nan")])


def test_official_score_is_the_harmonic_mean_of_machine_scores():
  rng = np.random.default_rng(5)
  values = rng.uniform(0.4, 1, size=(7, 3))
  entries = [dict(zip(official.RANKED, row, strict=True)) for row in values]
  machines = [official.machine_score([entry]) for entry in entries]
  np.testing.assert_allclose(
    official.official_score(values),
    official.official_score(machines),
    rtol=1e-12,
  )
  assert official.machine_score([{**entries[0], "auc_target": None}]) is None
