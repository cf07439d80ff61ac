"""Encoders that the command adapts, and that evaluate.py would find."""

import json

import pytest

from tests.scripts import conftest

# A tiny encoder for clips of a third of a second; its head for four steps.
CONFIG = """
from configs import common

RECIPE = dict(
  trains=dict(name="lora", rank=2, targets=("q", "v")),
  head=dict(name="attentive_projection", num_attention=4, num_hidden=6,
            num_outputs=5),
  criteria=(dict(name="arcface", labels="attribute"),),
  optimiser=dict(learning_rate=_RATE_, warmup=0),
  batch_size=4,
  num_steps=4,
)


def get_config(arg=""):
  c = common.run("adapted", "smoke")
  encoder = common.add_encoder(c, "eat", arg="smoke")("embedding")
  c.branches = dict(
    eat=common.branch(
      frontend=dict(name="eat_fbank", num_frames=48),
      encoder={**encoder, "adapt": RECIPE},
      pooling=dict(name="mean_patches"),
      backend=dict(name="knn", k=1, metric="cosine"),
    )
  )
  return c
"""


@pytest.fixture(scope="module")
def train(tmp_path_factory, one_block):
  """Trains on two machines, below a folder that it is given."""
  root = tmp_path_factory.mktemp("train")
  for name in ("fan", "pump"):
    conftest.write_machine(root / "data" / name)

  def start(out, *args, rate=1e-3, config=None):
    own = root / f"adapted_{rate:g}.py".replace("-", "_")
    own.write_text(CONFIG.replace("_RATE_", repr(rate)))
    end = conftest.call(
      "train.py",
      f"--config={config or own}",
      f"--config.data_dir={root / 'data'}",
      f"--config.output_dir={out}",
      *args,
    )
    assert end.status == 0, end.err
    return end.out

  return start


def test_a_config_without_such_encoders_says_so(train, tmp_path):
  assert train(tmp_path, config=conftest.KNN) == (
    "plain_knn: trains no encoder over machines: nothing to do\n"
  )


@pytest.mark.slow
def test_a_training_that_is_stopped_goes_on(train, tmp_path):
  part = train(tmp_path, "--max_steps=2")
  assert ": saved at step 2 of 4, the same command goes on" in part
  assert "labels 'attribute': 4 of 8 classes have one clip (fan/spd_2" in part
  whole = train(tmp_path)
  assert ": trained, state of step 4; logs in " in whole
  (log,) = (tmp_path / "training").rglob("metrics.jsonl")
  lines = [json.loads(x) for x in log.read_text().splitlines()]
  assert [x["step"] for x in lines] == [1, 2, 3, 4]


@pytest.mark.full
def test_a_plan_is_told_and_what_is_there_is_found(train, tmp_path):
  plan = train(tmp_path, "--dry_run", rate=2e-3)
  for words in ("parameters trained", "4 steps of 4 clips", "B a device"):
    assert words in plan
  assert not list(tmp_path.rglob("metrics.jsonl"))
  train(tmp_path, rate=2e-3)
  again = train(tmp_path, rate=2e-3)
  assert again.endswith(": found, trained before\n")
