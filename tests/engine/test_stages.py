"""What configs leave out, call by an old name, or may not name at all."""

import sys

import pytest

from asd_jax import errors
from asd_jax.engine import settings, stages
from asd_jax.engine import system as system_lib
from configs import common

OWN = """
import os
from os import getcwd
from asd_jax.backends import base, knn
from asd_jax.typing import Array

CALLS = []

def silent():
  CALLS.append("silent")

def lying(*, k: int = 1) -> int:
  CALLS.append("lying")

def backend(*, k: int = 1) -> base.Backend:
  if k > 3:
    raise ValueError(f"k is {k}, expected 3 or less")
  if k == 3:
    raise KeyError("a bug")
  return knn.knn(k=k)
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
  (tmp_path / "own_stages.py").write_text(OWN)
  monkeypatch.syspath_prepend(tmp_path)
  yield lambda: sys.modules["own_stages"].CALLS
  sys.modules.pop("own_stages", None)


def system(**branch):
  config = common.run("one").to_dict()
  return system_lib.build({**config, "branches": {"one": branch}})


def test_defaults_are_those_that_configs_spell_out():
  assert common.branch() == stages.DEFAULTS
  assert set(stages.DEFAULTS) == {*stages.TABLES, *stages.OTHER_KEYS}
  config = common.run("").to_dict()
  assert {k: config[k] for k in settings.DEFAULTS} == settings.DEFAULTS
  assert set(config) == set(settings.DEFAULTS)


def test_an_old_config_without_later_stages_builds_the_same_system():
  old = common.branch()
  for later in ("tta", "when", "augment", "key"):
    del old[later]
  assert stages.completed("one", old) == stages.completed(
    "one", common.branch()
  )
  assert system(**old).hypers == system(**common.branch()).hypers
  short = {"branches": {"one": {}}}
  full = {**common.run("").to_dict(), "branches": {"one": common.branch()}}
  assert settings.completed(short) == settings.completed(full)


def test_settings_keep_their_old_names():
  old = stages.completed("one", dict(bank=dict(name="smote", stream=7)))
  assert old["bank"] == dict(name="smote", seed=7)
  wrapper = dict(name="prototypes", num=4, stream=3)
  old = stages.completed("one", dict(wrappers=(wrapper,)))
  assert old["wrappers"] == (dict(name="prototypes", num=4, seed=3),)


@pytest.mark.parametrize(
  "name",
  ["os:getcwd", "own_stages:silent", "own_stages:lying", "own_stages:getcwd"],
)
@pytest.mark.parametrize("stage", ["backend", "frontend", "transform", "view"])
def test_a_function_that_is_no_such_stage_is_never_called(own, name, stage):
  with pytest.raises(errors.InputError, match="annotated to return"):
    system(**{stage: dict(name=name)})
  if name.startswith("own_stages"):
    assert own() == []


def test_a_wrong_setting_of_a_users_stage_is_wrong_input_and_a_bug_is_one(own):
  one = lambda k: system(backend=dict(name="own_stages:backend", k=k))
  assert one(2).branches
  with pytest.raises(errors.InputError, match=r"own_stages:backend.*k is 4"):
    one(4)
  with pytest.raises(KeyError, match="a bug"):
    one(3)


@pytest.mark.parametrize("text", ["def f(:", "undefined", "import gone_too"])
def test_a_users_file_that_cannot_be_imported_is_named(
  tmp_path, monkeypatch, text
):
  (tmp_path / "broken_stages.py").write_text(text)
  monkeypatch.syspath_prepend(tmp_path)
  with pytest.raises(errors.InputError, match="broken_stages"):
    system(backend=dict(name="broken_stages:backend"))
