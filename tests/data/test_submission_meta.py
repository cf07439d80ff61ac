import numpy as np
import yaml

from asd_jax.data import submission_meta

LABEL = "Kim_LUDO_task2_1"


def test_meta_file_has_every_key_and_marks_what_is_empty():
  author = {
    "firstname": "Jo",
    "lastname": "Kim",
    "email": "jo@x.org",
    "corresponding": True,
    "affiliation": {"institution": "X", "department": "Y", "location": "Z"},
  }
  value = {"auc_source": 0.7123, "auc_target": np.float32(0.5), "pauc": None}
  content = submission_meta.build(
    LABEL,
    name="yes: no # x",
    authors=[author],
    description={"embeddings": "BEATs", "ensemble_method_subsystem_count": 2},
    total_parameters=np.int64(90_000_000),
    external_datasets=[{"name": "AudioSet", "url": "https://x.org"}],
    development={"fan": value},
  )
  assert submission_meta.problems_of(content, LABEL) == []
  text = submission_meta.dump(content)
  assert "  source_code: !!null\n" in text
  assert "null" not in text.replace("!!null", "")
  content = yaml.safe_load(text)
  assert content["submission"]["authors"] == [author]
  assert content["submission"]["name"] == "yes: no # x"
  assert content["results"]["development_dataset"] == {
    "fan": {"auc_source": 71.23, "auc_target": 50.0, "pauc": None}
  }
  assert content["system"]["complexity"]["total_parameters"] == 90_000_000
  description = content["system"]["description"]
  assert tuple(description) == submission_meta.DESCRIPTION
  assert description["front_end"] is None
  left = submission_meta.left_to_fill(content)
  assert "system.description.front_end" in left
  assert "results.development_dataset.fan.pauc" in left
  assert not [path for path in left if path.startswith("submission.")]
  # Eleven texts, MACS, source code and the pAUC.
  assert len(left) == 14


def test_no_external_data_is_another_fact_than_an_empty_field():
  none = submission_meta.build(LABEL, external_datasets=[])
  assert submission_meta.problems_of(none, LABEL) == []
  left = submission_meta.left_to_fill(none)
  assert "system.external_datasets" not in left
  assert {*submission_meta.left_to_fill(submission_meta.build(LABEL))} == {
    *left, "system.external_datasets",
  }  # fmt: skip


def test_fractions_in_the_development_results_are_noticed():
  content = submission_meta.build(LABEL)
  values = {"auc_source": 0.7, "auc_target": 0.6, "pauc": 0.55}
  content["results"]["development_dataset"] = {"fan": values}
  problems = submission_meta.problems_of(content, LABEL)
  assert problems == [
    "results.development_dataset.fan.pauc is 0.55: a fraction? expected percent"
  ]
