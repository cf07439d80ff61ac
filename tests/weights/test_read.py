"""Weight files: every layout reads exactly, every array stands alone."""

import itertools
import json
import os
import struct

import ml_dtypes
import numpy as np
import pytest

from asd_jax.weights import read as weights_file
from asd_jax.weights.restricted_pickle import Placeholder
from tests.conftest import GOLDENS
from tests.weights import stand_ins
from tests.weights import torch_bytes as made

FOLDER = GOLDENS / "checkpoints"
FILES = json.loads((FOLDER / "expected.json").read_text())["files"]
LAYOUTS = [name for name, about in FILES.items() if "npz" in about]
ONE = np.array([3.5], np.float32).tobytes()


def stored_type(array):
  """The type under which the expected numbers are kept."""
  return "float32" if array.dtype == ml_dtypes.bfloat16 else array.dtype.name


def widened(array):
  return array.astype(stored_type(array))


@pytest.mark.golden
@pytest.mark.parametrize("name", FILES)
def test_a_file_gives_its_weights(name):
  about = FILES[name]
  weights = weights_file.read(FOLDER / name)
  told = about["container"].replace("legacy", "torch legacy")
  assert told.startswith(weights.container)
  in_model = about["weights_at"].startswith("model")
  assert weights.entry == ("model" if in_model else "")
  if "top_level" in about:
    top = {*weights.beside, weights.entry}
    assert top == set(about["top_level"])
  assert len(weights.tensors) == about["tensors_in_weights_mapping"]
  dtypes = [stored_type(a) for a in weights.tensors.values()]
  assert {d: dtypes.count(d) for d in dtypes} == about["dtypes_as_read"]
  check = about["check_tensor"]
  array = weights.tensors[check["name"]]
  assert list(array.shape) == check["shape"]
  assert array.dtype.name == check["dtype"]
  assert array.astype(np.float64).sum() == check["sum_float64"]
  assert np.abs(array.astype(np.float64)).sum() == check["abs_sum_float64"]
  total = 0.0
  for array in weights.tensors.values():
    wide = array.astype("complex128" if array.dtype.kind == "c" else "float64")
    total += np.abs(wide[np.isfinite(wide)]).sum()
  assert total == pytest.approx(about["abs_sum_all_weights_float64"], rel=1e-9)


@pytest.mark.golden
@pytest.mark.parametrize("name", FILES)
def test_scan_finds_all_tensors_of_a_file(name):
  found = weights_file.scan(FOLDER / name)
  assert len(found.tensors) == FILES[name]["tensors_in_file"]
  arrays = stand_ins.read_all(FOLDER / name)
  for place, tensor in found.tensors.items():
    assert arrays[place].shape == tensor.shape
    assert arrays[place].dtype == tensor.dtype


@pytest.mark.golden
@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts_read_bit_for_bit(name, golden):
  expected = golden(f"checkpoints/{FILES[name]['npz'].removesuffix('.npz')}")
  arrays = stand_ins.read_all(FOLDER / name)
  arrays = {place.removeprefix("model/"): a for place, a in arrays.items()}
  assert set(arrays) <= set(expected.files)
  if len(arrays) >= FILES[name]["tensors_in_weights_mapping"] + 2:
    assert set(arrays) == set(expected.files)
  for place, array in arrays.items():
    want = expected[place]
    assert stored_type(array) == want.dtype.name, place
    assert array.shape == want.shape, place
    assert widened(array).tobytes() == want.tobytes(), place
    if place.startswith("bf16"):
      assert array.dtype == ml_dtypes.bfloat16


@pytest.mark.golden
@pytest.mark.parametrize("name", [*LAYOUTS, "beats_finetuned.pt"])
def test_arrays_stand_alone(name):
  arrays = stand_ins.read_all(FOLDER / name)
  for array in arrays.values():
    assert array.flags.writeable
    assert array.flags.c_contiguous
    assert array.dtype.isnative
  for a, b in itertools.combinations(arrays.values(), 2):
    assert not np.shares_memory(a, b)
  before = (FOLDER / name).read_bytes()
  for array in arrays.values():
    array[...] = 1
  assert (FOLDER / name).read_bytes() == before


@pytest.mark.golden
@pytest.mark.parametrize(
  "name", [n for n in FILES if not n.startswith(("layouts", "legacy"))]
)
def test_weights_are_the_golden_ones(name, golden):
  about = FILES[name]
  if "golden" not in about:
    pytest.skip("holds a model without reference")
  z = golden(f"encoders/{about['golden']}")
  tensors = weights_file.read(FOLDER / name).tensors
  if name.endswith(".safetensors"):
    # Names of hub files are another family's business: compare values.
    pool = {z[k].tobytes() for k in z.files if k.startswith("param")}
    same = [a.tobytes() in pool for a in tensors.values()]
    ignored = len(about.get("ignore", []))
    assert sum(same) >= len(same) - ignored
    return
  prefix = about.get("strip_prefix", "")
  compared = 0
  for key, array in tensors.items():
    place = f"param/{key.removeprefix(prefix)}"
    if place in z.files:
      want = z[place].astype(array.dtype)
      np.testing.assert_array_equal(array, want, err_msg=key, strict=True)
      compared += 1
  assert compared


@pytest.mark.golden
def test_settings_beside_the_weights_are_plain_values():
  about = FILES["beats.pt"]
  assert weights_file.read(FOLDER / "beats.pt").beside["cfg"] == about["config"]
  found = weights_file.read(FOLDER / "dasheng.pt").beside["config"]
  about = FILES["dasheng.pt"]["config"]
  assert [found[k] for k in ("depth", "embed_dim")] == [
    about[k] for k in ("depth", "embed_dim")
  ]
  meta = weights_file.read(FOLDER / "layouts.pt").beside["meta"]
  assert 2**70 in meta.values()
  assert not meta["text"].isascii()


@pytest.mark.golden
def test_objects_beside_the_weights_become_placeholders():
  inert = ("argparse.Namespace", "omegaconf.dictconfig.DictConfig")
  seen = set()
  for name, about in FILES.items():
    if set(inert) & set(about.get("pickle_globals", [])):
      beside = weights_file.read(FOLDER / name).beside
      found = [v for v in beside.values() if isinstance(v, Placeholder)]
      assert found, name
      seen |= {v.name for v in found}
  assert seen == set(inert)


@pytest.mark.golden
def test_a_second_copy_of_the_weights_is_named_and_not_read():
  for name in ("eat.pt", "sslam.pt"):
    weights = weights_file.read(FOLDER / name)
    assert weights.others == ("_ema",)
    every = stand_ins.read_all(FOLDER / name)
    shared = [k for k in weights.tensors if f"model/_ema/{k}" in every]
    assert shared
    for key in shared:
      same = np.array_equal(weights.tensors[key], every[f"model/_ema/{key}"])
      assert not same or not np.any(weights.tensors[key]), key


def one(path, **items):
  value = made.tensor(made.storage(count=1), [1])
  items = {"model": made.mapping(w=value), **items}
  return made.write_zip(path, made.mapping(**items), data=[("0", ONE)])


def test_a_made_file_reads(tmp_path):
  weights = weights_file.read(one(tmp_path / "a.pt"))
  np.testing.assert_array_equal(weights.tensors["w"], np.float32([3.5]))
  value = made.tensor(made.storage(count=1, legacy=True), [1])
  path = made.write_legacy(
    tmp_path / "b.pt", made.mapping(w=value), data=[("0", 1, ONE)]
  )
  weights = weights_file.read(path)
  assert weights.container == "torch legacy"
  np.testing.assert_array_equal(weights.tensors["w"], np.float32([3.5]))


def test_the_kind_is_told_from_the_content(tmp_path):
  for name in ("a.bin", "a.safetensors", "no_ending"):
    assert weights_file.read(one(tmp_path / name)).container == "torch zip"


def test_links_are_followed(tmp_path):
  one(tmp_path / "blob")
  link = tmp_path / "model.pt"
  link.symlink_to(tmp_path / "blob")
  assert list(weights_file.read(link).tensors) == ["w"]


def test_the_user_may_add_names_that_are_left_out(tmp_path):
  phase = made.named("my.training", "Phase") + made.sizes([1]) + b"R"
  path = one(tmp_path / "a.pt", phase=phase)
  with pytest.raises(weights_file.WeightsFileError, match=r"my\.training\.Ph"):
    weights_file.read(path)
  weights = weights_file.read(path, placeholders=["my.training.Phase"])
  assert weights.beside["phase"].name == "my.training.Phase"
  with pytest.raises(weights_file.WeightsFileError, match="module.name"):
    weights_file.read(path, placeholders=["Phase"])
  with pytest.raises(weights_file.WeightsFileError, match="Phase"):
    weights_file.read(path, placeholders=["my.training.Phases"])


def test_newer_pickle_protocols_read(tmp_path):
  # FRAME, SHORT_BINUNICODE, MEMOIZE and STACK_GLOBAL.
  short = lambda s: b"\x8c" + bytes([len(s)]) + s.encode() + b"\x94"
  ordered = short("collections") + short("OrderedDict") + b"\x93)R"
  note = b"\x95" + struct.pack("<Q", 9) + ordered
  weights = weights_file.read(one(tmp_path / "a.pt", note=note))
  assert weights.beside["note"] == {}


@pytest.mark.parametrize(
  "names", [["w", "b"], ["b", "w"]], ids=["in order", "reordered"]
)
def test_safetensors_in_any_header_order(tmp_path, names):
  places = {"w": [0, 4], "b": [4, 6]}
  kinds = {"w": ("F32", [1]), "b": ("BF16", [1])}
  header = {
    n: {"dtype": kinds[n][0], "shape": kinds[n][1], "data_offsets": places[n]}
    for n in names
  }
  raw = json.dumps(header).encode().ljust(160)
  path = tmp_path / "a.safetensors"
  path.write_bytes(struct.pack("<Q", len(raw)) + raw + ONE + b"\x80\x3f")
  tensors = weights_file.read(path).tensors
  assert list(tensors) == names
  assert tensors["w"] == np.float32(3.5)
  assert tensors["b"] == ml_dtypes.bfloat16(1.0)


def test_a_name_that_is_not_utf_8_is_no_trouble(tmp_path):
  path = os.path.join(os.fsencode(tmp_path), b"caf\xe9.pt")
  with pytest.raises(weights_file.WeightsFileError, match="no readable file"):
    weights_file.read(os.fsdecode(path))
