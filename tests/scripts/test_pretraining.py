"""A pre-training of a tiny network on synthetic sound, by the command."""

import json

import grain  # noqa: F401  (defines flags once, and a command's are removed)
import jax
import numpy as np
import pytest
import soundfile

from asd_jax.encoders import load
from asd_jax.engine import distil, distil_config
from asd_jax.runs import config_file
from configs import na_dasheng
from tests.scripts import conftest

CONFIG = f"--config={conftest.ROOT / 'configs' / 'na_dasheng.py'}:smoke"


def train(out, *args):
  return conftest.call("train.py", CONFIG, f"--config.output_dir={out}", *args)


def done(end):
  assert end.status == 0, end.err
  return end.out


pytestmark = pytest.mark.usefixtures("one_block")


@pytest.fixture(scope="module")
def whole(tmp_path_factory, one_block):
  """A pre-training that was stopped and went on."""
  out = tmp_path_factory.mktemp("pretraining")
  part = done(train(out, "--max_steps=2"))
  assert ": saved at step 2 of 4, the same command goes on" in part
  return out, done(train(out))


@pytest.mark.slow
def test_weights_come_out_that_a_config_can_name(whole):
  out, said = whole
  place = out / "weights" / "na_dasheng-seed_0"
  assert f"weights of na_dasheng in {place}" in said
  encoder = distil_config.FAMILIES["na_dasheng"](size="smoke")
  found = load.from_files({"x": (encoder, str(place))}, folder=out)["x"]
  params = found.params
  moved = np.abs(params["layers"]["layers_0"]["ffn"]["down_proj"]["kernel"])
  assert moved.max() > 0
  log = out / "logs" / "na_dasheng-seed_0" / "metrics.jsonl"
  lines = [json.loads(x) for x in log.read_text().splitlines()]
  assert [x["step"] for x in lines] == [1, 2, 3, 4]
  assert "criterion" in lines[-1]


@pytest.mark.slow
def test_what_is_there_is_found_and_another_run_is_refused(whole):
  out, _ = whole
  assert ": found in " in done(train(out))
  other = train(out, "--config.optimiser.learning_rate=0.1").refused()
  assert "found another run, with other optimiser.learning_rate" in other


@pytest.mark.slow
def test_an_example_is_made_again(whole):
  out, _ = whole
  said = done(train(out, "--show_example=5"))
  place = out / "example_5"
  assert str(place) in said
  assert " dB near" in said
  waves = {p.stem: soundfile.read(p)[0] for p in place.glob("*.wav")}
  assert {*waves} == {
    *("near", "far", "clean", "target"),
    *(f"noise_{i}" for i in range(1, 5)),
  }
  assert {w.shape for w in waves.values()} == {(16_000,)}
  assert (place / "example.png").read_bytes()[1:4] == b"PNG"
  again = done(train(out, "--show_example=5"))
  assert again == said
  assert "expected 0 to 15" in train(out, "--show_example=16").refused()


def test_it_is_refused_where_it_is_no_system(tmp_path):
  line = conftest.call(
    "evaluate.py", CONFIG, f"--config.output_dir={tmp_path}"
  ).refused()
  assert "found the pre-training na_dasheng, expected a system" in line
  line = conftest.call(
    "train.py", f"--config={conftest.KNN}", "--show_example=0"
  ).refused()
  assert "--show_example" in line


@pytest.mark.parametrize(
  ("flag", "told"),
  [
    ("rooms.num=-1", "rooms.num: found -1"),
    ("encoder.size=large", "found size 'large'"),
    ("accumulate=3", "accumulate: found 3, expected a divisor"),
    ("rooms.ranges.far_from=wall", "far_from is 'wall'"),
    ("rooms.ranges.rt60=(0.1,0.9)", "found an RT60 of 0.9 s"),
    ("seconds=0.001", "config: seconds"),
    ("optimiser.learning_rate=-1.0", "config: optimiser: learning_rate"),
    ("target=fsd", "noises: found none"),
    ("frontend.name=beats_fbank", "expected the 64"),
    ("noises=('nowhere',)", "target: found none"),
  ],
)
def test_what_it_cannot_use_is_told(tmp_path, flag, told):
  assert told in train(tmp_path, f"--config.{flag}").refused()


def test_weights_of_another_encoder_are_refused(tmp_path):
  path = conftest.ROOT / "tests" / "goldens" / "checkpoints" / "beats.pt"
  flags = ("--config.random_weights=False", f"--config.checkpoint={path}")
  line = train(tmp_path, *flags).refused()
  assert "found BEATs" in line
  assert "expected DaSheng weights" in line


def test_what_ended_before_its_first_save_binds_nobody(tmp_path):
  for i in range(24):
    path = tmp_path / "silent" / f"{i}.wav"
    path.parent.mkdir(exist_ok=True)
    soundfile.write(path, np.zeros(20_000), 16_000, subtype="PCM_16")
  place = f"--config.noises=('{path.parent}',)"
  flags = (f"--config.target={path.parent}", place)
  assert "silence in each" in train(tmp_path / "out", *flags).refused()
  # Mended by another setting, it is not taken for another run.
  mended = train(tmp_path / "out", *flags, "--config.microphones=1")
  assert "silence in each" in mended.refused()


def test_rooms_are_no_parameters(tmp_path):
  config = na_dasheng.get_config("smoke")
  config.output_dir = str(tmp_path)
  opened = distil.Pretraining(config_file.prepared(config, (), trains=True))
  with opened.job(0) as job:
    _, frozen = jax.eval_shape(job.init, jax.random.key(0), job.start)
  size = lambda tree: sum(x.size for x in jax.tree.leaves(tree))
  assert size(job.network(frozen)) == opened.base.size < size(frozen)


def test_synthetic_recordings_need_a_place():
  for name in ("na_dasheng", "merl_dis_beats"):
    config = conftest.ROOT / "configs" / f"{name}.py"
    end = conftest.call("train.py", f"--config={config}:smoke", "--dry_run")
    assert "config: output_dir: found none" in end.refused()


def test_corpora_are_sought_where_they_were_built(tmp_path):
  flags = ("--config.target=fsd50k", "--config.noises=('demand','fsd50k')")
  line = train(tmp_path, *flags).refused()
  assert "config: data_dir: found none" in line
  assert "fsd50k, demand were built" in line
