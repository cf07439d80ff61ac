"""Encoders adapted over machines, from a folder of clips to a detector."""

import copy
import json
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from asd_jax import errors
from asd_jax.data import clips
from asd_jax.engine import adapt_data, detector, session, settings
from asd_jax.engine import recipe as recipes
from asd_jax.report import adaptation
from configs import common

pytestmark = pytest.mark.usefixtures("one_block")
RATE, LENGTH = 16_000, 6000
MACHINES = ("fan", "pump")


def write(folder, *, seed=0, names=MACHINES, number=0):
  """A few clips a machine; its attribute is its pitch."""
  rng = np.random.default_rng(seed)
  for m, name in enumerate(names):
    for split, kinds in (
      ("train", [("source", "normal", 4), ("target", "normal", 2)]),
      ("test", [("source", "normal", 1), ("target", "anomaly", 1)]),
    ):
      place = folder / name / split
      place.mkdir(parents=True, exist_ok=True)
      for domain, label, num in kinds:
        for i in range(num):
          speed = i % 2
          time = np.arange(LENGTH)[:, None] / RATE
          tone = np.sin(2 * np.pi * (300 + 200 * m + 500 * speed) * time)
          wave = 0.2 * tone + 0.05 * rng.normal(size=(LENGTH, 2))
          file = (
            f"section_00_{domain}_{split}_{label}_{number + i:04d}"
            f"_speed_{speed}.wav"
          )
          soundfile.write(place / file, wave, RATE, subtype="PCM_16")
  return folder


def recipe(**changes):
  return {
    "trains": dict(name="lora", rank=2, targets=("q", "v")),
    "head": dict(
      name="attentive_projection", num_attention=4, num_hidden=6, num_outputs=5
    ),
    "criteria": (dict(name="arcface", labels="attribute"),),
    "augment": (dict(name="temporal_crop"),),
    "optimiser": dict(learning_rate=1e-3, warmup=0),
    "batch_size": 4,
    "num_steps": 2,
    **changes,
  }


def config_of(data, *, adapt=None, adapt_folds=2, **changes):
  c = common.run("adapted", "smoke")
  eat = common.add_encoder(c, "eat", arg="smoke")
  config = c.to_dict()
  branch = common.branch(
    frontend=dict(name="eat_fbank", num_frames=48),
    encoder={
      **eat("embedding"),
      "checkpoint": "",
      "dtype": "float32",
      "adapt": adapt or recipe(),
    },
    pooling=dict(name="mean_patches"),
    backend=dict(name="knn", k=1, metric="cosine"),
    calibration=dict(name="zscore"),
  )
  return {
    **config,
    "branches": {"eat": branch},
    "data_dir": str(data),
    "synthetic": {},
    "batch_size": 2,
    "seeds": (1,),
    "threshold": dict(name="conformal", folds=2, false_alarm_rate=0.4),
    "adapt": dict(folds=adapt_folds),
    **changes,
  }


class Told(list):
  """What is said of trainings, without their steps."""

  def __call__(self, label, said):
    if isinstance(said, str):
      self.append((label, said))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
  return write(tmp_path_factory.mktemp("adapt") / "data")


@pytest.fixture
def cache(tmp_path, monkeypatch):
  monkeypatch.setenv("ASD_JAX_CACHE", str(tmp_path / "cache"))
  return tmp_path / "cache" / "adapted"


def machines(data):
  return {m.name: m for m in clips.read_tree(data)}


@pytest.fixture(scope="module")
def fitted(data, tmp_path_factory, one_block):
  """A system with folds of its own, fitted to one machine, and its detector."""
  place, told = tmp_path_factory.mktemp("fitted"), Told()
  with pytest.MonkeyPatch.context() as m:
    m.setenv("ASD_JAX_CACHE", str(place / "cache"))
    opened = session.open(config_of(data, machines="fan"), tell=told)
    assert not told  # not before clips have been looked at
    fan = machines(data)["fan"]
    section = opened.fit("fan 00", fan.train).section
    judged = opened.score(section, fan.test)
    kept = detector.keep_weights(place / "out", opened.kept)
    found = detector.Detector(
      "fan", opened.config, opened.system, {"00": section}, kept
    )
    detector.save(place / "out" / "detectors" / "fan", found)
    yield place, told, opened, judged


def test_all_machines_are_learned_from_and_the_console_says_so(fitted):
  _, told, opened, judged = fitted
  # `machines` restricts what is scored: both machines were learned from.
  assert [label for label, _ in told] == [
    "eat, seed 1",
    "eat, seed 1, without fold 1",
    "eat, seed 1, without fold 2",
  ]
  first, *others = (said for _, said in told)
  assert "lora, 12 normal clips of 2 machines, 4 classes, 2 steps" in first
  assert all("lora, 6 normal clips of 2 machines" in said for said in others)
  # Each fold has a network of its own.
  assert len({w.digest for w in opened.kept.values()}) == 3
  assert np.isfinite(judged.p_values).all()
  facts = opened.facts()
  assert facts["random_weights"]
  assert (
    "encoder weights were random before they were adapted" in facts["notes"]
  )
  (classes,) = facts["adapted"]["eat"]["classes"]
  assert [c["source"] + c["target"] for c in classes] == [3, 3, 3, 3]
  shown = adaptation.section(SimpleNamespace(results={"encoders": facts}))
  assert "12 normal clips of 2 machines: fan, pump" in shown
  assert "fan/speed_0" in shown


def test_a_detector_needs_no_training_data(fitted, data):
  place, told, _, judged = fitted
  folder = place / "out" / "detectors" / "fan"
  loaded = detector.load(folder)
  elsewhere = {**loaded.config, "data_dir": "/nowhere", "cache": "off"}
  scorer = session.of_detector(loaded._replace(config=elsewhere), folder)
  said = scorer.score(loaded.sections["00"], machines(data)["fan"].test)
  np.testing.assert_array_equal(said.scores.fused, judged.scores.fused)
  np.testing.assert_array_equal(said.p_values, judged.p_values)
  assert len(told) == 3


def test_other_systems_find_the_network_and_damaged_ones_are_made_again(
  fitted, data
):
  place, _, opened, _ = fitted
  told = Told()
  plain = dict(name="quantile", quantile=0.9, folds=2)
  config = config_of(data, threshold=plain, adapt_folds=0)
  other = session.open(config, tell=told)
  digest = other.weights["eat"].digest
  assert digest == opened.weights["eat"].digest
  assert not told
  # What p-values then are is said.
  notes = other.facts()["notes"]
  assert any("adapted to the training clips" in n for n in notes)
  for path in (place / "cache" / "adapted" / digest).rglob("*"):
    if path.is_file() and path.stat().st_size > 500:
      path.write_bytes(path.read_bytes()[:-1] + b"?")
  mended = session.open(config, tell=told)
  assert mended.weights["eat"].digest == digest
  assert len(told) == 1
  assert any("damaged" in note for note in mended.facts()["notes"])


def refused(config, *words):
  begin = lambda: session.open(config).adapt(lambda *args: None)
  with pytest.raises(errors.InputError) as e:
    begin()
  text = str(e.value)
  assert "\n" not in text
  for word in words:
    assert word in text


@pytest.mark.parametrize(
  ("change", "words"),
  [
    (dict(batchsize=3), ("adapt", "['batchsize']", "batch_size")),
    (dict(trains=dict(name="lors")), ("'lors'", "lora")),
    (dict(head=dict(name="gated_projection")), ("1 channels", "expected 2")),
    (dict(layer="layer_9"), ("layer_9", "layer_1")),
    (dict(valid_fraction=2.0), ("valid_fraction", "below 0.5")),
    (dict(criteria=(dict(name="arcface", margins=2),)), ("margins", "margin")),
    (dict(augment=(dict(name="channel_swap"),)), ("channel_swap", "2")),
    (dict(optimiser=dict(warmup=-1)), ("warmup", "-1")),
    (dict(trains=dict(name="lora", targets=("(",))), ("'('", "patterns")),
  ],
)
def test_a_recipe_that_cannot_be_followed_is_refused(data, change, words):
  refused(config_of(data, adapt=recipe(**change)), *words)


def test_clips_that_a_recipe_cannot_use_are_refused(data, cache, tmp_path):
  big = config_of(data, adapt=recipe(batch_size=13))
  refused(big, "config: branch eat", "found 13", "12 clips")
  names = config_of(
    data, adapt=recipe(criteria=(dict(name="arcface", labels="attributes"),))
  )
  refused(names, "'attributes'", "attribute")
  plain = config_of(
    "", normal=str(data / "fan" / "train"), test=str(data / "fan" / "test")
  )
  refused(plain, "one class", "6 training clips", "two or more")
  short = config_of(data, adapt=recipe(seconds=0.01))
  refused(short, "0.01 s", "160 samples")
  lora = config_of(
    data, adapt=recipe(trains=dict(name="lora", targets=("gate",)))
  )
  refused(lora, "gate", "config: branch eat")


def test_folders_that_hold_clips_to_be_scored_are_refused(
  data, cache, tmp_path
):
  more = write(tmp_path / "more", seed=1, names=("valve",), number=50)
  config = config_of(data, adapt=recipe())
  with_more = {**config, "adapt": dict(data_dirs=(str(more),))}
  found = adapt_data.clips_of(settings.prepared(with_more))
  assert {c.machine for c in found} == {"fan", "pump", "valve"}
  assert len(found) == 18
  # A test clip under another name, as content.
  test = next((data / "fan" / "test").iterdir())
  copied = next((more / "valve" / "train").iterdir())
  copied.write_bytes(test.read_bytes())
  refused(with_more, "adapt.data_dirs", str(copied), str(test))


def test_settings_of_a_run_that_do_nothing_are_refused(data):
  config = config_of(data)
  refused({**config, "adapt": dict(folds=3)}, "adapt.folds", "threshold.folds")
  refused({**config, "adapt": dict(fold=3)}, "['fold']", "folds")
  frozen = copy.deepcopy(config)
  frozen["branches"]["eat"]["encoder"] |= {"adapt": None, "layer": "output"}
  refused({**frozen, "adapt": dict(data_dirs=("a",))}, "data_dirs", "adapt")


def test_a_class_of_one_clip_and_a_machine_without_labels_are_told(data):
  every = [c for m in machines(data).values() for c in m.train]
  odd = [copy.copy(c) for c in every]
  object.__setattr__(odd[0], "attributes", "speed_9")
  for c in odd[6:]:
    object.__setattr__(c, "attributes", "")
    object.__setattr__(c, "domain", None)
  found = adapt_data.classes_of(
    "here", recipes.read("here", recipe()), odd, lambda rows: None
  )
  assert json.dumps(found.notes).count("here") == 2
  assert "1 of 4 classes have one clip (fan/speed_9" in found.notes[0]
  assert "no attributes and no domains of pump" in found.notes[1]
  told = recipe(criteria=(dict(name="arcface", labels="attribute_or_none"),))
  with pytest.raises(errors.InputError, match="no class .* no clip has attrib"):
    adapt_data.classes_of("", recipes.read("", told), odd[6:], lambda rows: 0)
