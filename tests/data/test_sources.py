import collections
import pickle

import jax.numpy as jnp
import numpy as np
import pytest

from asd_jax import errors
from asd_jax.data import pools, sources
from asd_jax.data.batches import Batches
from asd_jax.training import job, mesh
from tests.data.corpora import look_alike


class Memory:
  """A pool of given samples."""

  def __init__(self, name, samples, notes=()):
    self.name, self.notes = name, notes
    self.samples = [np.asarray(x, np.int16) for x in samples]
    self.recordings = [
      pools.Mono(f"{name}{i}", 1, len(x)) for i, x in enumerate(self.samples)
    ]

  def read(self, number, start, stop):
    assert 0 <= start < stop <= len(self.samples[number])
    return self.samples[number][start:stop]


def ramps(name, *lengths, first=1):
  """Recordings whose samples say which and where: 1000 i + place."""
  return Memory(
    name,
    [1_000 * (i + first) + np.arange(n) for i, n in enumerate(lengths)],
  )


def of(targets, *noises, num_samples=8):
  seconds = num_samples / pools.SAMPLE_RATE
  return sources.of(targets, noises, crop_seconds=seconds)


def some(num_targets=6):
  targets = ramps("t", *range(3, 3 + 2 * num_targets, 2))
  return of(targets, ramps("a", 20, 20, 20), ramps("b", 30, 9, 8, 8, 8))


def test_crops_of_long_recordings_start_anywhere():
  pool = ramps("t", 12)
  rng = np.random.default_rng(0)
  found = [sources.crop(pool, 0, 8, rng=rng) for _ in range(400)]
  starts = collections.Counter(int(x[0]) - 1_000 for x in found)
  assert starts.keys() == {0, 1, 2, 3, 4}
  assert min(starts.values()) > 50
  for x in found:
    np.testing.assert_array_equal(np.diff(x), 1)
  first = sources.crop(pool, 0, 8, rng=None)
  np.testing.assert_array_equal(first, 1_000 + np.arange(8))


def test_short_recordings_are_surrounded_by_zeros():
  pool = ramps("t", 5)
  rng = np.random.default_rng(0)
  found = [sources.crop(pool, 0, 8, rng=rng) for _ in range(400)]
  lefts = collections.Counter(int(np.flatnonzero(x)[0]) for x in found)
  assert lefts.keys() == {0, 1, 2, 3}
  assert min(lefts.values()) > 60
  for x in found:
    np.testing.assert_array_equal(x[x > 0], 1_000 + np.arange(5))
  first = sources.crop(pool, 0, 8, rng=None)
  np.testing.assert_array_equal(first, [*range(1_000, 1_005), 0, 0, 0])


def test_pools_are_drawn_equally_and_no_noise_twice():
  found = of(ramps("t", 8), ramps("a", *[9] * 30), ramps("b", 8, 8, 8, 8))
  rng = np.random.default_rng(0)
  first = collections.Counter()
  for _ in range(600):
    noise, chosen = found.noise(rng)
    assert noise.shape == (4, 8)
    assert len(set(chosen)) == 4
    first[chosen[0]] += 1
  by_pool = [sum(n for c, n in first.items() if c.pool == p) for p in (0, 1)]
  # Four standard deviations.
  assert abs(by_pool[0] - 300) < 50
  assert all(first[sources.Noise(1, i)] > 40 for i in range(4))


def test_four_noises_are_drawn_again_if_one_is_silent():
  half = Memory("s", [np.zeros(9), np.ones(9)] * 4)
  found = of(ramps("t", 8), half, ramps("a", *[9] * 20))
  rng = np.random.default_rng(0)
  for _ in range(20):
    noise, chosen = found.noise(rng)
    assert noise.any(axis=1).all()
    assert all(c.pool or c.recording % 2 for c in chosen)
  found = of(ramps("t", 8), Memory("s", [np.zeros(9)] * 5))
  with pytest.raises(
    errors.InputError, match="silence in each of 100 draws.*s0"
  ):
    found.noise(rng)


def test_noises_shorter_than_a_crop_are_left_out_by_name():
  found = of(
    ramps("t", 3), ramps("a", 7, 8, 9, 10), ramps("b", 6), ramps("c", 8)
  )
  assert [pool.name for pool in found.noises] == ["a", "c"]
  assert [x.tolist() for x in found.usable] == [[1, 2, 3], [0]]
  third, first, second = found.notes
  assert first.startswith("1 of 4 noises of a are shorter than a crop")
  assert "a0 (0.0004375 s)" in first
  assert "1 of 1 noises of b" in second
  assert third == "no noise is drawn from b"


def test_fewer_than_four_noises_are_refused():
  with pytest.raises(errors.InputError, match="found 3 recordings.*least 4"):
    of(ramps("t", 8), ramps("a", 8, 8), ramps("b", 8))
  with pytest.raises(errors.InputError, match="found 3 recor.*a0 .0.0004375 s"):
    of(ramps("t", 8), ramps("a", 7, 8, 8, 8))
  with pytest.raises(errors.InputError, match="found 0 recordings.*no pool"):
    of(ramps("t", 8))
  for bad in (0, -1.0, float("nan"), float("inf")):
    with pytest.raises(errors.InputError, match="crop_seconds: found"):
      sources.of(ramps("t", 8), [ramps("a", 8)], crop_seconds=bad)


def test_two_excerpts_are_of_one_noise():
  found = of(ramps("t", 8), ramps("a", 12, 12), ramps("b", 9, 9, first=3))
  examples = sources.training(found, seed=0, num_epochs=100, microphones=1)
  starts = collections.Counter()
  for i in range(100):
    noise = examples[i]["noise"]
    assert noise.shape == (2, 8)
    first, second = noise[:, 0]
    assert first // 1_000 == second // 1_000
    starts[int(first % 1_000), int(second % 1_000)] += 1
  # From independent places: in ten cases of a hundred the same ones of five.
  assert len(starts) > 15
  (one,) = sources.fixed(found, seed=0, microphones=1)
  rest = {1: 4, 2: 4, 3: 1, 4: 1}[one["noise"][0, 0] // 1_000]
  assert (one["noise"][:, 0] % 1_000).tolist() == [0, rest]
  silent = of(ramps("t", 8), Memory("s", [np.zeros(9)] * 5))
  with pytest.raises(
    errors.InputError, match="silence in each of 100 draws .the"
  ):
    silent.excerpts(np.random.default_rng(0))


def test_notes_of_pools_are_passed_on():
  noises = Memory("a", [np.ones(9)] * 4, notes=("demand: TBUS is missing",))
  assert of(ramps("t", 8), noises).notes == ("demand: TBUS is missing",)


@pytest.mark.parametrize("array", [np.asarray, jnp.asarray])
def test_silent_targets_become_a_floor(array):
  target = np.array([[0, 0, 0], [0, -32_768, 16_384]], np.int16)
  expected = np.array([[1e-7] * 3, [0, -1, 0.5]], np.float32)
  found = sources.heard(array(target))
  assert found.dtype == np.float32
  np.testing.assert_array_equal(np.asarray(found), expected)
  again = sources.heard(array(np.array([[0, 0, 0], [0, -1, 0.5]], np.float32)))
  np.testing.assert_array_equal(np.asarray(again), expected)


def test_each_pass_has_every_target_once_in_another_order():
  examples = sources.training(some(), seed=3, num_epochs=3)
  assert len(examples) == 18
  order = [int(examples[i]["recording"]) for i in range(18)]
  passes = [order[i : i + 6] for i in (0, 6, 12)]
  assert [sorted(x) for x in passes] == [list(range(6))] * 3
  assert len({tuple(x) for x in passes}) == 3
  assert [int(examples[i]["number"]) for i in range(18)] == list(range(18))


def equal(one, other):
  assert one.keys() == other.keys()
  for name, x in one.items():
    np.testing.assert_array_equal(x, other[name])


def test_an_example_is_decided_by_seed_and_number_alone():
  one = sources.training(some(), seed=3, num_epochs=3)
  other = pickle.loads(pickle.dumps(one))
  for i in (17, 0, 5, 5):
    equal(one[i], other[i])
  third = sources.training(some(), seed=4, num_epochs=3)
  assert any((one[i]["noise"] != third[i]["noise"]).any() for i in range(3))
  # The same target in two passes is cropped and surrounded anew.
  twice = [one[i] for i in range(12) if int(one[i]["recording"]) == 5]
  assert (twice[0]["noise"] != twice[1]["noise"]).any()


def test_fixed_examples_start_at_the_first_sample():
  examples = sources.fixed(some(), seed=0)
  assert len(examples) == 6
  for i in range(6):
    found = examples[i]
    assert int(found["recording"]) == i
    assert found["target"][0] == 1_000 * (i + 1)
    assert set(found["noise"][:, 0] % 1_000) == {0}
  again = sources.fixed(some(), seed=1)
  assert any(
    (examples[i]["noise"] != again[i]["noise"]).any() for i in range(6)
  )


def test_names_are_those_of_the_targets():
  found = some()
  batch = Batches(sources.fixed(found, seed=0), 3)(1, slice(None))
  assert sources.names(found, batch) == [f"t{i}, channel 1" for i in (3, 4, 5)]


def test_rows_of_hosts_make_up_the_batch():
  examples = sources.training(some(), seed=0, num_epochs=3)
  with Batches(examples, 4) as batches:
    assert batches.num_steps == 4
    whole = batches(2, slice(0, 4))
    parts = [batches(2, slice(i, i + 2)) for i in (0, 2)]
  assert whole["noise"].shape == (4, 4, 8)
  joined = {k: np.concatenate([p[k] for p in parts]) for k in whole}
  equal(whole, joined)
  for row in range(4):
    equal({k: x[row] for k, x in whole.items()}, examples[8 + row])


def test_settings_of_batches_are_checked():
  examples = sources.training(some(), seed=0, num_epochs=1)
  with pytest.raises(
    errors.InputError, match="batch_size: found 7.*at most.* 6"
  ):
    Batches(examples, 7)
  for name in ("num_workers", "num_threads", "ahead"):
    with pytest.raises(errors.InputError, match=f"{name}: found -1"):
      Batches(examples, 2, **{name: -1})
  with pytest.raises(errors.InputError, match="batch_size: found 0"):
    Batches(examples, 0)


def test_a_run_takes_batches_and_goes_on_where_it_was(tmp_path):
  """As a training does: the feed asks ahead, from a thread of its own."""
  from asd_jax.training.feed import Feed

  examples = sources.training(some(), seed=0, num_epochs=4)
  over = mesh.local(num_rows=4)
  seen = []
  for first, stop in ((0, 3), (3, 6)):
    with (
      Batches(examples, 4) as batches,
      Feed(batches, 4, over, stop=stop, ahead=2) as feed,
    ):
      feed.peek()
      seen += [np.asarray(feed.get(i)["number"]) for i in range(first, stop)]
  np.testing.assert_array_equal(np.concatenate(seen), np.arange(24))
  assert job.BatchAt


def put_folder(root):
  content = {
    f"{i}.wav": look_alike.wav(look_alike.noise(600 + i, 2, seed=i), 16_000)
    for i in range(4)
  }
  look_alike.put(root, content)


def test_a_folder_is_a_pool(tmp_path):
  put_folder(tmp_path)
  pool = pools.Folder(tmp_path)
  assert [r.title for r in pool.recordings[:2]] == [
    "0, channel 1",
    "0, channel 2",
  ]
  again = pickle.loads(pickle.dumps(pool))
  for number in (0, 1, 7):
    name, channel, num_samples = pool.recordings[number]
    source = look_alike.noise(600 + int(name), 2, seed=int(name))
    expected = source[10:50, channel - 1]
    assert num_samples == len(source)
    np.testing.assert_array_equal(pool.read(number, 10, 50), expected)
    np.testing.assert_array_equal(again.read(number, 10, 50), expected)
  with pytest.raises(
    errors.InputError, match="no recordings of the split valid"
  ):
    pools.Folder(tmp_path, split="valid")
  held = pools.Folder(tmp_path, split="valid", holdout="[01]")
  assert {r.name for r in held.recordings} == {"0", "1"}


# One batch after another, and from another place: processes start anew there.
@pytest.mark.slow
@pytest.mark.parametrize(
  "steps",
  [(0, 0, 1, 2, 7), pytest.param((3, 4, 8, 9, 5, 6), marks=pytest.mark.full)],
)
def test_worker_processes_make_the_same_batches(tmp_path, steps):
  put_folder(tmp_path / "noise")
  put_folder(tmp_path / "target")
  noises = pools.Folder(tmp_path / "noise")
  found = sources.of(
    pools.Folder(tmp_path / "target"), [noises], crop_seconds=0.03
  )
  examples = sources.training(found, seed=0, num_epochs=6)
  rows = slice(1, 3)
  with (
    Batches(examples, 4) as plain,
    Batches(examples, 4, num_workers=1) as batches,
  ):
    for step in steps:
      equal(batches(step, rows), plain(step, rows))


@pytest.mark.full
def test_an_error_of_a_worker_is_told_as_it_is(tmp_path):
  put_folder(tmp_path)
  pool = pools.Folder(tmp_path)
  found = sources.of(pool, [pool], crop_seconds=0.03)
  for path in tmp_path.iterdir():
    path.unlink()
  examples = sources.training(found, seed=1, num_epochs=6)
  with Batches(examples, 4, num_workers=1) as batches:
    # As if the batch before it had been taken.
    batches._next = (0, 0, 4)
    with pytest.raises(errors.InputError, match="wav: cannot be read"):
      batches(0, slice(0, 4))
