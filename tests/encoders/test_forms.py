"""Weight files as people have them: wrapped, averaged, in several files."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

from asd_jax import errors
from asd_jax.encoders import convert, describe, family, load, zoo
from asd_jax.weights import hub
from asd_jax.weights import read as weights_file
from tests.encoders import tenth_family
from tests.weights import torch_bytes as made

FAMILY = tenth_family.FAMILY
RNG = np.random.default_rng(0)
PLAIN = {
  name: RNG.normal(size=shape).astype(np.float32)
  for name, shape in {
    "cls": (1, 4),
    "embed.weight": (4, 8),
    "embed.bias": (4,),
    "layers.0.weight": (4, 4),
    "layers.0.bias": (4,),
    "layers.1.weight": (4, 4),
    "layers.1.bias": (4,),
  }.items()
}
AVERAGE = {name: value + 1 for name, value in PLAIN.items()}
HEAD = {"head.weight": np.ones((2, 4), np.float32)}
OPTIMIZER = [{"state": {0: {"exp_avg": PLAIN["embed.weight"]}}}]


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
  """Runs in an empty folder; the family is one of the zoo."""
  monkeypatch.chdir(tmp_path)
  monkeypatch.setitem(zoo.FAMILIES, FAMILY.name, FAMILY)


def under(prefix, weights=PLAIN):
  return {prefix + name: value for name, value in weights.items()}


def saved(value, name="a.pt"):
  return made.save(Path(name), value)


def read(path, copy=""):
  return convert.read_official(Path(path), FAMILY, copy=copy)


def is_of(found, weights):
  kernel = found.params["layer_1"]["kernel"]
  np.testing.assert_array_equal(kernel, weights["layers.1.weight"].T)
  same = np.array_equal(found.params["cls"], weights["cls"])
  return same and found.settings == FAMILY.sizes["smoke"]


SHARED = {n.replace("0.", "0._fsdp_wrapped_module."): PLAIN[n] for n in PLAIN}
FORMS = {
  "plain": (PLAIN, ()),
  "entry": ({"model": PLAIN, "epoch": 3}, ()),
  "DataParallel": ({"model": under("module.")}, ("begin with module.",)),
  "compiled": (under("_orig_mod."), ("took _orig_mod. out",)),
  "both": (
    under("module._orig_mod."),
    ("took _orig_mod. out of the names", "begin with module."),
  ),
  "inner": ({"model": SHARED}, ("took _fsdp_wrapped_module. out",)),
  "Lightning": (
    {
      "state_dict": under("model.") | HEAD,
      "optimizer_states": OPTIMIZER,
      "hyper_parameters": {"lr": 0.1},
    },
    ("the entry state_dict", "begin with model.", "left out: head.weight"),
  ),
  "any name": (under("net.backbone."), ("begin with net.backbone.",)),
  "in an entry": (
    {"model": {"state_dict": PLAIN, "depth": 3}},
    ("the entry model/state_dict",),
  ),
  "in a list": ({"step": 1, "parts": [PLAIN]}, ("the entry parts/0",)),
  "odd entry": (
    {"net_g": PLAIN, "optimizer": {"exp_avg": PLAIN["cls"]}},
    ("the entry net_g",),
  ),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_wrapped_file_is_read_and_it_is_said(form):
  value, said = FORMS[form]
  found = read(saved(value))
  assert is_of(found, PLAIN)
  assert len(found.notes) == len(said)
  for note, text in zip(found.notes, said, strict=True):
    assert text in note


AVERAGES = {
  "entry": ({"model": PLAIN, "model_ema": AVERAGE}, "model_ema"),
  "of Lightning": (
    {"state_dict": under("model.") | under("ema_model.", AVERAGE)},
    "state_dict/ema_model.",
  ),
  "nested": ({"model": {**PLAIN, "_ema": AVERAGE}}, "model/_ema"),
  "of names": (PLAIN | under("teacher.", AVERAGE), "teacher."),
  "wrapped": (
    {"net": PLAIN, "swa_state": under("module.", AVERAGE) | HEAD},
    "swa_state",
  ),
}


@pytest.mark.parametrize("form", AVERAGES)
def test_an_average_is_named_and_taken_when_it_is_asked_for(form):
  value, copy = AVERAGES[form]
  path = saved(value)
  found = read(path)
  assert is_of(found, PLAIN)
  assert copy.rpartition("/")[2] in " ".join(found.notes)
  assert is_of(read(path, copy), AVERAGE)
  out = convert.convert(path, FAMILY, Path("out"), copy=copy)
  notes = json.loads((out / "encoder.json").read_text())["notes"]
  assert notes or form == "nested"


def test_an_average_that_is_alone_is_taken():
  assert is_of(read(saved({"ema": AVERAGE, "step": 3})), AVERAGE)
  assert is_of(read(saved(under("ema_model.", AVERAGE))), AVERAGE)


@pytest.mark.parametrize(
  ("value", "copy", "told"),
  [
    ({"gen": PLAIN, "other": AVERAGE}, "", "in several entries (gen: 7, other"),
    (under("a.") | under("b."), "", "more than once, under a., b., expected"),
    ({"model": PLAIN}, "model_ema", "named 'model_ema', expected one of model"),
    ({"model": PLAIN}, "model/x.", "named 'model/x.'"),
    ({"state_dict": {"a": 1}}, "", "found no tensor in the file"),
    ({"model": PLAIN | {"cls": PLAIN["cls"].astype(np.int8)}}, "", "type int8"),
    (PLAIN | under("_orig_mod."), "", "found cls twice, expected it once"),
    (
      PLAIN | {"embed.bias": np.ones(0, np.float32)},
      "",
      "found other shapes: embed.bias [0] for [4]",
    ),
    (under("module.", {"x": PLAIN["cls"]}), "", "an unknown model (module.x)"),
    (
      {"layers.99999999.bias": PLAIN["cls"], **PLAIN},
      "",
      "found block 99999999 among 8 weights",
    ),
  ],
)
def test_what_cannot_be_told_is_one_line(value, copy, told):
  path = saved(value)
  with pytest.raises(errors.InputError) as error:
    read(path, copy)
  message = str(error.value)
  assert message.startswith(f"{path}: found")
  assert told in message
  assert len(message.splitlines()) == 1


def test_sizes_that_make_no_network():
  image = "modality_encoders.IMAGE."
  shapes = {
    # A table of sines needs four equal parts.
    f"{image}local_encoder.proj.bias": (18,),
    f"{image}fixed_positional_encoder.positions": (1, 64, 18),
  }
  tensors = {n: np.zeros(s, np.float32) for n, s in shapes.items()}
  with pytest.raises(errors.InputError, match="make no network .width 18, "):
    family.port(zoo.FAMILIES["eat"], tensors, {})


def shards(suffix="safetensors"):
  """Weights in two files with their index."""
  files = [f"model-{i:05d}-of-00002.{suffix}" for i in (1, 2)]
  names = list(PLAIN)
  for file, some in zip(files, (names[:4], names[4:]), strict=True):
    part = {n: PLAIN[n] for n in some}
    if suffix == "bin":
      saved(part, file)
    else:
      save_file(part, file)
  places = {n: files[i >= 4] for i, n in enumerate(names)}
  index = Path(f"model.{suffix}.index.json")
  # Real files have wrong sizes there.
  about = {"metadata": {"total_size": 1}, "weight_map": places}
  index.write_text(json.dumps(about))
  return index


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_weights_in_several_files(suffix):
  index = shards(suffix)
  found = read(index)
  assert is_of(found, PLAIN)
  assert found.notes == ()
  for wrong in index.parent.glob("model-*"):
    with pytest.raises(errors.InputError, match=f"give {index.name}"):
      read(wrong)


def test_a_folder_of_several_files():
  index = shards()
  encoder = FAMILY(size="smoke")
  found = load.from_files({"a": (encoder, ".")}, folder=Path())["a"]
  np.testing.assert_array_equal(found.params["cls"], PLAIN["cls"])
  out = convert.convert(".", FAMILY, Path("out"))
  wanted = {"a": (encoder, str(out))}
  assert load.from_files(wanted, folder=Path())["a"].digest == found.digest
  index.unlink()
  with pytest.raises(errors.InputError, match="whose index is missing"):
    convert.convert(".", FAMILY, Path("other"))


def test_what_was_taken_is_a_note_of_the_run():
  path = saved({"model": under("module.")})
  wanted = {"a": (FAMILY(size="smoke"), str(path))}
  (note,) = load.from_files(wanted, folder=Path())["a"].notes
  assert note.startswith(f"weights {path}: took the 7 weights whose names")


def told(path, **settings):
  return "\n".join(describe.describe(path, **settings))


def test_a_description_names_the_family_and_the_copies():
  path = saved({"model": under("module."), "model_ema": AVERAGE, "lr": 0.1})
  text = told(path)
  assert "torch zip, weights in entry 'model': 7 tensors, 80 numbers" in text
  assert "has all of The tenth, smoke (width 4, depth 2, num_heads 1)" in text
  assert "took the 7 weights whose names begin with module." in text
  assert "--copy=NAME: model_ema (7 tensors)" in text
  assert "beside the weights: model_ema, lr" in text
  assert "entry 'model_ema'" in told(path, copy="model_ema")
  index = shards()
  for given in (index, Path()):
    assert "2 files (safetensors)" in told(given)
    assert "has all of The tenth" in told(given)


def test_a_description_says_what_is_missing():
  some = {n: v for n, v in PLAIN.items() if "1" not in n}
  text = told(saved(under("module.", some) | HEAD))
  assert "has all of The tenth, no published size" in text  # of one layer
  some.pop("cls")
  text = told(saved(under("module.", some | HEAD)))
  assert "not The tenth, which knows 4 of 5 names" in text
  assert "names under module.: missing cls; expected all 5 parameters" in text
  text = told(saved(PLAIN | HEAD))
  assert "found weights without a place: head.weight" in text
  text = told(saved(PLAIN | {"layers.1.bias": np.ones(5, np.float32)}))
  assert "found other shapes: layers.1.bias [5] for [4]" in text


@pytest.mark.parametrize(
  ("value", "lines"),
  [
    ([PLAIN["cls"], {"a": PLAIN["cls"]}], ["0", "1/a"]),
    ({"gen": PLAIN, "other": PLAIN}, ["gen/cls", "other/cls"]),
    ({"conv.x": PLAIN["cls"]}, ["conv.x"]),
    (PLAIN["cls"], [""]),
  ],
)
def test_any_file_with_tensors_is_described(value, lines):
  rows = [x for x in told(saved(value)).splitlines() if x[:2] == "  "]
  names = [row.split("float32")[0].strip() for row in rows]
  assert set(lines) <= set(names)
  assert all("[" in row for row in rows)


def test_a_description_without_a_family_says_so():
  text = told(saved({"conv.x": PLAIN["cls"]}))
  assert "no name is of a family here (BEATs, EAT" in text
  text = told(saved([PLAIN["cls"]]))
  assert "not taken as weights: found a list in the file" in text


def test_a_converted_folder_is_described():
  out = convert.convert(saved(PLAIN), FAMILY, Path("out"))
  assert "converted weights of The tenth (width 4" in told(out)


def test_eight_bit_floats_are_widened():
  header = {"w": dict(dtype="F8_E4M3", shape=[2], data_offsets=[0, 2])}
  raw = json.dumps(header).encode()
  path = Path("a.safetensors")
  path.write_bytes(len(raw).to_bytes(8, "little") + raw + b"\x38\xc0")
  value = weights_file.read(path).tensors["w"]
  np.testing.assert_array_equal(value.astype(np.float32), [1, -2])


def test_a_hub_folder_is_taken_like_a_file(monkeypatch):
  index = shards()
  monkeypatch.setattr(hub, "find", lambda repo, *, local_only: index)
  out = convert.convert("owner/name", FAMILY, Path("out"))
  about = json.loads((out / "encoder.json").read_text())
  assert about["source"] == "hub owner/name"
  found = load.from_files(
    {"a": (FAMILY(size="smoke"), "owner/name")}, folder=Path()
  )["a"]
  leaves = jax.tree.leaves(found.params)
  assert sum(x.size for x in leaves) == 80
