"""Clips made from training clips."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asd_jax.frontends import augment, dif


def draw(*shape, seed=0):
  wave = np.random.default_rng(seed).normal(size=shape)
  return np.float32(0.1 * wave)


def state_of(made, clips):
  sums = [made.measure(clip) for clip in clips]
  return made.fit(jax.tree.map(lambda *x: sum(x), *sums))


def correlated(share, seed=0):
  near, other = draw(2, 20_000, seed=seed)
  far = share * near + np.sqrt(1.0 - share**2) * other
  return np.float32([near, far])


def test_share_one_changes_nothing_and_share_zero_gives_the_near_channel():
  wave = draw(2, 500)
  np.testing.assert_array_equal(augment.mix_far(wave, 1.0), wave)
  found = augment.mix_far(wave, 0.0)
  np.testing.assert_array_equal(found, np.stack([wave[0], wave[0]]))


@pytest.mark.parametrize(
  ("share", "num_source", "num"),
  [(0.9, 990, 0), (0.45, 990, 99), (0.1, 990, 990), (-0.8, 30, 30)],
)
def test_number_follows_the_mean_correlation(share, num_source, num):
  made = augment.residual()
  clips = [correlated(share, seed=s) for s in range(3)]
  state = state_of(made, clips)
  assert float(state["correlation"]) == pytest.approx(share, abs=0.03)
  assert made.count(state, num_source) == num


def test_every_clip_counts_alike_and_a_constant_channel_counts_as_zero():
  made = augment.residual()
  silent = np.stack([draw(300), np.zeros(300, np.float32)])
  state = state_of(made, [correlated(0.8), silent])
  assert float(state["correlation"]) == pytest.approx(0.4, abs=0.02)


def test_draws_are_uniform_in_range_and_repeat():
  made = augment.residual()
  draws = np.asarray(made.draw(4000))
  assert draws.shape == (4000,)
  assert draws.min() >= 0.5
  assert draws.max() <= 1.5
  assert draws.mean() == pytest.approx(1.0, abs=0.02)
  np.testing.assert_array_equal(draws, augment.residual().draw(4000))
  assert (draws != augment.residual(seed=1).draw(4000)).any()


def test_only_stereo_features_of_a_made_clip_change():
  made = augment.residual()
  clips = jnp.stack([correlated(0.2)[:, :5000]] * 3)
  compute = jax.jit(jax.vmap(dif.candidates))
  before = compute(clips)
  after = compute(jax.vmap(made.apply)(made.draw(3), clips))
  stereo = np.array(dif.IS_STEREO) | np.isin(dif.NAMES, ("level_1", "level_3"))
  np.testing.assert_allclose(
    before[:, ~stereo], after[:, ~stereo], rtol=1e-5, atol=1e-5
  )
  moved = np.abs(before - after)[:, [dif.NAMES.index("stereo_1")]]
  assert (moved > 1e-3).all()


def test_none_makes_nothing():
  made = augment.none()
  assert made.measure is None
  assert made.count({}, 990) == 0


@pytest.mark.parametrize(
  ("settings", "text"),
  [
    (dict(low=2.0), "low=2.0 above"),
    (dict(edges=(0.6, 0.3)), "ascending"),
    (dict(ratios=(1.0, 0.0)), "one ratio more"),
    (dict(ratios=(1.0, -0.1, 0.0)), "below 0"),
  ],
)
def test_wrong_settings_are_refused(settings, text):
  with pytest.raises(ValueError, match=text):
    augment.residual(**settings)
