"""Front ends of the published encoders keep the contract of all front ends."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asd_jax.frontends import htk_mel, kaldi, linear
from asd_jax.ops import filterbank, signal

FRONTENDS = {
  "eat": kaldi.eat_fbank(),
  "eat_32": kaldi.eat_fbank(multiple=32),
  "eat_whole": kaldi.eat_fbank(multiple=1),
  "eat_fixed": kaldi.eat_fbank(num_frames=40),
  "eat_10s": kaldi.eat_fbank(num_samples=8000, num_frames=64),
  "beats": kaldi.beats_fbank(),
  "beats_10s": kaldi.beats_fbank(num_samples=8000),
  "audiomae": kaldi.audiomae_fbank(num_frames=40),
  "audiomae_10s": kaldi.audiomae_fbank(num_samples=8000, num_frames=64),
  "dasheng": htk_mel.dasheng_mel(),
  "dasheng_10s": htk_mel.dasheng_mel(num_samples=8000),
  "fisher": linear.fisher_spectrum(),
  "fisher_10s": linear.fisher_spectrum(seconds=0.5),
  "audiomaepp": htk_mel.audiomaepp_mel(),
  "audiomaepp_10s": htk_mel.audiomaepp_mel(num_samples=8000),
  "m2d": htk_mel.m2d_mel(),
  "m2d_10s": htk_mel.m2d_mel(num_samples=8000),
}
MELS = {"dasheng": 64, "fisher": 201, "audiomaepp": 80, "m2d": 80}


def draw(num, seed=0):
  wave = np.random.default_rng(seed).normal(size=(2, num))
  return jnp.asarray(0.1 * wave, jnp.float32)


@pytest.fixture(params=FRONTENDS)
def name(request):
  return request.param


@pytest.fixture
def front(name):
  return FRONTENDS[name]


def run(front, wave):
  return jax.jit(lambda w: front.apply({}, w))(wave)


def shape(front, num):
  wave = jax.ShapeDtypeStruct((2, num), jnp.float32)
  return jax.eval_shape(lambda w: front.apply({}, w), wave).shape


@pytest.mark.parametrize("num", [400, 2800, 5599, 5600, 9001])
def test_the_number_of_frames_is_known_beforehand(name, front, num):
  found = shape(front, num)
  assert found == (
    2,
    front.num_frames(num),
    MELS.get(name.removesuffix("_10s"), 128),
  )
  if num == 5599:  # a length is a program
    assert np.isfinite(run(front, draw(num))).all()


@pytest.mark.parametrize("num", [1, 16, 17, 33, 40])
def test_as_few_samples_as_needed(name, front, num):
  least = front.min_samples(num)
  assert front.num_frames(least) >= num
  if not name.endswith("10s"):
    assert shape(front, least)[1] >= num
    if least > 400:
      assert front.num_frames(least - 1) < num


def test_a_clip_depends_on_itself_only(front):
  wave = jnp.stack([draw(6000), 1000.0 * draw(6000, seed=1)])
  both = jax.jit(jax.vmap(lambda w: front.apply({}, w)))(wave)
  alone = run(front, wave[0])
  np.testing.assert_allclose(both[0], alone, atol=2e-4)
  near = run(front, wave[0, :1])
  np.testing.assert_allclose(near, alone[:1], atol=2e-4)


def test_eat_ignores_a_constant_and_beats_does_not_scale_away():
  wave = draw(6000)
  eat = FRONTENDS["eat"]
  # Far below the floor of the bands, rounding of the mean does not show.
  np.testing.assert_allclose(run(eat, wave + 0.25), run(eat, wave), atol=2e-3)
  beats = FRONTENDS["beats"]
  louder = run(beats, 2.0 * wave) - run(beats, wave)
  step = 2.0 * np.log(2.0) / (2.0 * 6.55582)
  np.testing.assert_allclose(louder[..., 4:], step, atol=2e-3)


def test_silence_and_missing_frames_of_eat_differ():
  silent = run(FRONTENDS["eat"], jnp.zeros((1, 6000)))
  have = signal.num_whole_frames(6000, frame_samples=400, hop_samples=160)
  assert 0 < have < silent.shape[1]
  np.testing.assert_allclose(silent[:, :have], -1.277565, atol=1e-5)
  np.testing.assert_allclose(silent[:, have:], 0.467061, atol=1e-5)


def test_silence_and_missing_frames_of_audiomae():
  """Bands are filled, not the waveform, and before they are normalised."""
  silent = run(FRONTENDS["audiomae"], jnp.zeros((1, 5599)))
  assert silent.shape[1] == 40
  np.testing.assert_allclose(silent[:, :33], -1.277585, atol=1e-5)
  np.testing.assert_allclose(silent[:, 33:], 0.467032, atol=1e-5)


def test_silence_of_audiomaepp_is_the_clips_mean():
  front, wave = FRONTENDS["audiomaepp_10s"], np.array(draw(8000))
  # Digital silence, a constant, silence beside sound: never rounding noise.
  odd = np.stack([wave[0], 0 * wave[0], np.full(8000, 0.05, np.float32)])
  found = run(front, jnp.asarray(odd))
  np.testing.assert_array_equal(found[1:], 0.0)
  sound = np.float64(found[0, : 8000 // 160 + 1])
  assert abs(sound.mean()) < 1e-5
  assert abs(sound.std(ddof=1) - 1) < 1e-5 < abs(sound.std() - 1)
  # One click of the least 16-bit step in silence is still heard.
  odd[1, 4000] = 2.0**-15
  assert run(front, jnp.asarray(odd))[1].std() > 0.5


def test_missing_frames_of_audiomaepp_are_the_mean_of_the_clip():
  front, have = FRONTENDS["audiomaepp"], 1 + 6000 // 160
  found = run(front, draw(6000))
  assert have < found.shape[1] == -(-have // 4) * 4
  np.testing.assert_array_equal(found[:, have:], 0.0)
  assert np.abs(found[:, :have].mean((1, 2))).max() < 1e-5


def test_the_mean_is_taken_off_after_the_waveform_is_filled():
  wave = draw(6000) + 0.25
  by_hand = jnp.pad(wave, [(0, 0), (0, 2000)])
  want = filterbank.eat_fbank(by_hand, num_frames=64)
  np.testing.assert_allclose(run(FRONTENDS["eat_10s"], wave), want, atol=2e-4)


def test_the_empty_band_of_beats_is_constant():
  found = run(FRONTENDS["beats"], draw(6000))
  np.testing.assert_allclose(found[..., 3], -2.391693, atol=1e-5)


def test_samples_beyond_the_wanted_ones_do_not_count():
  wave = draw(9000)
  for name in ("eat_10s", "beats_10s", "dasheng_10s"):
    found = run(FRONTENDS[name], wave)
    np.testing.assert_array_equal(found, run(FRONTENDS[name], wave[:, :8000]))


def test_the_range_of_a_channel_is_its_own():
  wave = jnp.stack([draw(6000)[0], jnp.zeros(6000)])
  found = run(FRONTENDS["dasheng"], wave)
  np.testing.assert_allclose(found[1], -100.0, rtol=1e-6)
  assert found[0].max() - found[0].min() <= 120.0 + 1e-4


def test_a_clip_shorter_than_a_window_is_refused():
  for name in ("eat", "beats"):
    with pytest.raises(ValueError, match="one frame needs 400"):
      FRONTENDS[name].num_frames(399)
  with pytest.raises(ValueError, match="reflection of 256"):
    run(FRONTENDS["dasheng"], draw(256))


@pytest.mark.parametrize(
  ("rate", "bins"),
  [
    (4000, 100),
    (8000, 101),
    (16_000, 201),
    (22_050, 276),
    (32_000, 401),
    (44_100, 552),
    (48_000, 601),
  ],
)
def test_linear_bins_are_as_wide_at_any_rate(rate, bins):
  front = linear.fisher_spectrum(sample_rate=rate, seconds=10.0)
  frames = 1 + (10 * rate - 25 * rate // 1000) // (10 * rate // 1000)
  assert shape(front, rate) == (2, frames, bins)
  long = linear.fisher_spectrum(sample_rate=rate)
  assert shape(long, 11 * rate) == (2, 1024, bins)
  assert front.sample_rate == rate


def test_linear_bins_of_silence_and_missing_ones():
  front = linear.fisher_spectrum(sample_rate=4000, num_frames=60)
  wave = np.full((2, 2000), 0.5, np.float32)
  out = run(front, wave)
  np.testing.assert_allclose(out[:, :48, :51], -4.646304, rtol=1e-6)
  np.testing.assert_array_equal(out[:, :, 51:], 0.0)
  np.testing.assert_array_equal(out[:, 48:], 0.0)
  with pytest.raises(ValueError, match="rate of 999 Hz, expected 1000"):
    linear.fisher_spectrum(sample_rate=999)
  with pytest.raises(ValueError, match="found 0.02 seconds, expected 0.025"):
    linear.fisher_spectrum(seconds=0.02)
