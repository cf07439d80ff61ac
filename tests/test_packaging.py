"""What `pip install .` brings: the package, its configs and its commands."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SETUP = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_every_package_is_installed():
  folders = {p.parent for p in (ROOT / "asd_jax").rglob("*.py")}
  names = {".".join(p.relative_to(ROOT).parts) for p in folders}
  inside = {"asd_jax.configs", "asd_jax.scripts"}
  assert set(SETUP["tool"]["setuptools"]["packages"]) == names | inside


def command(*args, cwd, path, **env):
  """The console command in a process of its own."""
  env = {**os.environ, "PYTHONPATH": str(path), **env}
  return subprocess.run(
    [sys.executable, "-m", "asd_jax", *map(str, args)],
    cwd=cwd,
    env=env,
    capture_output=True,
    check=False,
    text=True,
  )


def test_the_command_names_what_it_can_do(tmp_path):
  end = command("--help", cwd=tmp_path, path=ROOT)
  assert end.returncode == 0, end.stderr
  for path in (ROOT / "scripts").glob("*.py"):
    assert f"  {path.stem} " in end.stdout
  assert "  convert  " in end.stdout


@pytest.mark.parametrize("args", [[], ["fly"]])
def test_an_unknown_command_is_one_line_and_status_2(tmp_path, args):
  end = command(*args, cwd=tmp_path, path=ROOT)
  assert (end.returncode, end.stdout) == (2, "")
  (line,) = end.stderr.splitlines()
  assert "evaluate" in line


def test_a_config_is_found_by_its_bare_name(tmp_path):
  """Far enough to know it was loaded: the data folder is refused."""
  flags = ["--config.data_dir=nowhere", "--config.output_dir=out"]
  for name in ("plain_knn", "configs/plain_knn.py"):
    end = command(
      "evaluate", f"--config={name}", *flags, cwd=tmp_path, path=ROOT
    )
    assert end.returncode == 2, end.stderr
    (line,) = end.stderr.splitlines()
    assert "nowhere" in line
    assert "plain_knn" not in line
  end = command("evaluate", "--config", "plain_kn", cwd=tmp_path, path=ROOT)
  (line,) = end.stderr.splitlines()
  assert "found no file 'plain_kn'" in line
  assert "plain_knn" in line


def test_a_config_of_ones_own_builds_on_ours(tmp_path):
  """`from configs import common` resolves from any folder."""
  (tmp_path / "mine.py").write_text(
    "from configs import plain_knn\n"
    "def get_config(arg=''):\n"
    "  c = plain_knn.get_config(arg)\n"
    "  c.data_dir = 'nowhere_at_all'\n"
    "  c.output_dir = 'out'\n"
    "  return c\n"
  )
  end = command("evaluate", "--config=mine.py", cwd=tmp_path, path=ROOT)
  assert end.returncode == 2, end.stderr
  assert "nowhere_at_all" in end.stderr


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
  """A folder with the built wheel unpacked, as site-packages has it."""
  top = tmp_path_factory.mktemp("wheel")
  source = top / "source"  # a build leaves folders behind
  for name in ("asd_jax", "configs", "scripts"):
    shutil.copytree(ROOT / name, source / name)
  for name in ("pyproject.toml", "requirements.txt", "README.md", "LICENSE"):
    shutil.copy(ROOT / name, source)
  pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
  build = ["wheel", "--no-deps", "-w", top, source]
  subprocess.run([*pip, *map(str, build)], check=True)
  (wheel,) = top.glob("*.whl")
  put = ["install", "--no-deps", "--target", top / "site", wheel]
  subprocess.run([*pip, *map(str, put)], check=True)
  return top / "site"


@pytest.mark.full
def test_a_wheel_runs_without_the_repository(installed, tmp_path):
  assert not (installed / "configs").exists()
  assert not (installed / "scripts").exists()
  assert (installed / "asd_jax" / "py.typed").is_file()
  assert (installed / "bin" / "asd_jax").is_file()
  end = command("--help", cwd=tmp_path, path=installed)
  assert "  evaluate " in end.stdout, end.stderr
  end = command("evaluate", "--help", cwd=tmp_path, path=installed)
  assert "asd_jax evaluate --config" in end.stdout, end.stderr
  end = command(
    "evaluate",
    "--config=plain_knn:smoke",
    "--config.output_dir=out",
    cwd=tmp_path,
    path=installed,
  )
  assert end.returncode == 0, end.stderr
  assert (tmp_path / "out" / "results.json").is_file()
  clip = next((tmp_path / "out").rglob("*.wav"))
  detector = tmp_path / "out" / "detectors" / "fan"
  end = command(
    "score", f"--detector={detector}", clip, cwd=tmp_path, path=installed
  )
  assert end.returncode == 0, end.stderr
  assert end.stdout.startswith("file,score,decision,p_value\n")
