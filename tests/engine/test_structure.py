"""States taken apart and put together: equal after, and nothing else built."""

import json
import sys
from types import SimpleNamespace
from typing import NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asd_jax import errors, store
from asd_jax.engine import detector, structure


class Pair(NamedTuple):
  one: jax.Array
  two: object


class Record(flax.struct.PyTreeNode):
  rows: jax.Array
  inner: object = None
  num: int = flax.struct.field(pytree_node=False, default=0)
  sizes: tuple = flax.struct.field(pytree_node=False, default=())


KNOWN = [Pair, Record]
TREE = {
  "a": Pair(jnp.arange(3.0), [jnp.ones((2, 2)), None]),
  "b": (Record(jnp.zeros(0), {"x": jnp.int32(4)}, num=7, sizes=(1, "two")),),
  "c/d": {"e": jnp.array(True)},
  "c": {"d/e": jnp.array(False)},
}


def through_json(tree, known=KNOWN):
  arrays, nesting = structure.flatten(tree, known)
  return structure.rebuild(arrays, json.loads(json.dumps(nesting)), known)


def test_a_tree_comes_back_with_its_types_and_static_fields():
  found = through_json(TREE)
  assert jax.tree.structure(found) == jax.tree.structure(TREE)
  for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(TREE), strict=True):
    np.testing.assert_array_equal(a, b, strict=True)


@pytest.mark.parametrize(
  "odd", [SimpleNamespace(a=1), {1: jnp.zeros(2)}, {2, 3}, len]
)
def test_what_cannot_be_rebuilt_is_not_taken_apart(odd):
  with pytest.raises(errors.InputError, match="state/x: found a .* cannot be"):
    structure.flatten({"x": odd}, KNOWN)


def test_records_that_are_not_allowed_are_not_taken_apart():
  with pytest.raises(errors.InputError, match="Pair, which cannot be kept"):
    structure.flatten(TREE, [Record])


@pytest.mark.parametrize(
  "nesting",
  [
    None,
    [],
    {"value": []},
    {"array": "missing"},
    {"array": 3},
    {"list": {}},
    {"other": 1},
    {"record": "os:getcwd", "fields": {}},
    {"record": "builtins:tuple", "fields": {}},
    {"record": "asd_jax.store:Store", "fields": {"folder": {"value": "x"}}},
    {"record": f"{__name__}:Pair", "fields": {"one": {"value": 1}}},
    {"record": f"{__name__}:Pair", "fields": {"__class__": {"value": 1}}},
    {"record": [], "fields": {}},
  ],
)
def test_nothing_but_allowed_records_is_built(nesting):
  with pytest.raises(errors.InputError, match="found the part"):
    structure.rebuild({}, {"dict": {"x": nesting}}, KNOWN)


def test_what_is_nested_too_deep_is_refused():
  deep = {"value": 1}
  for _ in range(100_000):
    deep = {"list": [deep]}
  with pytest.raises(errors.InputError, match="too deep"):
    structure.rebuild({}, deep, KNOWN)
  while isinstance(deep, dict) and "list" in deep:  # freed without recursion
    deep = deep["list"].pop()


def test_records_of_modules_are_values_only():
  found = structure.records([sys.modules[__name__], store, flax.linen])
  assert {Pair, Record, store.Kept} <= set(found)
  assert store.Store not in found
  assert not [t for t in found if issubclass(t, flax.linen.Module)]


def test_a_hostile_state_names_the_file(tmp_path):
  """With a digest that fits: whoever wrote the index wrote the state too."""
  kept = store.Store(tmp_path, form=detector.FORMAT)
  evil = {"record": "os:system", "fields": {"command": {"value": "true"}}}
  digest = kept.put("section_00", {}, {"state": evil})
  with pytest.raises(errors.InputError, match=r"section_00\.safetensors.*os:s"):
    detector._read_state(tmp_path, "00", digest, KNOWN)
