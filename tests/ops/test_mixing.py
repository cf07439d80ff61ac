import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asd_jax.ops import mixing

MIX_ATOL = 5e-6

# Compiled once for all tests.
mix = jax.jit(mixing.mix, static_argnames="delay")
convolve = jax.jit(mixing.convolve, static_argnames="delay")
early = jax.jit(mixing.early)


def draw(*shape, seed=0):
  wave = np.random.default_rng(seed).normal(size=shape)
  return jnp.asarray(wave, jnp.float32)


def reference_convolution(signal, response, *, delay=0):
  wave = np.convolve(np.float64(signal), np.float64(response))
  return wave[delay : delay + len(signal)]


@pytest.fixture(scope="module")
def examples(golden):
  """The golden file, and per example target, noise, response and SNR."""
  data = golden("nassl_mix")
  num, sources = len(data["wave_s"]), data["wave_n"].shape[1]
  names = ["target"] + [f"noise_corner_{i}" for i in range(sources)]
  rows = [f"{n}_ch{c}" for c in range(2) for n in names]
  found = [[data[f"rir/{b}/{row}"] for row in rows] for b in range(num)]
  length = max(len(h) for responses in found for h in responses)
  inputs = []
  for b, responses in enumerate(found):
    padded = np.stack([np.pad(h, (0, length - len(h))) for h in responses])
    inputs.append(
      (
        data["wave_s"][b],
        data["wave_n"][b],
        padded.reshape(2, 1 + sources, length),
        data["snr_db"][b],
      )
    )
  return data, inputs


@pytest.mark.golden
def test_mixtures_agree_with_the_reference(examples):
  data, inputs = examples
  for b, arguments in enumerate(inputs):
    found = mix(*arguments, distance=data["distance_target_ch0"][b])
    arrays = dict(
      target_near=found.target[0],
      target_far=found.target[1],
      noise_near=found.noise[0],
      noise_far=found.noise[1],
      near=found.near,
      far=found.far,
      clean=found.clean,
    )
    for name, array in arrays.items():
      np.testing.assert_allclose(
        array, data[name][b], rtol=0, atol=MIX_ATOL, err_msg=f"{name} {b}"
      )
    np.testing.assert_allclose(
      found.noise_gain, data["noise_scale"][b], rtol=1e-5
    )


@pytest.mark.golden
def test_mixtures_without_the_delay_agree_with_the_reference(examples):
  data, inputs = examples
  for b, arguments in enumerate(inputs):
    delay = int(data["direct_delay"][b])
    found = mix(*arguments, delay=delay)
    for name, array in (("near", found.near), ("far", found.far)):
      expected = data[f"{name}_aligned"][b]
      np.testing.assert_allclose(array, expected, rtol=0, atol=MIX_ATOL)


@pytest.mark.golden
def test_delay_and_early_part_agree_with_the_reference(examples):
  data, inputs = examples
  for b, (_, _, response, _) in enumerate(inputs):
    distance = data["distance_target_ch0"][b]
    delay = jax.jit(mixing.direct_delay)(distance)
    assert int(delay) == int(data["direct_delay"][b])
    cut = int(data["early_cutoff"][b])
    first = early(response[0, 0], distance=distance)
    np.testing.assert_array_equal(first[:cut], response[0, 0, :cut])
    assert not np.any(first[cut:])


@pytest.mark.golden
def test_single_noise_without_a_room_agrees_with_the_reference(examples):
  data, inputs = examples
  for b, (target, noise, _, snr_db) in enumerate(inputs):
    found = jax.jit(mixing.mix_single)(2.5 * target, noise[0], snr_db)
    expected = data["mono_mix"][b]
    np.testing.assert_allclose(found, expected, rtol=0, atol=MIX_ATOL)


@pytest.mark.golden
def test_mixture_in_a_simulated_room_agrees_with_the_reference(golden):
  data = golden("rooms")
  full = data["room3/full"]
  response = jnp.asarray(full / np.abs(full[0, 0]).max())
  found = mix(
    jnp.asarray(data["mix/target_dry"]),
    jnp.asarray(data["mix/noise_dry"]),
    response,
    jnp.asarray(data["mix/snr_db"]),
  )
  first = early(response[0, 0])
  np.testing.assert_allclose(first, data["mix/early"], rtol=0, atol=1e-5)
  for name in ("clean", "near", "far"):
    expected = data[f"mix/{name}"]
    np.testing.assert_allclose(
      getattr(found, name), expected, rtol=0, atol=1e-5, err_msg=name
    )
  gain = data["mix/noise_gain"]
  np.testing.assert_allclose(found.noise_gain, gain, rtol=1e-4)


@pytest.mark.parametrize("delay", [0, 37])
@pytest.mark.parametrize(
  ("samples", "taps"), [(50, 300), (4_000, 300), (70_000, 1_000)]
)
def test_convolution_equals_the_direct_sum(samples, taps, delay):
  signal, response = draw(2, samples), draw(2, taps, seed=1)
  found = convolve(signal, response, delay=delay)
  assert found.shape == signal.shape
  for row in range(2):
    expected = np.zeros(samples)
    part = reference_convolution(signal[row], response[row], delay=delay)
    expected[: len(part)] = part
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found[row], expected, atol=2e-6 * scale)


def test_responses_of_a_room_share_one_signal():
  signal, response = draw(1, 500), draw(4, 60, seed=1)
  found = convolve(signal, response)
  assert found.shape == (4, 500)
  expected = reference_convolution(signal[0], response[3])
  np.testing.assert_allclose(found[3], expected, atol=1e-4)


@pytest.mark.parametrize("snr_db", [-10.0, 0.0, 7.5])
def test_near_recording_has_the_wanted_ratio(snr_db):
  target, noise, response = draw(900), draw(4, 900), draw(2, 5, 120, seed=2)
  found = mix(target, 5 * noise, response, jnp.asarray(snr_db))
  scaled = found.noise_gain * found.noise[0]
  ratio = np.mean(np.square(found.target[0])) / np.mean(np.square(scaled))
  assert 10 * np.log10(ratio) == pytest.approx(snr_db, abs=1e-3)
  far = found.target[1] + found.noise_gain * found.noise[1]
  np.testing.assert_allclose(found.far, far, rtol=1e-5, atol=1e-5)


def test_a_jitted_batch_equals_single_mixtures():
  batch = (draw(3, 900), draw(3, 4, 900), draw(3, 2, 5, 120), draw(3))
  found = jax.jit(jax.vmap(mixing.mix))(*batch)
  for i in range(3):
    single = mix(*(np.asarray(x)[i] for x in batch))
    for one, other in zip(
      jax.tree.leaves(single), jax.tree.leaves(found), strict=True
    ):
      other = np.asarray(other)[i]
      np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def test_the_clean_sound_is_early_and_loses_no_direct_sound():
  response = np.zeros((2, 5, 1500), np.float32)
  response[:, :, 42] = 1.0
  response[0, 0, 900] = 0.5  # a late echo
  target = np.asarray(draw(2000))
  found = mix(target, draw(4, 2000), response, jnp.asarray(0.0))
  clean = np.asarray(found.clean)
  np.testing.assert_allclose(clean[42:], target[:-42], atol=1e-5)
  assert np.abs(np.asarray(found.target[0]) - clean).max() > 0.5


def test_a_ratio_of_silence_is_refused():
  sound, silence = np.ones((2, 50)), np.zeros((2, 50))
  mixing.check_audible(sound, sound)
  with pytest.raises(ValueError, match="SNR of silence .* target b.wav"):
    mixing.check_audible(
      np.stack([sound[0], silence[0]]), sound, names=("a.wav", "b.wav")
    )
  with pytest.raises(ValueError, match=r"noise row 0 is all zeros \(2 of 2"):
    mixing.check_audible(sound, silence)
  with pytest.raises(ValueError, match="not finite"):
    mixing.check_audible(sound * np.nan, sound)


def test_silence_stays_finite_on_the_device():
  silence = jnp.zeros(900), jnp.zeros((4, 900))
  found = mix(*silence, draw(2, 5, 120), jnp.asarray(0.0))
  assert all(np.isfinite(np.asarray(x)).all() for x in jax.tree.leaves(found))
