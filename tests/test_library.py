"""The surface for notebooks finds what the commands find."""

import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

import asd_jax
from asd_jax import errors
from asd_jax.runs import export

ROOT = Path(__file__).parents[1]
TINY = {"branches.log_mel.frontend.num_mels": 16}


@pytest.fixture(scope="module")
def waves():
  rng = np.random.default_rng(0)
  return rng.integers(-3000, 3000, (8, 2, 4800)).astype(np.int16)


def test_the_page_runs(tmp_path, monkeypatch):
  page = (ROOT / "docs/library.md").read_text()
  (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
  monkeypatch.chdir(tmp_path)
  names = {}
  exec(compile(code, "library.md", "exec"), names)
  assert names["scores"].shape == (3,)
  np.testing.assert_array_equal(names["again"], names["scores"])
  assert (tmp_path / "out/detectors/machine/detector.json").is_file()


def test_files_and_samples_score_alike_and_as_the_command(waves, tmp_path):
  from asd_jax.runs import score as score_run

  for i, wave in enumerate(waves):
    part = "train" if i < 6 else "test"
    (tmp_path / part).mkdir(exist_ok=True)
    soundfile.write(tmp_path / part / f"{i}.wav", wave.T, 16_000)
  config = asd_jax.load_config("plain_knn", TINY)
  by_file = asd_jax.fit(config, tmp_path / "train")
  by_array = asd_jax.fit(config, waves[:6])
  want = asd_jax.score(by_file, tmp_path / "test")
  np.testing.assert_array_equal(asd_jax.score(by_array, waves[6:]), want)
  folder = by_array.save(tmp_path / "out")
  found = score_run.run(str(folder), [str(tmp_path / "test")])
  rows = [line.split(",")[1] for line in found.text.splitlines()[1:]]
  np.testing.assert_array_equal(np.float32(rows), want)


@pytest.mark.parametrize(
  ("name", "overrides"),
  [
    ("konica_system4:smoke", {}),
    # Networks of folds are trained and scored in `test_katech`.
    ("baseline_mse:smoke", {"threshold.folds": 0, "branches": {"autoencoder": {
      "encoder": {"recipe": {"num_epochs": 2}}}}}),
    # Its encoder's weights are kept as those of `test_frozen` are, and its
    # program is exported like that of features.
    pytest.param("ludo_system1:smoke", {"cache": "off"},
                 marks=pytest.mark.full),
  ],
)  # fmt: skip
@pytest.mark.slow
def test_every_kind_of_system_is_fitted_saved_exported_and_read(
  waves, tmp_path, name, overrides
):
  config = asd_jax.load_config(name, overrides)
  long = np.tile(waves, 3)
  domains = ["source"] * 4 + ["target"] * 2
  detector = asd_jax.fit(config, long[:6], domains=domains)
  scores = asd_jax.score(detector, long[6:])
  assert np.isfinite(scores).all()
  again = asd_jax.load_detector(detector.save(tmp_path))
  np.testing.assert_allclose(again.score(long[6:]), scores, rtol=1e-6)
  file = tmp_path / "one.asd"
  export.run(str(tmp_path / "detectors" / "machine"), str(file))
  want = again.judge(long[6:])
  got = asd_jax.load_detector(file).judge(long[6:])
  np.testing.assert_allclose(got.scores, want.scores, rtol=1e-6)
  np.testing.assert_array_equal(got.p_values, want.p_values)
  np.testing.assert_array_equal(got.decisions, want.decisions)


def test_overrides_are_checked():
  dotted = asd_jax.load_config("plain_knn", TINY)
  nested = {"branches": {"log_mel": {"frontend": {"num_mels": 16}}}}
  assert asd_jax.load_config("plain_knn", nested) == dotted
  view = dict(name="residual", alpha=0.3)
  changed = asd_jax.load_config("plain_knn", {"branches.log_mel.view": view})
  assert changed["branches"]["log_mel"]["view"] == view
  for wrong in ({"seds": (1,)}, {"branches.log_mel.vew": view}, {"seeds": 1}):
    with pytest.raises(errors.InputError, match=f"config: {next(iter(wrong))}"):
      asd_jax.load_config("plain_knn", wrong)
  with pytest.raises(errors.InputError, match="plain_knn"):
    asd_jax.load_config("plain_kn")


def test_wrong_clips_are_refused(waves):
  config = asd_jax.load_config("plain_knn", TINY)
  with pytest.raises(errors.InputError, match="expected int16 or float"):
    asd_jax.fit(config, waves[0, 0])
  with pytest.raises(errors.InputError, match="domains: found 1 for 8"):
    asd_jax.fit(config, waves, domains=["source"])


def test_names_are_there():
  assert asd_jax.session.open
  assert asd_jax.__version__
  assert {"fit", "score", "session", "load_config"} <= set(dir(asd_jax))
