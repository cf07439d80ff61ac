import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asd_jax.ops import gram

ALPHAS = (-0.5, 0.0, 0.5, 1.0, 2.0)


def rows_of(num, width, seed=0):
  rng = np.random.default_rng(seed)
  return rng.normal(size=(num, 2, width)).astype(np.float32)


def plain(x, rows, alpha):
  """Squared distances of residuals in double precision."""
  x, rows = x.astype(np.float64), rows.astype(np.float64)
  residual = lambda e: e[..., 0, :] - alpha * e[..., 1, :]
  return np.sum((residual(x) - residual(rows)) ** 2, axis=-1)


@pytest.mark.parametrize("num", [1, 3, 40, 200])
@pytest.mark.parametrize("alpha", ALPHAS)
def test_blocks_give_the_distances_at_any_alpha(num, alpha):
  x, rows = rows_of(1, 24, seed=1)[0], rows_of(num, 24)
  blocks = jax.jit(gram.difference_blocks)(x, rows)
  got = gram.squared_distances(blocks, alpha)
  np.testing.assert_allclose(got, plain(x, rows, alpha), rtol=1e-5, atol=1e-5)


def test_one_channel_is_the_near_view():
  x, rows = rows_of(1, 24, seed=1)[0], rows_of(50, 24)
  blocks = gram.difference_blocks(x[:1], rows[:, :1])
  assert blocks.cross is None
  got = gram.squared_distances(blocks, 0.7)
  np.testing.assert_allclose(got, plain(x, rows, 0.0), rtol=1e-5)


def test_a_copy_of_a_long_row_is_at_distance_zero():
  rows = rows_of(100, 512) * np.float32(30)
  blocks = gram.difference_blocks(rows[7], rows)
  for alpha in ALPHAS:
    assert gram.squared_distances(blocks, alpha)[7] == 0.0


def test_a_batch_of_clips_equals_single_ones():
  clips, rows = map(jnp.asarray, (rows_of(9, 16, seed=2), rows_of(70, 16)))
  many = jax.vmap(gram.difference_blocks, in_axes=(0, None))(clips, rows)
  for i, clip in enumerate(clips):
    one = gram.difference_blocks(clip, rows)
    for a, b in zip(jax.tree.leaves(many), jax.tree.leaves(one), strict=True):
      np.testing.assert_allclose(a[i], b, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("num", [1, 2, 5])
@pytest.mark.parametrize("size", [5, 31, 64, 1000])
def test_smallest_values_come_in_order(num, size):
  rng = np.random.default_rng(size)
  values = rng.integers(0, 20, size).astype(np.float32)  # with ties
  values[rng.integers(0, size, size // 3)] = np.inf
  got = gram.smallest(jnp.asarray(values), num)
  np.testing.assert_array_equal(got, np.sort(values)[:num])


def mixed_distances(x, target, source, lam):
  """Rows that are made, in double precision."""
  mixed = lam * target[:, None] + (1 - lam) * source[None]
  return np.sort(np.sum((x - mixed) ** 2, axis=-1).reshape(-1))


@pytest.mark.parametrize("num", [1, 4])
@pytest.mark.parametrize("lam", [0.0, 0.3, 0.9, 1.0])
def test_mixed_rows_need_not_be_made(num, lam):
  rng = np.random.default_rng(3)
  rows, x = rng.normal(size=(60, 8)), rng.normal(size=8)
  is_target = np.arange(60) % 11 == 5
  square = lambda a, b: np.sum((a[..., None, :] - b) ** 2, axis=-1)
  to_rows = np.float32(square(x, rows))
  place = np.append(np.flatnonzero(is_target), 0)  # one more than there are
  to_target = np.append(to_rows[is_target], np.inf).astype(np.float32)
  got = gram.smallest_mixed(
    jnp.where(is_target, jnp.inf, to_rows),
    jnp.asarray(to_target),
    jnp.asarray(np.float32(square(rows[place], rows))),
    lam,
    num,
  )
  want = mixed_distances(x, rows[is_target], rows[~is_target], lam)[:num]
  np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("lam", [0.0, 0.5, 1.0])
def test_without_a_source_or_target_row_nothing_is_mixed(lam):
  none = jnp.full(5, jnp.inf)
  some, between = jnp.arange(5.0), jnp.ones((2, 5))
  assert gram.smallest_mixed(some, none[:0], between[:0], lam, 1).shape == (0,)
  for source, target in ((none, some[:2]), (some, none[:2])):
    got = gram.smallest_mixed(source, target, between, lam, 1)
    assert np.isinf(got).all()
