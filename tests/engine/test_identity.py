"""What decides a result: defaults count, and a user's own source."""

import importlib
import sys

import pytest

from asd_jax import store
from asd_jax.engine import identity, stages
from asd_jax.scores import fusion
from configs import common, katech_system1, ludo_system1, plain_knn

# Settings that have no default.
NEEDED = {"spectral": dict(denoiser=dict(name="coh_sub"))}
OWN = """
import own_helper

def pool(x, *, share: float = 0.5):
  return own_helper.half(x)
"""


@pytest.mark.parametrize(
  ("stage", "name"),
  [(s, n) for s, t in stages.TABLES.items() for n in t],
)
def test_every_stage_of_the_tables_is_plain_data_in_full(stage, name):
  table = stages.TABLES[stage]
  spec = {"name": name, **NEEDED.get(name, {})}
  found = identity.of_stage(stage, spec, table)
  store.digest(found)
  for key, value in found.items():
    spelled = {**spec, key: value}
    assert identity.of_stage(stage, spelled, table) == found


def test_a_default_counts_like_a_setting_and_numbers_like_floats():
  table = stages.TABLES["backend"]
  of = lambda **spec: identity.of_stage("backend", spec, table)
  assert of(name="knn") == of(name="knn", k=1, metric="euclidean")
  assert of(name="knn") != of(name="knn", k=2)
  view = stages.TABLES["view"]
  of = lambda **spec: identity.of_stage("view", spec, view)
  assert store.digest(of(name="residual", alpha=1)) == store.digest(
    of(name="residual", alpha=1.0)
  )


def test_another_default_of_the_code_is_another_identity(monkeypatch):
  def before(*, width=3):
    return width

  def after(*, width=4):
    return width

  tables = ({"mine": fn} for fn in (before, after))
  first, second = (
    identity.of_stage("pooling", dict(name="mine"), t) for t in tables
  )
  assert first != second


def test_nested_choices_are_in_full_too():
  table = stages.TABLES["frontend"]
  of = lambda d: identity.of_stage(
    "frontend", dict(name="log_mel", denoiser=d), table
  )
  name = next(iter(stages.NESTED["denoiser"]))
  short = of(dict(name=name))
  assert len(short["denoiser"]) > 1
  assert of(short["denoiser"]) == short
  assert of(None)["denoiser"] is None


@pytest.mark.parametrize(
  "config",
  [
    plain_knn.get_config(),
    katech_system1.get_config(),
    ludo_system1.get_config(),
  ],
  ids=["plain_knn", "katech_system1", "ludo_system1"],
)
def test_a_system_is_told_by_all_its_stages(config):
  config = config.to_dict()
  found = identity.of_system(config)
  first = store.digest(found)
  name = next(iter(config["branches"]))
  for stage in stages.TABLES:
    assert found["branches"][name][stage].keys() >= {"name"}
  config["branches"][name]["calibration"] = dict(name="other")
  with pytest.raises(KeyError):
    identity.of_system(config)
  config["branches"][name]["calibration"] = dict(name="identity")
  config["branches"][name]["channels"] = (1,)
  assert store.digest(identity.of_system(config)) != first


def test_features_do_not_depend_on_what_comes_behind_or_where_weights_lie():
  one = common.branch(encoder=dict(name="eat", size="base"))
  same = common.branch(
    encoder=dict(name="eat", layer="output", checkpoint="/elsewhere"),
    view=dict(name="near"),
    backend=dict(name="knn", k=3),
    augment=dict(name="none"),
  )
  assert identity.of_features(one) == identity.of_features(same)
  other = {**same, "encoder": dict(name="eat", layer="layer_1")}
  assert identity.of_features(one) != identity.of_features(other)


def test_a_recipe_counts_in_full():
  spec = dict(name="autoencoder", recipe=dict(num_epochs=3))
  full = identity.of_encoder(spec)
  assert full["recipe"]["batch_size"] == 256
  assert identity.of_encoder(full) == full
  assert identity.of_encoder(dict(name="autoencoder")) != full


@pytest.fixture
def own(tmp_path, monkeypatch):
  """Writes a user's module and what it imports; gives the identity."""
  files = {"own_pool": OWN, "own_helper": "half = lambda x: x / 2\n"}
  for name, text in files.items():
    (tmp_path / f"{name}.py").write_text(text)
  monkeypatch.syspath_prepend(tmp_path)
  monkeypatch.setattr(sys, "dont_write_bytecode", True)

  def of(**changed):
    for name, text in changed.items():
      (tmp_path / f"{name}.py").write_text(text)
    for name in files:
      sys.modules.pop(name, None)
    importlib.invalidate_caches()
    spec = dict(name="own_pool:pool")
    return identity.of_stage("pooling", spec, stages.TABLES["pooling"])

  yield of
  for name in files:
    sys.modules.pop(name, None)


def test_a_users_own_stage_is_told_by_its_source(own):
  first = own()
  assert first["share"] == 0.5
  assert own() == first
  changed = own(own_pool=OWN.replace("half(x)", "half(x) + 1"))
  assert {k for k in first if first[k] != changed[k]} == {"source"}


def test_what_a_users_own_stage_imports_from_its_folder_counts(own):
  first = own()
  assert own(own_helper="half = lambda x: x / 3\n") != first


def test_a_module_without_a_file_is_refused():
  with pytest.raises(ValueError, match="'sys', which has no file"):
    identity.source_digest(sys)


def test_fusions_are_known():
  for name in fusion.FUSIONS:
    store.digest(identity.of_stage("fusion", name, fusion.FUSIONS))
