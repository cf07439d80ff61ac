"""Networks that are kept: found by all that decides them, made again if not."""

import importlib
import sys

import jax
import jax.numpy as jnp
import numpy as np

from asd_jax import store
from asd_jax.engine import system as system_lib
from asd_jax.engine import train as train_lib
from asd_jax.engine.normals import Normals
from asd_jax.training import reconstruction
from configs import baseline_mse

OWN = """
from asd_jax.encoders import autoencoder, family

def network(*, width: int = 8) -> family.Encoder:
  return autoencoder.autoencoder(num_hidden=width, num_bottleneck=2)
"""


class Fit:
  """Stands for the training; counts the seeds that it is asked for."""

  def __init__(self):
    self.num = 0

  def __call__(self, keys, *, windows=None, checkpoints=None, on_epoch=None):
    del windows, checkpoints, on_epoch
    seeds = jax.random.key_data(keys)[:, 1].astype(jnp.float32)  # [K]
    self.num += len(seeds)
    kernel = seeds[:, None] * jnp.ones((1, 3))
    params = {"a/b": {"kernel": kernel}, "bias": seeds}
    return reconstruction.Trained(
      params,
      {},
      jnp.ones((len(seeds), 2, 2, 2)),
      seeds[:, None],
      seeds[:, None],
    )


def train(folder, *, encoder=None, seeds=(1, 2), frames=None):
  config = baseline_mse.get_config("smoke").to_dict()
  ((name, branch),) = config["branches"].items()
  branch["encoder"] = encoder or branch["encoder"]
  config["seeds"] = seeds
  system = system_lib.build(config)
  if frames is None:
    frames = np.arange(2 * 9 * 128, dtype=np.float32).reshape(2, 1, 9, 128)
  normals = Normals(
    {}, ({name: frames},), jnp.arange(2), jnp.array([False, True]), {}
  )
  fit = Fit()
  found, notes = train_lib.train(
    {name: fit}, system, normals, config, folder=folder, on_epoch=None
  )
  return found.trained[name], fit.num, notes


def test_a_network_is_trained_once_whatever_seeds_it_was_trained_with(tmp_path):
  first, num, _ = train(tmp_path)
  assert num == 2
  again, num, notes = train(tmp_path)
  assert (num, notes) == (0, [])
  assert jax.tree.structure(first) == jax.tree.structure(again)
  jax.tree.map(np.testing.assert_array_equal, first, again)
  other, num, _ = train(tmp_path, seeds=(2, 5, 1))
  assert num == 1
  np.testing.assert_array_equal(other.params["bias"], [2, 5, 1])
  assert not [p for p in tmp_path.iterdir() if p.is_dir()]


def test_a_damaged_network_is_trained_again_with_a_note(tmp_path):
  first, *_ = train(tmp_path)
  path = min(tmp_path.glob("*.safetensors"))
  path.write_bytes(path.read_bytes()[:-1])
  again, num, notes = train(tmp_path)
  assert num == 1
  assert notes == [f"{path}: found damaged content, made again"]
  jax.tree.map(np.testing.assert_array_equal, first, again)
  assert train(tmp_path)[1:] == (0, [])


def test_other_settings_data_and_code_take_no_old_network(
  tmp_path, monkeypatch
):
  train(tmp_path)
  recipe = dict(num_epochs=1, batch_size=32)
  short = dict(name="autoencoder", recipe=recipe)
  full = dict(name="autoencoder", num_context=5, recipe=dict(
    recipe, learning_rate=1e-3, valid_fraction=0.1, weight_decay=0.0
  ))  # fmt: skip
  assert train(tmp_path, encoder=short)[1] == 0
  assert train(tmp_path, encoder=full)[1] == 0
  assert train(tmp_path, encoder={**short, "num_hidden": 9})[1] == 2
  frames = np.zeros((2, 1, 9, 128), np.float32)
  assert train(tmp_path, frames=frames)[1] == 2
  monkeypatch.setattr(store, "code_version", lambda *parts: "other")
  assert train(tmp_path)[1] == 2


def test_an_edited_encoder_of_the_user_is_trained_again(tmp_path, monkeypatch):
  monkeypatch.syspath_prepend(tmp_path)
  own = dict(name="own_network:network")
  for text, num in ((OWN, 2), (OWN, 0), (OWN.replace("=2", "=3"), 2)):
    (tmp_path / "own_network.py").write_text(text)
    importlib.invalidate_caches()
    assert train(tmp_path / "kept", encoder=own)[1] == num
  del sys.modules["own_network"]


def test_without_a_folder_nothing_is_kept():
  assert train(None)[1:] == (2, [])
