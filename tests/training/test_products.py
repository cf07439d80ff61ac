import jax
import jax.numpy as jnp
import numpy as np

from asd_jax.training import products
from tests.training import toy


def test_products_are_counted_by_their_shapes():
  x, w = np.ones((4, 3, 5), np.float32), np.ones((5, 7), np.float32)
  assert products.count(lambda x, w: x @ w, x, w) == 2 * 4 * 3 * 5 * 7
  batch = jax.vmap(lambda x, y: x @ y.T)
  assert products.count(batch, x, x) == 2 * 4 * 3 * 3 * 5
  assert products.count(lambda x: jnp.sin(x) + 1, x) == 0
  # A gradient has the product itself and one for each argument.
  loss = jax.grad(lambda x, w: jnp.sum(jnp.square(x @ w)), argnums=(0, 1))
  assert products.count(loss, x, w) == 3 * 2 * 4 * 3 * 5 * 7


def test_loops_count_as_often_as_they_run_and_one_branch_counts():
  x = np.ones((5, 5), np.float32)
  loop = lambda x: jax.lax.scan(lambda c, _: (c @ c, None), x, None, length=6)
  assert products.count(loop, x) == 6 * 2 * 5**3
  each = lambda x: jax.lax.map(lambda row: x @ row, x)
  assert products.count(jax.jit(each), x) == 2 * 5**3
  choose = lambda x: jax.lax.cond(
    x[0, 0] > 0, lambda x: x @ x @ x, lambda x: x @ x, x
  )
  assert products.count(jax.checkpoint(choose), x) == 2 * 2 * 5**3


def test_groups_of_a_convolution_see_their_own_channels():
  x, w = np.ones((2, 9, 4), np.float32), np.ones((3, 2, 8), np.float32)
  conv = lambda x, w: jax.lax.conv_general_dilated(
    x, w, (1,), "SAME", dimension_numbers=("NWC", "WIO", "NWC"),
    feature_group_count=2,
  )  # fmt: skip
  assert products.count(conv, x, w) == 2 * (2 * 9 * 8) * 3 * 2


def test_a_step_of_a_job_is_counted():
  job = toy.job()
  whole = products.of_step(job, jax.random.key(0))
  # Two layers and a head, forwards and back, at least.
  rows = job.batch_size * 2 * toy.WIDTH
  assert 3 < whole / (rows * toy.WIDTH) < 6
  assert products.rate("float32") > 1e6
