import numpy as np
import pytest

from asd_jax.engine import system as system_lib
from asd_jax.runs.sweep import axis as sweep_axis
from asd_jax.runs.sweep import grid as sweep_grid
from configs import common


def config(**branches):
  c = common.run("some")
  c.branches = branches or dict(one=common.branch(channels=(0, 1)))
  return c.to_dict()


def residual(**stages):
  return common.branch(channels=(0, 1), view=dict(name="residual"), **stages)


def structures(c, *texts):
  return sweep_grid.structures(c, [sweep_axis.parse(t) for t in texts])


@pytest.mark.parametrize(
  ("text", "values"),
  [
    ("a.b=[1, 2.5]", (1, 2.5)),
    ("a.b = (1,)", (1,)),
    ("a.b=-3", (-3,)),
    ("a.b=['x', 'y']", ("x", "y")),
    ("a.b=[(0,), (0, 1)]", ((0,), (0, 1))),
    ("a.b=linspace(-0.5, 1, 4)", (-0.5, 0.0, 0.5, 1.0)),
    ("a.b=logspace(-1, 1, 3)", (0.1, 1.0, 10.0)),
    ("a.b=arange(3)", (0, 1, 2)),
    ("a.b=arange(1, 2, 0.5)", (1.0, 1.5)),
    ("a.b=[1, 1, 2]", (1, 2)),
  ],
)
def test_values_are_read(text, values):
  axis = sweep_axis.parse(text)
  assert axis.key == "a.b"
  assert len(axis.values) == len(values)
  for got, want in zip(axis.values, values, strict=True):
    assert type(got) is type(want)
    assert got == pytest.approx(want) if isinstance(want, float) else True


@pytest.mark.parametrize(
  ("text", "said"),
  [
    ("a.b", "key=values"),
    ("=[1]", "key=values"),
    ("a.b=[]", "empty grid"),
    ("a.b=linspace(0, 1, 0)", "empty grid"),
    ("a.b=arange(0)", "empty grid"),
    ("a.b=linspace(0, 1)", "linspace takes 3"),
    ("a.b=linspace(0, 1, 2.5)", "whole number"),
    ("a.b=linspace(0, 1, 10**9)", "expected a list"),
    ("a.b=linspace(0, 1, 1000000000)", "more than"),
    ("a.b=arange(0, 1, 0)", "expected a list"),
    ("a.b=open('x')", "found no list"),
    ("a.b=[open('x')]", "expected a list"),
    ("a.b=(1).__class__", "expected a list"),
    ("a.b=[1", "expected a list"),
    ("a.b=[1e999]", "finite"),
  ],
)
def test_other_texts_are_refused_and_not_run(text, said):
  with pytest.raises(ValueError, match=said):
    sweep_axis.parse(text)


def test_a_float_is_one_structure_and_an_integer_several():
  (one,) = structures(config(one=residual()), "view.alpha=linspace(0,1,5)")
  assert one.num_points == 5
  assert one.targets == {"view.alpha": ("one.view.alpha",)}
  both = structures(
    config(one=residual()), "view.alpha=[0, 1]", "backend.k=[1, 4]"
  )
  assert [s.chosen for s in both] == [{"backend.k": 1}, {"backend.k": 4}]
  assert [s.config["branches"]["one"]["backend"]["k"] for s in both] == [1, 4]
  assert both[0].values(1) == {"backend.k": 1, "view.alpha": 1.0}


def test_points_count_through_the_last_key_first():
  (one,) = structures(
    config(one=residual()), "view.alpha=[0, 1]", "weight.one=[1, 2, 3]"
  )
  assert one.values(1) == {"view.alpha": 0.0, "weight.one": 2.0}
  assert one.values(3) == {"view.alpha": 1.0, "weight.one": 1.0}


def test_a_key_moves_every_branch_or_the_one_it_names():
  c = config(a=residual(), b=residual(), near=common.branch())
  (every,) = structures(c, "view.alpha=[0, 1]")
  assert every.targets["view.alpha"] == ("a.view.alpha", "b.view.alpha")
  (one,) = structures(c, "b.view.alpha=[0, 1]")
  assert one.targets["b.view.alpha"] == ("b.view.alpha",)


def test_a_structure_without_the_float_is_there_once():
  found = structures(
    config(), "view.name=['near', 'residual']", "view.alpha=linspace(0,1,7)"
  )
  assert [s.num_points for s in found] == [1, 7]
  assert found[0].values(0) == {"view.name": "near"}


def test_a_new_name_keeps_the_settings_that_it_knows():
  knn = dict(name="knn", k=3, metric="cosine")
  c = config(one=residual(backend=knn, reference="in_sample"))
  found = structures(c, "backend.name=['knn', 'mahalanobis']")
  specs = [s.config["branches"]["one"]["backend"] for s in found]
  assert specs[0]["k"] == 3
  assert specs[1] == {"name": "mahalanobis"}
  assert c["branches"]["one"]["backend"]["name"] == "knn"


def test_settings_of_a_new_name_are_swept_too():
  c = config(
    one=residual(backend=dict(name="mahalanobis"), reference="in_sample")
  )
  found = structures(c, "backend.name=['knn']", "backend.k=[1, 2]")
  assert [s.chosen["backend.k"] for s in found] == [1, 2]


@pytest.mark.parametrize(
  "key", ["view.alpa", "weight.two", "two.view.alpha", "x"]
)
def test_unknown_keys_list_the_known_ones(key):
  with pytest.raises(ValueError, match="nothing in this system") as error:
    structures(config(one=residual()), f"{key}=[1]")
  assert "view.alpha" in str(error.value)
  assert "weight.one" in str(error.value)
  assert "backend.k" in str(error.value)


@pytest.mark.parametrize(
  ("texts", "said"),
  [
    (["view.alpha=[0]", "view.alpha=[1]"], "more than once"),
    (["view.alpha=[0]", "one.view.alpha=[1]"], "more than once"),
    (["view.alpha=['x']"], "expected a number"),
    (["backend.k=[1.5]"], "of type int"),
    (["backend.k=[True]"], "of type int"),
    (["backend.k=[0]"], "k must be"),
    (["view.name=['nearr']"], "expected one of"),
    (["view.alpha=arange(2000)", "weight.one=arange(2000)"], "most is"),
  ],
)
def test_impossible_values_are_refused(texts, said):
  with pytest.raises(ValueError, match=said):
    structures(config(one=residual()), *texts)


def test_all_floats_of_a_system_are_named():
  hypers = system_lib.build(config(one=residual())).hypers
  flat = sweep_grid.scalars(hypers)
  assert flat == {"one.view.alpha": 0.5, "weight.one": 1.0}
  assert np.all([k.count(".") <= 3 for k in flat])
  far = residual(backend=dict(name="three_neighbours"))
  flat = sweep_grid.scalars(system_lib.build(config(one=far)).hypers)
  assert flat["one.backend.second"] == -0.35
  assert flat["one.backend.third"] == -0.05
