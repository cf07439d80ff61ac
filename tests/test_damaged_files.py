"""Readers of files from outside: only InputError, or the file's own OSError.

Every reader meets the same damage. What it makes of a file that happens to be
readable still is its own tests' business.
"""

import json
import random
from typing import NamedTuple

import numpy as np
import pytest
import safetensors.numpy
import soundfile

from asd_jax import errors, files, store
from asd_jax.data import (
  audio,
  score_table,
  submission,
  submission_meta,
  submission_write,
  truth,
)
from asd_jax.encoders import describe
from asd_jax.engine import settings
from asd_jax.frontends import dif
from asd_jax.runs import compare
from asd_jax.weights import folder as weight_folder
from asd_jax.weights import read as weights_file
from tests.weights import torch_bytes as made

LABEL = "Kim_LUDO_task2_1"
ARRAYS = {"a.weight": np.arange(6, dtype=np.float32).reshape(2, 3)}


class Reader(NamedTuple):
  """A whole file and what reads it."""

  name: str
  write: object  # path -> anything
  read: object  # path -> anything


def json_file(content):
  return lambda path: path.write_text(json.dumps(content))


def text_file(content):
  return lambda path: path.write_text(content)


def wave(subtype):
  samples = np.linspace(-0.5, 0.5, 200).reshape(100, 2)
  return lambda path: soundfile.write(path, samples, 16_000, subtype=subtype)


def torch_zip(path):
  value = made.tensor(made.storage(count=6), [2, 3], strides=[3, 1])
  data = [("0", ARRAYS["a.weight"].tobytes())]
  made.write_zip(path, made.mapping(weight=value), data=data)


PARTS = [f"model-{i:05d}-of-00002.safetensors" for i in (1, 2)]
PLACES = {"a": PARTS[0], "b": PARTS[0], "c": PARTS[1]}


def sharded(path):
  """An index and its two files."""
  for part in PARTS:
    some = {n: ARRAYS["a.weight"] for n, p in PLACES.items() if p == part}
    safetensors.numpy.save_file(some, path.parent / part)
  path.write_text(json.dumps({"metadata": {}, "weight_map": PLACES}))


def torch_legacy(path):
  stored = made.storage(count=6, legacy=True)
  value = made.mapping(weight=made.tensor(stored, [2, 3], strides=[3, 1]))
  made.write_legacy(path, value, data=[("0", 6, ARRAYS["a.weight"].tobytes())])


def meta_file(path):
  path.write_text(json.dumps(submission_meta.build(LABEL)))  # YAML, too


def package(path):
  table = [(f"section_00_{i:04d}.wav", 0.1 * i, 0) for i in range(3)]
  content = submission_meta.build(LABEL)
  submission_write.write(
    path.parents[2], LABEL, {"fan": {"00": table}}, content
  )


def results(path):
  metrics = dict(auc_source=0.5, auc_target=0.5, pauc=0.5, score=0.5)
  seed = dict(seed=1, official_score=0.5, machines={"fan": metrics})
  content = dict(
    system="a",
    config={},
    seeds=[1],
    machines={"fan": metrics},
    official_score=0.5,
    per_seed=[seed],
    notes=[],
  )
  path.write_text(json.dumps(content))


def kept(path):
  store.Store(path.parent, form=1).put(path.stem, ARRAYS, {"a": 1})


MEMBERS = {"kind": settings.MEMBERS.kind, "members": [dict(branch="a", seed=1)]}
FEATURES = {"kind": settings.FEATURES.kind, "kept": [dict(name=dif.NAMES[0])]}
TRUTH = "section_00_0000.wav,0\nsection_00_0001.wav,1\n"
LIST = (
  "section_00_0000.wav,section_00_source_test_normal_0000_v_1.wav\n"
  "section_00_0001.wav,section_00_target_test_anomaly_0001_v_1.wav\n"
)
TRUTH_NAMES = ["section_00_0000.wav", "section_00_0001.wav"]
ABOUT = dict(family="beats", encoder={}, digest="", files={"a": [1, 2]})
SCORES = f"{LABEL}/anomaly_score_fan_section_00_test.csv"

READERS = (
  Reader("a.wav", wave("PCM_16"), audio.read_header),
  Reader("b.wav", wave("FLOAT"), audio.read),
  Reader("attributes_00.csv", text_file("file_name,d1p,d1v\na.wav,v,1\n"),
         truth.read_attributes),
  Reader("ground_truth_data/ground_truth_fan_section_00_test.csv",
         text_file(TRUTH),
         lambda path: truth.read([path], "fan", TRUTH_NAMES)),
  Reader("list.csv", text_file("fan\n" + LIST),
         lambda path: truth.read([path], "fan", TRUTH_NAMES)),
  Reader("fan.csv", text_file("file,score,decision\na.wav,0.5,0\n"),
         score_table.read),
  Reader(f"task2/{SCORES}", package,
         lambda path: submission.read_scores(path.parents[2])),
  Reader(f"task2/{SCORES} ", package,
         lambda path: submission.check(path.parents[2])),
  Reader(f"{LABEL}.meta.yaml", meta_file,
         lambda path: submission_meta.problems_in(path.parent, LABEL)),
  Reader("a.json", json_file({"a": [1, {"b": None}]}), files.read_json),
  Reader("results.json", results, compare.read),
  Reader("members.json", json_file(MEMBERS),
         lambda path: settings.read_selection(path, settings.MEMBERS)),
  Reader("features.json", json_file(FEATURES),
         lambda path: settings.read_selection(path, settings.FEATURES)),
  Reader("encoder.json", json_file(ABOUT),
         lambda path: weight_folder.read_about(path.parent)),
  Reader("encoder.json ", json_file(ABOUT),
         lambda path: weight_folder.is_whole(path.parent, ABOUT)),
  Reader("a.safetensors",
         lambda path: safetensors.numpy.save_file(ARRAYS, path),
         weights_file.read),
  Reader("model.safetensors.index.json", sharded, weights_file.read),
  Reader("d.safetensors",
         lambda path: safetensors.numpy.save_file(ARRAYS, path),
         describe.describe),
  Reader("a.pt", torch_zip, weights_file.read),
  Reader("b.pt", torch_zip, weights_file.scan),
  Reader("c.pt", torch_legacy, weights_file.read),
  Reader("kept.safetensors", kept,
         lambda path: store.Store(path.parent, form=1).get(path.stem)),
)  # fmt: skip


def flipped(data, seed):
  """Some bytes changed; the first ones, which say what follows, often."""
  draw = random.Random(seed)
  out = bytearray(data)
  for _ in range(draw.randint(1, 8)):
    place = int(len(out) * draw.random() ** draw.choice((1, 4)))
    out[place] = draw.choice((0, 0x7F, 0x80, 0xFF, draw.randrange(256)))
  return bytes(out)


def huge(data, seed):
  """A number as large as it gets, where a length may be."""
  draw = random.Random(seed)
  place = draw.randrange(len(data))
  large = draw.choice((b"\xff" * 4, b"\xff\xff\xff\x7f", b"\xff" * 8))
  return data[:place] + large + data[place + len(large) :]


DAMAGE = {
  "empty": lambda data: [b""],
  "cut": lambda data: [data[: len(data) * i // 24] for i in range(24)],
  "flipped": lambda data: [flipped(data, seed) for seed in range(150)],
  "huge": lambda data: [huge(data, seed) for seed in range(60)],
  "doubled": lambda data: [data + data, data[len(data) // 2 :]],
  "another type": lambda data: [
    b"null",
    b"[]",
    b"{}",
    b"true",
    b'"text"',
    b"\x89PNG\r\n\x1a\n" + bytes(100),
    b"PK\x03\x04" + bytes(100),
    b"PK\x05\x06" + bytes(18),
    b"RIFF\x00\x00\x00\x00WAVE",
    b"\x80\x02}q\x00.",
    b"\x93NUMPY\x01\x00\x76\x00{'descr': " + b"(" * 100,
    bytes(64),
    b"\xff" * 64,
    "ünïcode,\x00,\ud800".encode("utf-8", "surrogatepass"),
  ],
  "deep": lambda data: [
    b"[" * 12_000,
    b'{"a":' * 12_000,
    b'{"a":' + b"[" * 2_000 + b"]" * 2_000 + b"}",
    b"(" * 12_000,
    b'"' * 200_001,
  ],
  "long": lambda data: [
    b"1" * 5_000,
    b'{"format": ' + b"1" * 5_000 + b"}",
    b"a," * 200_000,
    b"a" * 200_000 + b",1",
    b"1e999,1e999\n",
    b"nan,nan\n",
  ],
  # What a YAML tag can ask of Python's constructors.
  "odd tags": lambda data: [
    b"a: !!int ''",
    b"a: !!float ''",
    b"a: !!timestamp x",
    b"a: 2026-99-99",
    b"a: !!bool x",
    b"a: !!binary x",
    b"? [a, {b: c}]\n: 1",
    b"a: !!set [1]",
    b"a: !!omap x",
    b"a: &a [*a]",
    b"&a {*a : 1}",
    b"a: !!python/object/apply:os.system [echo]",
  ],
}


def raised(reader, path):
  """The error that a user may meet; any other one fails the test."""
  try:
    reader.read(path)
  except (errors.InputError, OSError) as e:
    return e
  return None


def is_told(error):
  """Whether the commands tell it on one line."""
  if isinstance(error, OSError):
    return error.filename is not None
  return error is None or bool(str(error))


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("reader", READERS, ids=lambda r: r.name)
def test_nothing_but_wrong_input_gets_out(tmp_path, reader, damage):
  path = tmp_path / reader.name.strip()
  path.parent.mkdir(parents=True, exist_ok=True)
  reader.write(path)
  whole = path.read_bytes()
  reader.read(path)
  for content in DAMAGE[damage](whole):
    path.write_bytes(content)
    assert is_told(raised(reader, path)), content[:100]


@pytest.mark.parametrize("reader", READERS, ids=lambda r: r.name)
def test_what_is_no_file_is_wrong_input_too(tmp_path, reader):
  path = tmp_path / reader.name.strip()
  path.parent.mkdir(parents=True, exist_ok=True)
  assert is_told(raised(reader, path))
  path.mkdir()
  assert is_told(raised(reader, path))


def rewritten(part, names):
  """A part with other names."""

  def change(folder):
    arrays = dict.fromkeys(names, ARRAYS["a.weight"])
    safetensors.numpy.save_file(arrays, folder / part)

  return change


def placed(**places):
  """The index with other places."""

  def change(folder):
    text = json.dumps({"weight_map": PLACES | places})
    (folder / INDEX).write_text(text)

  return change


def written(text):
  return lambda folder: (folder / INDEX).write_text(text)


def cut(folder):
  raw = (folder / PARTS[1]).read_bytes()
  (folder / PARTS[1]).write_bytes(raw[:-3])


def moved_away(folder):
  """A part that is elsewhere, to which a hostile index leads."""
  (folder / PARTS[1]).rename(folder.parent / PARTS[1])


def looped(folder):
  (folder / PARTS[1]).unlink()
  (folder / PARTS[1]).symlink_to(folder / PARTS[1])


def is_a_folder(folder):
  (folder / PARTS[1]).unlink()
  (folder / PARTS[1]).mkdir()


INDEX = "model.safetensors.index.json"
ONE_OF = r"expected the name of a weight file in the same folder"
SHARDS = {
  "a part is missing": (moved_away, rf"found no {PARTS[1]} beside the index"),
  "a part is cut": (cut, rf"{PARTS[1]}: found \d+ bytes in the file"),
  "a part is a folder": (is_a_folder, f"{PARTS[1]}: found a folder"),
  "a part is a link to itself": (looped, f"found no {PARTS[1]} beside"),
  "a part lacks a name": (rewritten(PARTS[0], ["a"]), "found no b, expected"),
  "a part has a name more": (
    rewritten(PARTS[1], ["c", "d", "e"]),
    "found also d and 1 more",
  ),
  "two parts have a name": (rewritten(PARTS[1], ["a", "c"]), "found also a,"),
  "names are swapped": (placed(a=PARTS[1]), "found no a, expected"),
  "above": (placed(c=f"../{PARTS[1]}"), ONE_OF),
  "absolute": (placed(c="/etc/passwd.bin"), ONE_OF),
  "of Windows": (placed(c="..\\x.bin"), ONE_OF),
  "zero byte": (placed(c="a\0.bin"), ONE_OF),
  "no name": (placed(c=""), ONE_OF),
  "no weights": (placed(c="model.py"), ONE_OF),
  "itself": (placed(c=INDEX), ONE_OF),
  "a number": (placed(c=3), ONE_OF),
  "a list": (placed(c=[PARTS[1]]), ONE_OF),
  "twice": (
    written('{"weight_map": {"a": "a.bin", "a": "b.bin"}}'),
    "found the name a twice",
  ),
  "two maps": (
    written('{"weight_map": {}, "weight_map": {"a": "a.bin"}}'),
    "found the name weight_map twice",
  ),
  "an empty map": (written('{"weight_map": {}}'), "found no weight_map"),
  "another map": (written('{"weight_map": ["a.bin"]}'), "found no weight_map"),
  "many parts": (
    written(
      json.dumps({"weight_map": {f"{i}": f"{i}.bin" for i in range(1001)}})
    ),
    "found 1001 files in the index",
  ),
}


@pytest.mark.parametrize("damage", SHARDS)
def test_parts_that_are_not_what_the_index_says(tmp_path, damage):
  change, told = SHARDS[damage]
  path = tmp_path / "weights" / INDEX
  path.parent.mkdir()
  sharded(path)
  assert len(weights_file.read(path).tensors) == len(PLACES)
  change(path.parent)
  for read in (weights_file.read, weights_file.scan, describe.describe):
    with pytest.raises(errors.InputError, match=told) as error:
      read(path)
    message = str(error.value)
    assert message.startswith(f"{path}: ")
    assert message.isprintable()
