"""What the page on extending shows works, as a user would run it."""

import ast
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import quick
from tests.scripts.conftest import call

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "extending.md").read_text()
CODE = dict(re.findall(r"```python\n# (\w+\.py)\n(.*?)```", PAGE, re.DOTALL))
COMMANDS = re.findall(r"^python (scripts/.*)$", PAGE, re.MULTILINE)


def write_code(folder):
  folder.mkdir(exist_ok=True)
  for name, text in CODE.items():
    (folder / name).write_text(text)
  return folder


@pytest.fixture
def start(monkeypatch):
  """Runs a command of the page in this process, from a folder."""

  def begin(command, folder):
    with monkeypatch.context() as patch:
      patch.chdir(folder)
      patch.setattr(sys, "path", [*sys.path])
      script, *args = command.split()
      end = call(Path(script).name, *args)
    for name in CODE:  # what another folder holds is another module
      sys.modules.pop(Path(name).stem, None)
    return end

  return begin


def start_process(command, folder):
  """Runs a command of the page as a user does."""
  script, *args = command.split()
  env = {**quick.environment(), "JAX_PLATFORMS": "cpu"}
  return subprocess.run(
    [sys.executable, ROOT / script, *args],
    cwd=folder,
    env=env,
    capture_output=True,
    text=True,
    check=False,
  )


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
  """A folder with the page's code, its first command run."""
  folder = write_code(tmp_path_factory.mktemp("own") / "user")
  end = start_process(COMMANDS[0], folder)
  assert end.returncode == 0, end.stderr
  assert "official score" in end.stdout
  return folder


def test_the_page_shows_a_stage_file_and_a_system_in_forty_lines():
  own = ["my_stages.py", "my_system.py"]
  assert list(CODE) == [*own, "test_my_stages.py", "tenth_family.py"]
  lines = [n for f in own for n in CODE[f].splitlines() if n.strip()]
  assert len(lines) < 40
  assert len(COMMANDS) == 2


def test_the_page_shows_the_family_that_the_encoders_tests_run():
  file = ROOT / "tests" / "encoders" / "tenth_family.py"
  assert CODE[file.name] == file.read_text()


@pytest.mark.slow
def test_a_saved_detector_of_own_stages_scores_as_it_was_evaluated(
  evaluated, start
):
  end = start(COMMANDS[1], evaluated)
  assert end.status == 0, end.err
  known = (evaluated / "OUT" / "scores" / "fan.csv").read_text().splitlines()
  found = end.out.splitlines()
  assert len(found) == len(known) > 4
  assert {Path(line).name for line in found} == set(known)


@pytest.mark.slow
def test_the_settings_of_own_stages_arrive_and_move_the_scores(
  evaluated, start
):
  index = evaluated / "OUT" / "detectors" / "fan" / "detector.json"
  config = json.loads(index.read_text())["config"]
  assert config["branches"]["mine"]["pooling"] == {
    "name": "my_stages:upper_quantile",
    "share": 0.8,
  }
  other = " --config.branches.mine.backend.bandwidth=40"
  other += f" --config.data_dir={evaluated / 'OUT' / 'synthetic'}"
  end = start(COMMANDS[0].replace("=OUT", "=OTHER") + other, evaluated)
  assert end.status == 0, end.err
  scores = [evaluated / out / "scores" / "fan.csv" for out in ("OUT", "OTHER")]
  first, second = (file.read_text().splitlines() for file in scores)
  names = lambda lines: [line.split(",")[0] for line in lines]
  assert names(first) == names(second)
  assert first != second


@pytest.mark.slow
def test_a_moved_detector_finds_its_module_in_the_working_directory(
  evaluated, start, tmp_path
):
  detector = shutil.copytree(
    evaluated / "OUT" / "detectors" / "fan", tmp_path / "fan"
  )
  index = detector / "detector.json"
  clips = evaluated / "OUT" / "synthetic" / "fan" / "test"
  command = f"scripts/score.py --detector={detector} {clips}"
  line = start(command, tmp_path).refused()
  assert "'my_stages'" in line
  assert str(index) in line
  write_code(tmp_path)
  end = start(command, tmp_path)
  assert end.status == 0, end.err


@pytest.mark.slow
@pytest.mark.parametrize(
  ("before", "after", "words"),
  [
    ("my_stages:density", "my_stagse:density", "a module 'my_stagse'"),
    ("my_stages:density", "my_stages:densty", "a function 'densty'"),
    ("my_stages:density", ":density", "a module ''"),
    ("bandwidth=20.0", "width=20.0", "['bandwidth']"),
  ],
)
def test_what_cannot_be_found_is_named_before_any_data_is_read(
  start, tmp_path, before, after, words
):
  write_code(tmp_path)
  system = tmp_path / "my_system.py"
  system.write_text(CODE["my_system.py"].replace(before, after))
  line = start(COMMANDS[0], tmp_path).refused()
  assert words in line
  assert not (tmp_path / "OUT").exists()


def test_the_code_of_the_page_is_formatted_and_typed():
  for name, text in CODE.items():
    tree = ast.parse(text, name)
    functions = [n for n in tree.body if isinstance(n, ast.FunctionDef)]
    assert functions
    assert all(len(line) <= 80 for line in text.splitlines())


def test_the_tests_that_the_page_shows_pass(tmp_path, monkeypatch):
  monkeypatch.syspath_prepend(write_code(tmp_path / "user"))
  shown = {}
  exec(CODE["test_my_stages.py"], shown)  # noqa: S102
  found = [fn for name, fn in shown.items() if name.startswith("test_")]
  assert len(found) == 2
  for fn in found:
    fn()
  sys.modules.pop("my_stages")
