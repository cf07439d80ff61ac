"""Choosing features by the shift between domains, as a user does it."""

import json

import numpy as np
import pytest

from asd_jax.engine import settings
from asd_jax.frontends import dif


@pytest.fixture(scope="module")
def data(put_machine, tmp_path_factory):
  folder = tmp_path_factory.mktemp("features") / "data"
  for name in ("fan", "pump"):
    put_machine(folder / name)
  return folder


def names(entries):
  return [entry["name"] for entry in entries]


@pytest.fixture(scope="module")
def chosen(run, data):
  file = data.parent / "features.json"
  end = run("select_features.py", f"--data_dir={data}", f"--output={file}")
  assert end.status == 0, end.err
  lines = end.out.splitlines()
  assert len(lines) == 32
  assert lines[-1].startswith("120 of 151 features")
  return file


def test_the_farthest_features_are_left_out(chosen):
  found = json.loads(chosen.read_text())
  assert found["machines"] == ["fan", "pump"]
  mean = np.mean(list(found["distances"].values()), axis=0)
  order = [dif.NAMES[i] for i in np.argsort(-mean, kind="stable")]
  assert set(names(found["left_out"])) == set(order[:31])
  assert names(found["kept"]) == [n for n in dif.NAMES if n in order[31:]]
  inside = sorted(mean)[-32:-30]
  assert found["limit"] == pytest.approx(np.mean(inside), rel=1e-4)


def test_one_machine_and_a_threshold(run, data, tmp_path):
  file = tmp_path / "features.json"
  end = run(
    "select_features.py",
    f"--data_dir={data}",
    f"--output={file}",
    "--machines=pump",
    "--mode=threshold",
    "--limit=0.8",
  )
  assert end.status == 0, end.err
  found = json.loads(file.read_text())
  assert found["machines"] == ["pump"]
  assert all(entry["distance"] <= 0.8 for entry in found["kept"])
  assert all(entry["distance"] > 0.8 for entry in found["left_out"])
  assert len(found["kept"]) + len(found["left_out"]) == len(dif.NAMES)


def test_a_config_takes_the_kept_features(chosen):
  config = {
    "feature_selection": str(chosen),
    "branches": {
      "dif": {"frontend": {"name": "dif", "features": "default"}},
      "other": {"frontend": {"name": "log_mel"}},
    },
  }
  found = settings.with_selections(config)
  kept = names(json.loads(chosen.read_text())["kept"])
  assert found["branches"]["dif"]["frontend"]["features"] == tuple(kept)
  assert found["branches"]["other"] == config["branches"]["other"]
  assert found["feature_selection"] == ""
  assert config["branches"]["dif"]["frontend"]["features"] == "default"
  del config["branches"]["dif"]
  with pytest.raises(ValueError, match="no branch with frontend 'dif'"):
    settings.with_selections(config)
  config["feature_selection"] = ""
  assert settings.with_selections(config) == config


@pytest.mark.parametrize(
  ("content", "text"),
  [
    (None, "no readable file"),
    ("[]", "expected a JSON object"),
    ("{}", "another kind"),
    ({"kept": []}, "no names"),
    ({"kept": [{"name": "pitch"}]}, "no names"),
    ({"kept": ["shape_0"]}, "no names"),
  ],
)
def test_another_file_is_refused(tmp_path, content, text):
  file = tmp_path / "features.json"
  if isinstance(content, dict):
    content = json.dumps({"kind": settings.FEATURES.kind, **content})
  if content is not None:
    file.write_text(content)
  with pytest.raises(ValueError, match=text) as error:
    settings.read_selection(file, settings.FEATURES)
  assert str(file) in str(error.value)


@pytest.mark.parametrize(
  ("args", "text"),
  [
    (["--output="], "--output=FILE"),
    (["--data_dir="], "--data_dir=DIR"),
    (["more"], "more"),
    (["--data_dir=/nowhere"], "/nowhere"),
    (["--mode=best"], "'best'"),
    (["--num=151"], "151"),
    (["--num=-1"], "-1"),
    (["--limit=nan"], "nan"),
    (["--mode=threshold", "--limit=0.001"], "no feature"),
    (["--machines=valve"], "valve"),
  ],
)
def test_wrong_settings_are_refused(run, data, tmp_path, args, text):
  file = tmp_path / "features.json"
  end = run(
    "select_features.py", f"--data_dir={data}", f"--output={file}", *args
  )
  assert text in end.refused()
  assert not file.exists()


@pytest.mark.parametrize(
  ("change", "text"),
  [
    (dict(channels=1), "1 channels"),
    (dict(seconds=0.2), "4096"),
    (dict(train=["section_00_source_train_normal_0000.wav"]), "target domain"),
  ],
)
def test_clips_that_say_nothing_are_refused(
  run, put_machine, tmp_path, change, text
):
  put_machine(tmp_path / "data" / "fan", test=[], **change)
  line = run(
    "select_features.py",
    f"--data_dir={tmp_path / 'data'}",
    f"--output={tmp_path / 'features.json'}",
  ).refused()
  assert "fan" in line
  assert text in line
