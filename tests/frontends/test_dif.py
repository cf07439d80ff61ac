"""Domain-invariant features: contract, invariances and odd clips."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asd_jax.frontends import dif

NUM = 4096
INDEX = {name: i for i, name in enumerate(dif.NAMES)}
ABSOLUTE = [n.startswith("level") and n not in ("level_5",) for n in dif.NAMES]


def draw(*shape, seed=0):
  wave = np.random.default_rng(seed).normal(size=shape)
  return np.float32(0.1 * wave)


ROWS = 11


class Compiled:
  """All candidates of up to `ROWS` clips, in one program."""

  def __init__(self):
    self.traces = 0
    self._run = jax.jit(jax.vmap(self._one))

  def _one(self, wave):
    self.traces += 1
    return dif.candidates(wave)

  def __call__(self, clips):
    rows = np.arange(ROWS) % len(clips)
    return self._run(np.asarray(clips)[rows])[: len(clips)]


@pytest.fixture(scope="module")
def candidates():
  return Compiled()


def constant(level):
  return np.full(NUM, level, np.float32)


def odd_clips():
  near, far = draw(2, NUM)
  step = near * (np.arange(NUM) > NUM // 2)
  spike = np.zeros(NUM, np.float32)
  spike[NUM // 3] = 2.0**-15
  return {
    "silence": (0 * near, 0 * far),
    "same": (near, near),
    "opposite": (near, -near),
    "no far": (near, 0 * far),
    "no near": (0 * near, far),
    "constant near": (constant(0.3), far),
    "constant far": (near, constant(-1.0)),
    "constants": (constant(0.1), constant(0.1)),
    "one bit near, loud far": (spike, 10.0 * far),
    "half silent": (step, far),
    "full scale": (np.sign(near), np.sign(far)),
  }


def test_groups_have_the_sizes_of_the_report():
  kept, stereo = np.array(dif.DEFAULT_KEEP), np.array(dif.IS_STEREO)
  assert len(dif.NAMES) == len(set(dif.NAMES)) == 151
  assert kept.sum() == 120
  assert (kept & stereo).sum() == 40


def test_odd_clips_are_finite(candidates):
  clips = odd_clips()
  found = candidates(np.stack([np.stack(c) for c in clips.values()]))
  for name, row in zip(clips, found, strict=True):
    bad = np.flatnonzero(~np.isfinite(row))
    assert not len(bad), f"{name}: {[dif.NAMES[i] for i in bad]}"


def test_equal_channels_differ_in_nothing(candidates):
  found = candidates(np.stack([np.stack(odd_clips()["same"])]))[0]
  at = lambda group: np.array(
    [float(found[i]) for n, i in INDEX.items() if n.startswith(group)]
  )
  np.testing.assert_allclose(at("lr_band"), 0.0, atol=1e-5)
  np.testing.assert_allclose(at("mfcc_diff"), 0.0, atol=1e-5)
  np.testing.assert_allclose(at("coherence"), 1.0, atol=1e-4)
  lag, peak, spread, _ = at("stereo_extra")
  assert lag == 0.0
  np.testing.assert_allclose([peak, spread], [1.0, 0.0], atol=1e-5)
  assert float(found[INDEX["stereo_0"]]) == pytest.approx(1.0, abs=1e-5)
  assert float(found[INDEX["stereo_2"]]) > 100.0  # no side signal


def test_only_levels_know_the_recording_gain(candidates):
  wave = draw(2, NUM)
  found = candidates(np.stack([wave, 0.25 * wave]))
  fixed = ~np.array(ABSOLUTE) | np.array(
    [n == "level_4" for n in dif.NAMES]  # of the scaled channel
  )
  np.testing.assert_allclose(
    found[0][fixed], found[1][fixed], rtol=1e-4, atol=1e-3
  )
  drop = 20.0 * np.log10(4.0)
  for i in range(4):
    j = INDEX[f"level_{i}"]
    assert float(found[0][j] - found[1][j]) == pytest.approx(drop, abs=1e-3)


def test_near_features_ignore_the_far_channel(candidates):
  near = draw(NUM)
  clips = [np.stack([near, draw(NUM, seed=s)]) for s in (1, 2)]
  one, other = candidates(np.stack(clips))
  far_levels = ("level_1", "level_3")
  mine = ~np.array(dif.IS_STEREO) & ~np.isin(dif.NAMES, far_levels)
  np.testing.assert_allclose(one[mine], other[mine], rtol=1e-5, atol=1e-5)
  moved = np.abs(one - other)[np.array(dif.IS_STEREO)]
  # The sampled delay of two unrelated channels may agree by chance.
  assert (moved > 1e-6).sum() >= len(moved) - 1


def test_exchanging_the_channels_turns_differences_around(candidates):
  wave = draw(2, NUM) * np.array([[1.0], [3.0]], np.float32)
  one, other = np.asarray(candidates(np.stack([wave, wave[::-1]])))
  names = [n for n in dif.NAMES if n.startswith(("lr_band", "mfcc_diff"))]
  names += ["stereo_1", "stereo_3", "stereo_4", "stereo_5", "stereo_6"]
  # Floors depend on the gain, which is that of the near channel.
  index = [INDEX[n] for n in names]
  np.testing.assert_allclose(one[index], -other[index], rtol=1e-3, atol=2e-3)
  same = [INDEX[n] for n in dif.NAMES if n.startswith("coherence")]
  np.testing.assert_allclose(one[same], other[same], atol=1e-4)


def test_a_second_batch_is_not_traced_again(candidates):
  for seed in range(2):
    candidates(draw(2, 2, NUM, seed=seed))
  assert candidates.traces == 1


def test_gradient_is_finite_on_noise():
  grad = jax.jit(jax.grad(lambda x: jnp.sum(jnp.sin(dif.candidates(x)))))
  assert np.isfinite(grad(draw(2, NUM))).all()


@pytest.mark.parametrize(
  ("features", "names"),
  [
    ("all", dif.NAMES),
    (("stereo_0", "impulse_0"), ("impulse_0", "stereo_0")),
    (["lr_band_10"], ("lr_band_10",)),
  ],
)
def test_front_end_keeps_what_it_is_told_to(candidates, features, names):
  wave = draw(2, NUM)
  front = dif.dif(features=features)
  want = np.asarray(candidates(wave[None])[0])[[INDEX[n] for n in names]]
  found = jax.jit(front.apply)({}, wave)  # a clip alone, the others in a batch
  assert found.shape == (1, front.num_frames(NUM), len(names))
  np.testing.assert_allclose(found[0, 0], want, rtol=1e-4, atol=1e-4)


def test_default_front_end_gives_the_120_features_of_the_report():
  front = dif.dif()
  assert front.measure is None
  assert front.fit is None
  assert front.num_channels == 2
  wave = jax.ShapeDtypeStruct((2, NUM), jnp.float32)
  out = jax.eval_shape(lambda x: front.apply({}, x), wave)
  assert (out.shape, out.dtype) == ((1, 1, 120), jnp.float32)


@pytest.mark.parametrize("sizes", [{}, dict(fft_samples=512, hop_samples=200)])
def test_the_shortest_clip_works_and_a_shorter_one_does_not(sizes):
  front = dif.dif(**sizes)
  least = front.min_samples(1)
  clip = lambda num: jax.ShapeDtypeStruct((2, num), jnp.float32)
  jax.eval_shape(lambda x: front.apply({}, x), clip(least))
  with pytest.raises(ValueError, match="at least 9"):
    jax.eval_shape(lambda x: front.apply({}, x), clip(least - 1))


@pytest.mark.parametrize(
  ("settings", "text"),
  [
    (dict(features="best"), "'best'"),
    (dict(features=()), r"\(\)"),
    (dict(features=("stereo_0", "stereo_7")), "'stereo_7'"),
    (dict(features=("stereo_0", "stereo_0")), "a name twice"),
    (dict(sample_rate=8000), "8000 Hz"),
  ],
)
def test_wrong_settings_are_refused(settings, text):
  with pytest.raises(ValueError, match=text):
    dif.dif(**settings)
