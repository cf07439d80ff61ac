"""What a user sees of weight files: names, or one line that says why not."""

import json

import numpy as np
import orbax.checkpoint as ocp
import pytest

from asd_jax import errors
from asd_jax.encoders import family
from tests.conftest import GOLDENS
from tests.weights import torch_bytes as made

FOLDER = GOLDENS / "checkpoints"
EXPECTED = json.loads((FOLDER / "expected.json").read_text())
SCRIPT = "convert_weights.py"
NUMBERS = np.arange(3, dtype=np.float32)


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
  """Runs below an empty folder."""
  folder = tmp_path / "a" / "b"
  folder.mkdir(parents=True)
  monkeypatch.chdir(folder)


def left(folder):
  return [p for p in folder.rglob("*") if not p.is_dir()]


def write(path, **items):
  value = made.tensor(made.storage(count=3), [3])
  names = {"time_pos_embed": value, "decoder.x": value}
  whole = made.mapping(model=made.mapping(**names), **items)
  return made.write_zip(path, whole, data=[("0", NUMBERS.tobytes())])


@pytest.mark.golden
@pytest.mark.parametrize("name", EXPECTED["files"])
def test_inspect_lists_every_weight(run, name):
  about = EXPECTED["files"][name]
  end = run(SCRIPT, "--inspect", FOLDER / name)
  assert end.status == 0, end.err
  lines = end.out.splitlines()
  count = about["tensors_in_weights_mapping"]
  assert f"{count} tensors" in lines[0]
  assert sum(line.startswith("  ") for line in lines) == count
  check = about["check_tensor"]
  (row,) = [line for line in lines if line.split()[0] == check["name"]]
  assert row.split(maxsplit=2)[1:] == [check["dtype"], str(check["shape"])]


@pytest.mark.golden
def test_inspect_names_what_is_not_read(run):
  end = run(SCRIPT, "--inspect", FOLDER / "eat.pt", FOLDER / "beats.pt")
  assert end.status == 0
  about = EXPECTED["files"]["eat.pt"]
  unread = about["tensors_in_file"] - about["tensors_in_weights_mapping"]
  assert "no tensor, not read: _ema" in end.out
  assert f"tensors elsewhere in the file, not read: {unread}" in end.out
  assert "looks like: EAT, SSLAM or FISHER" in end.out
  assert "looks like: BEATs" in end.out


@pytest.mark.golden
@pytest.mark.parametrize("name", EXPECTED["hostile"])
def test_a_hostile_file_is_one_line(run, name, tmp_path):
  path = FOLDER / "hostile" / name
  goal = ["--encoder=beats", f"--output={tmp_path / 'out'}"]
  for action in (["--inspect"], goal):
    end = run(SCRIPT, *action, path)
    if EXPECTED["hostile"][name]["expect"] == "refuse" or action == goal:
      assert str(path) in end.refused()
      assert not end.out
  assert not left(tmp_path)


@pytest.mark.golden
@pytest.mark.parametrize(
  ("name", "family", "told"),
  [
    ("beats_tokenizer.pt", "beats", "a BEATs tokenizer"),
    ("eat.pt", "beats", "found EAT"),
    ("beats.pt", "dasheng", "found BEATs"),
    ("ced.safetensors", "dasheng", "a CED encoder"),
    ("dasheng.pt", "dasher", "expected one of beats, eat"),
  ],
)
def test_another_model_is_told(run, name, family, told, tmp_path):
  out = tmp_path / "out"
  end = run(SCRIPT, f"--encoder={family}", f"--output={out}", FOLDER / name)
  assert told in end.refused()
  assert not left(tmp_path)


def port(known, tensors, beside):
  assert known.name == "dasheng"
  tree = {"embed": {"time": tensors["time_pos_embed"].astype(np.float16)}}
  return tree, {"depth": beside["depth"], "num_heads": None}


def test_a_conversion_writes_parameters(run, tmp_path, monkeypatch):
  monkeypatch.setattr(family, "port", port)
  path = write(tmp_path / "a.pt", depth=made.number(12))
  out = tmp_path / "new" / "out"
  arguments = ["--encoder=dasheng", f"--output={out}", f"--checkpoint={path}"]
  end = run(SCRIPT, *arguments)
  assert end.status == 0, end.err
  about = json.loads((out / "encoder.json").read_text())
  assert about["family"] == "dasheng"
  assert about["encoder"] == {"depth": 12, "num_heads": None}
  with ocp.StandardCheckpointer() as checkpointer:
    target = {"embed": {"time": np.zeros(3, np.float32)}}
    tree = checkpointer.restore(out / "params", target)
  np.testing.assert_array_equal(tree["embed"]["time"], NUMBERS)
  assert [p.name for p in out.parent.iterdir()] == ["out"]
  assert "already there" in run(SCRIPT, *arguments).refused()


def test_a_port_that_fails_writes_nothing(run, tmp_path, monkeypatch):
  def fails(known, tensors, beside):
    raise errors.InputError("found no depth, expected one.")

  monkeypatch.setattr(family, "port", fails)
  path = write(tmp_path / "a.pt")
  out = tmp_path / "new" / "out"
  end = run(SCRIPT, "--encoder=dasheng", f"--output={out}", path)
  assert end.refused() == f"{path}: found no depth, expected one."
  assert left(tmp_path) == [path]


def test_a_folder_that_cannot_be_made(run, tmp_path, monkeypatch):
  monkeypatch.setattr(family, "port", port)
  path = write(tmp_path / "a.pt", depth=made.number(12))
  end = run(SCRIPT, "--encoder=dasheng", f"--output={path}/out", path)
  assert "cannot be written" in end.refused()


def test_an_object_is_left_out_by_its_name(run, tmp_path):
  phase = made.named("my.training", "Phase") + made.sizes([1]) + b"R"
  path = write(tmp_path / "a.pt", phase=phase)
  assert "my.training.Phase" in run(SCRIPT, "--inspect", path).refused()
  end = run(SCRIPT, "--inspect", "--placeholder=my.training.Phase", path)
  assert end.status == 0
  assert "beside the weights: phase" in end.out


def test_control_characters_are_not_printed(run, tmp_path):
  value = made.tensor(made.storage(count=3), [3])
  path = tmp_path / "a.pt"
  name = "\x1b[31mred\n"
  made.write_zip(
    path, made.mapping(**{name: value}), data=[("0", NUMBERS.tobytes())]
  )
  end = run(SCRIPT, "--inspect", path)
  assert "\x1b" not in end.out
  assert r"\x1b[31mred\n" in end.out


@pytest.mark.parametrize(
  "arguments",
  [
    [],
    ["a.pt"],
    ["--inspect"],
    ["--encoder=eat", "a.pt"],
    ["--encoder=eat", "--output=out", "--inspect", "a.pt"],
    ["--encoder=eat", "--output=out", "a.pt", "b.pt"],
  ],
)
def test_wrong_flags(run, arguments):
  assert run(SCRIPT, *arguments).refused().startswith("flags: expected")


def test_in_a_process_of_its_own(spawn, tmp_path):
  path = write(tmp_path / "a.pt")
  path.write_bytes(path.read_bytes()[:-5])
  end = spawn(SCRIPT, "--inspect", path, cwd=tmp_path)
  assert "is the download complete?" in end.refused()
  assert left(tmp_path) == [path]


@pytest.mark.golden
@pytest.mark.slow
def test_a_full_disk_is_one_line_and_leaves_nothing(spawn, tmp_path):
  out = tmp_path / "converted"
  end = spawn(
    SCRIPT,
    "--encoder=eat",
    f"--checkpoint={FOLDER / 'eat.pt'}",
    f"--output={out}",
    largest_file=100_000,
  )
  assert f"{out}: cannot be written" in end.refused()
  assert not [p for p in left(tmp_path) if p.stat().st_size]
  assert not out.exists()
