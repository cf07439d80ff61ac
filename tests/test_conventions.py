"""Signatures and docstrings of public functions follow the house style."""

import ast
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

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
        yield fn


ALL = list(public_functions())
PURE_FUNCTIONS = list(public_functions(PURE))


def against(rule, functions):
  """Functions that do not follow a rule.

  One test a rule: to report thousands takes longer than to look.
  """
  broken = [fn for fn in functions if not rule(fn)]
  return [f"{fn.__module__}.{fn.__name__}" for fn in broken]


def test_functions_are_found():
  assert len(ALL) > 80
  assert len(PURE_FUNCTIONS) > 40
  # And one that breaks a rule is named.
  rule = lambda fn: fn is not library.load_config
  assert against(rule, ALL) == ["asd_jax.runs.library.load_config"]


def test_defaults_are_keyword_only():
  def rule(fn):
    # In a notebook, `load_config("plain_knn", {...})` reads by itself.
    told = ("overrides",) if fn is library.load_config else ()
    return all(
      p.default is p.empty or p.kind is p.KEYWORD_ONLY
      for p in inspect.signature(fn).parameters.values()
      if p.name not in told
    )

  assert against(rule, ALL) == []


def test_at_most_five_positional_arguments():
  def rule(fn):
    kinds = [p.kind for p in inspect.signature(fn).parameters.values()]
    # The state, its parts and the data of a pass are six arrays at most.
    return sum(k is inspect.Parameter.POSITIONAL_OR_KEYWORD for k in kinds) <= 5

  assert against(rule, ALL) == []


def test_key_is_first_and_named_key():
  def rule(fn):
    known = inspect.signature(fn).parameters
    names = list(known)
    # A number that picks what the host draws is no key, and never in its place.
    seed = known.get("seed")
    return (
      not {"rng", "rng_key", "prng_key"} & set(names)
      and (
        seed is None
        or (seed.annotation is int and seed.kind is seed.KEYWORD_ONLY)
      )
      and ("key" not in names or names[0] == "key")
    )

  assert against(rule, PURE_FUNCTIONS) == []


def test_everything_public_is_documented():
  def rule(fn):
    doc = inspect.getdoc(fn)
    return doc and re.match(r"[^\n]+[.)`]", doc)

  assert against(rule, ALL) == []


def test_everything_public_is_typed():
  def rule(fn):
    wanted = {*inspect.signature(fn).parameters, "return"}
    return wanted <= fn.__annotations__.keys()

  assert against(rule, ALL) == []


def test_array_arguments_state_their_shape():
  def rule(fn):
    doc = inspect.getdoc(fn)
    return all(
      re.search(rf"^\s*{p.name}: `\[", doc, re.M)
      for p in inspect.signature(fn).parameters.values()
      if p.annotation is Array and p.name != "key"
    )

  assert against(rule, PURE_FUNCTIONS) == []


def test_nothing_is_printed_below_the_scripts():
  for mod in modules():
    name = mod.__name__
    if name.split(".")[1] != "runs":
      assert not re.search(r"^\s*print\(", inspect.getsource(mod), re.M), name


def test_files_stay_short():
  lines = {m.__name__: inspect.getsource(m).count("\n") for m in modules()}
  assert {name: num for name, num in lines.items() if num > 420} == {}


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
