"""`--help` of every command: what a user may set, each with its line."""

import importlib
import re

import pytest

from asd_jax.engine import settings as settings_lib
from asd_jax.runs import config_file, options
from tests.scripts import conftest

SCRIPTS = sorted(p.name for p in (conftest.ROOT / "scripts").glob("*.py"))
FLAG = re.compile(r'DEFINE_(\w+)\(\s*"(\w+)"')
# Of the config's keys, those that every system has.
CONFIGURED = ("embed.py", "evaluate.py", "sweep.py", "train.py")


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_lists_every_flag_with_a_line(run, script):
  end = run(script, "--help")
  assert (end.status, end.err) == (0, "")
  source = (conftest.ROOT / "scripts" / script).read_text()
  for kind, name in FLAG.findall(source):
    flag = f"--[no]{name}" if kind == "bool" else f"--{name}"
    assert re.search(rf"^  {re.escape(flag)}: \S", end.out, re.M), flag
  # One place says how the command is called.
  assert re.search(r"^Run: (python|bash) scripts/\w+", end.out, re.M)
  settings = options.flat(settings_lib.DEFAULTS)
  for key, value in settings.items():
    if key.startswith("published."):  # a fact, and no setting
      continue
    line = f"--config.{key}: "
    assert (line in end.out) == (script in CONFIGURED), key
    if script in CONFIGURED:
      after = end.out.split(line)[1].split("--config.")[0]
      assert f"(default: {value!r})" in " ".join(after.split())


def test_help_with_a_config_lists_its_stages(run):
  end = run(
    "evaluate.py", "--config=konica_system4", "--help", "--config.cache=off"
  )
  assert (end.status, end.err) == (0, "")
  text = " ".join(end.out.split())
  for words in (
    "of embeddings: on, off, readonly or clear (default: 'off')",
    "--config.branches.dif.augment.high: largest share (default: 1.5)",
    "--config.branches.dif.tta.name: one of crops, none (default: 'none')",
  ):
    assert words in text
  assert (
    "found no file" in run("evaluate.py", "--config=no", "--help").refused()
  )


def test_the_table_has_no_setting_that_is_gone():
  listed = options.flat(settings_lib.DEFAULTS)
  facts = {key for key in listed if key.startswith("published.")}
  assert set(options.RUN) == set(listed) - facts


def test_every_setting_of_every_config_has_a_line():
  config_file.offer()
  for name in config_file.names():
    module = importlib.import_module(f"configs.{name}")
    text = options.help_text(module.get_config("").to_dict(), named=True)
    bare = re.findall(r"^  (--config\.[\w.]+)$", text, re.M)
    assert not bare, (name, bare)
