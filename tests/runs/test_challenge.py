import numpy as np
import pytest
import yaml

from asd_jax.data import submission
from asd_jax.engine import settings
from asd_jax.engine import system as system_lib
from asd_jax.runs import challenge, config_file

METRICS = dict(auc_source=0.7, auc_target=0.6, pauc=0.5, score=0.59)
CLIPS = ["section_00_0000.wav", "section_00_0001.wav"]
ROWS = {"00": [(CLIPS[0], 0.5, 1), (CLIPS[1], 0.1, None)]}


def opened(name):
  path = config_file.data_folder("configs") / f"{name}.py"
  space = {}
  exec(compile(path.read_text(), str(path), "exec"), space)
  config = settings.prepared(space["get_config"]("smoke").to_dict())
  return config, system_lib.build(config)


def write(out, machines, development):
  config, system = opened("plain_knn")
  results = {
    "machines": dict.fromkeys(machines, METRICS),
    "total_parameters": 0,
  }
  tables = dict.fromkeys(machines, ROWS)
  challenge.write(out, config, system, tables, results, development=development)
  (folder,) = submission.systems(out)
  meta = yaml.safe_load((folder / f"{folder.name}.meta.yaml").read_text())
  return folder, meta["results"]["development_dataset"]


def test_development_and_evaluation_sets_stay_apart(tmp_path):
  folder, results = write(tmp_path, ["fan", "Sander"], ["fan"])
  # Scores of the one set, results of the other.
  assert list(submission.read_scores(folder)) == ["Sander"]
  assert list(results) == ["fan"]
  (beside,) = submission.systems(tmp_path / "development")
  decisions = submission.read_scores(folder, kind=submission.DECISION)
  assert decisions["Sander"]["00"] == {CLIPS[0]: 1.0, CLIPS[1]: 0.0}
  assert len(list(beside.iterdir())) == 2


@pytest.mark.parametrize(
  ("development", "results"), [(["fan"], {"fan"}), ([], None)]
)
def test_one_set_alone_is_the_package(tmp_path, development, results):
  folder, found = write(tmp_path, ["fan"], development)
  assert list(submission.read_scores(folder)) == ["fan"]
  assert not (tmp_path / "development").exists()
  # Known labels of an evaluation set are no development results.
  assert (found and set(found)) == results


@pytest.mark.parametrize(
  ("name", "known"),
  [
    (
      "plain_knn",
      dict(
        front_end="none",
        acoustic_features="log_mel",
        embeddings="none",
        machine_learning_method="knn",
        ensemble_method_subsystem_count=1,
        decision_making="conformal, false alarm rate 0.1",
        external_data_usage="none",
        input_sampling_rate="16kHz",
      ),
    ),
    (
      "katech_system4",
      dict(
        front_end="ada_sub, ref_sub",
        machine_learning_method="residual_autoencoder,"
        " domain_residual_mahalanobis",
        ensemble_method_subsystem_count=4,
      ),
    ),
    (
      "ludo_system3",
      dict(
        embeddings="sslam",
        data_augmentation="memmixup",
        external_data_usage="pre-trained models",
        ensemble_method_subsystem_count=1,
      ),
    ),
  ],
)
def test_the_config_fills_the_meta_file(name, known):
  config, system = opened(name)
  found = challenge.description(config, system)
  assert {k: found[k] for k in known} == known
  external = challenge.external_datasets(system)
  assert [e["name"] for e in external] == (
    ["SSLAM"] if name == "ludo_system3" else []
  )


@pytest.mark.parametrize(
  ("rule", "words"),
  [
    (dict(by_domain=True), "conformal, false alarm rate 0.1, by domain"),
    (
      dict(by_domain=True, folds=0, decide_in_sample=True),
      "conformal, false alarm rate 0.1",
    ),
    (dict(name="gamma", by_domain=True), "gamma, quantile 0.9"),
  ],
)
def test_the_meta_file_has_the_rule_of_the_decisions(rule, words):
  config, system = opened("plain_knn")
  config = {**config, "threshold": {**config["threshold"], **rule}}
  assert challenge.description(config, system)["decision_making"] == words


def no_state():
  pytest.fail("a state was read that holds no network")


def test_parameters_of_all_networks_are_counted():
  _, plain = opened("plain_knn")
  assert challenge.total_parameters(plain, 0, no_state) == 0
  assert challenge.total_parameters(plain, 17, no_state) == 17
  _, trained = opened("katech_system1")
  params = {"kernel": np.zeros((2, 3, 3)), "bias": np.zeros((2, 3))}
  branch = {"encoder": {"params": params, "extra": {"mean": np.zeros(9)}}}
  state = {"branches": {"ada_sub": branch}}
  assert challenge.total_parameters(trained, 0, lambda: state) == 24
