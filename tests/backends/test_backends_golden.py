"""Reference cases of `backends.npz`: poolings, views, calibration, ZCA ..."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asd_jax.backends import base, mahalanobis, transform
from asd_jax.ops import cluster, pooling, statistics, views
from asd_jax.scores import calibration, fusion

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
  for case in cases("pool"):
    params = {k: v for k, v in case.params.items() if k != "note"}
    name = case.name.split("/")[1]
    if name == "rdp_weights_minmax":
      continue  # another method, which no system here uses
    if name == "rdp_weights":
      fn, result = pooling.relative_deviation_weights, "w"
    else:
      kind = name if name in POOLINGS else "rdp"
      fn, result = POOLINGS[kind], "y"
    got = jax.vmap(lambda x, fn=fn, p=params: fn(x, **p))(case.inp("x"))
    case.check(got, result)


def test_views(cases):
  for case in cases("residual_view"):
    both = jnp.stack([case.inp("near"), case.inp("far")], axis=1)
    alpha = case.params["alpha"]
    got = jax.vmap(lambda e, a=alpha: views.residual(e, alpha=a))(both)
    case.check(got, "residual")
  for case in cases("projection_residual"):
    both = jnp.stack([case.inp("near"), case.inp("far")], axis=1)
    case.check(jax.vmap(views.projection_residual)(both), "key")


def test_k_centre_selection(cases):
  for case in cases("kcenter"):
    got = cluster.k_centre(case.inp("keys"), case.params["k"])
    np.testing.assert_array_equal(got, case.out("index"))


@pytest.mark.parametrize(
  ("item", "kind"), [("zscore", "zscore"), ("robust_zscore", "robust_zscore")]
)
def test_standardisation(cases, item, kind):
  cal = calibration.CALIBRATORS[kind]()
  for case in cases(item):
    if case.name.endswith("fusion"):
      parts = [
        cal.apply(cal.fit(case.inp(f"{n}_reference"), None), case.inp(n))
        for n in ("beats", "mae")
      ]
      weight = case.params["weight"]
      weights = jnp.array([weight, 1.0 - weight])
      got = fusion.weighted_mean(jnp.stack(parts), weights)
      case.check(got, "score")
      continue
    state = cal.fit(case.inp("reference"), None)
    case.check(cal.apply(state, case.inp("scores")), "z")


def ranks(scores, reference):
  cal = calibration.percentile()
  state = cal.fit(reference.astype(jnp.float32), None)
  return jax.vmap(lambda s: cal.apply(state, s))(scores.astype(jnp.float32))


def test_percentile_ranks(cases):
  for case in cases("percentile"):
    if case.name.endswith("fusion"):
      parts = [
        ranks(case.inp(n), case.inp(f"{n}_reference")) for n in ("dif", "eat")
      ]
      weights = jnp.array(case.params["weights"])
      case.check(fusion.weighted_mean(jnp.stack(parts), weights), "score")
    elif case.params["kind"] == "mean":
      got = ranks(case.inp("scores"), case.inp("reference"))
      case.check(got, "rank", atol=1e-6)


def test_ensembles(cases):
  for case in cases("ensemble"):
    scores = case.inp("scores")
    weights = jnp.ones(len(scores))
    if case.name.endswith("weighted"):
      weights = case.inp("weights")
    if case.name.endswith("loo_zscore"):
      cal = calibration.zscore()
      fit = functools.partial(cal.fit, valid=None)
      state = jax.vmap(fit)(case.inp("reference"))
      scores = jax.vmap(cal.apply)(state, scores)
    case.check(fusion.weighted_mean(scores, weights), "score")


def test_ledoit_wolf(cases):
  backend = mahalanobis.mahalanobis()
  for case in cases("ledoit_wolf"):
    x = case.inp("x")
    found = statistics.ledoit_wolf(x, jnp.ones(len(x)))
    for name, got in zip(
      ("mean", "covariance", "shrinkage"), found, strict=True
    ):
      case.check(got, name)
    state = backend.fit(base.bank_of(x, jnp.zeros(len(x), bool)))
    got = jax.vmap(lambda q, s=state: backend.score(s, q))(case.inp("query"))
    case.check(got, "distance")


def test_the_smaller_distance_of_two_domains_skips_banks_that_are_too_small(
  cases,
):
  backend = base.per_domain(mahalanobis.mahalanobis())
  for case in cases("mahalanobis_min"):
    source, target = case.inp("source"), case.inp("target")
    rows = jnp.concatenate([source, target])
    is_target = jnp.arange(len(rows)) >= len(source)
    state = backend.fit(base.bank_of(rows, is_target))
    got = jax.vmap(lambda q, s=state: backend.score(s, q))(case.inp("query"))
    case.check(got, "score")


def test_zca(cases):
  for case in cases("zca"):
    change = transform.zca(
      covariance=case.params["covariance"], ridge=case.params["eps_rel"]
    )
    x, query = case.inp("x"), case.inp("query")
    state = change.fit(x, jnp.zeros(len(x), bool))
    atol = 5e-3 if "wide" in case.name else 1e-4
    case.check(state["mean"], "mean")
    case.check(state["matrix"], "matrix", atol=atol)
    white = jax.vmap(lambda e, s=state, c=change: c.apply(s, e))
    case.check(white(query), "whitened", atol=atol)
    gap = white(query)[:, None] - white(x)[None]
    score = jnp.min(jnp.linalg.norm(gap, axis=-1), axis=1)
    case.check(score, "score", atol=atol)
