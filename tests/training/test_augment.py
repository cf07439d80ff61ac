import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asd_jax.training import augment

WAVE, BANDS = (64, 2, 40), (64, 2, 20, 16)
SETTINGS = {
  "mixup": {},
  "channel_swap": {"probability": 0.5},
  "channel_gain": {},
  "channel_dropout": {"probability": 0.5},
  "temporal_crop": {},
  "spec_augment": {"frames": 6, "bands": 4},
}


@pytest.fixture(scope="module")
def made():
  """What each augmentation draws and makes of ones, in one program."""
  labels = jnp.arange(64)[:, None] == jnp.arange(64)[None]

  def run(key):
    out = {}
    for name, make in augment.AUGMENTS.items():
      one = make(**SETTINGS[name])
      shape = WAVE if one.of == "wave" else BANDS
      draws = one.draw(key, shape)
      x = jnp.ones(shape) * jnp.array([1.0, 2.0]).reshape(
        1, 2, *(1,) * (len(shape) - 2)
      )
      again = one.draw(key, shape)
      out[name] = (draws, again, one.apply(draws, x, (labels + 0.0,)))
    return out

  return jax.jit(run)(jax.random.key(0))


def test_every_augmentation_is_tried():
  assert SETTINGS.keys() == augment.AUGMENTS.keys()


@pytest.mark.parametrize("name", SETTINGS)
def test_a_key_draws_the_same_again(made, name):
  draws, again, _ = made[name]
  jax.tree.map(np.testing.assert_array_equal, draws, again)
  assert all(len(x) == 64 for x in jax.tree.leaves(draws))


def test_shares_of_mixed_labels_are_those_of_the_clips(made):
  draws, _, (_, (labels,)) = made["mixup"]
  np.testing.assert_allclose(labels.sum(axis=1), 1.0, rtol=1e-5)
  own = np.where(draws["apply"], draws["lam"], 1.0)
  alone = draws["perm"] == np.arange(64)
  np.testing.assert_allclose(
    np.diag(labels)[~alone], own[~alone], rtol=1e-5, atol=1e-6
  )
  assert 16 < draws["apply"].sum() < 48


def test_channels_are_swapped_scaled_and_silenced(made):
  _, _, (wave, _) = made["channel_swap"]
  assert set(np.unique(wave[:, 0])) == {1.0, 2.0}
  np.testing.assert_array_equal(wave.sum(axis=1), 3.0)
  draws, _, (wave, _) = made["channel_gain"]
  assert np.abs(draws).max() <= 6.0
  assert 16 < (draws == 0).all(axis=1).sum() < 48
  assert np.abs(draws[:, 0] - draws[:, 1]).max() > 1.0
  draws, _, (wave, _) = made["channel_dropout"]
  silent = (wave == 0).all(axis=2)
  assert silent.sum(axis=1).max() == 1
  np.testing.assert_array_equal(silent.sum(axis=1), draws >= 0)


def test_crops_begin_at_the_start_and_end_in_zeros(made):
  draws, _, (wave, _) = made["temporal_crop"]
  length = (wave[:, 0] > 0).sum(axis=1)
  np.testing.assert_array_equal(
    length, np.floor(np.float32(draws["ratio"]) * 40 + 0.5)
  )
  assert length.min() >= 24
  assert (wave[:, 0, 0] == 1).all()


def test_stripes_of_time_and_bands_are_zero(made):
  draws, _, (bands, _) = made["spec_augment"]
  gone = bands == 0
  np.testing.assert_array_equal(gone[:, 0], gone[:, 1])
  over_time, over_bands = gone[:, 0].all(axis=2), gone[:, 0].all(axis=1)
  np.testing.assert_array_equal(
    gone[:, 0], over_time[:, :, None] | over_bands[:, None]
  )
  assert over_time.sum(axis=1).max() <= 12
  assert over_bands.sum(axis=1).max() <= 8
  assert over_time.any()
  assert over_bands.any()


@pytest.mark.parametrize(
  ("name", "wrong"),
  [
    ("mixup", dict(probability=1.5)),
    ("temporal_crop", dict(low=0.9, high=0.5)),
    ("temporal_crop", dict(low=0.0)),
    ("spec_augment", dict(frames=-1)),
  ],
)
def test_numbers_out_of_range_are_refused(name, wrong):
  with pytest.raises(ValueError, match="augment: "):
    augment.AUGMENTS[name](**wrong)
