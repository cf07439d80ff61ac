"""The stated false-alarm rate on clips that were kept apart, of whole systems.

`benchmarks/check_decisions.py` measures it of every system on recordings.
"""

import numpy as np
import pytest
import scipy.stats
import soundfile

import asd_jax
from asd_jax.data import clips
from asd_jax.engine import session
from asd_jax.frontends import dif

NUM_TRAIN, NUM_CHECK, RATE = 20, 20, 0.1


@pytest.fixture(scope="module")
def normal(tmp_path_factory):
  """Normal clips of a machine whose sound differs from clip to clip."""
  folder, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
  (folder / "fan" / "train").mkdir(parents=True)
  for i in range(NUM_TRAIN + NUM_CHECK):
    near, far = rng.normal(size=(2, 4800))
    hum = np.sin(np.arange(4800) * rng.uniform(0.02, 0.3))
    wave = np.stack([rng.uniform(0.5, 2) * hum + near + 0.5 * far, far], axis=1)
    name = f"section_00_source_train_normal_{i:04d}_noAttribute.wav"
    soundfile.write(folder / "fan" / "train" / name, 0.1 * wave, 16_000)
  (machine,) = clips.read_tree(folder)
  return machine.train


@pytest.mark.parametrize(
  "name", ["plain_knn", "plain_mahalanobis", "konica_system4"]
)
def test_normal_clips_kept_apart_are_called_anomalous_at_the_stated_rate(
  normal, name
):
  config = asd_jax.load_config(name)
  if name == "konica_system4":  # whitening of more features than clips
    config["branches"]["dif"]["frontend"]["features"] = dif.NAMES[:24]
  opened, alarms = session.open(config), []
  for split in range(4):
    order = np.random.default_rng(split).permutation(len(normal))
    train, check = np.split(order, [NUM_TRAIN])
    fitted = opened.fit("fan", [normal[i] for i in train])
    judged = opened.score(fitted.section, [normal[i] for i in check])
    alarms.append(int((judged.decisions == 1).sum()))
    assert (judged.decisions >= 0).all()
  # Of 21 clips the two that score highest: Beta over the splits.
  num = int((NUM_TRAIN + 1) * RATE)
  chance = scipy.stats.betabinom(NUM_CHECK, num, NUM_TRAIN + 1 - num)
  low, high = chance.ppf((0.001, 0.999))
  assert all(low <= n <= high for n in alarms)
  assert 0 < sum(alarms) < len(alarms) * chance.ppf(0.95)
