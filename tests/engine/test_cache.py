"""Embeddings on disk: found by content, never half there."""

import multiprocessing

import numpy as np
import pytest

from asd_jax import files, store
from asd_jax.engine.cache import EmbeddingCache, Entry

ABOUT = {"weights": "ab", "features": "layer_1", "sample_rate": 16_000}
KEY = "0123456789abcdef0123456789abcdef"


def entry(seed=0, shape=(2, 8, 3), notes=("channel 1 is silent",)):
  array = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
  return Entry(array, notes)


def same(found, want):
  assert found is not None
  np.testing.assert_array_equal(found.array, want.array, strict=True)
  assert found.notes == want.notes


def test_what_is_put_is_got_by_another_cache_of_the_same_content(tmp_path):
  EmbeddingCache(tmp_path, ABOUT, "on").put(KEY, entry())
  same(
    EmbeddingCache(tmp_path, dict(reversed(ABOUT.items())), "on").get(KEY),
    entry(),
  )
  assert EmbeddingCache(tmp_path, ABOUT, "on").get("f" * 32) is None


@pytest.mark.parametrize("key", ABOUT)
def test_anything_that_decides_an_embedding_has_another_place(tmp_path, key):
  EmbeddingCache(tmp_path, ABOUT, "on").put(KEY, entry())
  other = {**ABOUT, key: "other"}
  assert EmbeddingCache(tmp_path, other, "on").get(KEY) is None


def test_readonly_reads_and_never_writes(tmp_path):
  EmbeddingCache(tmp_path, ABOUT, "readonly").put(KEY, entry())
  assert not list(tmp_path.iterdir())
  EmbeddingCache(tmp_path, ABOUT, "on").put(KEY, entry())
  same(EmbeddingCache(tmp_path, ABOUT, "readonly").get(KEY), entry())


def test_clear_empties_this_cache_only(tmp_path):
  other = {**ABOUT, "weights": "cd"}
  for about in (ABOUT, other):
    EmbeddingCache(tmp_path, about, "on").put(KEY, entry())
  kept = EmbeddingCache(tmp_path, ABOUT, "clear")
  same(kept.get(KEY), entry())
  kept.open()
  assert kept.get(KEY) is None
  kept.put(KEY, entry())
  kept.open()  # once only
  same(kept.get(KEY), entry())
  same(EmbeddingCache(tmp_path, other, "on").get(KEY), entry())


def test_a_damaged_file_is_a_miss_a_note_and_is_written_anew(tmp_path):
  kept = EmbeddingCache(tmp_path, ABOUT, "on")
  kept.put(KEY, entry())
  (path,) = tmp_path.rglob("*.safetensors")
  path.write_bytes(path.read_bytes()[:-1])
  assert kept.get(KEY) is None
  assert [str(path) in note for note in kept.notes()] == [True]
  kept.put(KEY, entry())
  same(kept.get(KEY), entry())


def test_other_code_makes_other_embeddings(tmp_path, monkeypatch):
  EmbeddingCache(tmp_path, ABOUT, "on").put(KEY, entry())
  monkeypatch.setattr(store, "code_version", lambda *parts: "other")
  kept = EmbeddingCache(tmp_path, ABOUT, "on")
  assert kept.get(KEY) is None
  kept.put(KEY, entry(1))
  same(kept.get(KEY), entry(1))
  assert not kept.notes()


def test_a_file_takes_little_more_than_its_numbers(tmp_path):
  big = entry(shape=(2, 6144))
  EmbeddingCache(tmp_path, ABOUT, "on").put(KEY, big)
  (path,) = tmp_path.rglob("*.safetensors")
  assert 2 * 6144 * 4 < path.stat().st_size < 2 * 6144 * 4 + 400


def _write_all(root):
  kept = EmbeddingCache(root, ABOUT, "on")
  for i in range(60):
    kept.put(f"{i:032x}", entry(i))
    same(kept.get(f"{i:032x}"), entry(i))


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
  kept = EmbeddingCache(tmp_path, ABOUT, "on")
  for i in range(60):
    same(kept.get(f"{i:032x}"), entry(i))
  assert not list(tmp_path.rglob("*.partial"))


def test_a_disk_that_cannot_be_written_is_one_message(tmp_path):
  (tmp_path / "file").write_text("")
  kept = EmbeddingCache(tmp_path / "file", ABOUT, "on")
  assert kept.get(KEY) is None
  with pytest.raises(ValueError, match="cannot be written"):
    kept.put(KEY, entry())


def test_the_folder_follows_the_environment(tmp_path, monkeypatch):
  monkeypatch.setenv("ASD_JAX_CACHE", str(tmp_path))
  assert files.cache_folder("embeddings") == tmp_path / "embeddings"
