import json
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asd_jax.backends import base, knn
from asd_jax.ops import distance, large_bank

EXACT = {"rtol": 1e-5, "atol": 1e-6}


def draw(num, *, width=12, seed=0, mean=3.0):
  rng = np.random.default_rng(seed)
  return (mean + rng.normal(size=(num, width))).astype(np.float32)


def reference(queries, rows, k, metric, valid=None):
  """All distances in float64, a stable sort, the first k."""
  x, y = np.float64(queries), np.float64(rows)
  lengths = [np.linalg.norm(a, axis=1, keepdims=True) for a in (x, y)]
  cosine = x @ y.T / np.maximum(lengths[0] * lengths[1].T, 1e-12)
  squared = np.sum((x[:, None] - y[None]) ** 2, axis=2)
  dist = {
    "euclidean": np.sqrt(squared),
    "sqeuclidean": squared,
    "cosine": 1 - cosine,
    "half_cosine": (1 - cosine) / 2,
    "half_chord": np.sqrt(np.maximum((1 - cosine) / 2, 0)),
  }[metric]
  if valid is not None:
    dist[:, ~valid] = np.inf
  index = np.argsort(dist, axis=1, kind="stable")[:, :k]
  return np.take_along_axis(dist, index, axis=1), index


def nearest(queries, rows, *, chunks=None, **kwargs):
  chunks = large_bank.Chunks(*(chunks or (256, 4096)))
  run = lambda q, r: large_bank.nearest_rows(q, r, chunks=chunks, **kwargs)
  return jax.jit(run)(jnp.asarray(queries), jnp.asarray(rows))


def check(found, queries, rows, metric="euclidean", valid=None):
  k = found.index.shape[1]
  dist, index = reference(queries, rows, k, metric, valid)
  np.testing.assert_array_equal(found.index, index)
  np.testing.assert_allclose(found.distance, dist, **EXACT)


@pytest.mark.parametrize("row_chunk", [1, 7, 50, 101, 999])
def test_chunks_of_any_size_find_what_a_full_search_finds(row_chunk):
  rows, queries = draw(101), draw(23, seed=1)
  found = nearest(queries, rows, k=4, chunks=(5, row_chunk))
  check(found, queries, rows)


@pytest.mark.parametrize("metric", distance.METRICS)
def test_every_metric_is_that_of_its_formula(metric):
  rows, queries = draw(101), draw(23, seed=1)
  found = nearest(queries, rows, k=3, metric=metric, chunks=(23, 30))
  check(found, queries, rows, metric)


@pytest.mark.parametrize("metric", distance.METRICS)
def test_rows_made_ready_give_what_plain_rows_give(metric):
  rows, queries = draw(60), draw(9, seed=1)
  rows[5] = queries[2] = 0.0
  valid = np.arange(60) % 4 > 0
  kind = distance.find_metric(metric, where="test")
  ready = distance.prepare(jnp.asarray(rows), jnp.asarray(valid), kind)
  run = lambda q, r: large_bank.nearest_rows(
    q, r, k=60, metric=metric, valid=jnp.asarray(valid)
  )
  found = jax.jit(run)(jnp.asarray(queries), ready)
  plain = jax.jit(run)(jnp.asarray(queries), jnp.asarray(rows))
  np.testing.assert_allclose(found.distance, plain.distance, **EXACT)
  np.testing.assert_array_equal(found.index[:, 45:], -1)


@pytest.mark.parametrize(
  ("metric", "k", "weights"),
  [
    ("euclidean", 1, ()),
    ("cosine", 3, ()),
    ("euclidean", 40, ()),
    ("half_chord", 2, (1.0, -0.35)),
  ],
)
def test_scores_are_those_of_the_backend(metric, k, weights):
  emb, queries = draw(30), draw(9, seed=1)
  backend = knn.knn(k=k, metric=metric, weights=weights)
  bank = base.bank_of(jnp.asarray(emb), jnp.zeros(30, bool))
  state = backend.fit(bank.replace(valid=jnp.arange(30) % 3 > 0))
  expected = jax.vmap(lambda x: backend.score(state, x))(queries)

  @jax.jit
  def scores(queries, state):
    found = large_bank.nearest_rows(
      queries, state.rows, k=k, metric=metric, valid=state.valid
    )
    reduce = lambda d: knn.reduce_neighbours(d, weights)
    return jax.vmap(reduce)(found.distance)

  np.testing.assert_allclose(scores(queries, state), expected, **EXACT)


def test_masked_rows_are_never_neighbours_whatever_they_hold():
  rows, queries = draw(40), draw(5, seed=1)
  valid = np.arange(40) % 2 > 0
  dist, index = reference(queries, rows, 3, "euclidean", valid)
  rows[~valid] = np.nan
  found = nearest(
    queries, rows, k=3, valid=jnp.asarray(valid), chunks=(256, 16)
  )
  np.testing.assert_array_equal(found.index, index)
  np.testing.assert_allclose(found.distance, dist, **EXACT)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_equal_rows_come_in_their_order(metric):
  rows, queries = np.tile(draw(4), (5, 1)), draw(6, seed=1)
  found = nearest(queries, rows, k=7, metric=metric, chunks=(256, 6))
  # Five copies of the nearest row, then the first two of the second.
  near = reference(queries, rows[:4], 2, metric)[1]
  copies = 4 * np.arange(5)[None]
  expected = np.concatenate(
    [near[:, :1] + copies, near[:, 1:] + copies[:, :2]], axis=1
  )
  np.testing.assert_array_equal(found.index, expected)


def test_fewer_rows_than_neighbours_leave_places_empty():
  rows, queries = draw(6), draw(3, seed=1)
  valid = jnp.arange(6) < 4
  found = nearest(queries, rows, k=9, valid=valid, chunks=(256, 4))
  assert np.isinf(found.distance[:, 4:]).all()
  assert (found.index[:, 4:] == -1).all()
  dist, index = reference(queries, rows[:4], 4, "euclidean")
  np.testing.assert_array_equal(found.index[:, :4], index)
  np.testing.assert_allclose(found.distance[:, :4], dist, **EXACT)
  none = nearest(queries, rows, k=2, valid=jnp.zeros(6, bool))
  assert np.isinf(none.distance).all()
  assert (none.index == -1).all()


def test_near_duplicates_keep_their_small_distance():
  rows = draw(300, width=768, mean=40.0)
  queries = rows[[7, 290]].copy()
  queries[:, 0] += np.float32(0.25)
  found = nearest(queries, rows, k=1, chunks=(256, 64))
  np.testing.assert_array_equal(found.index[:, 0], [7, 290])
  np.testing.assert_allclose(found.distance[:, 0], 0.25, rtol=1e-4)


def test_a_zero_row_is_at_cosine_distance_one():
  rows = np.zeros((3, 4), np.float32)
  rows[1:] = -np.eye(4)[:2]
  queries = np.eye(4, dtype=np.float32)[:1]
  found = nearest(queries, rows, k=3, metric="cosine")
  np.testing.assert_allclose(found.distance[0], [1, 1, 2], atol=1e-6)
  np.testing.assert_array_equal(found.index[0], [0, 2, 1])


def test_the_bank_is_not_copied_and_all_distances_are_never_held():
  queries, rows = jnp.zeros((64, 96)), jnp.zeros((50_000, 96))
  run = lambda q, r: large_bank.nearest_rows(
    q, r, k=2, chunks=large_bank.Chunks(256, 1000)
  )
  memory = jax.jit(run).lower(queries, rows).compile().memory_analysis()
  stated = 4 * (64 * 1000 + 1000 * 96 + 64 * (2 + 16) * 96)
  assert memory.temp_size_in_bytes < 1.1 * stated < 0.1 * rows.nbytes
  assert memory.argument_size_in_bytes > rows.nbytes


def test_an_approximate_search_finds_at_least_its_share():
  rows, queries = draw(2000), draw(50, seed=1)
  chunks = large_bank.Chunks(256, 512)
  run = lambda q, r: large_bank.nearest_rows(
    q, r, k=5, recall=0.9, chunks=chunks
  )
  exact = reference(queries, rows, 5, "euclidean")[1]
  found = jax.jit(run)(queries, rows).index
  assert (found[:, :, None] == exact[:, None]).any(2).mean() >= 0.9
  # Only an accelerator's program has the approximate search in it.
  for platform, approximate in (("tpu", True), ("cpu", False)):
    program = jax.export.export(jax.jit(run), platforms=(platform,))
    text = program(queries, rows).mlir_module()
    assert ("ApproxTopK" in text) == approximate


@pytest.mark.parametrize(
  ("change", "words"),
  [
    ({"k": 0}, "k must be at least 1"),
    ({"metric": "manhattan"}, "expected one of"),
    ({"recall": 1.5}, "recall"),
    ({"chunks": large_bank.Chunks(1, 0)}, "Chunks"),
    ({"queries": draw(2, width=5)}, "expected"),
    ({"rows": draw(0)}, "0 rows"),
  ],
)
def test_wrong_settings_are_refused(change, words):
  given = {"queries": draw(2), "rows": draw(4), "k": 1, **change}
  queries, rows = given.pop("queries"), given.pop("rows")
  with pytest.raises(ValueError, match=words):
    large_bank.nearest_rows(queries, rows, **given)


def test_one_device_is_a_mesh_too():
  rows, queries = draw(41), draw(7, seed=1)
  mesh = jax.make_mesh((1,), ("bank",))
  placed = large_bank.place(rows, mesh)
  check(nearest(queries, placed.emb, k=3, mesh=mesh), queries, rows)


ON_FOUR = """
import json, re, sys
import jax, numpy as np
import jax.numpy as jnp
from asd_jax.ops import distance, large_bank

jax.config.update("jax_numpy_rank_promotion", "raise")
folder = sys.argv[1]
mesh = jax.make_mesh((4,), ("bank",))
rows = np.load(folder + "/rows.npy", mmap_mode="r")
queries = np.load(folder + "/queries.npy")
valid = np.load(folder + "/valid.npy")
placed = large_bank.place(rows, mesh, valid=valid)
out = {"devices": jax.device_count(), "shards": sorted(
  s.data.shape[0] for s in placed.emb.addressable_shards)}
for metric, k in (("cosine", 1), ("euclidean", 60), ("euclidean", 5)):
  run = jax.jit(lambda q, r, v: large_bank.nearest_rows(
    q, r, k=k, metric=metric, valid=v, mesh=mesh,
    chunks=large_bank.Chunks(256, 4)))
  found = run(queries, placed.emb, placed.valid)
  np.savez(f"{folder}/{metric}_{k}.npz", *found)
loose = run(queries, jnp.asarray(rows), jnp.asarray(valid))
np.testing.assert_array_equal(found.index, loose.index)
text = run.lower(queries, placed.emb, placed.valid).compile().as_text()
out["gathered"] = re.findall(r"= \\S*?\\[([\\d,]+)\\]\\S* all-gather\\(", text)
print(json.dumps(out))
"""


@pytest.mark.slow
def test_four_devices_find_what_one_finds(tmp_path):
  rows, queries = draw(50), draw(6, seed=1)
  rows[30:40] = rows[:10]  # equal rows on other devices
  valid = np.arange(50) % 7 > 0
  for name, array in (("rows", rows), ("queries", queries), ("valid", valid)):
    np.save(tmp_path / f"{name}.npy", array)
  code = textwrap.dedent(ON_FOUR)
  end = subprocess.run(
    [sys.executable, "-c", code, tmp_path],
    env={
      "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
      "JAX_PLATFORMS": "cpu",
    },
    capture_output=True,
    text=True,
    check=False,
  )
  assert end.returncode == 0, end.stderr
  told = json.loads(end.stdout)
  # Fifty rows and two invalid ones; k candidates a device are exchanged.
  assert told["devices"] == 4
  assert told["shards"] == [13] * 4
  assert told["gathered"]
  for shape in told["gathered"]:
    assert np.prod([int(n) for n in shape.split(",")]) <= 6 * 4 * 5
  for metric, k in (("cosine", 1), ("euclidean", 60), ("euclidean", 5)):
    with np.load(tmp_path / f"{metric}_{k}.npz") as file:
      found = dict(file)
    dist, index = reference(queries, rows, k, metric, valid)
    num = min(k, valid.sum())
    np.testing.assert_array_equal(found["arr_1"][:, :num], index[:, :num])
    assert (found["arr_1"][:, num:] == -1).all()
    dist, found = dist[:, :num], found["arr_0"]
    np.testing.assert_allclose(found[:, :num], dist, **EXACT)
    assert np.isinf(found[:, num:]).all()
