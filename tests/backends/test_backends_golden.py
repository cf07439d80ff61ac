"""Reference cases of `backends.npz`: poolings, views, calibration, ZCA ..."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asd_jax.backends import base, mahalanobis, transform
from asd_jax.ops import cluster, pooling, statistics, views
from asd_jax.scores import calibration, fusion
from tests.backends.together import check_all, compiled

pytestmark = pytest.mark.golden


POOLINGS = {
  "mean": pooling.mean_time,
  "max": pooling.maximum,
  "gwrp": lambda x, r: pooling.ranked_mean(x, decay=r),
  "gem": lambda x, p: pooling.generalised_mean(x, power=p),
  "rdp": pooling.relative_deviation,
  "rdp_gem": lambda x, gamma, p: pooling.relative_deviation_generalised(
    x, gamma=gamma, power=p
  ),
}


def test_poolings(cases):
  def of(case):
    params = {k: v for k, v in case.params.items() if k != "note"}
    name = case.name.split("/")[1]
    if name == "rdp_weights":
      fn, result = pooling.relative_deviation_weights, "w"
    else:
      kind = name if name in POOLINGS else "rdp"
      fn, result = POOLINGS[kind], "y"
    one = functools.partial(fn, **params)
    return lambda x: {result: jax.vmap(one)(x)}, (case.inp("x"),)

  # The one left out is another method, which no system here uses.
  some = [c for c in cases("pool") if "rdp_weights_minmax" not in c.name]
  check_all(some, of)


def test_views(cases):
  def of(case):
    both = np.stack([case.inp("near"), case.inp("far")], axis=1)
    name, view = "key", views.projection_residual
    if "alpha" in case.params:
      name = "residual"
      view = functools.partial(views.residual, alpha=case.params["alpha"])
    return lambda x: {name: jax.vmap(view)(x)}, (both,)

  check_all([*cases("residual_view"), *cases("projection_residual")], of)


def test_k_centre_selection(cases):
  of = lambda case: (
    lambda keys: cluster.k_centre(keys, case.params["k"]),
    (case.inp("keys"),),
  )
  for case, found in compiled(cases("kcenter"), of):
    np.testing.assert_array_equal(found, case.out("index"))


@pytest.mark.parametrize(
  ("item", "kind"), [("zscore", "zscore"), ("robust_zscore", "robust_zscore")]
)
def test_standardisation(cases, item, kind):
  cal = calibration.CALIBRATORS[kind]()
  z = lambda scores, reference: cal.apply(cal.fit(reference, None), scores)

  def of(case):
    if not case.name.endswith("fusion"):
      both = (case.inp("scores"), case.inp("reference"))
      return lambda *both: dict(z=z(*both)), both
    parts = [
      (case.inp(n), case.inp(f"{n}_reference")) for n in ("beats", "mae")
    ]
    weight = case.params["weight"]
    weights = jnp.array([weight, 1.0 - weight])
    return lambda *parts: dict(score=fused(z, parts, weights)), parts

  check_all(cases(item), of)


def fused(calibrate, parts, weights):
  parts = [calibrate(scores, reference) for scores, reference in parts]
  return fusion.weighted_mean(jnp.stack(parts), weights)


def ranks(scores, reference):
  cal = calibration.percentile()
  state = cal.fit(reference.astype(jnp.float32), None)
  return jax.vmap(lambda s: cal.apply(state, s))(scores.astype(jnp.float32))


def test_percentile_ranks(cases):
  def of(case):
    if not case.name.endswith("fusion"):
      return ranks, (case.inp("scores"), case.inp("reference"))
    parts = [(case.inp(n), case.inp(f"{n}_reference")) for n in ("dif", "eat")]
    weights = jnp.array(case.params["weights"])
    return lambda *parts: fused(ranks, parts, weights), parts

  some = [
    c
    for c in cases("percentile")
    if c.name.endswith("fusion") or c.params["kind"] == "mean"
  ]
  for case, found in compiled(some, of):
    if case.name.endswith("fusion"):
      case.check(found, "score")
    else:
      case.check(found, "rank", atol=1e-6)


def test_ensembles(cases):
  def of(case):
    scores = case.inp("scores")
    weights = np.ones(len(scores))
    if case.name.endswith("weighted"):
      weights = case.inp("weights")

    def run(scores, weights, reference):
      if reference is not None:
        cal = calibration.zscore()
        fit = functools.partial(cal.fit, valid=None)
        state = jax.vmap(fit)(reference)
        scores = jax.vmap(cal.apply)(state, scores)
      return dict(score=fusion.weighted_mean(scores, weights))

    calibrated = case.name.endswith("loo_zscore")
    reference = case.inp("reference") if calibrated else None
    return run, (scores, weights, reference)

  check_all(cases("ensemble"), of)


def test_ledoit_wolf(cases):
  backend = mahalanobis.mahalanobis()

  def run(x, query):
    fitted = statistics.ledoit_wolf(x, jnp.ones(len(x)))
    found = dict(zip(("mean", "covariance", "shrinkage"), fitted, strict=True))
    bank = base.bank_of(x, jnp.zeros(len(x), bool), num_target=0)
    score = jax.vmap(backend.score, (None, 0))
    return found | dict(distance=score(backend.fit(bank), query))

  of = lambda case: (run, (case.inp("x"), case.inp("query")))
  check_all(cases("ledoit_wolf"), of)


def test_the_smaller_distance_of_two_domains_skips_banks_that_are_too_small(
  cases,
):
  backend = base.per_domain(mahalanobis.mahalanobis())

  def run(source, target, query):
    rows = jnp.concatenate([source, target])
    is_target = jnp.arange(len(rows)) >= len(source)
    bank = base.bank_of(rows, is_target, num_target=len(target))
    score = jax.vmap(backend.score, (None, 0))
    return dict(score=score(backend.fit(bank), query))

  of = lambda case: (run, tuple(map(case.inp, ("source", "target", "query"))))
  check_all(cases("mahalanobis_min"), of)


def test_zca(cases):
  def of(case):
    change = transform.zca(
      covariance=case.params["covariance"], ridge=case.params["eps_rel"]
    )

    def run(x, query):
      state = change.fit(x, jnp.zeros(len(x), bool), None)
      white = jax.vmap(change.apply, (None, 0))
      gap = white(state, query)[:, None] - white(state, x)[None]
      score = jnp.min(jnp.linalg.norm(gap, axis=-1), axis=1)
      return state | dict(whitened=white(state, query), score=score)

    return run, (case.inp("x"), case.inp("query"))

  for case, found in compiled(cases("zca"), of):
    atol = 5e-3 if "wide" in case.name else 1e-4
    case.check(found["mean"], "mean")
    for name in ("matrix", "whitened", "score"):
      case.check(found[name], name, atol=atol)
