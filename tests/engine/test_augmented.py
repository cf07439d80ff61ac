"""Clips made from target clips: how many, of which, and with which features."""

import jax
import numpy as np
import pytest
import soundfile

from asd_jax.data import clips
from asd_jax.engine import (
  augmented,
  embed,
  encode,
  fronts,
  gather,
  programs,
)
from asd_jax.engine import system as system_lib
from configs import common

RATE = 16_000


def write(folder, *, shared, num_source=5, num_target=2, seconds=0.3):
  """Training clips whose channels have `shared` of their noise in common."""
  rng = np.random.default_rng(0)
  for split, num in (("source", num_source), ("target", num_target)):
    for i in range(num):
      near, own = rng.normal(size=(2, int(RATE * seconds))) * 0.1
      wave = np.stack([near, shared * near + (1 - shared) * own], axis=1)
      name = f"section_00_{split}_train_normal_{i:04d}_noAttribute.wav"
      path = folder / "fan" / "train" / name
      path.parent.mkdir(parents=True, exist_ok=True)
      soundfile.write(path, wave, RATE)
  test = folder / "fan" / "test" / "section_00_source_test_normal_0000_x.wav"
  test.parent.mkdir()
  soundfile.write(test, wave, RATE)
  return clips.read_tree(folder)[0].train


def system(**settings):
  config = common.run("made").to_dict()
  branch = common.branch(
    channels=(0, 1),
    view=dict(name="residual", alpha=1.0),
    augment=dict(name="residual", **settings),
  )
  return system_lib.build({**config, "branches": {"one": branch}})


def gathered(system, train, batch_size=3):
  fit = fronts.front_fitter(system)
  found = fit(train, batch_size=batch_size, rate=RATE)
  compiled = programs.Programs(system, dict, batch_size)
  stage = embed.Embedder(compiled, {}, RATE)
  normals, _ = gather.collect(stage, found.whole, train)
  made = augmented.augment(compiled, found, train, rate=RATE)
  return normals.replace(augmented={n: m.clips for n, m in made.items()})


@pytest.mark.parametrize("batch_size", [1, 3, 16])
def test_made_clips_blend_near_into_far(tmp_path, batch_size):
  train = write(tmp_path, shared=0.0)
  one = system()
  made = gathered(one, train, batch_size).augmented["one"]
  targets = [i for i, c in enumerate(train) if c.domain == "target"]
  num = 5  # as many as source clips, for channels that do not agree
  assert made.features.shape[0] == num
  order = np.argsort(made.clip, kind="stable")
  want = sorted((targets[i % 2], i) for i in range(num))
  np.testing.assert_array_equal(made.clip[order], [clip for clip, _ in want])
  draws = one.branches["one"].front.augment.draw(num)
  front = encode.unfitted(one.branches)
  features = jax.jit(
    lambda wave: encode.clip_features(one.branches, front, {}, wave)["one"]
  )
  found = []
  for clip, i in want:
    near, far = np.float32(soundfile.read(train[clip].path)[0].T)
    share = np.float32(draws[i])
    blend = np.stack([near, (1 - share) * near + share * far])
    found.append(features(blend))
  np.testing.assert_allclose(
    made.features[order], np.stack(found), rtol=1e-3, atol=1e-3
  )


def test_channels_that_agree_make_none(tmp_path):
  assert gathered(system(), write(tmp_path, shared=0.9)).augmented == {}


def test_without_target_clips_none_are_made(tmp_path):
  train = [c for c in write(tmp_path, shared=0.0) if c.domain == "source"]
  assert gathered(system(), train).augmented == {}


def test_made_rows_are_in_the_bank_and_leave_with_their_clip(tmp_path):
  train = write(tmp_path, shared=0.0)
  one = system(low=1.0, high=1.0)  # copies of the target clips
  normals = gathered(one, train)
  state, own = system_lib.compiled_fit(one)(one.hypers, normals)
  rows = state["branches"]["one"]["backend"].valid
  assert rows.shape == (1, len(train) + 5)
  # With its copies still in the bank, a target clip's own score were zero.
  assert own.shape == (len(train),)
  assert (np.asarray(own) > 1.0).all()
  none = system_lib.compiled_fit(one)(
    one.hypers, normals.replace(augmented={})
  )[1]
  np.testing.assert_allclose(own, none, rtol=1e-3)


def test_a_training_clip_without_finite_features_is_named(tmp_path):
  train = write(tmp_path, shared=0.5)

  class Programs:
    system, batch_size = system(), 16

    def outputs(self, front, wave, names, **told):
      feats = np.ones((len(wave), 2, 4))
      feats[1, 0, 2] = np.nan
      return {"one": feats}

    def encoded(self, outputs, names, **told):
      return outputs

  stage = embed.Embedder(Programs(), {}, RATE)
  with pytest.raises(ValueError, match="0001.*branch one.*not finite"):
    gather.collect(stage, {}, train)
