"""What is kept: names that tell everything apart, files that are checked."""

import json
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from asd_jax import errors, store

ARRAYS = {
  "emb": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
  "flag": np.array([True, False]),
  "none": np.zeros((0, 3), np.int32),
  "one": np.float32(2.5),
}
FACTS = {"notes": ["channel 1 is silent"], "num": 3}


@pytest.fixture
def kept(tmp_path):
  return store.Store(tmp_path / "kept", form=1, code="a")


def same(found):
  assert found is not None
  assert found.facts == FACTS
  assert found.arrays.keys() == ARRAYS.keys()
  for name, want in ARRAYS.items():
    np.testing.assert_array_equal(found.arrays[name], want, strict=True)


def test_every_kind_of_part_tells_what_differs(tmp_path):
  one, other = tmp_path / "one", tmp_path / "other"
  one.write_bytes(b"x")
  other.write_bytes(b"y")
  x = np.arange(6, dtype=np.float32)
  parts = [
    (),
    ((),),
    ("a",),
    ("a", "b"),
    (["a", "b"],),
    ({"a": 1},),
    ({"a": 1.0},),
    ({"a": True},),
    ({"a": None},),
    (b"x",),
    ("x",),
    (one,),
    (other,),
    (x,),
    (x.reshape(2, 3),),
    (x.astype(np.float64),),
    (x.astype(ml_dtypes.bfloat16),),
    (x.view(np.int32),),
    (x[::-1],),
    ({"a": x},),
    (np.float32(1.0),),
  ]
  assert len({store.digest(*p) for p in parts}) == len(parts)


def test_equal_content_has_one_name(tmp_path):
  one, copy = tmp_path / "one", tmp_path / "copy"
  one.write_bytes(b"x" * 10_000)
  copy.write_bytes(b"x" * 10_000)
  x = np.arange(6, dtype=np.float32)
  for a, b in (
    (one, copy),
    ({"a": 1, "b": (2, 3)}, {"b": [2, 3], "a": 1}),
    (x, jnp.asarray(x)),
    (x, np.stack([x, x], 1)[:, 0]),
  ):
    assert store.digest(a) == store.digest(b)
  assert store.digest({"é": np.nan}) == store.digest({"é": np.nan})


@pytest.mark.parametrize(
  "odd", [object(), {1, 2}, len, np.array([None]), {("a", "b"): 1}]
)
def test_what_has_no_content_has_no_name(odd):
  with pytest.raises(TypeError):
    store.digest(odd)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
  for make in (store.digest, store.file_digest, store.remembered_digest):
    with pytest.raises(errors.InputError, match="gone.wav: found no readable"):
      make(tmp_path / "gone.wav")


def test_a_file_is_read_again_only_when_it_changed(tmp_path, monkeypatch):
  path = tmp_path / "a.wav"
  path.write_bytes(b"RIFF....1")
  reads = []
  read = store.file_digest
  monkeypatch.setattr(
    store, "file_digest", lambda p: reads.append(p) or read(p)
  )
  known = store.remembered_digest
  assert known(path) == known(path) == read(path)
  assert len(reads) == 1
  os.utime(path, ns=(1, 1))
  path.write_bytes(b"RIFF....2")  # the same size
  assert known(path) == read(path)
  assert len(reads) == 2


def test_code_is_told_by_its_sources(tmp_path, monkeypatch):
  (tmp_path / "ops").mkdir()
  (tmp_path / "ops" / "a.py").write_text("x = 1\n")
  (tmp_path / "b.py").write_text("y = 1\n")
  monkeypatch.setattr(store, "_PACKAGE", tmp_path)
  version = lambda *parts: store.code_version.__wrapped__(*parts)
  first = version("ops", "b.py")
  assert first == version("b.py", "ops") != version("ops")
  (tmp_path / "ops" / "a.py").write_text("x = 2\n")
  assert version("ops", "b.py") != first


def test_what_is_put_is_got(kept, tmp_path):
  name = kept.put("some/key", ARRAYS, FACTS)
  again = store.Store(tmp_path / "kept", form=1, code="a")
  same(again.get("some/key"))
  assert again.get("some/key").digest == name
  assert again.get("other") is None
  kept.drop("some/key")
  kept.drop("some/key")
  assert kept.get("some/key") is None
  assert not kept.notes() + again.notes()


def test_what_another_version_made_is_absent_and_replaced(kept, tmp_path):
  kept.put("key", ARRAYS, FACTS)
  for form, code in ((2, "a"), (1, "b")):
    other = store.Store(tmp_path / "kept", form=form, code=code)
    assert other.get("key") is None
    assert not other.damaged
    other.put("key", ARRAYS, FACTS)
    same(other.get("key"))
    assert kept.get("key") is None
  assert len(list((tmp_path / "kept").iterdir())) == 1


def _changed(data, place):
  out = bytearray(data)
  out[place] ^= 1
  return bytes(out)


def _without_digest(data):
  """Another number, in a file that is well-formed otherwise."""
  size = int.from_bytes(data[:8], "little")
  head = json.loads(data[8 : 8 + size])
  head["__metadata__"]["about"] = head["__metadata__"]["about"].replace(
    "silent", "strong"
  )
  text = json.dumps(head).encode()
  return len(text).to_bytes(8, "little") + text + data[8 + size :]


DAMAGES = {
  "empty": lambda data: b"",
  "cut": lambda data: data[:-1],
  "half": lambda data: data[: len(data) // 2],
  "longer": lambda data: data + b"\0",
  "size": lambda data: _changed(data, 1),
  "head": lambda data: _changed(data, 10),
  "value": lambda data: _changed(data, -3),
  "facts": _without_digest,
  "another": lambda data: b"RIFF" + bytes(100),
  "bare": lambda data: (2).to_bytes(8, "little") + b"{}",
  "deep": lambda data: (40_000).to_bytes(8, "little") + b"[" * 40_000,
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_file_is_absent_noted_and_replaced(kept, name):
  kept.put("key", ARRAYS, FACTS)
  path = kept.path("key")
  path.write_bytes(DAMAGES[name](path.read_bytes()))
  assert kept.get("key") is None
  (note,) = kept.notes()
  assert note == f"{path}: found damaged content, made again"
  kept.put("key", ARRAYS, FACTS)
  same(kept.get("key"))


def test_no_changed_byte_goes_unnoticed(kept):
  """Some, such as those of white space, change nothing."""
  kept.put("key", ARRAYS, FACTS)
  path = kept.path("key")
  data = path.read_bytes()
  for place in range(len(data)):
    path.write_bytes(_changed(data, place))
    found = kept.get("key")
    if found is not None:
      same(found)


def test_many_damaged_files_are_one_note(kept):
  for key in "abc":
    kept.put(key, ARRAYS, FACTS)
    kept.path(key).write_bytes(b"")
    assert kept.get(key) is None
  (note,) = kept.notes()
  assert "(and 2 more)" in note


def test_a_folder_that_cannot_be_written_is_one_message(tmp_path):
  (tmp_path / "file").write_text("")
  kept = store.Store(tmp_path / "file", form=1)
  assert kept.get("key") is None
  with pytest.raises(errors.InputError, match="cannot be written") as error:
    kept.put("key", ARRAYS, FACTS)
  assert "\n" not in str(error.value)


def test_a_full_disk_is_one_message_and_leaves_the_old_file(tmp_path):
  code = """
import resource, sys
from pathlib import Path
import numpy as np
from asd_jax import errors, store
kept = store.Store(Path(sys.argv[1]), form=1)
kept.put("key", {"x": np.zeros(10)}, {})
resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
try:
  kept.put("key", {"x": np.ones(1000)}, {})
except errors.InputError as e:
  print(e)
assert kept.get("key").arrays["x"].tolist() == [0] * 10
"""
  done = subprocess.run(
    [sys.executable, "-c", code, tmp_path],
    capture_output=True,
    text=True,
    check=False,
    cwd=Path(__file__).parents[1],
  )
  assert done.returncode == 0, done.stderr
  assert "key.safetensors: cannot be written" in done.stdout
  assert [p.name for p in tmp_path.iterdir()] == ["key.safetensors"]


def _write_all(folder):
  kept = store.Store(folder, form=1)
  for i in range(60):
    kept.put(f"{i}", {"x": np.full(1000, i)}, {})
    assert kept.get(f"{i}").arrays["x"][0] == i


def test_two_runs_may_write_the_same(tmp_path):
  context = multiprocessing.get_context("spawn")
  runs = [
    context.Process(target=_write_all, args=(tmp_path,)) for _ in range(2)
  ]
  for run in runs:
    run.start()
  for run in runs:
    run.join()
  assert [run.exitcode for run in runs] == [0, 0]
  kept = store.Store(tmp_path, form=1)
  assert all(kept.get(f"{i}").arrays["x"][7] == i for i in range(60))
  assert not list(tmp_path.rglob("*.partial"))
