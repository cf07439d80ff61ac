import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asd_jax.data import mixtures
from asd_jax.ops import geometry, room


def test_rooms_and_ratios_follow_from_the_number_of_an_example():
  key, numbers = jax.random.key(3), jnp.arange(400, dtype=jnp.uint32)
  draw = lambda num: jax.vmap(
    lambda n: mixtures.draw(key, n, num_rooms=num, snr_db=(-10.0, 10.0))
  )
  both = jax.jit(lambda n: (draw(5)(n), draw(0)(n)))
  found, own = both(numbers)
  assert {*np.asarray(found.room).tolist()} == {*range(5)}
  ratio = np.asarray(found.snr_db)
  assert -10 <= ratio.min() < -9
  assert 9 < ratio.max() <= 10
  # Whatever else is in the batch.
  other = both(numbers[::-1])[0]
  np.testing.assert_array_equal(other.snr_db, found.snr_db[::-1])
  assert len({*np.asarray(own.room).tolist()}) == 400


def test_a_room_is_the_same_in_every_bank():
  simulate = jax.jit(mixtures.rooms, static_argnames=("ranges", "length"))
  key, cells = jax.random.key(1), room.lattice(2)
  numbers = jnp.arange(3, dtype=jnp.uint32)
  bank = simulate(key, numbers, cells, length=700)
  assert bank.shape == (3, 2, 5, 700)
  peaks = np.abs(np.asarray(bank))[:, 0, 0].max(-1)
  np.testing.assert_allclose(peaks, 1.0, rtol=1e-6)
  other = simulate(key, numbers[::-1], cells, length=700)
  np.testing.assert_allclose(other[0], bank[2], atol=1e-5)
  assert np.abs(np.asarray(bank[0] - bank[1])).max() > 0.1


def golden_batch(data):
  """Dry sounds and responses of all examples, filled up with zeros."""
  num, sources = len(data["wave_s"]), data["wave_n"].shape[1]
  names = ["target", *(f"noise_corner_{i}" for i in range(sources))]
  found = [
    [[data[f"rir/{b}/{n}_ch{c}"] for n in names] for c in range(2)]
    for b in range(num)
  ]
  length = max(len(h) for one in found for mic in one for h in mic)
  fill = lambda h: np.pad(h, (0, length - len(h)))
  return (
    data["wave_s"],
    data["wave_n"],
    np.array([[[fill(h) for h in mic] for mic in one] for one in found]),
  )


@pytest.mark.golden
def test_a_batch_agrees_with_the_reference(golden):
  data = golden("nassl_mix")
  mix, dry = jax.jit(mixtures.mixed), golden_batch(data)
  for b, distance in enumerate(data["distance_target_ch0"]):
    found = mix(*dry, data["snr_db"], distance=distance)
    arrays = dict(
      target_near=found.target[b, 0],
      target_far=found.target[b, 1],
      noise_near=found.noise[b, 0],
      noise_far=found.noise[b, 1],
      near=found.near[b],
      far=found.far[b],
      clean=found.clean[b],
    )
    for name, array in arrays.items():
      np.testing.assert_allclose(
        array, data[name][b], rtol=0, atol=5e-6, err_msg=name
      )
    gain = data["noise_scale"][b]
    np.testing.assert_allclose(found.noise_gain[b], gain, rtol=1e-5)


@pytest.mark.golden
def test_a_single_microphone_agrees_with_the_reference(golden):
  data = golden("nassl_mix")
  # The file mixes louder targets, which clip.
  dry, noise = 2.5 * data["wave_s"], data["wave_n"][:, :2]
  near, other = jax.jit(mixtures.mixed_single)(dry, noise, data["snr_db"])
  np.testing.assert_allclose(near, data["mono_mix"], rtol=0, atol=5e-6)
  for b in range(len(dry)):
    gain = np.sqrt(
      np.mean(dry[b] ** 2.0)
      / 10 ** (data["snr_db"][b] / 10)
      / (np.mean(noise[b, 0] ** 2.0) + 1e-8)
    )
    want = np.clip(gain * noise[b, 1], -1, 1)
    np.testing.assert_allclose(other[b], want, atol=1e-5)


def test_a_silent_target_stays_finite_and_almost_silent():
  noise = np.random.default_rng(0).normal(size=(1, 4, 500)) * 8000
  response = np.zeros((1, 2, 5, 60), np.float32)
  response[..., 42] = 1.0
  found = jax.jit(mixtures.mixed)(
    np.zeros((1, 500), np.int16),
    noise.astype(np.int16),
    response,
    jnp.zeros(1),
  )
  assert all(np.isfinite(np.asarray(x)).all() for x in found.__dict__.values())
  assert 0 < np.abs(np.asarray(found.near)).max() < 1e-6
  assert geometry.REPORT.near == 0.05
