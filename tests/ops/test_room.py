import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asd_jax.ops import geometry, room

PLAIN = dict(air=False, highpass=False)
VARIANTS = {  # array: settings, relative L2 tolerance of the table scheme
  "plain": (PLAIN, 1e-3),
  "air": (dict(air=True, highpass=False), 1e-3),
  "displaced": (PLAIN, 1e-3),
  "full": (dict(air=True, highpass=True), 1e-2),
}


STATIC = ("length", "air", "highpass")
LENGTH = 900
CELLS = jnp.asarray(room.lattice(3))

# Compiled once for all tests: shapes and settings are shared where possible.
simulate = jax.jit(room.responses, static_argnames=STATIC)
shoebox = jax.jit(room.shoebox, static_argnames=STATIC)
from_uniform = jax.jit(jax.vmap(geometry.from_uniform))


def small_room(**changes):
  settings = dict(
    target=(2.0, 1.5, 1.0), near=(2.03, 1.54, 1.0), far=(2.6, 2.1, 1.2)
  )
  return geometry.place((5.0, 4.0, 2.5), 0.3, **(settings | changes))


def relative_error(found, expected):
  error = np.linalg.norm(found - expected, axis=-1)
  return np.max(error / np.linalg.norm(expected, axis=-1))


@pytest.fixture(scope="module")
def rooms(golden):
  return golden("rooms")


@pytest.mark.golden
def test_geometry_follows_from_the_uniform_numbers(rooms):
  found = from_uniform(rooms["u"])
  names = [k.split("/")[1] for k in rooms.files if k.startswith("geometry/")]
  assert names
  for name in names:
    expected = rooms[f"geometry/{name}"]
    if expected.dtype.kind == "i":
      np.testing.assert_array_equal(getattr(found, name), expected, name)
    else:
      np.testing.assert_allclose(
        getattr(found, name), expected, rtol=0, atol=1e-5, err_msg=name
      )


@pytest.mark.golden
def test_sabine_gives_absorption_and_order(rooms):
  absorption, order = jax.jit(geometry.sabine)(
    jnp.asarray(rooms["sabine/dims"], jnp.float32),
    jnp.asarray(rooms["sabine/rt60"], jnp.float32),
  )
  expected = rooms["sabine/absorption"]
  np.testing.assert_allclose(absorption, expected, rtol=0, atol=1e-6)
  np.testing.assert_array_equal(order, rooms["sabine/order"])


@pytest.mark.golden
def test_octave_gains_agree_and_sum_to_one(rooms):
  expected = rooms["octave_gains"]
  found = room.octave_gains(np.linspace(0, 8000, expected.shape[1]))
  np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
  np.testing.assert_allclose(found.sum(0), 1.0, rtol=1e-12)


@pytest.mark.golden
@pytest.mark.parametrize("variant", VARIANTS)
def test_responses_agree_with_the_reference_simulator(rooms, variant):
  settings, tolerance = VARIANTS[variant]
  names = {m[0] for k in rooms.files if (m := re.match(r"room\d+", k))}
  names = sorted(n for n in names if f"{n}/{variant}" in rooms.files)
  assert names
  order = max(int(rooms[f"{name}/max_order"]) for name in names)
  cells = jnp.asarray(room.lattice(order))
  length = max(rooms[f"{name}/{variant}"].shape[-1] for name in names)
  for name in names:
    get = lambda key, name=name: jnp.asarray(
      rooms[f"{name}/{key}"], jnp.float32
    )
    place = small_room().replace(
      max_order=jnp.asarray(rooms[f"{name}/max_order"]),
      **{k: get(k) for k in ("dims", "absorption")},
      **{k: get(k) for k in ("target", "near", "far", "noise")},
    )
    move = get("displacement") if variant == "displaced" else None
    expected = rooms[f"{name}/{variant}"]
    found = simulate(place, cells, displacement=move, length=length, **settings)
    found = np.asarray(found)[..., : expected.shape[-1]]
    assert relative_error(found, expected) <= tolerance, name


@pytest.mark.golden
@pytest.mark.parametrize("variant", ["plain", "full"])
def test_one_source_and_microphone_agree_with_the_reference(golden, variant):
  data = golden("nassl_mix")
  settings, _ = VARIANTS[variant]
  order = min(geometry.MAX_ORDER, int(data["ism/max_order"]))
  dims, source, mics, absorption = (
    jnp.asarray(data[f"ism/{name}"], jnp.float32)
    for name in ("room_dim", "source", "mics", "absorption")
  )
  length = max(len(data[f"ism/{variant}_ch{c}"]) for c in range(len(mics)))
  for channel, mic in enumerate(np.asarray(mics)):
    expected = data[f"ism/{variant}_ch{channel}"]
    found = shoebox(
      dims,
      source,
      mic,
      room.lattice(order),
      absorption=absorption,
      max_order=jnp.asarray(order),
      length=length,
      **settings,
    )
    found = np.asarray(found)[: len(expected)]
    peak = np.abs(expected).max()
    np.testing.assert_allclose(found / peak, expected / peak, rtol=0, atol=2e-3)


def test_response_equals_a_plain_sum_of_windowed_sincs():
  place = small_room().replace(max_order=jnp.asarray(3))
  found = simulate(place, CELLS, length=LENGTH, **PLAIN)
  place = jax.tree.map(lambda x: np.asarray(x, np.float64), place)
  expected = np.zeros((2, 5, LENGTH + 100))
  taps = np.arange(81)
  window = 0.5 - 0.5 * np.cos(2 * np.pi * taps / 80)
  for m, mic in enumerate((place.near, place.far)):
    for s, source in enumerate((place.target, *place.noise)):
      for cell in np.asarray(CELLS).T:
        mirrored = np.where(cell % 2, place.dims - source, source)
        distance = np.linalg.norm(cell * place.dims + mirrored - mic)
        size = (1 - place.absorption) ** (np.abs(cell).sum() / 2) / distance
        whole, part = divmod(16_000 * distance / 343, 1)
        if whole < LENGTH:
          expected[m, s, int(whole) + taps] += (
            size * window * np.sinc(taps - 40 - part)
          )
  # The interpolated table differs from the sinc by up to 1.4e-3.
  assert relative_error(found, expected[..., :LENGTH]) <= 2e-3


def test_cells_beyond_the_order_change_nothing():
  place = small_room().replace(max_order=jnp.asarray(1))
  found = simulate(place, CELLS, length=LENGTH, **PLAIN)
  few = jnp.asarray(room.lattice(1))
  expected = simulate(place, few, length=LENGTH, **PLAIN)
  np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_source_and_microphone_can_be_exchanged():
  place = small_room()
  settings = dict(absorption=place.absorption, max_order=jnp.asarray(3))
  one, other = (
    shoebox(place.dims, *ends, CELLS, length=LENGTH, **settings, **PLAIN)
    for ends in ((place.target, place.far), (place.far, place.target))
  )
  # Equal but for the rounding of arrival times.
  np.testing.assert_allclose(one, other, rtol=0, atol=2e-3 * np.abs(one).max())


def test_a_batch_of_rooms_equals_single_rooms_and_compiles_once():
  rooms = [small_room(), small_room(far=(3.0, 1.0, 1.1))]
  batch = jax.tree.map(lambda *x: jnp.stack(x), *rooms)
  traces = []

  @jax.jit
  def simulate_all(batch, cells):
    traces.append(0)
    one = lambda place: room.responses(place, cells, length=LENGTH, **PLAIN)
    return jax.vmap(one)(batch)

  found = simulate_all(batch, CELLS)
  simulate_all(jax.tree.map(lambda *x: jnp.stack(x), *rooms[::-1]), CELLS)
  assert len(traces) == 1
  for i, place in enumerate(rooms):
    single = simulate(place, CELLS, length=LENGTH, **PLAIN)
    np.testing.assert_allclose(found[i], single, rtol=0, atol=1e-5)


def test_displacements_are_bounded_and_move_the_direct_sound():
  key = jax.random.key(0, impl="rbg")  # compiles in a tenth of the time
  move = jax.jit(room.displace)(key, CELLS)
  assert move.shape == (5, *CELLS.shape)
  assert 0.07 < np.abs(move).max() <= 0.08
  still, zero, moved = (
    simulate(small_room(), CELLS, displacement=d, length=LENGTH, **PLAIN)
    for d in (None, jnp.zeros_like(move), move)
  )
  np.testing.assert_allclose(zero, still, rtol=0, atol=1e-5)
  assert relative_error(moved, still) > 0.1


def test_normalising_sets_the_peak_of_target_to_near_to_one():
  response = np.random.default_rng(0).normal(size=(2, 5, 9))
  found = np.asarray(room.normalise(jnp.asarray(response)))
  assert np.abs(found[0, 0]).max() == pytest.approx(1.0)
  peak = np.abs(response[0, 0]).max()
  np.testing.assert_allclose(found * peak, response, rtol=1e-5)


def test_highpass_follows_the_squared_butterworth_filter():
  hz = np.array([0.0, 5.0, 10.0, 20.0, 1000.0, 7999.0])
  z = np.exp(2j * np.pi * hz / 16_000)
  p = (z - 1) / (z + 1) / np.tan(np.pi * 10 / 16_000)  # bilinear, prewarped
  expected = np.abs(p**2 / (p**2 + np.sqrt(2) * p + 1)) ** 2
  found = room.highpass_power(hz)
  np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
  assert found[2] == pytest.approx(0.5)
  assert room.highpass_power(np.array([8000.0])) == pytest.approx(1.0)


def test_rooms_keep_the_distances_of_the_report():
  u = np.random.default_rng(0).random((500, 10), np.float32)
  batch = jax.tree.map(np.asarray, from_uniform(u))
  near, far, target = batch.near, batch.far, batch.target
  apart = np.linalg.norm(near - target, axis=-1)
  np.testing.assert_allclose(apart, 0.05, atol=1e-6)
  reach = np.linalg.norm(far - near, axis=-1)
  assert reach.min() >= 0.1 - 1e-6
  assert reach.max() <= 1.0 + 1e-6
  assert np.all((far > 0) & (far < batch.dims))
  assert np.all(batch.absorption <= 1 + 1e-6)
  assert np.all(batch.rt60 <= 0.4)
  assert np.all((batch.max_order >= 1) & (batch.max_order <= 30))
  assert np.all(np.abs(batch.snr_db) <= 10)


def test_a_drawn_far_distance_can_be_measured_from_the_target():
  key = jax.random.key(0, impl="rbg")
  ranges = geometry.Ranges(far=(0.3, 0.3), far_from="target")
  draw = jax.jit(lambda key: geometry.sample(key, ranges=ranges))
  place = draw(key)
  distance = np.linalg.norm(np.subtract(place.far, place.target))
  assert distance == pytest.approx(0.3, abs=1e-6)


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    (dict(side=(0.8, 2.0)), "0.8 m is too small"),
    (dict(height=(0.9, 2.0)), "0.9 m high is too small"),
    (dict(wall=0.1), "too near for the microphones"),
    (dict(rt60=(0.05, 0.1)), "impossible in a room of 8 x 8 x 3 m.*0.138"),
    (dict(rt60=(0.4, 0.2)), "low is above high"),
    (dict(near=0.0), "positive"),
    (dict(far_from="wall"), "known: 'near', 'target'"),
  ],
)
def test_ranges_that_no_room_can_hold_are_refused(settings, message):
  with pytest.raises(ValueError, match=message):
    geometry.Ranges(**settings)


@pytest.mark.parametrize(
  ("dims", "rt60", "far", "message"),
  [
    ((5.0, 4.0, 2.5), 0.05, (2.6, 2.1, 1.0), "limit .* is 0.09"),
    ((5.0, 4.0, 2.5), float("nan"), (2.6, 2.1, 1.0), "impossible"),
    ((5.0, 4.0, 2.5), 0.3, (5.6, 2.1, 1.0), "far at .* lies outside"),
    ((2.5, 0.35, 2.5), 0.3, (1.0, 0.1, 1.0), "too small for noise sources"),
    ((5.0, 0.0, 2.5), 0.3, (1.0, 0.1, 1.0), "must be positive"),
    ((5.0, 4.0, 2.5), 0.3, (2.0, 1.5, 1.0), "far microphone stands in"),
  ],
)
def test_impossible_rooms_are_refused(dims, rt60, far, message):
  with pytest.raises(ValueError, match=message):
    geometry.place(
      dims, rt60, target=(2.0, 1.5, 1.0), near=(2.0, 1.55, 1.0), far=far
    )
