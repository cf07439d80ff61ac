"""Files made wrong by hand, a fault each: the reason is told."""

import json
import os
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from asd_jax.weights import read as weights_file
from asd_jax.weights.read import WeightsFileError
from tests.weights import torch_bytes as made

SPARE_BYTES = 100 << 20
CHILD = Path(__file__).parent / "hostile_child.py"
ONE = np.array([3.5], np.float32).tobytes()


def refused(path, match):
  """Reads; returns the message and the memory that was taken at most."""
  tracemalloc.start()
  try:
    with pytest.raises(WeightsFileError, match=match) as error:
      weights_file.read(path)
    assert tracemalloc.get_traced_memory()[1] < SPARE_BYTES
  finally:
    tracemalloc.stop()
  message = str(error.value)
  assert message.startswith(f"{path}: found")
  assert len(message.splitlines()) == 1
  return message


def test_what_is_no_file(tmp_path):
  refused(tmp_path, "a folder")
  refused(tmp_path / "none.pt", "No such file")
  os.mkfifo(tmp_path / "pipe.pt")
  refused(tmp_path / "pipe.pt", "no regular file")
  (tmp_path / "dead.pt").symlink_to(tmp_path / "none.pt")
  refused(tmp_path / "dead.pt", "No such file")
  (tmp_path / "loop.pt").symlink_to(tmp_path / "loop.pt")
  refused(tmp_path / "loop.pt", "symbolic link")
  (tmp_path / "empty.safetensors").touch()
  refused(tmp_path / "empty.safetensors", "an empty file")


def test_safetensors_under_another_name(tmp_path):
  path = tmp_path / "a.pt"
  entry = {"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}
  raw = json.dumps(entry).encode()
  path.write_bytes(struct.pack("<Q", len(raw)) + raw + ONE)
  refused(path, "safetensors data under another name")
  good = path.rename(tmp_path / "a.safetensors")
  assert weights_file.read(good).tensors["w"] == np.float32(3.5)


def model(value):
  return made.mapping(model=made.mapping(w=value))


def one(path, *, value=None, **items):
  value = value or made.tensor(made.storage(count=1), [1])
  whole = made.mapping(model=made.mapping(w=value), **items)
  return made.write_zip(path, whole, data=[("0", ONE)])


def test_values_that_hold_themselves(tmp_path):
  loop = b"]q\x00h\x00a"  # a list, itself appended
  # 2^100 paths lead to the innermost list.
  twice = b"]" + b"".join(
    b"q" + bytes([i]) + b"h" + bytes([i]) + b"\x86" for i in range(100)
  )
  for i, value in enumerate((loop, twice)):
    path = one(tmp_path / f"{i}.pt", beside=value)
    assert list(weights_file.read(path).tensors) == ["w"]


WRONG_PICKLES = [
  (b")" + b"\x85" * 10_000 + b"N", "early|values|operand"),
  (b"}" + b")" + b"\x85" * 10_000 + b"Ns", "tuple as a key"),
  (made.text("x") * 2, "2 values"),
  (b"X\xff\xff\xff\xff" + b"a", "ends early"),
  (b"\x8a\xff" + b"\x01", "ends early"),
  (b"X\x02\x00\x00\x00\xff\xfe", "UTF-8"),
  (b"cos\nsystem\n" + made.sizes([1]) + b"R", "os.system"),
  (b"cos\nsystem", "os"),
  (b"c\n\n", "global"),
  (b"NN\x93", "no string"),
  (b"h\x05", "memo"),
  (b"N" + b"r\xff\xff\xff\x7f", "memo"),
  (b"\x82\x01", "EXT1"),
  (b"Ptext\n", "PERSID"),
  (b"\x80\x09N", "protocol"),
  (b"Na", "APPEND on"),
  (b"}Nb", "BUILD on dict"),
  (b"](Ne", "list in the file"),
  (made.named("torch", "FloatStorage") + b")R", "FloatStorage"),
  (made.named("torch._utils", "_rebuild_tensor_v2") + b")R", "0 parts"),
  (made.named("torch._utils", "_rebuild_tensor_v2") + b")\x81", "call of"),
  (made.named("collections", "OrderedDict") + made.sizes([1]) + b"R", "argu"),
  (b"NQ", "persistent id"),
  (b"}(" + made.text("x") + b"N" + made.text("x") + b"Nu", "x twice"),
]


@pytest.mark.parametrize(
  ("value", "match"), WRONG_PICKLES, ids=[m for _, m in WRONG_PICKLES]
)
def test_wrong_pickles(value, match, tmp_path):
  path = made.write_zip(tmp_path / "a.pt", value)
  refused(path, match)


@pytest.mark.parametrize("opcodes", [b"]", b"(", b"}\x94", b"Nq\x00"])
def test_a_long_pickle_costs_little(opcodes, tmp_path):
  path = made.write_zip(tmp_path / "a.pt", opcodes * 600_000)
  end = subprocess.run(
    [sys.executable, CHILD, tmp_path / "in", str(SPARE_BYTES), path],
    capture_output=True,
    check=True,
  )
  told = json.loads(end.stdout)
  assert told["error"] == "WeightsFileError", told
  assert "opcodes" in told["message"]
  assert told["bytes"] < SPARE_BYTES


def view(shape, strides, *, count=1, offset=0):
  stored = made.storage(count=count)
  return made.tensor(stored, shape, strides=strides, offset=offset)


@pytest.mark.parametrize(
  ("value", "match"),
  [
    (view([2], [1]), "reaches number 2"),
    (view([1], [1], offset=1), "reaches number 2"),
    (view([2**61], [0]), "bytes on the 1 numbers"),
    (view([2**40] * 32, [0] * 32), "bytes on the 1 numbers"),
    (view([2**2000], [0]), "expected integers"),
    (view([1] * 40, [1] * 40), "32 at most"),
    (view([0, 2**61, 2**61], [1, 1, 1]), "bytes"),
    (made.tensor(b"N", [1]), "expected a storage"),
    (made.tensor(made.storage("../0", count=1), [1]), "storage key"),
    (made.tensor(made.storage("\u0661", count=1), [1]), "storage key"),
    (made.tensor(made.storage(count=2**70), [1]), "persistent id"),
    (made.tensor(made.storage(count=1, legacy=True), [1]), "persistent id"),
    (b"]", "no tensor"),
    (made.named("argparse", "Namespace") + b")\x81", "no tensor"),
  ],
)
def test_wrong_tensors(value, match, tmp_path):
  refused(one(tmp_path / "a.pt", value=value), match)


def test_many_views_of_few_numbers(tmp_path):
  # Each is under the limit for one; together they would take 4 GiB.
  views = {f"w{i}": view([2**24 - i], [0]) for i in range(64)}
  whole = made.mapping(model=made.mapping(**views))
  path = made.write_zip(tmp_path / "a.pt", whole, data=[("0", ONE)])
  refused(path, "expected views")


def test_a_placeholder_among_the_weights(tmp_path):
  value = made.named("argparse", "Namespace") + b")\x81"
  items = {"w": view([1], [1]), "x": value}
  path = made.write_zip(
    tmp_path / "a.pt",
    made.mapping(model=made.mapping(**items)),
    data=[("0", ONE)],
  )
  refused(path, "x that is no tensor")


@pytest.mark.parametrize(
  ("entry", "match"),
  [
    ("archive/../x", "plain relative"),
    ("/x", "plain relative"),
    ("archive/a\\b", "plain relative"),
    ("archive//x", "plain relative"),
    ("other/x", "all under"),
    ("archive/code/a.py", "TorchScript"),
    ("archive/constants.pkl", "TorchScript"),
  ],
)
def test_wrong_zip_entries(entry, match, tmp_path):
  path = tmp_path / "a.pt"
  made.write_zip(
    path, model(view([1], [1])), data=[("0", ONE)], extra=[(entry, b"")]
  )
  refused(path, match)


def test_a_wrong_byte_order(tmp_path):
  path = tmp_path / "a.pt"
  extra = [("archive/byteorder", b"middle")]
  made.write_zip(path, model(view([1], [1])), data=[("0", ONE)], extra=extra)
  refused(path, "byte order")


def test_entries_over_one_another(tmp_path):
  path = tmp_path / "a.pt"
  value = made.mapping(
    model=made.mapping(
      a=made.tensor(made.storage("0", count=1), [1]),
      b=made.tensor(made.storage("1", count=1), [1]),
    )
  )
  made.write_zip(path, value, data=[("0", ONE), ("1", ONE)])
  with zipfile.ZipFile(path) as file:
    first, second = file.infolist()[1:3]
  raw = path.read_bytes()
  # The directory's entry of storage 1 is led to the data of storage 0.
  at = raw.index(b"PK\x01\x02")
  name = b"archive/data/1"
  at = raw.index(name, at) - 4
  assert struct.unpack_from("<L", raw, at)[0] == second.header_offset
  moved = struct.pack("<L", first.header_offset)
  path.write_bytes(raw[:at] + moved + raw[at + 4 :])
  refused(path, "broken header")


def write_legacy(path, value=None, **settings):
  stored = made.storage(count=1, legacy=True)
  value = value or model(made.tensor(stored, [1]))
  return made.write_legacy(path, value, **settings)


@pytest.mark.parametrize(
  ("settings", "match"),
  [
    ({"data": [("0", 1, ONE)], "little_endian": False}, "big-endian"),
    ({"data": [("0", 1, ONE + b"x")]}, "1 bytes after"),
    ({"data": [("0", 2, ONE)]}, "found 2 numbers"),
    ({"data": [("1", 1, ONE)]}, "data of 1 storages"),
    ({"data": [("0", 1, ONE), ("0", 1, ONE)]}, "data of 2 storages"),
    ({"data": []}, "data of 0 storages"),
  ],
)
def test_wrong_legacy_files(settings, match, tmp_path):
  refused(write_legacy(tmp_path / "a.pt", **settings), match)


@pytest.mark.parametrize(
  "header",
  [
    b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4,4]}}',
    b'{"w":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}}',
    b'{"w":{"dtype":"F32","shape":1,"data_offsets":[0,4]}}',
    b'{"w":{"dtype":["F32"],"shape":[1],"data_offsets":[0,4]}}',
    b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,1e400]}}',
    b'{"w":{"dtype":"F32","shape":[%s],"data_offsets":[0,4]}}' % (b"9" * 5000),
    b'{"w":{"dtype":"F32","shape":[%s],"data_offsets":[0,4]}}'
    % b",".join([b"1"] * 40),
    b'{"w":{"dtype":"F32","shape":[NaN],"data_offsets":[0,4]}}',
    b'{"w":[]}',
    b'{"__metadata__":{"a":1}}',
    b'{"__metadata__":[]}',
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b"{}",
  ],
)
def test_wrong_safetensors(header, tmp_path):
  path = tmp_path / "a.safetensors"
  path.write_bytes(struct.pack("<Q", len(header)) + header + ONE)
  refused(path, "found")


def test_control_characters_of_a_file_stay_out_of_the_message(tmp_path):
  message = refused(
    made.write_zip(tmp_path / "a.pt", b"c\x1b[31mos\nsystem\n"), "os"
  )
  assert message.isprintable()
