import dataclasses
import functools
import io
import os

import numpy as np
import pytest
import soundfile

from asd_jax.data import clips, decode
from asd_jax.data import names as file_names

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


@functools.cache
def wave(num_channels=2, rate=16_000, num_samples=32, seed=0):
  rng = np.random.default_rng(seed)
  samples = rng.integers(-99, 99, (num_samples, num_channels), np.int16)
  file = io.BytesIO()
  soundfile.write(file, samples, rate, format="WAV")
  return file.getvalue()


def put(folder, names, *, seed=0, **kwargs):
  folder.mkdir(parents=True, exist_ok=True)
  for i, name in enumerate(names):
    (folder / name).write_bytes(wave(**kwargs, seed=seed + i))


def put_csv(folder, names, section="00"):
  rows = ["file_name,d1p,d1v"]
  rows += [f"{folder.name}/train/{n},spd,{i}" for i, n in enumerate(names)]
  path = folder / f"attributes_{section}.csv"
  path.write_text("\n".join(rows))
  return path


def put_machine(folder, train=TRAIN, test=TEST, **kwargs):
  put(folder / "train", train, **kwargs)
  if test:
    put(folder / "test", test, seed=50, **kwargs)
  put_csv(folder, train)
  return folder


def read_one(root, **kwargs):
  (machine,) = clips.read_tree(root, **kwargs)
  return machine


def test_a_development_machine_is_read_from_its_names(tmp_path):
  put_machine(tmp_path / "fan")
  machine = read_one(tmp_path)
  assert machine.name == "fan"
  assert machine.notes == ()
  assert [c.name for c in machine.train] == TRAIN
  assert [c.split for c in machine.train] == ["train"] * 3
  assert [c.domain for c in machine.train] == ["source", "source", "target"]
  assert [c.attributes for c in machine.train] == ["spd_1", "spd_2", "spd_3"]
  assert [(c.name, c.label, c.domain, c.attributes) for c in machine.test] == [
    (TEST[0], "anomaly", "source", "spd_1"),
    (TEST[1], "normal", "source", "spd_1"),
    (TEST[2], "anomaly", "target", "spd_3"),
    (TEST[3], "normal", "target", "spd_3"),
  ]
  clip = machine.test[0]
  assert (clip.machine, clip.section) == ("fan", "00")
  assert clip.header == (2, 32, 16_000, "PCM_16")


@pytest.mark.parametrize(
  "place", ["", "dev_data/raw", "dev", "train", "test", "a/b/target/c"]
)
def test_machines_are_found_at_any_depth(tmp_path, place):
  put_machine(tmp_path / place / "fan")
  put_machine(
    tmp_path / "eval_data" / "raw" / "3DPrinter", test=["section_00_0000.wav"]
  )
  found = clips.read_tree(tmp_path)
  assert [machine.name for machine in found] == ["3DPrinter", "fan"]
  assert {clip.domain for clip in found[1].train} == {"source", "target"}


def test_a_machine_folder_itself_can_be_given(tmp_path, monkeypatch):
  monkeypatch.chdir(put_machine(tmp_path / "fan"))
  assert read_one(".").name == "fan"


def test_links_are_followed_and_loops_end(tmp_path):
  put_machine(tmp_path / "store" / "fan")
  (tmp_path / "data").mkdir()
  (tmp_path / "data" / "pump").symlink_to(tmp_path / "store" / "fan")
  (tmp_path / "store" / "fan" / "loop").symlink_to(tmp_path / "data")
  assert read_one(tmp_path / "data").name == "pump"


def test_caches_logs_and_hidden_files_are_no_clips(tmp_path):
  put_machine(tmp_path / "dev_data" / "raw" / "fan")
  put(tmp_path / "dev_data" / "processed" / "fan" / "train", TRAIN)
  put(tmp_path / "__MACOSX" / "fan" / "train", ["._a.wav"])
  put(tmp_path / "dev_data" / "raw" / "fan" / "train", ["._b.wav"])
  (tmp_path / "logs" / "train").mkdir(parents=True)
  (tmp_path / "logs" / "train" / "events").touch()
  assert read_one(tmp_path).notes == ()


def test_machines_restrict_what_is_read(tmp_path):
  for name in ("fan", "ToyCar", "ToyCarEmu"):
    put_machine(tmp_path / name)
  put_machine(tmp_path / "other" / "fan")
  found = clips.read_tree(tmp_path, machines=["ToyCarEmu", "ToyCar"])
  assert [machine.name for machine in found] == ["ToyCar", "ToyCarEmu"]
  with pytest.raises(ValueError, match="'toycar', expected one of ToyCar, Toy"):
    clips.read_tree(tmp_path, machines=["fan", "toycar"])


def test_one_name_in_two_sets_is_refused(tmp_path):
  first = put_machine(tmp_path / "2024" / "ToothBrush")
  second = put_machine(tmp_path / "2026" / "ToothBrush")
  with pytest.raises(ValueError, match="found machine ToothBrush") as caught:
    clips.read_tree(tmp_path)
  assert str(first) in str(caught.value)
  assert str(second) in str(caught.value)


def test_missing_empty_and_wrong_folders_are_refused(tmp_path):
  with pytest.raises(
    ValueError, match="gone: found nothing, expected a folder"
  ):
    clips.read_tree(tmp_path / "gone")
  with pytest.raises(ValueError, match="found no machine, expected wave files"):
    clips.read_tree(tmp_path)
  (tmp_path / "file").touch()
  with pytest.raises(ValueError, match="file: found a file, expected a folder"):
    clips.read_tree(tmp_path / "file")


def test_a_machine_needs_train_clips(tmp_path):
  put(tmp_path / "fan" / "test", TEST)
  with pytest.raises(ValueError, match=r"fan/train: found no wave files"):
    clips.read_tree(tmp_path)


def test_an_empty_machine_is_not_passed_over(tmp_path):
  put_machine(tmp_path / "fan")
  (tmp_path / "pump" / "train").mkdir(parents=True)
  with pytest.raises(ValueError, match=r"pump/train: found no wave files"):
    clips.read_tree(tmp_path)


def test_a_machine_without_test_clips_is_noted(tmp_path):
  put_machine(tmp_path / "fan", test=[])
  assert read_one(tmp_path).test == ()
  assert read_one(tmp_path).notes == ("no test clips",)


def test_odd_but_fine_input_is_noted(tmp_path):
  fan = tmp_path / "fan"
  put(fan / "train", TRAIN[:2], rate=48_000)
  put(fan / "test", [*TEST, TRAIN[0]], rate=48_000, num_samples=96_000)
  put(fan / "supplemental", ["section_00_machine_0001_.wav"])
  (fan / "train" / "readme.txt").touch()
  assert read_one(tmp_path).notes == (
    "1 files in train are no recordings: ignored",
    "supplemental folder ignored (1 recordings)",
    "no attributes csv with rows: file names say the attributes",
    "no target clips in train",
    "1 test clips are named as train clips",
    "sample rate is 48000 Hz, not 16000 Hz",
    "lengths go from 0.000666667 to 2 s",
  )


def test_names_of_2020_have_ids_and_no_domains(tmp_path):
  put(tmp_path / "pump" / "train", ["normal_id_02_00000000.wav"])
  put(
    tmp_path / "pump" / "test",
    ["anomaly_id_02_00000000.wav", "normal_id_04_00000000.wav"],
  )
  machine = read_one(tmp_path)
  assert [clip.section for clip in machine.test] == ["02", "04"]
  assert [clip.label for clip in machine.test] == ["anomaly", "normal"]
  assert "domains of the train clips are unknown" in machine.notes
  assert "section 04 has test clips but no train clips" in machine.notes


def test_test_folders_of_2021_are_merged(tmp_path):
  fan = tmp_path / "fan"
  put(fan / "train", ["section_03_source_train_normal_0000_strange words.wav"])
  put(fan / "source_test", ["section_03_source_test_0000.wav"])
  put(fan / "target_test", ["section_03_target_test_0000.wav"])
  machine = read_one(tmp_path)
  assert [c.domain for c in machine.test] == ["source", "target"]
  assert [c.label for c in machine.test] == [None, None]
  assert "labels of 2 of 2 test clips unknown" in machine.notes
  put(fan / "target_test", ["section_03_source_test_0000.wav"])
  with pytest.raises(ValueError, match=r"0000\.wav: found the file name of"):
    clips.read_tree(tmp_path)


def test_sections_of_2022_have_a_csv_each(tmp_path):
  names = [f"section_0{i}_source_train_normal_0000_.wav" for i in range(2)]
  put(tmp_path / "fan" / "train", names)
  put_csv(tmp_path / "fan", names[:1], "00")
  put_csv(tmp_path / "fan", names[1:], "01")
  assert [c.attributes for c in read_one(tmp_path).train] == ["spd_0"] * 2


def test_a_name_without_split_is_read(tmp_path):
  name = "section_00_source_normal_0035_weight15_BckgF.wav"
  put(tmp_path / "RoboticArm" / "train", [name])
  assert read_one(tmp_path).train[0].attributes == "weight15_BckgF"


@pytest.mark.parametrize(
  "name",
  [
    "section_00_source_train_anomaly_0000_.wav",
    "section_00_source_test_normal_0000_.wav",
    "section_00_machine_0001_.wav",
  ],
)
def test_clips_that_are_not_for_training_are_refused(tmp_path, name):
  put(tmp_path / "fan" / "train", [*TRAIN, name])
  with pytest.raises(ValueError, match=rf"{name}: found .* expected only"):
    clips.read_tree(tmp_path)


def test_the_csv_completes_only_what_names_leave_open(tmp_path):
  names = ["section_00_source_train_normal_0001_noAttribute.wav", *TRAIN]
  put(tmp_path / "fan" / "train", names)
  put_csv(tmp_path / "fan", names)
  assert [(c.name, c.attributes) for c in read_one(tmp_path).train] == [
    (TRAIN[0], "spd_1"),
    (names[0], "spd_0"),
    (TRAIN[1], "spd_2"),
    (TRAIN[2], "spd_3"),
  ]


def test_a_csv_without_rows_is_noted(tmp_path):
  put_machine(tmp_path / "fan")
  (tmp_path / "fan" / "attributes_00.csv").write_text("file_name\n")
  assert read_one(tmp_path).notes == (
    "no attributes csv with rows: file names say the attributes",
  )


def test_a_csv_with_missing_rows_is_refused(tmp_path):
  put_machine(tmp_path / "fan")
  path = put_csv(tmp_path / "fan", TRAIN[:1])
  with pytest.raises(ValueError, match="2 are missing, the first is") as caught:
    clips.read_tree(tmp_path)
  assert str(caught.value).startswith(f"{path}: found rows for 1 train clips")
  assert str(caught.value).endswith(TRAIN[1])


def test_repeated_keys_and_letter_case_survive(tmp_path):
  train = ["section_00_target_train_normal_0000_pro_Y_mic_2_mic_1.wav"]
  put_machine(
    tmp_path / "gearboxEmu",
    train,
    ["section_00_target_test_normal_0038_pro_y_mic_2_mic_1.wav"],
  )
  machine = read_one(tmp_path)
  first, second = machine.train[0].attributes, machine.test[0].attributes
  assert first == "pro_Y_mic_2_mic_1"
  assert second == "pro_y_mic_2_mic_1"
  assert file_names.fold(first) == file_names.fold(second)


def test_clips_with_equal_indices_stay_apart(tmp_path):
  test = [
    "section_00_source_test_normal_0000_noAttribute.wav",
    "section_00_target_test_normal_0000_noAttribute.wav",
  ]
  put_machine(tmp_path / "bearingEmu", test=test)
  assert [clip.name for clip in read_one(tmp_path).test] == test


ODD_KINDS = [
  (dict(num_channels=1), "1 channels, not 2 channels"),
  (dict(rate=48_000), "48000 Hz, not 16000 Hz"),
]


@pytest.mark.parametrize(("odd", "message"), ODD_KINDS)
def test_mixed_channels_and_rates_are_refused_in_training(
  tmp_path, odd, message
):
  put_machine(tmp_path / "fan")
  put(tmp_path / "fan" / "train", TRAIN[2:], **odd)
  found = f"found {message.split(',')[0]}"
  with pytest.raises(ValueError, match=found) as caught:
    clips.read_tree(tmp_path)
  assert str(tmp_path / "fan" / "train" / TRAIN[2]) in str(caught.value)
  assert TRAIN[0] in str(caught.value)


@pytest.mark.parametrize(("odd", "message"), ODD_KINDS)
def test_mixed_channels_and_rates_of_test_clips_are_noted(
  tmp_path, odd, message
):
  put_machine(tmp_path / "fan")
  put(tmp_path / "fan" / "test", TEST[2:3], **odd)
  told = f"1 test clips have {message} as the training clips"
  assert told in read_one(tmp_path).notes


def test_more_than_two_channels_are_refused(tmp_path):
  put_machine(tmp_path / "fan", num_channels=8)
  found = r"found 8 channels, expected 1 or 2.*recorder_channels=\(0,7\)"
  with pytest.raises(ValueError, match=found):
    clips.read_tree(tmp_path)


def test_two_of_many_channels_can_be_named(tmp_path):
  put_machine(tmp_path / "fan", num_channels=8)
  machine = read_one(tmp_path, channels=(5, 2))
  clip = machine.test[0]
  assert clip.header.num_channels == 2
  whole, _ = soundfile.read(clip.path, dtype="int16")
  found, _ = decode.read(clip, sample_rate=16_000)
  np.testing.assert_array_equal(found, whole.T[[5, 2]])
  assert decode.digest(clip) != decode.digest(
    dataclasses.replace(clip, channels=(2, 5))
  )
  with pytest.raises(ValueError, match="found 8 channels, expected more than"):
    clips.read_tree(tmp_path, channels=(0, 8))


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_damaged_clip_is_named_and_stops_no_test(tmp_path, split):
  put_machine(tmp_path / "fan")
  name = {"train": TRAIN, "test": TEST}[split][1]
  path = tmp_path / "fan" / split / name
  path.write_bytes(path.read_bytes()[:-7])
  if split == "train":
    with pytest.raises(ValueError, match="cut short") as caught:
      clips.read_tree(tmp_path)
    assert str(caught.value).startswith(f"{path}: found")
    return
  machine = read_one(tmp_path)
  assert [c.name for c in machine.test] == [TEST[0], *TEST[2:]]
  (unread,) = machine.unread
  assert (unread.name, unread.section) == (name, "00")
  assert unread.problem.startswith(f"{path}: found")


ODD_NAMES = [
  "<script>alert(1)<script>.wav",
  'a, "b".wav',
  "lüfter 扇風機.WAV",
  "section_00_target_test_normal_0000_pro_y.wav",
  "two words.Wav",
  "two\nlines.wav",
]


def test_plain_folders_of_any_names_are_read(tmp_path):
  put(tmp_path / "ok" / "monday", ODD_NAMES[:3], num_channels=1)
  put(tmp_path / "ok" / "processed", ODD_NAMES[3:], num_channels=1)
  put(tmp_path / "new", ODD_NAMES, num_channels=1)
  (tmp_path / "new" / "notes.txt").touch()
  machine = clips.read_plain(tmp_path / "ok", tmp_path / "new", name="press 4")
  assert machine.name == "press 4"
  assert [clip.path.name for clip in machine.train] == sorted(ODD_NAMES)
  assert {clip.name for clip in machine.train} == {
    *(f"monday/{name}" for name in ODD_NAMES[:3]),
    *(f"processed/{name}" for name in ODD_NAMES[3:]),
  }
  assert [clip.name for clip in machine.test] == sorted(ODD_NAMES)
  for clip in (*machine.train, *machine.test):
    assert (clip.section, clip.domain, clip.label) == ("00", None, None)
    assert (clip.attributes, clip.machine) == ("", "press 4")
    assert clip.header.num_channels == 1
  assert machine.notes == (
    f"1 files in {tmp_path / 'new'} are no recordings: ignored",
  )


def test_a_table_says_the_conditions_of_plain_clips(tmp_path):
  put(tmp_path / "ok", ODD_NAMES[:2])
  put(tmp_path / "new", ODD_NAMES[:1])
  rows = f'file_name,d1p,d1v\n"{ODD_NAMES[0]}",spd,3\n'
  (tmp_path / "ok" / "attributes_00.csv").write_text(rows)
  machine = clips.read_plain(tmp_path / "ok", tmp_path / "new")
  told = {clip.name: clip.attributes for clip in machine.train}
  assert told == {ODD_NAMES[0]: "spd_3", ODD_NAMES[1]: ""}
  assert machine.test[0].attributes == ""


def test_odd_names_are_read_in_the_challenge_layout(tmp_path):
  put(tmp_path / "my fan" / "train", ODD_NAMES[:3])
  put(tmp_path / "my fan" / "test", ODD_NAMES)
  machine = read_one(tmp_path)
  assert [clip.name for clip in machine.test] == sorted(ODD_NAMES)
  assert machine.name == "my fan"


def put_days(root):
  """A recorder that numbers its files anew each day."""
  for split in ("ok", "new"):
    for day in ("05-01", "05-02"):
      put(root / split / day, ["REC0.wav", "REC1.wav"])


def test_equal_names_in_several_folders_are_several_clips(tmp_path):
  put_days(tmp_path)
  machine = clips.read_plain(tmp_path / "ok", tmp_path / "new")
  wanted = [f"{d}/REC{i}.wav" for i in (0, 1) for d in ("05-01", "05-02")]
  assert [clip.name for clip in machine.train] == wanted
  assert [clip.name for clip in machine.test] == wanted


def test_a_table_tells_equal_names_by_their_folders(tmp_path):
  put_days(tmp_path)
  table = tmp_path / "labels.csv"
  rows = [
    f"/rec/{d}/REC{i}.wav,{i}" for d in ("05-01", "05-02") for i in (0, 1)
  ]
  read = lambda: clips.read_plain(
    tmp_path / "ok", tmp_path / "new", ground_truth=table
  )
  table.write_text("file,label\n" + "\n".join(rows))
  assert [clip.label for clip in read().test] == ["normal"] * 2 + [
    "anomaly"
  ] * 2
  table.write_text("REC0.wav,0\n")
  with pytest.raises(ValueError, match="which may be 05-01/REC0.wav or 05-02"):
    read()


NFC, NFD = "L\u00fcfter", "Lu\u0308fter"


@pytest.mark.parametrize(("disk", "given"), [(NFC, NFD), (NFD, NFC)])
def test_names_are_found_however_their_letters_are_written(
  tmp_path, disk, given
):
  put(tmp_path / disk / "ok", [f"{disk}.wav"])
  put(tmp_path / disk / "new", [f"{disk} 1.wav", "b.wav"])
  table = tmp_path / disk / f"{disk}.csv"
  table.write_text(f"{given} 1.wav,1\nb.wav,0\n")
  rows = f"file_name,d1p,d1v\n{given}.wav,spd,3\n"
  (tmp_path / disk / "ok" / "attributes_00.csv").write_text(rows)
  place = tmp_path / given
  machine = clips.read_plain(
    place / "ok", place / "new", ground_truth=place / f"{given}.csv"
  )
  assert [(c.name, c.label) for c in machine.test] == [
    (f"{disk} 1.wav", "anomaly"),
    ("b.wav", "normal"),
  ]
  assert machine.train[0].attributes == "spd_3"
  put_machine(tmp_path / "tree" / f"{disk} 2")
  (found,) = clips.read_tree(tmp_path / "tree", machines=[f"{given} 2"])
  assert found.name == f"{disk} 2"


def test_names_that_differ_only_in_how_letters_are_written(tmp_path):
  put(tmp_path / "ok", ["a.wav"])
  put(tmp_path / "new", [f"{NFC}.wav", f"{NFD}.wav"])
  (tmp_path / "labels.csv").write_text(f"{NFC}.wav,1\n{NFD}.wav,0\n")
  machine = clips.read_plain(
    *(tmp_path / "ok", tmp_path / "new"),
    ground_truth=tmp_path / "labels.csv",
  )
  found = {clip.name: clip.label for clip in machine.test}
  assert found == {f"{NFC}.wav": "anomaly", f"{NFD}.wav": "normal"}


def test_a_folder_without_recordings_says_what_it_holds(tmp_path):
  put(tmp_path / "ok", ["a.wav"])
  (tmp_path / "new").mkdir()
  for name in ("a.m4a", "b.m4a", "notes.txt"):
    (tmp_path / "new" / name).touch()
  found = r"new: found no wave files .*\(it holds 2 \.m4a, 1 \.txt\).*ffmpeg -i"
  with pytest.raises(ValueError, match=found):
    clips.read_plain(tmp_path / "ok", tmp_path / "new")


def test_clips_of_other_kinds_are_read_beside_waves(tmp_path):
  put(tmp_path / "ok", ["a.wav", "b.WAV"])
  samples = np.zeros((64, 2), np.int16)
  soundfile.write(tmp_path / "ok" / "c.FLAC", samples, 16_000, format="FLAC")
  put(tmp_path / "new", ["a.wav"])
  machine = clips.read_plain(tmp_path / "ok", tmp_path / "new")
  assert [c.name for c in machine.train] == ["a.wav", "b.WAV", "c.FLAC"]
  assert machine.notes[-1] == "lengths go from 0.002 to 0.004 s"


@pytest.mark.parametrize(("normal", "test"), [("", ""), ("", "x"), ("x", "")])
def test_plain_folders_must_not_share_clips(tmp_path, normal, test):
  put(tmp_path / "x", ["a.wav"])
  with pytest.raises(ValueError, match="shares clips"):
    clips.read_plain(tmp_path / normal, tmp_path / test)


def test_plain_folders_without_clips_are_refused(tmp_path):
  put(tmp_path / "ok", ["a.wav"])
  (tmp_path / "new").mkdir()
  with pytest.raises(ValueError, match="new: found no wave files"):
    clips.read_plain(tmp_path / "ok", tmp_path / "new")
  with pytest.raises(ValueError, match="gone: found nothing"):
    clips.read_plain(tmp_path / "gone", tmp_path / "new")


def test_plain_normal_clips_must_not_be_named_anomalies(tmp_path):
  put(tmp_path / "ok", TEST)
  put(tmp_path / "new", TEST)
  with pytest.raises(ValueError, match="named as an anomaly"):
    clips.read_plain(tmp_path / "ok", tmp_path / "new")


def test_a_broken_link_is_named(tmp_path):
  put(tmp_path / "ok", ["a.wav"])
  put(tmp_path / "new", ["b.wav"])
  os.symlink(tmp_path / "gone", tmp_path / "new" / "c.wav")
  (unread,) = clips.read_plain(tmp_path / "ok", tmp_path / "new").unread
  assert unread.name == "c.wav"
  assert "c.wav: found no readable file" in unread.problem
