"""A model of a fold is the one that a fit without its clips gives."""

import functools

import jax
import numpy as np
import pytest

from asd_jax.backends import knn
from asd_jax.engine import crossfit, decide, programs, structure
from asd_jax.engine import system as system_lib
from asd_jax.engine.normals import Augmented, Normals
from asd_jax.ops import distance
from asd_jax.scores import p_value, threshold
from configs import common

NUM, DIM = 14, 6
DOMAINS = np.arange(NUM) % 4 == 3


def build(**stages):
  branch = common.branch(channels=(0, 1), **stages)
  config = common.run("folds").to_dict()
  return system_lib.build({**config, "branches": {"one": branch}})


def normals(keep=slice(None), valid=None, augmented=None, names=("one",)):
  """Features `[N, 2, D]` as if they had been pooled."""
  x = np.random.default_rng(0).normal(size=(NUM, 2, DIM)).astype(np.float32)
  x = x[keep]
  target = DOMAINS[keep]
  return Normals(
    {},
    (dict.fromkeys(names, x),),
    np.arange(len(x)),
    target,
    {},
    valid,
    augmented or {},
    num_target=int(target.sum()),
  )


def scores(system, state):
  test = np.random.default_rng(1).normal(size=(5, 2, DIM)).astype(np.float32)
  one = lambda x: system_lib.score(system, system.hypers, state, {"one": x})
  return np.asarray(jax.jit(jax.vmap(one))(test))


residual = dict(name="residual", alpha=0.5)
zca = dict(name="zca", covariance="by_rank")
KINDS = {
  "knn": {},
  "standardised, calibrated": dict(
    view=residual,
    transform=dict(name="standardise"),
    backend=dict(name="knn", k=3, metric="cosine"),
    calibration=dict(name="zscore"),
  ),
  "whitened": dict(transform=zca, calibration=dict(name="percentile")),
  "moved": dict(
    bank=dict(name="pseudo_target"),
    wrappers=(dict(name="per_domain"),),
    calibration=dict(name="robust_zscore"),
  ),
  "mixed": dict(bank=dict(name="memmixup"), calibration=dict(name="gamma")),
  "mixed, made": dict(bank=dict(name="memmixup_rows", num_support=3)),
  "prototypes": dict(
    view=residual,
    key=dict(name="projection_residual"),
    wrappers=(dict(name="prototypes", num=4, projection_dim=0),),
  ),
  "gaussian": dict(
    backend=dict(name="mahalanobis"),
    wrappers=(dict(name="per_domain"),),
    reference="in_sample",
  ),
  "density": dict(
    backend=dict(name="local_density"), transform=dict(name="standardise")
  ),
  "variance": dict(backend=dict(name="variance_minimised")),
}


# 11 clips have full rank in 6 dimensions; of 5 none have, and the covariance
# of a fold is another than that of all clips.
@pytest.mark.parametrize(
  ("names", "num"), [(tuple(KINDS), 11), (("whitened",), 5)]
)
def test_clips_that_do_not_count_are_as_if_not_there(names, num):
  # One system of all kinds, a branch each: its scores are one program.
  branches = {n: common.branch(channels=(0, 1), **KINDS[n]) for n in names}
  config = common.run("folds").to_dict()
  system = system_lib.build({**config, "branches": branches})
  keep = np.random.default_rng(num).permutation(NUM) < num
  masked = system_lib.compiled_states(system)(
    system.hypers, normals(valid=keep, names=names)
  )
  want, _ = system_lib.compiled_fit(system)(
    system.hypers, normals(keep, names=names)
  )
  x = np.random.default_rng(1).normal(size=(5, 2, DIM)).astype(np.float32)
  one = lambda state, x: system_lib.scores(
    system, system.hypers, state, dict.fromkeys(names, x)
  )
  score = jax.jit(jax.vmap(one, in_axes=(None, 0)))
  found, expected = score(masked, x).members, score(want, x).members
  for name in names:
    np.testing.assert_allclose(
      found[name], expected[name], rtol=2e-5, atol=2e-6, err_msg=name
    )


def test_clips_made_from_a_clip_go_with_it():
  system = build()
  new = np.random.default_rng(2).normal(size=(3, 2, DIM)).astype(np.float32)
  clip = np.array([3, 7, 3], np.int32)
  keep = np.arange(NUM) != 3
  made = Augmented(new, clip, np.array([False, True, False]))
  fit = system_lib.compiled_states(system)
  masked = fit(system.hypers, normals(valid=keep, augmented={"one": made}))
  # Clip 7 has moved up by one.
  left = {"one": Augmented(new[1:2], np.array([6], np.int32))}
  want = system_lib.fit(system, system.hypers, normals(keep, augmented=left))
  np.testing.assert_allclose(
    scores(system, masked), scores(system, want), rtol=1e-6
  )


def test_arrays_that_folds_share_are_kept_once():
  system = build()
  fit = system_lib.compiled_states(system)
  whole = jax.tree.map(
    np.asarray, system_lib.fit(system, system.hypers, normals())
  )
  states = [
    crossfit.shared(
      fit(system.hypers, normals(valid=np.arange(NUM) != k)), whole
    )
    for k in range(3)
  ]
  records = structure.records([knn, distance])
  tree = {"whole": whole, "folds": states}
  arrays, nesting = structure.flatten(tree, records)
  rows = [a for a in arrays.values() if a.shape == (1, NUM, DIM)]
  assert len(rows) == 1
  # The mask of the rows that count differs.
  assert sum(a.dtype == bool for a in arrays.values()) == 4
  back = structure.rebuild(arrays, nesting, records)
  jax.tree.map(np.testing.assert_array_equal, back, tree)


@pytest.mark.parametrize(
  ("spec", "num", "target", "text"),
  [
    ({}, 6, 0, "6 normal clips, 9 needed for 0.1"),
    ({}, 9, 0, ""),
    ({}, 1, 0, "1 normal clip, 9 needed for 0.1"),
    (
      dict(by_domain=True, false_alarm_rate=0.2),
      90,
      3,
      "3 target clips, 4 needed for 0.2",
    ),
    (dict(folds=0), 90, 3, "no models of folds"),
    (dict(name="quantile"), 2, 0, ""),
  ],
)
def test_why_there_is_no_decision(spec, num, target, text):
  rule = decide.read_rule({"threshold": spec})
  found = decide.problem(rule, 0.0 if rule.by_score else None, num, target)
  assert text in found
  assert bool(text) == bool(found)


@pytest.mark.parametrize(
  ("spec", "words"),
  [
    (
      dict(false_alarm=0.1),
      ["false_alarm'", "did you mean 'false_alarm_rate'"],
    ),
    (dict(name="x"), ["'x'", "conformal"]),
    (dict(false_alarm_rate=1.0), ["1.0", "(0, 1)"]),
    (dict(quantile="a"), ["'a'", "(0, 1)"]),
    (dict(folds=1), ["folds", "2 or more"]),
    (dict(folds=True), ["folds", "2 or more"]),
  ],
)
def test_a_wrong_rule_is_refused(spec, words):
  with pytest.raises(ValueError, match="threshold") as e:
    decide.read_rule({"threshold": spec})
  assert all(w in str(e.value) for w in words)


def test_keys_of_other_rules_are_ignored():
  for name in decide.RULES:
    rule = decide.read_rule({"threshold": dict(name=name, quantile=0.8)})
    assert rule.name == name


def test_decisions_without_folds_are_empty_or_by_a_limit():
  score = np.array([1.0, 3.0])
  none = np.zeros((2, 0))
  rule = decide.Rule(folds=0)
  said = crossfit.decide(rule, None, None, score, none, possible=False)
  np.testing.assert_array_equal(said.decision, [threshold.UNDECIDED] * 2)
  assert np.isnan(said.p_value).all()
  rule = decide.Rule(folds=0, decide_in_sample=True)
  said = crossfit.decide(rule, 2.0, None, score, none, possible=True)
  np.testing.assert_array_equal(said.decision, [0, 1])


def test_the_stated_rate_is_kept_where_own_scores_would_break_it():
  """Whitening with fewer clips than it needs: clips seen look alike."""
  system = build(transform=zca, view=residual)
  compiled = programs.Programs(system, dict, 32)
  fit = functools.partial(system_lib.compiled_states(system), system.hypers)
  rule, rng = decide.Rule(), np.random.default_rng(0)
  num, check, honest, naive = 12, 96, [], []
  for _ in range(12):
    x = rng.normal(size=(num + check, 2, DIM)).astype(np.float32)
    none = np.zeros(num, bool)
    train = Normals({}, ({"one": x[:num]},), np.arange(num), none, {})
    whole = jax.tree.map(np.asarray, fit(train))
    fold = p_value.folds(none, rule.folds)
    without = lambda k, train=train, fold=fold: train.replace(valid=fold != k)
    found = crossfit.fit(fit, compiled, whole, fold, without)
    rows = [x[num + i : num + i + 32] for i in range(0, check, 32)]
    score = lambda state, rows=rows: np.concatenate(
      [np.asarray(compiled.scores(state, {"one": r}).fused) for r in rows]
    )
    by_fold = np.stack([score(s) for s in found.states], axis=1)
    said = crossfit.decide(
      rule, None, found, score(whole), by_fold, possible=True
    )
    honest.append(np.mean(said.decision))
    seen = crossfit.score_rows(compiled, whole, train, np.arange(num))
    naive.append(np.mean(score(whole) > np.max(seen)))
  assert 0.03 < np.mean(honest) < 0.125
  assert np.mean(naive) > 0.5
