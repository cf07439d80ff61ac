"""A machine of random embeddings for the tests of sweeps."""

import jax.numpy as jnp
import numpy as np

from asd_jax.engine.normals import Normals
from asd_jax.runs.sweep import axis as sweep_axis
from asd_jax.runs.sweep import grid as sweep_grid
from asd_jax.runs.sweep import points as sweep_points
from configs import common


def structure(texts, **branches):
  c = common.run("some")
  c.branches = {
    name: common.branch(**{"channels": (0, 1), **stages})
    for name, stages in branches.items()
  }
  axes = [sweep_axis.parse(t) for t in texts]
  (found,) = sweep_grid.structures(c.to_dict(), axes)
  return found


def clips(names=("one",), *, num=50, num_target=5, num_test=16, width=12):
  """Random features, the same for the same arguments."""
  rng = np.random.default_rng(0)

  def features(rows):
    x = rng.normal(size=(rows, 2, width)) + np.array([1.0, 0.5])[:, None]
    return jnp.asarray(x, jnp.float32)

  is_target = np.zeros(num, bool)
  is_target[rng.permutation(num)[:num_target]] = True
  normals = Normals(
    {},
    ({n: features(num) for n in names},),
    jnp.asarray(rng.permutation(num)),
    jnp.asarray(is_target),
    {},
    num_target=num_target,
  )
  tests = ({n: features(num_test) for n in names},)
  return sweep_points.Clips(normals, tests, jnp.arange(num_test))


def labels(num_test=16):
  places = np.arange(num_test)
  return places % 2 == 0, places % 4 < 2


def scores(engine, some, name="one"):
  chunks = engine.chunks(name, some)
  return np.concatenate([engine.run(name, some, c) for c in chunks])
