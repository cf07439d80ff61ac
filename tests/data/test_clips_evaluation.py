"""Evaluation sets: anonymous names, ground truth, renamed copies."""

import functools
import io
import shutil

import numpy as np
import pytest
import soundfile

from asd_jax.data import clips

TRAIN = [
  "section_00_source_train_normal_0000_spd_1.wav",
  "section_00_source_train_normal_0002_spd_2.wav",
  "section_00_target_train_normal_0009_spd_3.wav",
]
TEST = [
  "section_00_source_test_anomaly_0150_spd_1.wav",
  "section_00_source_test_normal_0000_spd_1.wav",
  "section_00_target_test_anomaly_0199_spd_3.wav",
  "section_00_target_test_normal_0000_spd_3.wav",
]
ANONYMOUS = [f"section_00_{i:04d}.wav" for i in range(4)]


@functools.cache
def wave(seed):
  rng = np.random.default_rng(seed)
  samples = rng.integers(-99, 99, (32, 2), np.int16)
  file = io.BytesIO()
  soundfile.write(file, samples, 16_000, format="WAV")
  return file.getvalue()


def put(folder, names, *, seed=0):
  folder.mkdir(parents=True, exist_ok=True)
  for i, name in enumerate(names):
    (folder / name).write_bytes(wave(seed + i))


def put_machine(folder, test):
  put(folder / "train", TRAIN)
  (folder / "attributes_00.csv").write_text(
    "\n".join(["file_name", *(f"Sander/train/{name}" for name in TRAIN)])
  )
  put(folder / "test", test, seed=50)
  return folder


def put_truth(root, machine, order=(1, 2, 3, 0)):
  for kind, values in dict(data="0011", domain="0101").items():
    folder = root / f"ground_truth_{kind}"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"ground_truth_{machine}_section_00_test.csv"
    path.write_text("".join(f"{ANONYMOUS[i]},{values[i]}\n" for i in order))


def read_one(root, **kwargs):
  (machine,) = clips.read_tree(root, **kwargs)
  return machine


def facts(machine):
  return [(c.name, c.label, c.domain, c.attributes) for c in machine.test]


def test_an_evaluation_set_without_ground_truth_is_read(tmp_path):
  put_machine(tmp_path / "Sander", test=ANONYMOUS)
  machine = read_one(tmp_path)
  assert facts(machine) == [(name, None, None, "") for name in ANONYMOUS]
  assert machine.notes == (
    "labels of 4 of 4 test clips unknown",
    "domains of 4 of 4 test clips unknown",
  )


@pytest.mark.parametrize("inside", [True, False])
def test_ground_truth_is_joined_by_name(tmp_path, inside):
  put_machine(tmp_path / "data" / "Sander", test=ANONYMOUS)
  put_truth(tmp_path / "data" / "truth" if inside else tmp_path, "Sander")
  machine = read_one(
    tmp_path / "data", ground_truth=None if inside else tmp_path
  )
  assert machine.notes == ()
  assert facts(machine) == [
    (ANONYMOUS[0], "normal", "source", ""),
    (ANONYMOUS[1], "normal", "target", ""),
    (ANONYMOUS[2], "anomaly", "source", ""),
    (ANONYMOUS[3], "anomaly", "target", ""),
  ]


def test_ground_truth_of_other_clips_is_refused(tmp_path):
  put_machine(tmp_path / "Sander", test=ANONYMOUS[:3])
  put_truth(tmp_path, "Sander")
  with pytest.raises(ValueError, match="unknown clips such as section_00_0003"):
    clips.read_tree(tmp_path)
  put(tmp_path / "Sander" / "test", [*ANONYMOUS, "section_00_0004.wav"])
  with pytest.raises(ValueError, match="the first is section_00_0004"):
    clips.read_tree(tmp_path)


def test_ground_truth_that_is_given_must_exist_and_be_used(tmp_path):
  put_machine(tmp_path / "data" / "Sander", test=ANONYMOUS)
  (tmp_path / "empty").mkdir()
  with pytest.raises(ValueError, match="empty: found no ground truth"):
    clips.read_tree(tmp_path / "data", ground_truth=tmp_path / "empty")
  with pytest.raises(ValueError, match="gone: found nothing"):
    clips.read_tree(tmp_path / "data", ground_truth=tmp_path / "gone")
  put_truth(tmp_path / "other", "ToyDrone")
  with pytest.raises(ValueError, match="found labels for none .* for Sander"):
    clips.read_tree(tmp_path / "data", ground_truth=tmp_path / "other")


def test_ground_truth_against_the_domain_in_a_name_is_refused(tmp_path):
  put(tmp_path / "fan" / "train", TRAIN)
  put(tmp_path / "fan" / "test", ["section_00_source_test_0000.wav"])
  path = tmp_path / "ground_truth_domain"
  path.mkdir()
  (path / "ground_truth_fan_section_00_test.csv").write_text(
    "section_00_source_test_0000.wav,1\n"
  )
  with pytest.raises(ValueError, match="found domain target .* source"):
    clips.read_tree(tmp_path)


def test_labelled_names_need_no_ground_truth(tmp_path):
  put_machine(tmp_path / "Sander", TEST)
  put_truth(tmp_path, "Sander")
  clip = read_one(tmp_path).test[0]
  assert (clip.label, clip.label_from) == ("anomaly", "names")
  assert read_one(tmp_path, ground_truth=tmp_path).notes == ()


def test_renamed_clips_label_the_anonymous_ones_by_content(tmp_path):
  folder = put_machine(tmp_path / "Sander", test=ANONYMOUS)
  (folder / "test_rename").mkdir()
  for i, name in zip([2, 0, 3, 1], TEST, strict=True):
    shutil.copy(folder / "test" / ANONYMOUS[i], folder / "test_rename" / name)
  machine = read_one(tmp_path)
  assert {clip.label_from for clip in machine.test} == {"ground_truth"}
  assert facts(machine) == [
    (ANONYMOUS[0], "normal", "source", "spd_1"),
    (ANONYMOUS[1], "normal", "target", "spd_3"),
    (ANONYMOUS[2], "anomaly", "source", "spd_1"),
    (ANONYMOUS[3], "anomaly", "target", "spd_3"),
  ]
  assert machine.notes == (
    "labels of the test clips come from equal files in test_rename",
  )
  put_truth(tmp_path, "Sander")
  assert read_one(tmp_path).notes == (
    "test_rename ignored: there is ground truth",
  )


def test_renamed_clips_of_other_content_are_refused(tmp_path):
  folder = put_machine(tmp_path / "Sander", test=ANONYMOUS)
  put(folder / "test_rename", TEST, seed=90)
  with pytest.raises(ValueError, match=r"0000\.wav: found 0 differently"):
    clips.read_tree(tmp_path)


def test_renamed_clips_alone_are_scored(tmp_path):
  folder = put_machine(tmp_path / "Sander", test=[])
  put(folder / "test_rename", TEST)
  machine = read_one(tmp_path)
  assert [clip.name for clip in machine.test] == TEST
  # Their names say the label, but it is the ground truth of the challenge.
  assert {clip.label_from for clip in machine.test} == {"ground_truth"}
  assert machine.notes == (
    "no test folder: the clips of test_rename are scored",
  )
