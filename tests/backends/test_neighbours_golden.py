"""Reference cases of `backends.npz`: neighbours, densities, added rows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asd_jax.backends import base, density, knn, prototypes, rows
from asd_jax.ops import distance, views

pytestmark = pytest.mark.golden


def no_target(emb):
  return base.bank_of(emb, jnp.zeros(len(emb), bool))


def two_domains(source, target):
  is_target = jnp.arange(len(source) + len(target)) >= len(source)
  return base.bank_of(jnp.concatenate([source, target]), is_target)


def scores(backend, bank, query):
  state = jax.jit(backend.fit)(bank)
  return jax.jit(jax.vmap(lambda e: backend.score(state, e)))(query)


def self_scores(backend, bank, num):
  state = backend.fit(bank)
  one = lambda emb, group: backend.self_score(state, emb, group)
  return jax.jit(jax.vmap(one))(bank.emb[:num], bank.group[:num])


def knn_of(case):
  weights = case.params.get("weights", ())
  if case.has("in/weights"):
    weights = case.inp("weights").tolist()
  k = len(weights) or case.params["k"]
  return knn.knn(k=k, metric=case.params["metric"], weights=tuple(weights))


def test_nearest_neighbours(cases):
  for case in cases("knn"):
    bank = no_target(case.inp("bank"))
    if case.has("in/valid"):
      bank = bank.replace(valid=case.inp("valid"))
    case.check(scores(knn_of(case), bank, case.inp("query")), "score")


def test_leave_one_out(cases):
  for case in cases("loo"):
    bank, num = no_target(case.inp("bank")), len(case.inp("bank"))
    if case.has("in/groups"):
      bank = bank.replace(group=case.inp("groups").astype(jnp.int32))
    if case.has("in/query_rows"):
      asked = np.asarray(case.inp("query_rows"))
      num = len(asked)
      np.testing.assert_array_equal(asked, np.arange(num))
    case.check(self_scores(knn_of(case), bank, num), "score")


def test_the_smaller_score_of_two_domains(cases):
  for case in cases("domain_min"):
    bank = two_domains(case.inp("source"), case.inp("target"))
    backend = base.per_domain(knn_of(case))
    case.check(scores(backend, bank, case.inp("query")), "score")


def test_domain_standardisation_is_a_statement_about_test_clips(cases):
  # Kept out of the package: it needs the scores of the other test clips.
  for case in cases("domain_standardised_min"):
    both = [case.inp(f"{d}_scores") for d in ("source", "target")]
    scaled = [(s - jnp.mean(s)) / jnp.std(s) for s in both]
    case.check(jnp.minimum(*scaled), "score")


def test_mixed_rows(cases):
  for case in cases("memmixup"):
    source, target = case.inp("source"), case.inp("target")
    bank = two_domains(source, target)
    lam, num = case.params["lam"], case.params["n_support"]
    made = rows.memmixup_rows(bank, lam=lam, num_support=num)
    case.check(made.emb[len(bank.emb) :], "mixed")
    implicit = rows.memmixup(bank, lam=lam)
    if case.has("out/order"):
      want = case.out("order")
      order = rows.mixing_order(
        bank.emb,
        bank.is_target,
        ~bank.is_target,
        num_target=len(target),
        num=want.shape[1],
      )
      np.testing.assert_array_equal(order, want)
    if not case.has("in/query"):
      continue
    banks = [made, implicit] if num >= len(source) else [made]
    for each in banks:
      got = scores(knn.knn(), each, case.inp("query"))
      case.check(got, "score_k1")
      got = scores(base.per_domain(knn.knn(k=2)), each, case.inp("query"))
      case.check(got, "score_k2")


def test_prototype_selection(cases):
  for case in cases("prps"):
    params = case.params
    pairs = jnp.stack([case.inp("near"), case.inp("far")], axis=1)
    tests = jnp.stack([case.inp("near_test"), case.inp("far_test")], axis=1)
    view = jax.vmap(lambda e, a=params["alpha"]: views.residual(e, alpha=a))
    keys = jax.vmap(views.projection_residual)(pairs)
    bank = base.bank_of(view(pairs), case.inp("is_target"), key=keys)
    projection = None
    if case.has("in/projection"):
      projection = case.inp("projection")
    choose = lambda b, p=projection, n=params["n_proto"]: (
      prototypes.chosen_rows(b, p, num=n)
    )
    np.testing.assert_array_equal(choose(bank).group, case.out("proto"))
    mixed = rows.memmixup_rows(
      bank, lam=params["lam"], num_support=params["n_support"]
    )
    for weight, name in (
      (0.0, "test_full"),
      (1.0, "test_proto"),
      (0.5, "test"),
    ):
      backend = prototypes.blend(knn.knn(), choose, weight=weight)
      case.check(scores(backend, mixed, view(tests)), name)
    case.check(self_scores(backend, mixed, len(bank.emb)), "train")


def test_synthetic_rows(cases):
  for case in cases("smote"):
    if case.name.endswith("counts"):
      both = zip(case.inp("n_source"), case.inp("n_target"), strict=True)
      ratio = case.params["ratio"]
      got = [rows.num_synthetic(int(s), int(t), ratio=ratio) for s, t in both]
      np.testing.assert_array_equal(got, case.out("count"))
      continue
    target = case.inp("target")
    bank = base.bank_of(target, jnp.ones(len(target), bool))
    got = rows.add_interpolated(
      bank,
      case.inp("flat_index"),
      case.inp("step").astype(target.dtype),
      wanted=len(case.inp("step")),
      k=case.params["k"],
      normalise=False,
    )
    case.check(got.emb[len(target) :], "new")
    if case.has("out/count"):
      num, ratio = case.params["n_source"], case.params["ratio"]
      got = rows.num_synthetic(num, len(target), ratio=ratio)
      assert got == case.out("count")


def test_densities(cases):
  for case in cases("density"):
    bank, metric = case.inp("bank"), distance.METRICS[case.params["metric"]]
    usable = jnp.ones(len(bank), bool)
    ready = distance.prepare(bank, usable, metric)
    got = density.local_densities(ready, usable, metric, k=case.params["k"])
    case.check(got[0], "density")


def test_local_density_scores(cases):
  for case in cases("ldn"):
    backend = density.local_density(
      k=case.params.get("k", 4),
      metric=case.params["metric"],
      mode=case.params["mode"],
      decay=case.params.get("r"),
    )
    bank = no_target(case.inp("bank"))
    case.check(scores(backend, bank, case.inp("query")), "score")


def test_variance_minimised_scores(cases):
  for case in cases("varmin"):
    backend = density.variance_minimised(
      k=case.params["k"], metric=case.params["metric"]
    )
    bank = no_target(case.inp("bank"))
    state = backend.fit(bank)
    case.check(state.density, "density")
    case.check(state.scale, "alpha")
    case.check(scores(backend, bank, case.inp("query")), "score")


def test_frequency_wise_banks(cases):
  for case in cases("frequency"):
    bank, metric = no_target(case.inp("bank")), case.params["metric"]
    if case.has("in/is_target"):
      bank = base.bank_of(bank.emb, case.inp("is_target"))
      bank = rows.add_interpolated(
        bank,
        case.inp("flat_index"),
        case.inp("step").astype(bank.emb.dtype),
        wanted=len(case.inp("step")),
        k=case.params["k"],
        normalise=True,
      )
    k = 1 if case.has("in/is_target") else case.params["k"]
    inner = knn.knn(k=k, metric=metric)
    if case.has("out/alpha"):
      inner = density.variance_minimised(k=case.params["k"], metric=metric)
    backend = base.per_frequency(inner)
    if case.has("out/alpha"):
      case.check(backend.fit(bank).scale, "alpha")
    case.check(scores(backend, bank, case.inp("query")), "score")


def test_pseudo_target_rows(cases):
  for case in cases("pseudo_target"):
    source, target = case.inp("source"), case.inp("target")
    bank = rows.pseudo_target(two_domains(source, target))
    new = len(source) + len(target)
    case.check(bank.emb[new:][bank.valid[new:]], "rows")
    np.testing.assert_array_equal(bank.group[new:], bank.group[:new])
