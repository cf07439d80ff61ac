"""Work divided among devices is the work of one."""

import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from asd_jax.data import clips as clips_lib
from asd_jax.training import mesh, program, run
from tests import quick
from tests.engine import test_embed
from tests.runs.sweep import test_engine
from tests.training import test_loop, toy

ROOT = Path(__file__).parents[2]
NUM = 8
KEY = jax.random.key(0)
SEEDS = 4  # which eight devices do not share, but four do


def embeddings(folder):
  """Features of three clips in a batch that has a row for every device."""
  both = [str(folder / name) for name in ("normal", "test")]
  some = clips_lib.read_plain(*both, name="m").train
  stage = test_embed.opened(test_embed.config_of(cache="off"))
  rows, _ = test_embed.gathered(stage, some)
  return {"rows": rows["eat_layer_1"], "batch": stage.programs.batch_size}


def trained():
  """Networks of some seeds, trained for one epoch: more add rounding up."""
  keys = jax.vmap(jax.random.key)(np.arange(SEEDS))
  recipe = test_loop.RECIPE._replace(num_epochs=1)
  fit = test_loop.reconstruction.Trainer(test_loop.NETWORK, recipe)
  found = fit(keys, test_loop.data_of())
  # Not the biases before a batch norm, which move by rounding alone: their
  # gradient is zero, and Adam makes steps of one size of what is left.
  kernels = [x for x in jax.tree.leaves(found.params) if x.ndim == 3]
  flat = [np.asarray(x).ravel() for x in (found.batch_loss, *kernels)]
  return {"trained": np.concatenate(flat)}


def alike():
  """Losses of a job of which each device has all; whether rows move."""
  job = toy.job()
  whole = program.Program(job, KEY, sharded=False)
  state, frozen = whole.start()
  rows = mesh.own_rows(job.batch_size, whole.over)
  batch = lambda i: mesh.joined(job.batch_at(i, rows), whole.over)
  step, flag, out = whole.compiled(batch(0)), whole.flag(up=False), []
  for i in range(job.num_steps):
    state, metrics = step(state, frozen, batch(i), flag)
    out.append(float(metrics["loss"]))
  return {"alike": out, "collects": ["all-gather" in step.as_text()]}


def cut(folder):
  """Losses of one of which each has a part, and how many parts there are."""
  seen = []
  found = run.run(
    toy.job(every=5),
    KEY,
    settings=run.Settings(sharded=True),
    folder=folder / "moved",
    show=seen.append,
  )
  shards = found.state.params["w"].addressable_shards
  return {
    "cut": [s.metrics["loss"] for s in seen],
    "parts": [len({str(s.index) for s in shards})],
    "best": [found.step, found.criterion],
  }


def everything(folder):
  """Embedding, sweep and training on the devices there are."""
  over = mesh.local(num_rows=SEEDS)
  return {
    "devices": np.array([mesh.local().size, over.size, mesh.filled(9, over)]),
    **embeddings(folder),
    **test_engine.spread(),
    **trained(),
    **alike(),
    **cut(folder),
  }


CHILD = """
import pathlib, sys
import jax, numpy as np
from tests.training import test_mesh
jax.config.update("jax_numpy_rank_promotion", "raise")
out, folder = map(pathlib.Path, sys.argv[1:])
np.savez(out, **test_mesh.everything(folder))
"""


@pytest.mark.slow
def test_eight_devices_give_what_one_gives(tmp_path):
  """In a process of its own, which sees eight devices on one CPU."""
  folder = tmp_path / "data"
  test_embed.write(folder, [6000, 9000, 6000])
  flags = f"--xla_force_host_platform_device_count={NUM}"
  done = subprocess.run(
    [sys.executable, "-c", CHILD, tmp_path / "eight.npz", folder],
    cwd=ROOT,
    env={**quick.environment(flags), "JAX_PLATFORMS": "cpu"},
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  # What eight devices saved after fifteen steps goes on on one.
  shutil.rmtree(folder / "moved" / "20")
  moved = run.run(toy.job(every=5), KEY, folder=folder / "moved")
  shutil.rmtree(folder / "moved")
  want = everything(folder)
  with np.load(tmp_path / "eight.npz") as file:
    found = dict(file)
  assert set(found) == set(want)
  assert [*found.pop("devices")] == [NUM, SEEDS, 12]
  assert [*want.pop("devices")] == [1, 1, 9]
  assert found.pop("batch") == NUM > want.pop("batch")
  # Each device hears its own clips, and no other's.
  assert [*found.pop("collects")] == [*want.pop("collects")] == [False]
  assert [*found.pop("parts"), *want.pop("parts")] == [NUM, 1]
  losses = want.pop("cut")
  np.testing.assert_array_equal(want.pop("alike"), losses)
  for name in ("alike", "cut"):
    np.testing.assert_allclose(found.pop(name), losses, rtol=1e-5)
  best = [moved.step, moved.criterion]
  np.testing.assert_allclose(best, want["best"], rtol=1e-5)
  for name, value in want.items():
    np.testing.assert_allclose(
      found[name], value, rtol=1e-4, atol=2e-5, err_msg=name
    )


def test_rows_that_no_devices_share_stay_on_one():
  over = mesh.local(num_rows=7)
  assert 7 % over.size == 0
  rows, shared = np.arange(3.0), np.ones(2)
  fn = lambda a, b: b * a.sum()
  spread = mesh.spread(fn, mesh.local(num_rows=1), num_shared=1)
  np.testing.assert_array_equal(spread(shared, rows), rows * 2)
