"""Files made to harm are refused: nothing runs, nothing is written."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from asd_jax.weights import read as weights_file
from asd_jax.weights import restricted_pickle
from asd_jax.weights.read import WeightsFileError
from tests.conftest import GOLDENS
from tests.weights import torch_bytes as made

FOLDER = GOLDENS / "checkpoints"
EXPECTED = json.loads((FOLDER / "expected.json").read_text())
HOSTILE = EXPECTED["hostile"]
SPARE_BYTES = 100 << 20
SECONDS = 5.0
CHILD = Path(__file__).parent / "hostile_child.py"
ONE = np.array([3.5], np.float32).tobytes()


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
  """What became of each hostile file in a process of its own."""
  folder = tmp_path_factory.mktemp("hostile")
  paths = [str(FOLDER / "hostile" / name) for name in HOSTILE]
  end = subprocess.run(
    [sys.executable, CHILD, folder, str(SPARE_BYTES), *paths],
    capture_output=True,
    check=False,
    env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
  )
  assert end.returncode == 0, end.stderr.decode()
  lines = [json.loads(line) for line in end.stdout.splitlines()]
  left = [p for p in folder.rglob("*") if not p.is_dir()]
  return {Path(line["path"]).name: line for line in lines}, left


@pytest.mark.golden
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused(name, outcomes):
  end = outcomes[0][name]
  assert end["status"] == 0, end
  may_read = HOSTILE[name]["expect"] == "refuse_or_read"
  wanted = ("WeightsFileError", "") if may_read else ("WeightsFileError",)
  assert end["error"] in wanted, end
  if end["error"]:
    assert name in end["message"]
    assert "expected" in end["message"]
    assert "found" in end["message"]
    assert len(end["message"].splitlines()) == 1
  assert end["bytes"] < SPARE_BYTES
  assert end["seconds"] < SECONDS
  assert set(end["imported"]) <= {"_strptime"}, end["imported"]


@pytest.mark.golden
def test_hostile_files_write_nothing(outcomes):
  assert outcomes[1] == []
  assert len(outcomes[0]) == len(HOSTILE)


@pytest.mark.golden
@pytest.mark.parametrize(
  ("name", "told"),
  [
    ("evil_os_system.pt", "posix.system"),
    ("evil_inside_namespace.pt", "posix.system"),
    ("evil_builtins_exec_proto4.pt", "builtins.exec"),
    ("unknown_storage_type.pt", "torch.QUInt8Storage"),
    ("pointer_file.pt", "the download is incomplete"),
    ("torchscript.pt", "TorchScript"),
    ("not_a_zip.pt", "a web page"),
    ("zip_two_prefixes.pt", "2 entries"),
    ("bad_crc.pt", "checksum"),
  ],
)
def test_the_reason_is_told(name, told, outcomes):
  assert told in outcomes[0][name]["message"]


@pytest.mark.golden
def test_a_hostile_file_leaves_the_reader_as_it_was(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  before = weights_file.read(FOLDER / "beats.pt").tensors
  for name in HOSTILE:
    try:
      weights_file.read(FOLDER / "hostile" / name)
    except WeightsFileError:
      continue
    assert HOSTILE[name]["expect"] == "refuse_or_read", name
  after = weights_file.read(FOLDER / "beats.pt").tensors
  assert list(before) == list(after)
  for name, array in before.items():
    np.testing.assert_array_equal(array, after[name], strict=True)
  assert not list(tmp_path.iterdir())


@pytest.mark.golden
@pytest.mark.parametrize(
  "name", ["layouts.pt", "legacy.pt", "layouts.safetensors"]
)
def test_every_cut_is_refused(name, tmp_path):
  raw = (FOLDER / name).read_bytes()
  path = tmp_path / name
  for size in np.unique(np.linspace(0, len(raw) - 1, 40).astype(int)):
    path.write_bytes(raw[:size])
    with pytest.raises(WeightsFileError):
      weights_file.read(path)


@pytest.mark.golden
@pytest.mark.parametrize(
  "name", ["layouts.pt", "legacy.pt", "layouts.safetensors"]
)
def test_flipped_bytes_end_in_our_error_or_in_arrays(name, tmp_path):
  raw = (FOLDER / name).read_bytes()
  rng = np.random.default_rng(0)
  path = tmp_path / name
  refusals = 0
  for _ in range(120):
    changed = bytearray(raw)
    for at in rng.integers(len(raw), size=rng.integers(1, 4)):
      changed[at] = rng.integers(256)
    path.write_bytes(changed)
    try:
      weights_file.read(path)
    except WeightsFileError:
      refusals += 1
  assert refusals


def test_random_opcodes_end_in_our_error(tmp_path):
  rng = np.random.default_rng(1)
  opcodes = b"".join(restricted_pickle._OPCODES)
  path = tmp_path / "a.pt"
  for _ in range(300):
    picks = rng.integers(len(opcodes), size=rng.integers(1, 60))
    made.write_zip(path, bytes(opcodes[i] for i in picks))
    with pytest.raises(WeightsFileError):
      weights_file.read(path)
