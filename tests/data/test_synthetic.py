import csv
import re

import numpy as np
import pytest
import soundfile
from sklearn import covariance, metrics

from asd_jax.data import machine_sound, synthetic, synthetic_clips

NAME = re.compile(
  r"section_00_(source|target)_(train|test)_(normal|anomaly)_(\d{4})_(.+)\.wav"
)
SMALL = dict(num_source=6, num_target=2, num_test=3, seconds=0.5)
MACHINES = tuple(synthetic.MACHINES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  path = tmp_path_factory.mktemp("set")
  return path, synthetic.write(path, machines=("gearbox", "valve"), **SMALL)


@pytest.fixture(scope="module")
def scenes():
  return {name: synthetic.build(name, seconds=2.0) for name in MACHINES}


def rows_of(path):
  with open(path, newline="") as file:
    return list(csv.reader(file))


def sound(machine, fault, severity, *, samples=32_000, setting=0):
  """One clip of a machine before any room; draws are the same for all."""
  kind = synthetic.MACHINES[machine]
  unit = machine_sound.unit_numbers([7], target=False)
  rng = np.random.default_rng(5)
  bands = kind.bands(unit)
  hiss = [machine_sound.coloured(rng, samples, band) for band in bands]
  state = machine_sound.Condition(setting, fault, severity)
  return kind.sound(np.random.default_rng(3), unit, state, np.stack(hiss))


def test_files_have_official_names_counts_and_format(folder):
  root, paths = folder
  assert sorted(paths) == sorted(root.rglob("*.wav"))
  counts = {}
  for path in paths:
    domain, split, label, index, _ = NAME.fullmatch(path.name).groups()
    assert path.parent.name == split
    key = (path.parents[1].name, split, domain, label)
    counts.setdefault(key, []).append(int(index))
    info = soundfile.info(path)
    assert (info.channels, info.samplerate, info.frames) == (2, 16_000, 8_000)
    assert (info.format, info.subtype) == ("WAV", "PCM_16")
  assert len(counts) == 2 * 6
  for (_, split, domain, _), indices in counts.items():
    expected = 3 if split == "test" else {"source": 6, "target": 2}[domain]
    assert indices == list(range(expected))


def test_attributes_stand_in_the_names_and_in_the_table(folder):
  root, paths = folder
  for machine in ("gearbox", "valve"):
    header, *rows = rows_of(root / machine / "attributes_00.csv")
    assert header == ["file_name", "d1p", "d1v"]
    table = {file: tuple(cells) for file, *cells in rows}
    names = [p for p in paths if p.parents[1].name == machine]
    assert {root / file for file in table} == set(names)
    for file, (parameter, value) in table.items():
      domain, *_, attribute = NAME.fullmatch(file.split("/")[-1]).groups()
      if machine == "valve":
        assert (attribute, parameter, value) == ("noAttribute",) * 2 + ("",)
      else:
        assert attribute == f"{parameter}_{value}"
        assert parameter == "pro"
        assert value in ("ABCDEF" if domain == "source" else "XYZ")


def test_provenance_names_every_fault_and_grades_it(folder):
  root, _ = folder
  _, *rows = rows_of(root / "gearbox" / "provenance.csv")
  faulty = [row for row in rows if "_anomaly_" in row[0]]
  assert {row[1] for row in faulty} == set(synthetic.MACHINES["gearbox"].faults)
  assert all(0.25 <= float(row[2]) <= 1 for row in faulty)
  assert all(row[1:3] == ["", ""] for row in rows if row not in faulty)


def test_no_partial_files_are_left(folder):
  root, paths = folder
  tables = len(list(root.rglob("*.csv")))
  assert len([p for p in root.rglob("*") if p.is_file()]) == (
    len(paths) + tables
  )


def test_the_same_seed_gives_the_same_bytes_in_a_smaller_set(folder, tmp_path):
  root, _ = folder
  settings = SMALL | dict(num_source=2, num_target=1, num_test=1)
  for path in synthetic.write(tmp_path, machines=["valve"], **settings):
    other = root / path.relative_to(tmp_path)
    assert path.read_bytes() == other.read_bytes()


def test_another_seed_gives_other_sound():
  clips = synthetic_clips.plan("fan", num_source=1, num_target=0, num_test=0)
  one, other = (
    synthetic.record(synthetic.build("fan", seconds=0.5, seed=seed), clips)
    for seed in (0, 1)
  )
  assert one.shape == (1, 2, 8_000)
  assert abs(np.corrcoef(one[0, 0], other[0, 0])[0, 1]) < 0.2


def test_a_set_can_be_written_again_but_not_over_another(folder, tmp_path):
  settings = dict(machines=["valve"], seconds=0.5, num_target=0, num_test=0)
  first = synthetic.write(tmp_path, num_source=2, **settings)
  assert synthetic.write(tmp_path, num_source=2, **settings) == first
  with pytest.raises(ValueError, match="1 wave files of another set"):
    synthetic.write(tmp_path, num_source=1, **settings)


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    (dict(machines=["pump"]), "machine: found 'pump', expected .*'fan'"),
    (dict(machines=["fan", "fan"]), "expected different names"),
    (dict(machines=[]), "expected different names"),
    (dict(seconds=0.1), "seconds: found 0.1, expected 0.5 to 600"),
    (dict(num_test=-1), "num_test: found -1"),
    (dict(seed=-1), "seed: found -1"),
  ],
)
def test_settings_out_of_range_are_refused(settings, message, tmp_path):
  with pytest.raises(ValueError, match=message):
    synthetic.write(tmp_path, **(dict(num_source=1) | settings))
  assert not list(tmp_path.rglob("*.wav"))


def test_train_and_test_use_different_noises(scenes):
  noise = scenes["fan"].noise
  for corner in range(4):
    takes = [noise[split][corner, :, 0] for split in ("train", "test")]
    takes = [x / np.linalg.norm(x, axis=-1, keepdims=True) for x in takes]
    train, test = (np.fft.rfft(x) for x in takes)
    # Alike at any offset? Takes are periodic, so correlate them around.
    alike = np.fft.irfft(train[:, None] * test[None].conj())
    assert np.abs(alike).max() < 0.95


def test_the_machine_is_louder_at_the_near_microphone(scenes):
  for scene in scenes.values():
    near, far = np.sum(np.square(np.abs(scene.transfer)), axis=-1)
    assert 10 * np.log10(near / far) > 6


def test_loudness_gives_nothing_away(scenes):
  for name, scene in scenes.items():
    clips = synthetic_clips.plan(name, num_source=0, num_target=0, num_test=15)
    audio = synthetic.record(scene, clips)
    assert np.abs(audio).max() < 1
    level = np.mean(np.square(audio[:, 0]), axis=-1)
    anomaly = [clip.label == "anomaly" for clip in clips]
    # 60 clips: the standard error of an AUC of 0.5 is 0.075.
    assert 0.25 < metrics.roc_auc_score(anomaly, level) < 0.75, name


def test_faults_grow_with_their_severity():
  for name, kind in synthetic.MACHINES.items():
    normal = sound(name, "", 0.0)
    assert np.mean(np.square(normal)) == pytest.approx(1.0, rel=1e-3)
    for fault in kind.faults:
      small, large = (
        np.linalg.norm(sound(name, fault, severity) - normal)
        for severity in (0.0, 1.0)
      )
      assert 0 < small < large, f"{name} {fault}"


def test_an_imbalance_sounds_at_the_speed_of_the_shaft():
  unit = machine_sound.unit_numbers([7], target=False)
  for setting, speed in enumerate((16.0, 20.5, 25.0)):
    speed *= 0.88 + 0.24 * unit[8]
    spectra = [
      np.abs(np.fft.rfft(sound("fan", fault, 1.0, setting=setting)))
      for fault in ("", "imbalance")
    ]
    hz = np.fft.rfftfreq(32_000, 1 / 16_000)
    line = np.abs(hz - speed) < 0.02 * speed + 0.5
    assert spectra[1][line].max() > 3 * spectra[0][line].max()


def test_a_damaged_bearing_ticks_at_its_fault_frequency():
  unit = machine_sound.unit_numbers([7], target=False)
  rate = 3.58 * 16.0 * (0.88 + 0.24 * unit[8])
  spectrum = np.fft.rfft(sound("fan", "bearing", 1.0))
  hz = np.fft.rfftfreq(32_000, 1 / 16_000)
  spectrum[hz < 2500] = 0  # where the race rings
  envelope = np.abs(np.fft.irfft(spectrum))
  lines = np.abs(np.fft.rfft(envelope - envelope.mean()))
  band = (hz > 30) & (hz < 1.5 * rate)
  found = hz[band][np.argmax(lines[band])]
  assert found == pytest.approx(rate, rel=0.03)


def test_a_leak_is_heard_while_the_valve_is_shut():
  def quiet(wave):
    frames = wave.reshape(-1, 320)
    return np.quantile(np.mean(np.square(frames), axis=-1), 0.2)

  assert quiet(sound("valve", "leak", 1.0)) > 4 * quiet(sound("valve", "", 0.0))


def test_a_broken_tooth_strikes_once_a_turn_of_the_wheel():
  unit = machine_sound.unit_numbers([7], target=False)
  pinion, wheel = 17 + int(5 * unit[0]), 37 + int(9 * unit[1])
  rate = (19.0 + 6.0 * unit[8]) * pinion / wheel
  difference = sound("gearbox", "tooth", 1.0)
  scale = np.dot(difference, sound("gearbox", "", 0.0)) / len(difference)
  difference = difference - scale * sound("gearbox", "", 0.0)
  power = np.mean(np.square(difference).reshape(-1, 80), axis=-1)
  strikes = np.sum((power[1:] > 0.2 * power.max()) & (power[:-1] < power[1:]))
  assert strikes == pytest.approx(float(2 * rate), rel=0.3)


@pytest.mark.parametrize("machine", MACHINES)
def test_plain_detector_finds_some_but_not_all_faults(machine, scenes):
  settings = dict(num_source=80, num_target=8, num_test=20)
  clips = synthetic_clips.plan(machine, **settings)
  near = synthetic.record(scenes[machine], clips)[:, 0]
  frames = np.lib.stride_tricks.sliding_window_view(near, 1024, axis=-1)
  power = np.abs(np.fft.rfft(frames[:, ::512] * np.hanning(1024))) ** 2
  edges = np.unique(np.geomspace(2, 512, 32).astype(int))
  bands = np.add.reduceat(power, edges, axis=-1)
  levels = 10 * np.log10(bands + 1e-10)  # [B, T, M]
  emb = np.concatenate([levels.mean(1), levels.std(1)], axis=-1)
  train = np.array([clip.split == "train" for clip in clips])
  anomaly = np.array([clip.label == "anomaly" for clip in clips])
  emb = (emb - emb[train].mean(0)) / emb[train].std(0)
  fitted = covariance.LedoitWolf().fit(emb[train])
  score = fitted.mahalanobis(emb[~train])
  assert 0.55 < metrics.roc_auc_score(anomaly[~train], score) < 0.97
