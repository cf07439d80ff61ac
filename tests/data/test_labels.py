"""Classes of training clips, from names and from how clips sound."""

import re
from typing import NamedTuple

import numpy as np
import pytest
import sklearn.metrics

from asd_jax.data import labels
from asd_jax.ops import cluster


class Clip(NamedTuple):
  machine: str
  domain: str | None = None
  attributes: str = ""


def development():
  """Training clips of the seven machines, one of each kind."""
  clips = [
    Clip("ToyCarEmu", d, f"car_{car}_spd_{spd}_mic_2_mic_1")
    for d, cars, speeds in (
      ("source", ("B1", "B2", "C1", "C2", "D1", "D2"), (2, 3, 5)),
      ("target", ("A1", "A2"), (1, 4)),
    )
    for car in cars
    for spd in speeds
  ]
  clips += [
    Clip("fan", d, f"spd_{s}") for d in ("source", "target") for s in (1, 2, 3)
  ]
  clips += [Clip("gearboxEmu", "source", f"pro_{p}") for p in "ABCDEF"]
  clips += [Clip("gearboxEmu", "target", f"pro_{p}") for p in "XYZ"]
  clips += [
    Clip(m, d)
    for m in ("ToyCar", "bearingEmu", "sliderEmu", "valveEmu")
    for d in ("source", "target")
  ]
  return clips


def names(found):
  return [found.classes[i] if i >= 0 else None for i in found.id]


def test_attributes_give_42_classes_of_the_development_machines():
  clips = development()
  found = labels.attribute(clips)
  assert len(found.classes) == 42
  assert list(found.classes) == sorted(found.classes)
  assert min(found.id) == 0
  # The report's 43rd: a spelling that only test clips have. Here it is none.
  again = labels.attribute([*clips, Clip("gearboxEmu", "target", "pro_y")])
  assert again.classes == found.classes
  assert names(again)[-1] == "gearboxEmu/pro_Y"


def test_order_and_spelling_of_clips_do_not_change_classes():
  clips = [Clip("a", "source", "v_X_"), Clip("a", "source", "v_x"), Clip("b")]
  assert labels.attribute(clips).classes == ("a/v_X", "b")
  assert labels.attribute(clips[::-1]).classes == ("a/v_X", "b")


def test_clips_without_attributes_have_no_attribute_class():
  clips = [
    Clip("fan", "source", "spd_1"),
    Clip("valve", "source", "noAttribute"),
    Clip("valve", "target"),
  ]
  found = labels.attribute_or_none(clips)
  assert found.classes == ("fan/spd_1",)
  assert found.id.tolist() == [0, -1, -1]
  found = labels.domain(clips)
  assert names(found) == ["fan/source", "valve/source", "valve/target"]
  literal = labels.of({"name": "domain", "literal": True}, clips)
  assert names(literal) == ["source", "source", "target"]


def test_clips_of_which_nothing_is_known_are_of_their_machine():
  clips = [Clip("a"), Clip("b"), Clip("a")]
  for rule in (labels.machine, labels.attribute, labels.domain):
    assert names(rule(clips)) == ["a", "b", "a"]
  none = labels.attribute_or_none(clips)
  assert none.classes == ()
  assert none.id.tolist() == [-1, -1, -1]
  assert labels.domain(clips, literal=True).classes == ()


def test_clips_that_sound_alike_are_a_class():
  rng = np.random.default_rng(0)
  true = rng.integers(0, 3, 40)
  clips = [Clip("valve", "source")] * 40
  clips += [Clip("valve", "target"), Clip("fan", "source", "spd_1"), Clip("c")]
  sound = rng.normal(size=(3, 5))[true] * 9 + rng.normal(size=(40, 5)) * 0.1
  asked = {}

  def features(rows):
    asked[clips[rows[0]].machine] = rows
    return np.asarray(sound if rows[0] == 0 else [[0.0, 1.0]], np.float32)

  settings = {"name": "pseudo", "num_clusters": 3}
  found = labels.of(settings, clips, features=features)
  assert asked == {"valve": [*range(40)], "c": [42]}
  score = sklearn.metrics.adjusted_rand_score(true, found.id[:40])
  assert score == 1.0
  groups = [f"valve/source/pseudo_{i}" for i in range(3)]
  assert list(found.classes) == [
    "c/pseudo_0", "fan/source/spd_1", *groups, "valve/target",
  ]  # fmt: skip
  # Another machine beside it does not change the groups of this one.
  alone = labels.of(settings, clips[:41], features=features)
  assert names(alone) == names(found)[:41]


def test_classes_are_counted_for_people():
  clips = [
    Clip("fan", "source", "spd_1"),
    Clip("fan", "target", "spd_1"),
    Clip("a", None),
  ]
  found = labels.attribute_or_none(clips)
  assert labels.table(found, clips) == [
    dict(name="fan/spd_1", machines=["fan"], source=1, target=1, unknown=0),
    dict(name=None, machines=["a"], source=0, target=0, unknown=1),
  ]


def test_unknown_rules_are_refused():
  known = re.escape(str(tuple(labels.RULES)))
  for wrong in ("speed", {"name": "domain", "num_clusters": 3}):
    with pytest.raises(ValueError, match=f"config: labels: found .*{known}"):
      labels.of(wrong, [Clip("a")])


def cases(file, item):
  """Inputs and results of the cases of an item, by name."""
  found = {}
  for key in file.files:
    if key.startswith(f"{item}/") and not key.endswith("/params"):
      _, case, side, name = key.split("/")
      found.setdefault(case, {})[f"{side}/{name}"] = file[key]
  return found


@pytest.mark.golden
def test_groups_are_those_of_scikit_learn(golden):
  for case in cases(golden("losses"), "kmeans").values():
    found = cluster.lloyd(case["in/x"], case["in/init"])
    np.testing.assert_array_equal(found.label, case["out/label"])
    np.testing.assert_allclose(
      found.centre, case["out/centres"], rtol=1e-5, atol=1e-5
    )


@pytest.mark.golden
def test_classes_have_the_names_of_the_reference(golden):
  for case in cases(golden("losses"), "pseudo_classes").values():
    facts = (case[f"in/{k}"] for k in ("machine", "domain", "attribute"))
    clips = [Clip(*map(str, row)) for row in zip(*facts, strict=True)]
    found = labels.in_groups(clips, case["in/cluster"])
    assert found.classes == tuple(case["out/table"])
    np.testing.assert_array_equal(found.id, case["out/id"])
