"""Reference cases of `backends.npz`: neighbours, densities, added rows."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asd_jax.backends import base, density, knn, prototypes, rows
from asd_jax.ops import distance, views
from tests.backends.together import check_all, compiled

pytestmark = pytest.mark.golden


def no_target(emb):
  return base.bank_of(emb, np.zeros(len(emb), bool), num_target=0)


def two_domains(source, target):
  is_target = np.arange(len(source) + len(target)) >= len(source)
  both = np.concatenate([source, target])
  return base.bank_of(both, is_target, num_target=len(target))


def check_scores(cases, of):
  """Scores of queries by the backend and the bank that `of(case)` returns."""

  def one(case):
    backend, bank = of(case)
    return functools.partial(scores, backend), (bank, case.inp("query"))

  for case, found in compiled(cases, one):
    case.check(found, "score")


def scores(backend, bank, query):
  return jax.vmap(backend.score, (None, 0))(backend.fit(bank), query)


def self_scores(backend, bank, num):
  one = jax.vmap(backend.self_score, (None, 0, 0))
  return one(backend.fit(bank), bank.emb[:num], bank.group[:num])


def knn_of(case):
  weights = case.params.get("weights", ())
  if case.has("in/weights"):
    weights = case.inp("weights").tolist()
  k = len(weights) or case.params["k"]
  return knn.knn(k=k, metric=case.params["metric"], weights=tuple(weights))


def test_nearest_neighbours(cases):
  def of(case):
    bank = no_target(case.inp("bank"))
    if case.has("in/valid"):
      bank = bank.replace(valid=case.inp("valid"))
    return knn_of(case), bank

  check_scores(cases("knn"), of)


def test_leave_one_out(cases):
  def of(case):
    bank, num = no_target(case.inp("bank")), len(case.inp("bank"))
    if case.has("in/groups"):
      bank = bank.replace(group=case.inp("groups").astype(np.int32))
    if case.has("in/query_rows"):
      asked = case.inp("query_rows")
      num = len(asked)
      np.testing.assert_array_equal(asked, np.arange(num))
    own = functools.partial(self_scores, knn_of(case), num=num)
    return own, (bank,)

  for case, found in compiled(cases("loo"), of):
    case.check(found, "score")


def test_the_smaller_score_of_two_domains(cases):
  def of(case):
    bank = two_domains(case.inp("source"), case.inp("target"))
    return base.per_domain(knn_of(case)), bank

  check_scores(cases("domain_min"), of)


def test_domain_standardisation_is_a_statement_about_test_clips(cases):
  # Kept out of the package: it needs the scores of the other test clips.
  for case in cases("domain_standardised_min"):
    both = [case.inp(f"{d}_scores") for d in ("source", "target")]
    scaled = [(s - np.mean(s)) / np.std(s) for s in both]
    case.check(np.minimum(*scaled), "score")


def mixed_rows(case, bank, query):
  """Mixed rows, their order and scores, by what they are called in the file."""
  lam, num = case.params["lam"], case.params["n_support"]
  made = rows.memmixup_rows(bank, lam=lam, num_support=num)
  found = [("mixed", made.emb[len(bank.emb) :])]
  if case.has("out/order"):
    order = rows.mixing_order(
      bank.emb,
      bank.is_target,
      ~bank.is_target,
      num_target=bank.num_target,
      num=case.out("order").shape[1],
    )
    found.append(("order", order))
  if query is None:
    return found
  banks = [made]
  if num >= len(bank.emb) - bank.num_target:
    banks.append(rows.memmixup(bank, lam=lam))
  for each in banks:
    found.append(("score_k1", scores(knn.knn(), each, query)))
    two = base.per_domain(knn.knn(k=2))
    found.append(("score_k2", scores(two, each, query)))
  return found


def test_mixed_rows(cases):
  for case in cases("memmixup"):
    bank = two_domains(case.inp("source"), case.inp("target"))
    query = case.inp("query") if case.has("in/query") else None
    names = []

    def of(bank, query, case=case, names=names):
      found = mixed_rows(case, bank, query)
      names += [name for name, _ in found]
      return [x for _, x in found]

    for found, name in zip(jax.jit(of)(bank, query), names, strict=True):
      if name == "order":
        np.testing.assert_array_equal(found, case.out("order"))
      else:
        case.check(found, name)


def prototype_scores(case, pairs, tests, is_target, projection):
  """Chosen rows and scores, by what they are called in the file."""
  params = case.params
  view = jax.vmap(lambda e: views.residual(e, alpha=params["alpha"]))
  keys = jax.vmap(views.projection_residual)(pairs)
  emb, query = view(pairs), view(tests)
  num_target = int(is_target.sum())
  is_target = jnp.asarray(is_target)
  bank = base.bank_of(emb, is_target, key=keys, num_target=num_target)
  choose = lambda b: prototypes.chosen_rows(
    b, projection, num=params["n_proto"]
  )
  mixed = rows.memmixup_rows(
    bank, lam=params["lam"], num_support=params["n_support"]
  )
  found = {"proto": choose(bank).group}
  for name, weight in (("test_full", 0.0), ("test_proto", 1.0), ("test", 0.5)):
    backend = prototypes.blend(knn.knn(), choose, weight=weight)
    found[name] = scores(backend, mixed, query)
  return found | {"train": self_scores(backend, mixed, len(emb))}


def test_prototype_selection(cases):
  def of(case):
    near, far, near_test, far_test, is_target = map(
      case.inp, ("near", "far", "near_test", "far_test", "is_target")
    )
    pairs, tests = np.stack([near, far], 1), np.stack([near_test, far_test], 1)
    projection = case.inp("projection") if case.has("in/projection") else None
    # How many clips are of the target domain decides shapes: not an input.
    run = lambda pairs, tests: prototype_scores(
      case, pairs, tests, is_target, projection
    )
    return run, (pairs, tests)

  for case, found in compiled(cases("prps"), of):
    np.testing.assert_array_equal(found.pop("proto"), case.out("proto"))
    for name, value in found.items():
      case.check(value, name)


def test_synthetic_rows(cases):
  def of(case):
    target = case.inp("target")
    num = len(target)
    draws = case.inp("flat_index"), case.inp("step")

    def run(target, index, step):
      bank = base.bank_of(target, jnp.ones(num, bool), num_target=num)
      more = rows.add_interpolated(
        bank,
        index,
        step,
        wanted=len(step),
        k=case.params["k"],
        normalise=False,
      )
      return more.emb[num:]

    return run, (target, *draws)

  found = {c.name.split("/")[1]: c for c in cases("smote")}
  case = found.pop("counts")
  both = zip(case.inp("n_source"), case.inp("n_target"), strict=True)
  ratio = case.params["ratio"]
  got = [rows.num_synthetic(int(s), int(t), ratio=ratio) for s, t in both]
  np.testing.assert_array_equal(got, case.out("count"))
  for case, new in compiled(list(found.values()), of):
    case.check(new, "new")
    if case.has("out/count"):
      sizes = case.params["n_source"], len(case.inp("target"))
      got = rows.num_synthetic(*sizes, ratio=case.params["ratio"])
      assert got == case.out("count")


def test_densities(cases):
  def of(case):
    metric = distance.METRICS[case.params["metric"]]

    def run(bank):
      usable = jnp.ones(len(bank), bool)
      ready = distance.prepare(bank, usable, metric)
      return density.local_densities(ready, usable, metric, k=case.params["k"])

    return run, (case.inp("bank"),)

  for case, found in compiled(cases("density"), of):
    case.check(found[0], "density")


def test_local_density_scores(cases):
  def of(case):
    backend = density.local_density(
      k=case.params.get("k", 4),
      metric=case.params["metric"],
      mode=case.params["mode"],
      decay=case.params.get("r"),
    )
    return backend, no_target(case.inp("bank"))

  check_scores(cases("ldn"), of)


def test_variance_minimised_scores(cases):
  def of(case):
    backend = density.variance_minimised(
      k=case.params["k"], metric=case.params["metric"]
    )

    def run(bank, query):
      state = backend.fit(bank)
      score = jax.vmap(backend.score, (None, 0))(state, query)
      return dict(density=state.density, alpha=state.scale, score=score)

    return run, (no_target(case.inp("bank")), case.inp("query"))

  check_all(cases("varmin"), of)


def test_frequency_wise_banks(cases):
  def of(case):
    k, metric = case.params["k"], case.params["metric"]
    inner, bank = knn.knn(k=k, metric=metric), no_target(case.inp("bank"))
    if case.has("out/alpha"):
      inner = density.variance_minimised(k=k, metric=metric)
    draws = ()
    if case.has("in/is_target"):
      inner = knn.knn(metric=metric)
      bank = base.bank_of(bank.emb, case.inp("is_target"))
      draws = case.inp("flat_index"), case.inp("step").astype(bank.emb.dtype)
    backend = base.per_frequency(inner)

    def run(bank, query):
      if draws:
        bank = rows.add_interpolated(
          bank, *draws, wanted=len(draws[1]), k=k, normalise=True
        )
      state = backend.fit(bank)
      found = dict(score=jax.vmap(backend.score, (None, 0))(state, query))
      return found | (dict(alpha=state.scale) if case.has("out/alpha") else {})

    return run, (bank, case.inp("query"))

  check_all(cases("frequency"), of)


def test_pseudo_target_rows(cases):
  for case in cases("pseudo_target"):
    source, target = case.inp("source"), case.inp("target")
    bank = two_domains(source, target)
    bank = jax.device_get(jax.jit(rows.pseudo_target)(bank))
    new = len(source) + len(target)
    case.check(bank.emb[new:][bank.valid[new:]], "rows")
    np.testing.assert_array_equal(bank.group[new:], bank.group[:new])
