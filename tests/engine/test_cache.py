"""Embeddings on disk: found by content, never half there."""

import multiprocessing

import numpy as np
import pytest

from asd_jax import files
from asd_jax.engine import cache
from asd_jax.engine.cache import Entry, Shelf

ABOUT = {"weights": "ab", "features": "layer_1", "sample_rate": 16_000}
KEY = "0123456789abcdef0123456789abcdef"


def entry(seed=0, shape=(2, 8, 3), notes=("channel 1 is silent",)):
  array = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
  return Entry(array, notes)


def same(found, want):
  assert found is not None
  np.testing.assert_array_equal(found.array, want.array, strict=True)
  assert found.notes == want.notes


def test_what_is_put_is_got_by_another_shelf_of_the_same_content(tmp_path):
  Shelf(tmp_path, ABOUT, "on").put(KEY, entry())
  same(Shelf(tmp_path, dict(reversed(ABOUT.items())), "on").get(KEY), entry())
  assert Shelf(tmp_path, ABOUT, "on").get("f" * 32) is None


@pytest.mark.parametrize("key", ABOUT)
def test_anything_that_decides_an_embedding_gives_another_shelf(tmp_path, key):
  Shelf(tmp_path, ABOUT, "on").put(KEY, entry())
  other = {**ABOUT, key: "other"}
  assert Shelf(tmp_path, other, "on").get(KEY) is None


def test_readonly_reads_and_never_writes(tmp_path):
  Shelf(tmp_path, ABOUT, "readonly").put(KEY, entry())
  assert not list(tmp_path.iterdir())
  Shelf(tmp_path, ABOUT, "on").put(KEY, entry())
  same(Shelf(tmp_path, ABOUT, "readonly").get(KEY), entry())


def test_clear_empties_this_shelf_only(tmp_path):
  other = {**ABOUT, "weights": "cd"}
  for about in (ABOUT, other):
    Shelf(tmp_path, about, "on").put(KEY, entry())
  shelf = Shelf(tmp_path, ABOUT, "clear")
  same(shelf.get(KEY), entry())
  shelf.open()
  assert shelf.get(KEY) is None
  shelf.put(KEY, entry())
  shelf.open()  # once only
  same(shelf.get(KEY), entry())
  same(Shelf(tmp_path, other, "on").get(KEY), entry())


@pytest.mark.parametrize("place", ["first", "head", "values", "cut", "empty"])
def test_a_damaged_file_is_a_miss_and_is_written_anew(tmp_path, place):
  shelf = Shelf(tmp_path, ABOUT, "on")
  shelf.put(KEY, entry())
  (path,) = tmp_path.rglob("*.emb")
  data = bytearray(path.read_bytes())
  where = {"first": 0, "head": 40, "values": len(data) - 3}.get(place)
  if where is not None:
    data[where] ^= 1
  path.write_bytes(data[: {"cut": -1, "empty": 0}.get(place)])
  assert shelf.get(KEY) is None
  shelf.put(KEY, entry())
  same(shelf.get(KEY), entry())


def test_a_file_takes_little_more_than_its_numbers(tmp_path):
  big = entry(shape=(2, 6144))
  Shelf(tmp_path, ABOUT, "on").put(KEY, big)
  (path,) = tmp_path.rglob("*.emb")
  assert 2 * 6144 * 4 < path.stat().st_size < 2 * 6144 * 4 + 200


def test_a_recording_is_named_by_its_bytes(tmp_path):
  one, copy, other = (tmp_path / f"{n}.wav" for n in ("one", "copy", "other"))
  one.write_bytes(b"RIFF....1")
  copy.write_bytes(b"RIFF....1")
  other.write_bytes(b"RIFF....2")
  names = [cache.recording_digest(p) for p in (one, copy, other)]
  assert names[0] == names[1] != names[2]
  with pytest.raises(ValueError, match="gone.wav: found no readable file"):
    cache.recording_digest(tmp_path / "gone.wav")


def _write_all(root):
  shelf = Shelf(root, ABOUT, "on")
  for i in range(60):
    shelf.put(f"{i:032x}", entry(i))
    same(shelf.get(f"{i:032x}"), entry(i))


def test_two_runs_may_write_the_same_embeddings(tmp_path):
  context = multiprocessing.get_context("spawn")
  runs = [
    context.Process(target=_write_all, args=(tmp_path,)) for _ in range(2)
  ]
  for run in runs:
    run.start()
  for run in runs:
    run.join()
  assert [run.exitcode for run in runs] == [0, 0]
  shelf = Shelf(tmp_path, ABOUT, "on")
  for i in range(60):
    same(shelf.get(f"{i:032x}"), entry(i))
  assert not list(tmp_path.rglob("*.partial"))


def test_a_disk_that_cannot_be_written_is_one_message(tmp_path):
  (tmp_path / "file").write_text("")
  shelf = Shelf(tmp_path / "file", ABOUT, "on")
  assert shelf.get(KEY) is None
  with pytest.raises(ValueError, match="cannot be written"):
    shelf.put(KEY, entry())


def test_the_folder_follows_the_environment(tmp_path, monkeypatch):
  monkeypatch.setenv("ASD_JAX_CACHE", str(tmp_path))
  assert files.cache_folder("embeddings") == tmp_path / "embeddings"
