"""Candidates by product, distances by difference."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.spatial

from asd_jax.backends import base, knn
from asd_jax.ops import distance, mixture

EUCLIDEAN = distance.METRICS["euclidean"]


@pytest.fixture
def rng():
  return np.random.default_rng(0)


def ready(emb, usable=None):
  emb = jnp.asarray(emb, jnp.float32)
  usable = jnp.ones(len(emb), bool) if usable is None else jnp.asarray(usable)
  return distance.prepare(emb, usable, EUCLIDEAN), usable


def found(query, rows, usable, k):
  def one(q):
    x, _ = distance.prepare_query(q, rows, EUCLIDEAN)
    return distance.nearest(x, rows.emb, rows.squares, usable, k=k)

  return jax.jit(jax.vmap(one))(jnp.asarray(query, jnp.float32))


@pytest.mark.parametrize("num", [1, 5, 40, 700])
@pytest.mark.parametrize("k", [1, 3, 9])
def test_nearest_rows_equal_a_full_sort(rng, num, k):
  emb = rng.normal(2.0, 1.0, (num, 8)).astype(np.float32)
  query = rng.normal(2.0, 1.0, (11, 8)).astype(np.float32)
  squared, place = found(query, *ready(emb), k)
  want = np.square(query[:, None].astype(float) - emb[None]).sum(2)
  order = np.argsort(want, axis=1, kind="stable")[:, :k]
  np.testing.assert_array_equal(place, order)
  np.testing.assert_allclose(
    squared, np.take_along_axis(want, order, 1), rtol=1e-5
  )


def test_rows_that_do_not_count_are_infinitely_far(rng):
  emb = rng.normal(size=(100, 4))
  usable = np.arange(100) == 17
  squared, place = found(emb[:3], *ready(emb, usable), 3)
  np.testing.assert_array_equal(place[:, 0], 17)
  assert np.isfinite(squared[:, 0]).all()
  assert np.isinf(squared[:, 1:]).all()


def test_the_first_of_equal_rows_is_found(rng):
  emb = rng.normal(size=(300, 5))
  emb[[250, 40, 120, 41]] = emb[9]
  squared, place = found(emb[9:10], *ready(emb), 3)
  np.testing.assert_array_equal(place[0], [9, 40, 41])
  np.testing.assert_array_equal(squared[0], 0.0)


def test_small_distances_are_exact(rng):
  emb = rng.normal(4.0, 1.0, (200, 6144)).astype(np.float32)
  query = emb[:5] + rng.normal(0.0, 1e-4, (5, 6144)).astype(np.float32)
  squared, place = found(query, *ready(emb), 1)
  np.testing.assert_array_equal(place[:, 0], np.arange(5))
  want = np.square(query.astype(float) - emb[:5]).sum(1)
  np.testing.assert_allclose(squared[:, 0], want, rtol=1e-2)


@pytest.mark.parametrize("num", [3, 31, 64, 65, 1000])
@pytest.mark.parametrize("k", [1, 2, 7])
def test_lowest_places_equal_a_stable_sort(rng, num, k):
  cost = rng.integers(0, 30, (6, num)).astype(np.float32)
  k = min(k, num)
  got = jax.vmap(lambda c: distance.lowest(c, k))(jnp.asarray(cost))
  want = np.argsort(cost, axis=1, kind="stable")[:, :k]
  np.testing.assert_array_equal(got, want)


def test_the_gradient_at_a_bank_row_is_zero(rng):
  rows, usable = ready(rng.normal(size=(50, 4)))

  def gap(x):
    squared, _ = distance.nearest(x, rows.emb, rows.squares, usable, k=1)
    return distance.root(squared)[0]

  np.testing.assert_array_equal(jax.grad(gap)(rows.emb[3]), 0.0)
  apart = jax.grad(gap)(rows.emb[3] + 1e-3)
  np.testing.assert_allclose(jnp.linalg.norm(apart), 1.0, rtol=1e-3)


def test_a_batch_of_queries_is_one_product(rng):
  rows, usable = ready(rng.normal(size=(64, 4)))
  batch = lambda x: jax.vmap(
    lambda q: distance.nearest(q, rows.emb, rows.squares, usable, k=1)
  )(x)
  text = str(jax.make_jaxpr(batch)(jnp.ones((9, 4))))
  products = [t for t in text.splitlines() if "dot_general[" in t]
  assert len(products) == 1
  assert "f32[9,64] = dot_general[" in products[0]


def test_names_of_metrics_are_checked():
  with pytest.raises(ValueError, match="here: found metric 'l1'.*half_chord"):
    distance.find_metric("l1", where="here")


@pytest.mark.parametrize("num", [6, 32, 100])
@pytest.mark.parametrize("num_first", [0, 1, 4])
@pytest.mark.parametrize("k", [1, 5])
def test_mixtures_equal_rows_that_are_made(rng, num, num_first, k):
  emb = rng.normal(1.0, 1.0, (num, 5)).astype(np.float32)
  first = np.arange(num) < num_first
  second = np.arange(num) > num // 2
  usable = np.arange(num) % 4 > 0
  rows, usable = ready(emb, usable)
  pairs = mixture.prepare(
    rows,
    jnp.asarray(first),
    jnp.asarray(second),
    weight=0.3,
    num_first=num_first,
  )
  query = rng.normal(1.0, 1.0, (7, 5)).astype(np.float32)

  def one(q):
    return mixture.nearest(q - rows.centre, rows, usable, pairs, k=k)

  got = jax.jit(jax.vmap(one))(query)
  mixed = 0.3 * emb[first][:, None] + 0.7 * emb[second][None]
  made = np.concatenate([emb[np.asarray(usable)], mixed.reshape(-1, 5)])
  want = np.sort(np.square(query[:, None] - made[None]).sum(2), axis=1)[:, :k]
  real = want.shape[1]
  np.testing.assert_allclose(got[:, :real], want, rtol=1e-4, atol=1e-5)
  assert np.isinf(got[:, real:]).all()


def test_mixed_rows_take_little_memory(rng):
  rows, usable = ready(rng.normal(size=(1000, 16)))
  first = jnp.arange(1000) < 10
  pairs = mixture.prepare(rows, first, ~first, weight=0.9, num_first=10)
  score = jax.jit(
    jax.vmap(lambda q: mixture.nearest(q, rows, usable, pairs, k=1))
  )
  query = jnp.ones((200, 16))
  memory = score.lower(query).compile().memory_analysis()
  mixed = 4 * 200 * 10 * 1000
  assert memory.temp_size_in_bytes < mixed / 2


def test_a_query_of_another_width_is_refused():
  metric = distance.METRICS["euclidean"]
  rows = distance.prepare(jnp.ones((4, 6)), jnp.ones(4, bool), metric)
  with pytest.raises(ValueError, match=r"\(5,\).*\(6,\)"):
    distance.prepare_query(jnp.ones(5), rows, metric)


@pytest.mark.parametrize(("k", "chunk"), [(1, 64), (4, 37), (40, 16), (4, 700)])
def test_a_large_bank_gives_what_a_small_one_gives(monkeypatch, k, chunk):
  rng = np.random.default_rng(0)
  emb = rng.normal(2.0, 1.0, (300, 8)).astype(np.float32)
  emb[200:250] = emb[:50]  # equal rows in other chunks
  usable = rng.random((11, 300)) < 0.5
  usable[3], usable[4, 7:] = False, False
  query = rng.normal(2.0, 1.0, (11, 8)).astype(np.float32)
  rows, _ = ready(emb)

  def search():
    def one(q, usable):
      x, _ = distance.prepare_query(q, rows, EUCLIDEAN)
      return distance.nearest(
        x, rows.emb, rows.squares, usable, k=k, offset=rows.offset
      )

    return jax.jit(jax.vmap(one))(jnp.asarray(query), jnp.asarray(usable))

  whole, at = search()
  monkeypatch.setattr(distance, "LARGE", 300)
  low_in = distance.lowest_in_chunks
  calls = []

  def chunked(*args):
    calls.append(args)
    return low_in(*args, chunk=chunk)

  monkeypatch.setattr(distance, "lowest_in_chunks", chunked)
  squared, place = search()
  assert calls
  np.testing.assert_allclose(squared, whole, rtol=1e-6)
  there = np.isfinite(whole)
  np.testing.assert_array_equal(place[there], at[there])


@pytest.mark.parametrize("num", [distance.LARGE - 1, distance.LARGE])
def test_a_detector_with_a_large_bank_holds_no_distance_to_all_rows(num):
  backend = knn.knn(k=2)

  def scores(emb, query):
    state = backend.fit(base.bank_of(emb, jnp.zeros(num, bool), num_target=0))
    return jax.vmap(lambda x: backend.score(state, x))(query)

  rng = np.random.default_rng(0)
  emb = jnp.asarray(rng.normal(size=(num, 2)), jnp.float32)
  query = jnp.asarray(rng.normal(size=(32, 2)), jnp.float32)
  program = jax.jit(scores).lower(emb, query).compile()
  every = 4 * 32 * num
  held = program.memory_analysis().temp_size_in_bytes
  assert (held > every) == (num < distance.LARGE)
  tree = scipy.spatial.cKDTree(np.float64(emb))
  want = tree.query(np.float64(query), k=2)[0].mean(axis=1)
  np.testing.assert_allclose(program(emb, query), want, rtol=1e-4)
