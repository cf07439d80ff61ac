"""Systems of frozen encoders as a user runs them, with tiny networks."""

import json
import os
import shutil
from unittest import mock

import numpy as np
import pytest

from asd_jax.encoders import load
from asd_jax.engine import settings, sources
from asd_jax.engine import system as system_lib
from asd_jax.runs import suspects
from tests.scripts.conftest import ROOT

CONFIGS = ROOT / "configs"
# Models of folds are tried where there is one branch.
NO_FOLDS = "--config.threshold.folds=0"


pytestmark = pytest.mark.usefixtures("no_reasons")


def flag(name, arg=":smoke"):
  return f"--config={CONFIGS / name}.py{arg}"


@pytest.fixture(scope="module")
def whole(run, put_machine, tmp_path_factory):
  """The five layers of system 2 on one machine; read only."""
  root = tmp_path_factory.mktemp("ludo")
  put_machine(root / "data" / "fan")
  end = run(
    "evaluate.py",
    flag("ludo_system2"),
    f"--config.data_dir={root / 'data'}",
    f"--config.output_dir={root / 'out'}",
    "--config.cache=clear",
    NO_FOLDS,
  )
  assert end.status == 0, end.err
  return root, end


def read(root):
  return json.loads((root / "out" / "results.json").read_text())


def test_random_weights_are_announced_in_large_letters(whole):
  root, end = whole
  assert "RANDOM WEIGHTS" in end.out
  page = (root / "out" / "report.html").read_text()
  assert '<p class="warning" role="note"><b>RANDOM WEIGHTS</b>' in page
  assert "<dd>14 clips computed, 0 read from the cache</dd>" in page
  found = read(root)
  assert found["encoders"]["random_weights"] is True
  assert any("weights are random" in note for note in found["notes"])


def test_five_members_have_three_networks(whole):
  root, _ = whole
  about = read(root)["encoders"]
  assert [w["branches"] for w in about["weights"].values()] == [
    ["beats_l12", "beats_l6"],
    ["dasheng_l1"],
    ["sslam_l12", "sslam_l6"],
  ]
  kept = {p.name for p in (root / "out" / "encoders").iterdir()}
  assert kept == set(about["weights"])
  assert about["clips_computed"] == 14


def test_hosts_share_the_embedding(whole, run, tmp_path, monkeypatch):
  root, _ = whole
  shutil.copytree(root / "data", tmp_path / "data")
  first, *_ = sorted((tmp_path / "data" / "fan" / "test").iterdir())
  monkeypatch.setenv("ASD_JAX_CACHE", str(tmp_path / "cache"))
  flags = flag("ludo_system2"), f"--config.data_dir={tmp_path / 'data'}"
  ends = [
    run("embed.py", *flags, "--num_hosts=2", f"--host={i}") for i in (0, 1)
  ]
  assert [e.status for e in ends] == [0, 0], ends[0].err + ends[1].err
  assert "host 0 of 2: embeddings of clips: 7 computed, 0 found" in ends[0].out
  assert "host 1 of 2: embeddings of clips: 7 computed, 0 found" in ends[1].out
  again = run("embed.py", *flags)
  assert "host 0 of 1: embeddings of clips: 0 computed, 14 found" in again.out
  flags += (NO_FOLDS, f"--config.output_dir={tmp_path / 'out'}")
  end = run("evaluate.py", *flags)
  assert end.status == 0, end.err
  assert read(tmp_path)["encoders"]["clips_computed"] == 0
  scores = [
    (folder / "out" / "scores" / "fan.csv").read_bytes()
    for folder in (root, tmp_path)
  ]
  assert scores[0] == scores[1]
  first.write_bytes(first.read_bytes()[:100])
  end = run("embed.py", *flags[:2], "--num_hosts=2")
  assert end.status == 2
  assert f"{first}: " in end.err


def test_a_share_of_hosts_that_are_not_there(run):
  end = run("embed.py", flag("ludo_system2"), "--num_hosts=2", "--host=2")
  assert end.status == 2
  assert "--host: found 2 of 2 hosts, expected 0 to 1" in end.err
  end = run("embed.py", flag("plain_knn"))
  assert end.status == 2


def test_a_second_run_reads_the_embeddings(whole, run, tmp_path):
  root, _ = whole
  end = run(
    "evaluate.py",
    flag("ludo_system2"),
    f"--config.data_dir={root / 'data'}",
    f"--config.output_dir={tmp_path / 'out'}",
    "--config.cache=readonly",
    NO_FOLDS,
  )
  assert end.status == 0, end.err
  assert read(tmp_path)["encoders"]["clips_read"] == 14
  for name in ("scores/fan.csv",):
    one, other = ((r / "out" / name).read_bytes() for r in (root, tmp_path))
    assert one == other


def test_the_detector_scores_as_the_run_did(whole, run, tmp_path):
  root, _ = whole
  end = run(
    "score.py",
    f"--detector={root / 'out' / 'detectors' / 'fan'}",
    root / "data" / "fan" / "test",
  )
  assert end.status == 0, end.err
  given = (root / "out" / "scores" / "fan.csv").read_text().splitlines()
  rows = [x.split(",") for x in given[1:]]
  want = {name: (float(score), *rest) for name, score, *rest in rows}
  got = [x.split(",") for x in end.out.splitlines()[1:]]
  assert len(got) == len(want)
  for name, score, *rest in got:
    expected = want[name.rsplit("/", 1)[-1]]
    np.testing.assert_allclose(float(score), expected[0], rtol=1e-6)
    assert tuple(rest) == expected[1:]


def test_scoring_keeps_nothing_and_clears_nothing(run, put_wave, tmp_path):
  """Whatever the run that made the detector did with the cache."""
  folder = tmp_path / "cache"
  with mock.patch.dict(os.environ, ASD_JAX_CACHE=str(folder)):
    data = tmp_path / "data"
    for split, num in (("normal", 12), ("test", 1)):
      for i in range(num):
        put_wave(data / split / f"{split}{i}.wav")
    end = run(
      "evaluate.py",
      flag("ludo_system3"),
      f"--config.normal={data / 'normal'}",
      f"--config.test={data / 'test'}",
      f"--config.output_dir={tmp_path / 'out'}",
      "--config.cache=clear",
    )
    assert end.status == 0, end.err
    kept = lambda: len(list(folder.rglob("*.safetensors")))
    assert kept() == 13
    new = put_wave(tmp_path / "new.wav")
    (detector,) = (tmp_path / "out" / "detectors").iterdir()
    end = run("score.py", f"--detector={detector}", new)
    assert end.status == 0, end.err
    assert kept() == 13


@pytest.mark.parametrize("damage", ["absent", "torn"])
def test_a_detector_without_its_encoders_says_so(whole, run, tmp_path, damage):
  root, _ = whole
  shutil.copytree(root / "out" / "detectors", tmp_path / "out" / "detectors")
  if damage == "torn":
    shutil.copytree(root / "out" / "encoders", tmp_path / "out" / "encoders")
    for path in (tmp_path / "out" / "encoders").rglob("params/**/d/*"):
      path.write_bytes(path.read_bytes()[:-7])
  end = run(
    "score.py",
    f"--detector={tmp_path / 'out' / 'detectors' / 'fan'}",
    root / "data" / "fan" / "test",
  )
  line = end.refused()
  assert str(tmp_path / "out" / "encoders") in line


def test_the_threshold_is_the_quantile_of_training_scores(whole):
  root, _ = whole
  entry = read(root)["machines"]["fan"]["sections"]["00"]
  path = root / "out" / "detectors" / "fan" / "detector.json"
  facts = json.loads(path.read_text())["sections"]["00"]
  want = np.quantile(facts["train_scores"], 0.95)
  np.testing.assert_allclose(entry["threshold"], want, rtol=1e-6)


def test_missing_weights_are_named_with_place_and_command(run, tmp_path):
  end = run(
    "evaluate.py",
    flag("ludo_system2", ""),
    f"--config.data_dir={tmp_path}",
    f"--config.output_dir={tmp_path / 'out'}",
    f"--config.weights_dir={tmp_path / 'weights'}",
  )
  line = end.refused()
  for text in (
    "BEATs_iter3.pt",
    "ta012/SSLAM_pretrain",
    "mispeech/dasheng-base",
    "convert_weights.py --encoder=sslam",
    str(tmp_path / "weights" / "beats_base"),
    "--config.random_weights=true",
    "Apache-2.0",
  ):
    assert text in line
  assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
  """A converted folder of the tiny SSLAM that system 1 has in smoke size."""
  from configs import ludo_system1

  config = settings.prepared(ludo_system1.get_config("smoke").to_dict())
  system = system_lib.build(config)
  (made,) = load.at_random(sources.encoders(system.branches), seed=7).values()
  return load.keep(tmp_path_factory.mktemp("weights"), made)


@pytest.fixture
def with_weights(whole, run, tmp_path):
  root, _ = whole

  def start(place, *more):
    return run(
      "evaluate.py",
      flag("ludo_system1"),
      "--config.random_weights=false",
      f"--config.checkpoints.sslam_base={place}",
      f"--config.data_dir={root / 'data'}",
      f"--config.output_dir={tmp_path / 'out'}",
      *more,
    )

  return start


def test_named_weights_are_used(with_weights, checkpoint, tmp_path):
  with mock.patch.dict(suspects.find.__kwdefaults__, seconds=1000.0):
    end = with_weights(checkpoint)
  assert end.status == 0, end.err
  assert "RANDOM" not in end.out
  page = (tmp_path / "out" / "report.html").read_text()
  assert "RANDOM" not in page
  assert "<li>Where: " in page or "not above that of a typical" in page
  assert "<li>Nearest normal clips" in page
  ((digest, about),) = read(tmp_path)["encoders"]["weights"].items()
  assert digest == checkpoint.name
  assert about["origin"] == str(checkpoint)


@pytest.mark.parametrize("kind", ["nowhere", "page", "other family"])
def test_weights_that_do_not_fit_are_refused(
  with_weights, checkpoint, tmp_path, kind
):
  place = tmp_path / "given"
  if kind == "page":
    place.write_text("<!doctype html><html>")
  elif kind == "other family":
    shutil.copytree(checkpoint, place)
    about = json.loads((place / "encoder.json").read_text())
    text = json.dumps({**about, "family": "beats"})
    (place / "encoder.json").write_text(text)
  line = with_weights(place).refused()
  assert str(place) in line
  assert not (tmp_path / "out").exists()


def test_a_wrong_mode_of_the_cache_is_refused(with_weights, checkpoint):
  line = with_weights(checkpoint, "--config.cache=maybe").refused()
  assert "cache: found 'maybe', expected one of" in line


def test_figure_1_is_a_sweep_of_its_own(whole, run, tmp_path):
  root, _ = whole
  end = run(
    "sweep.py",
    flag("ludo_fig1"),
    f"--config.data_dir={root / 'data'}",
    f"--config.output_dir={tmp_path / 'out'}",
  )
  assert end.status == 0, end.err
  rows = (tmp_path / "out" / "sweep.csv").read_text().splitlines()
  assert rows[0].startswith("encoder.layer,view.alpha,machine,")
  assert len(rows) == 1 + 2 * 7 * 2
  assert "RANDOM WEIGHTS" in (tmp_path / "out" / "sweep.html").read_text()
  found = json.loads((tmp_path / "out" / "sweep.json").read_text())
  assert found["encoders"]["clips_computed"] in (0, 14)
