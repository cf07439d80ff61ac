"""Signatures and docstrings of public functions follow the house style."""

import importlib
import inspect
import pkgutil
import re

import pytest

import asd_jax
from asd_jax.runs import library
from asd_jax.typing import Array

ROOT = "asd_jax"
# Packages of array functions: state their shapes and take a key first.
PURE = ("ops", "frontends", "backends", "scores", "training", "encoders")


def modules():
  for info in pkgutil.walk_packages(asd_jax.__path__, ROOT + "."):
    if not info.ispkg:
      yield importlib.import_module(info.name)


def public_functions(packages=None):
  for mod in modules():
    package = mod.__name__.split(".")[1]
    if packages and package not in packages:
      continue
    for name, fn in inspect.getmembers(mod, inspect.isfunction):
      if fn.__module__ == mod.__name__ and not name.startswith("_"):
        yield pytest.param(fn, id=f"{mod.__name__}.{name}")


ALL = list(public_functions())
PURE_FUNCTIONS = list(public_functions(PURE))


def test_functions_are_found():
  assert len(ALL) > 80
  assert len(PURE_FUNCTIONS) > 40


@pytest.mark.parametrize("fn", ALL)
def test_defaults_are_keyword_only(fn):
  # In a notebook, `load_config("plain_knn", {...})` reads by itself.
  told = ("overrides",) if fn is library.load_config else ()
  for p in inspect.signature(fn).parameters.values():
    if p.name in told:
      continue
    assert p.default is p.empty or p.kind is p.KEYWORD_ONLY, p


@pytest.mark.parametrize("fn", ALL)
def test_at_most_five_positional_arguments(fn):
  kinds = [p.kind for p in inspect.signature(fn).parameters.values()]
  # The state, its parts and the data of a pass are six arrays at most.
  assert sum(k is inspect.Parameter.POSITIONAL_OR_KEYWORD for k in kinds) <= 5


@pytest.mark.parametrize("fn", PURE_FUNCTIONS)
def test_key_is_first_and_named_key(fn):
  names = list(inspect.signature(fn).parameters)
  assert not {"rng", "rng_key", "prng_key"} & set(names)
  # A number that picks what the host draws is no key, and never in its place.
  seed = inspect.signature(fn).parameters.get("seed")
  assert seed is None or (
    seed.annotation is int and seed.kind is seed.KEYWORD_ONLY
  )
  assert "key" not in names or names[0] == "key"


@pytest.mark.parametrize("fn", ALL)
def test_everything_public_is_documented_and_typed(fn):
  doc = inspect.getdoc(fn)
  assert doc
  assert re.match(r"[^\n]+[.)`]", doc)
  hints = fn.__annotations__
  for name in inspect.signature(fn).parameters:
    assert name in hints, name
  assert "return" in hints


@pytest.mark.parametrize("fn", PURE_FUNCTIONS)
def test_array_arguments_state_their_shape(fn):
  doc = inspect.getdoc(fn)
  for p in inspect.signature(fn).parameters.values():
    if p.annotation is Array and p.name != "key":
      assert re.search(rf"^\s*{p.name}: `\[", doc, re.M), p.name


def test_nothing_is_printed_below_the_scripts():
  for mod in modules():
    name = mod.__name__
    if name.split(".")[1] != "runs":
      assert not re.search(r"^\s*print\(", inspect.getsource(mod), re.M), name


@pytest.mark.parametrize("mod", list(modules()), ids=lambda m: m.__name__)
def test_files_stay_short(mod):
  assert inspect.getsource(mod).count("\n") <= 420, mod.__name__
