"""LUDO's configs run whole, from official weight files and recordings.

Runs where ASD_JAX_REALMINI names the folder of the recordings. Only settings
under which every training clip is a prototype: the random projection, which
PyTorch drew, then decides nothing.
"""

import csv
import importlib

import numpy as np
import pytest

from asd_jax.engine import settings
from asd_jax.runs import evaluate, progress
from configs import common
from tests.conftest import GOLDENS
from tests.engine import test_ludo_golden as ludo
from tests.engine import test_ludo_wav_golden as wav

pytestmark = [pytest.mark.golden, pytest.mark.slow]


def projection_decides_nothing(run):
  c, num = run.config, run.num["train"]
  enough = c["n_mix_support"] >= np.sum(~run.is_target)
  return enough and (c["prps_k"] is None or c["prps_k"] >= num)


RUNS = [run for run in wav.RUNS if projection_decides_nothing(run)]


def config_of(run, out):
  """The system's config with the members, weights and settings of a file."""
  c = run.config
  module = importlib.import_module(f"configs.ludo_system{c['system']}")
  config, branches = module.get_config(""), {}
  for name, member in run.members.items():
    family = member["encoder"]
    encoder = dict(
      name=family,
      size=wav.encoder_of(family)[0].about.settings,
      layer=wav.layer_of(run, name),
      checkpoint=str(GOLDENS / f"checkpoints/{family}.pt"),
    )
    branch = common.ludo_branch(
      family,
      encoder,
      alpha=c["residual_alpha"],
      prototypes=c["prps_k"] is not None,
    )
    branch["bank"]["lam"] = c["memmix_lambda_on_target"]
    branch["backend"]["k"] = c["top_k"]
    if branch["wrappers"]:
      chosen = dict(num=c["prps_k"], weight=c["branch_weights"][1])
      branch["wrappers"] = ({**branch["wrappers"][0], **chosen},)
    branches[name] = branch
  with config.ignore_type():
    config.branches = branches
  config.threshold.quantile = c["decision_quantile"]
  config.data_dir = str(wav.recordings(run).parent)
  config.machines = run.machine
  config.output_dir = str(out)
  return settings.prepared(config.to_dict())


@pytest.mark.parametrize("run", RUNS, ids=str)
def test_a_run_has_the_scores_and_decisions_of_the_official_code(
  run, tmp_path, monkeypatch
):
  monkeypatch.setenv("ASD_JAX_CACHE", str(tmp_path / "cache"))
  config = config_of(run, tmp_path / "out")
  with progress.Progress(quiet=True) as bars:
    found = evaluate.run(config, progress=bars)
  path = tmp_path / "out" / "scores" / f"{run.machine}.csv"
  rows = list(csv.reader(path.read_text().splitlines()))[1:]
  by_name = {name: (float(s), int(d)) for name, s, d, _ in rows}
  assert sorted(by_name) == sorted(run.files("test"))
  score, decision = zip(*(by_name[n] for n in run.files("test")), strict=True)
  np.testing.assert_allclose(score, run["score_64"], rtol=0, atol=wav.SCORE)
  np.testing.assert_array_equal(decision, run["decision"])
  entry = found["machines"][run.machine]["sections"]["00"]
  np.testing.assert_allclose(
    entry["threshold"], run["threshold_64"], rtol=0, atol=5e-5
  )
  names = [str(n) for n in run.z["metric_names"]]
  for key in ("auc_source", "auc_target", "pauc"):
    want = run["metrics"][names.index(key)]
    np.testing.assert_allclose(entry[key], want, rtol=0, atol=ludo.METRICS)
