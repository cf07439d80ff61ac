"""Signatures and docstrings of public functions follow the house style."""

import ast
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

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


# Positional arguments with which a draw's type is told.
TYPED = dict(uniform=3, normal=3, truncated_normal=5, beta=5, randint=5)


def untyped_draws(source):
  """Lines of draws whose type, and so whose numbers, depend on JAX_ENABLE_X64.

  `bernoulli` compares with a uniform draw of the type of its probability.
  """
  # Only what speaks of it is read in full.
  nodes = ast.walk(ast.parse(source)) if "jax.random." in source else ()
  for node in nodes:
    called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
    if not called.startswith("jax.random."):
      continue
    name = called.removeprefix("jax.random.")
    typed = len(node.args) >= TYPED.get(name, 0)
    if name == "bernoulli":
      typed = ast.unparse(node.args[1]).startswith("jnp.float32(")
    if not typed and "dtype" not in {k.arg for k in node.keywords}:
      yield node.lineno


def test_draws_name_their_type():
  root = Path(asd_jax.__file__).parent
  found = {p: list(untyped_draws(p.read_text())) for p in root.rglob("*.py")}
  assert {str(p): lines for p, lines in found.items() if lines} == {}
  for bad in ("uniform(k, (2,))", "bernoulli(k, 0.5)", "randint(k, (), 0, 2)"):
    assert list(untyped_draws(f"jax.random.{bad}")) == [1]
