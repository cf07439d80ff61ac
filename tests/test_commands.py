"""Every command that pages and `--help` print is one that works."""

import functools
import importlib
import importlib.util
import itertools
import re
import runpy
import shlex
import subprocess
import sys
import tomllib
from importlib import metadata
from unittest import mock

import pytest
from absl import flags

from asd_jax.engine import distil_config, settings
from asd_jax.runs import cli, commands, config_file, options
from asd_jax.runs.sweep import axis, grid
from tests.scripts.conftest import ROOT

_SPEC = importlib.util.spec_from_file_location(
  "run_docs", ROOT / "benchmarks" / "run_docs.py"
)
run_docs = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(run_docs)
SOURCES = sorted([*ROOT.glob("scripts/*.py"), *ROOT.glob("configs/*.py")])
BLOCKS = [c for page in run_docs.PAGES for c in run_docs.in_blocks(page)]
SPANS = [c for page in run_docs.PAGES for c in run_docs.in_spans(page)]
SHOWN = [c for path in SOURCES for c in run_docs.in_docstring(path)]
PRINTED = [*BLOCKS, *SPANS, *SHOWN]
# A word of these is a part of the suite, which takes pytest's flags.
SUITE = "scripts/test.sh"


def named(command):
  return f"{command.place.name}: {command.text[:60]}"


def parse(script, args):
  """Parses a script's flags, without running it; its settings if it has any."""
  known = set(flags.FLAGS)
  path = str(ROOT / "scripts" / script)
  with mock.patch.object(sys, "argv", [path, *args]):
    try:
      runpy.run_path(path)
      if "--help" in args:
        return
      cli.parse(sys.argv)
      values = {n: flags.FLAGS[n].value for n in set(flags.FLAGS) - known}
    finally:
      for name in set(flags.FLAGS) - known:
        delattr(flags.FLAGS, name)
  if config := values.get("config"):
    # What these files hold is known only once a command has written them.
    later = dict(selection="", feature_selection="")
    if distil_config.is_one(config):
      distil_config.prepared(config.to_dict())
      return
    found = settings.prepared({**config.to_dict(), **later})
    axes = values.get("sweep") or found["sweep"]
    if axes and script == "sweep.py":
      grid.structures(found, [axis.parse(text) for text in axes])


def check_flags_alone(words):
  """Flags in a sentence: some command, or some config, has them."""
  sources = "".join(p.read_text() for p in SOURCES)
  for word in words:
    name = word.removeprefix("--").partition("=")[0]
    if name == "help":
      continue
    if name.startswith("config."):
      key = name.removeprefix("config.")
      # `--config.threshold.` stands for all that is below it.
      below = key.endswith(".") and any(
        k.startswith(key) for k in config_keys()
      )
      assert below or key in config_keys(), word
    else:
      defined = re.search(
        rf'DEFINE_\w+\(\s*"{name.removeprefix("no")}"', sources
      )
      assert defined, word


@functools.cache
def config_keys():
  config_file.offer()
  every = [
    importlib.import_module(f"configs.{name}").get_config("").to_dict()
    for name in config_file.names()
  ]
  return set(itertools.chain(*map(options.flat, every)))


def check_install(args):
  """`pip install .[extra]`: of this project or of jax, with extras it has."""
  project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
  jax_extras = metadata.metadata("jax").get_all("Provides-Extra")
  known = {".": [*project["optional-dependencies"]], "jax": jax_extras}
  assert args[0] == "install"
  for word in args[1:]:
    if word in ("-e", "-U"):
      continue
    what, _, extras = word.rstrip("]").partition("[")
    assert what in known, word
    assert set(filter(None, extras.split(","))) <= {*known[what]}, word


def check(text):
  """One command: its files, its flags and the keys of its config."""
  words = [w for w in shlex.split(text, comments=True) if w != "..."]
  if words[0].startswith("--"):
    return check_flags_alone(words)
  program, *args = words
  if program in ("python", ".venv/bin/python", "bash"):
    program, *args = args
  if program == "-m":
    if args[0] == "pip":
      return check_install(args[1:])
    assert importlib.util.find_spec(args[0]), text
    return None
  if program == "pip":
    return check_install(args)
  if program == "asd_jax":
    if args[0].startswith("--"):
      return None
    return parse(commands.commands()[args[0]].name, args[1:])
  # `score.py --watch=DIR` in a sentence stands for the script.
  place = ROOT / program if "/" in program else ROOT / "scripts" / program
  assert place.is_file(), text
  if program == SUITE:
    assert all((ROOT / a).exists() for a in args if "/" in a), text
  elif place.parent == ROOT / "scripts":
    parse(place.with_suffix(".py").name, args)
  return None


def test_there_are_commands_to_check():
  assert len(BLOCKS) > 10
  assert len(SPANS) > 20
  assert len(SHOWN) > 20


@pytest.mark.filterwarnings(r"ignore:the load_module\(\) method")
@pytest.mark.parametrize("command", PRINTED, ids=named)
def test_a_printed_command_is_one_that_there_is(command, tmp_path, monkeypatch):
  # As from the page's own folder: files that it shows lie in it.
  for name, text in run_docs.own_files(command.place).items():
    (tmp_path / name).write_text(text)
  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr(sys, "path", [*sys.path])
  check(command.text)


@pytest.mark.parametrize(
  "text",
  [
    "python scripts/evaluate.py --config=configs/plain_kn.py",
    "python scripts/evaluate.py --config=plain_knn --config.seed=1",
    "python scripts/evaluate.py --config=plain_knn --confg=1",
    "python scripts/sweep.py --config=plain_knn --sweep='view.alpha=[1]'",
    "python scripts/compare.py A B --out=x",
    "python scripts/compar.py A B",
    "bash scripts/test.sh tests/engin/",
    "python -m pip install -e .[gpu]",
    "--config.outputdir=OUT",
    "--no_such_flag",
  ],
)
@pytest.mark.filterwarnings(r"ignore:the load_module\(\) method")
def test_a_command_that_does_not_work_is_noticed(text):
  with pytest.raises((AssertionError, ValueError)):
    check(text)


@pytest.mark.parametrize("command", BLOCKS, ids=named)
def test_a_block_of_commands_runs_or_says_why_not(command):
  assert re.fullmatch(r"<!-- (run|not run: .{10,}) -->", command.mark)


@pytest.mark.full
def test_marked_commands_run_in_smoke_size():
  script = ROOT / "benchmarks" / "run_docs.py"
  end = subprocess.run(
    [sys.executable, str(script), "--smoke"],
    capture_output=True, check=False, text=True,
  )  # fmt: skip
  assert end.returncode == 0, end.stdout + end.stderr
  assert end.stdout.count(": 0 ") >= 8
