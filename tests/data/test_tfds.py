import dataclasses
import io
import os
import pathlib
import pickle
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import tensorflow_datasets as tfds

from asd_jax.data import audio, clips, tfds_base, tfds_dcase

TRAIN = [
  "section_00_source_train_normal_0000_spd_1.wav",
  "section_00_source_train_normal_0002_noAttribute.wav",
  "section_00_target_train_normal_0009_spd_3.wav",
]
LABELLED = [
  "section_00_source_test_anomaly_0150_spd_1.wav",
  "section_00_target_test_normal_0000_spd_3.wav",
]
ANONYMOUS = ["section_00_0000.wav", "section_00_0001.wav"]


def put(folder, names, *, subtype="PCM_16", num_channels=2, rate=16_000):
  folder.mkdir(parents=True, exist_ok=True)
  for i, name in enumerate(names):
    rng = np.random.default_rng([i, len(os.fspath(folder))])
    samples = rng.integers(-32_768, 32_768, (40 + i, num_channels), np.int16)
    samples[:2] = [[-32_768], [32_767]]
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="WAV", subtype=subtype)
    (folder / name).write_bytes(file.getvalue())


def put_machine(folder, *, test=LABELLED, **kwargs):
  put(folder / "train", TRAIN, **kwargs)
  put(folder / "test", test, **kwargs)


def check_equal(builder, machines):
  """Compares every clip, field and sample with the folder reader."""
  for split in ("train", "test"):
    expected = [clip for m in machines for clip in getattr(m, split)]
    source = builder.as_data_source(split)
    assert len(source) == len(expected) > 0
    for i, clip in enumerate(expected):
      found, samples = tfds_dcase.decode(source[i])
      name = pathlib.Path(clip.name)
      assert found == dataclasses.replace(clip, path=name)
      rate = clip.header.sample_rate
      original, _ = audio.read(clip.path, sample_rate=rate)
      assert samples.dtype == original.dtype
      np.testing.assert_array_equal(samples, original)


def test_a_data_set_equals_the_folder_reader_clip_by_clip(tmp_path):
  put_machine(tmp_path / "in" / "raw" / "fan")
  put_machine(tmp_path / "in" / "raw" / "valve", test=ANONYMOUS)
  put_machine(tmp_path / "in" / "raw" / "axle", num_channels=1, rate=8_000)
  machines = clips.read_tree(tmp_path / "in")
  builder = tfds_dcase.prepare(tmp_path / "in", tmp_path / "out")
  check_equal(builder, machines)
  loaded = tfds_dcase.load(tmp_path / "out")
  check_equal(loaded, machines)
  assert loaded.info.features["audio"].np_dtype == np.int16
  last = loaded.as_data_source("test")[5]
  assert (last["label"], last["domain"]) == (b"unknown", b"unknown")


@pytest.mark.parametrize("subtype", ["FLOAT", "PCM_24", "PCM_U8"])
def test_sets_of_other_sample_formats_are_float32(tmp_path, subtype):
  put_machine(tmp_path / "in" / "fan", subtype=subtype)
  put_machine(tmp_path / "in" / "valve")
  builder = tfds_dcase.prepare(tmp_path / "in", tmp_path / "out")
  assert builder.info.features["audio"].np_dtype == np.float32
  check_equal(builder, clips.read_tree(tmp_path / "in"))


def test_clips_keep_their_order_over_shards(tmp_path, monkeypatch):
  put_machine(tmp_path / "in" / "fan")
  put_machine(tmp_path / "in" / "valve")
  monkeypatch.setattr(tfds_base, "_SHARD_BYTES", 340)
  builder = tfds_dcase.prepare(tmp_path / "in", tmp_path / "out")
  assert builder.info.splits["train"].shard_lengths == [2, 2, 2]
  check_equal(builder, clips.read_tree(tmp_path / "in"))


def test_several_sets_share_a_folder(tmp_path):
  put_machine(tmp_path / "in" / "fan")
  put_machine(tmp_path / "in" / "valve")
  for machine in ("fan", "valve"):
    tfds_dcase.prepare(
      tmp_path / "in", tmp_path / "out", name=machine, machines=[machine]
    )
  for machine in ("fan", "valve"):
    expected = clips.read_tree(tmp_path / "in", machines=[machine])
    check_equal(tfds_dcase.load(tmp_path / "out", name=machine), expected)


def test_ground_truth_given_apart_is_stored(tmp_path):
  put_machine(tmp_path / "in" / "fan", test=ANONYMOUS)
  truth = tmp_path / "truth" / "ground_truth_data"
  truth.mkdir(parents=True)
  table = truth / "ground_truth_fan_section_00_test.csv"
  table.write_text("".join(f"{n},{i}\n" for i, n in enumerate(ANONYMOUS)))
  builder = tfds_dcase.prepare(
    tmp_path / "in", tmp_path / "out", ground_truth=tmp_path / "truth"
  )
  labels = [x["label"] for x in builder.as_data_source("test")]
  assert labels == [b"normal", b"anomaly"]


def test_a_split_without_clips_is_left_out(tmp_path):
  put(tmp_path / "in" / "fan" / "train", TRAIN)
  builder = tfds_dcase.prepare(tmp_path / "in", tmp_path / "out")
  assert list(builder.info.splits) == ["train"]


def test_names_that_are_not_unicode_come_back(tmp_path):
  name = os.fsdecode(b"section_00_source_test_normal_0000_caf\xe9.wav")
  try:
    put_machine(tmp_path / "in" / "fan", test=[name])
  except OSError:
    pytest.skip("the file system takes unicode names only")
  builder = tfds_dcase.prepare(tmp_path / "in", tmp_path / "out")
  check_equal(builder, clips.read_tree(tmp_path / "in"))


def test_a_data_source_can_be_sent_to_another_process(tmp_path):
  put_machine(tmp_path / "in" / "fan")
  builder = tfds_dcase.prepare(tmp_path / "in", tmp_path / "out")
  source = builder.as_data_source("train")
  again = pickle.loads(pickle.dumps(source))
  for one, other in zip(source, again, strict=True):
    np.testing.assert_array_equal(one["audio"], other["audio"])


def by_tfds(root, config):
  builder = tfds.builder(
    f"dcase_asd/{config}", data_dir=root / "out", file_format="array_record"
  )
  builder.download_and_prepare(
    download_config=tfds.download.DownloadConfig(
      manual_dir=root / "in", try_download_gcs=False
    )
  )
  return builder


def test_tfds_finds_and_builds_the_data_set(tmp_path):
  put_machine(tmp_path / "in" / "fan")
  machines = clips.read_tree(tmp_path / "in")
  for config in ("int16", "float32"):
    check_equal(by_tfds(tmp_path, config), machines)


def test_the_int16_configuration_refuses_other_files(tmp_path):
  put_machine(tmp_path / "in" / "fan", subtype="FLOAT")
  with pytest.raises(ValueError, match=r"\.wav: found sample format FLOAT"):
    by_tfds(tmp_path, "int16")


def test_an_old_set_is_replaced_only_on_demand(tmp_path):
  put_machine(tmp_path / "in" / "fan")
  tfds_dcase.prepare(tmp_path / "in", tmp_path / "out")
  put_machine(tmp_path / "in" / "valve")
  with pytest.raises(ValueError, match="found a data set, expected none"):
    tfds_dcase.prepare(tmp_path / "in", tmp_path / "out")
  mode = tfds.download.GenerateMode.REUSE_CACHE_IF_EXISTS
  builder = tfds_dcase.prepare(
    tmp_path / "in",
    tmp_path / "out",
    download_config=tfds.download.DownloadConfig(download_mode=mode),
  )
  check_equal(builder, clips.read_tree(tmp_path / "in"))


def test_bad_input_is_refused_and_leaves_nothing(tmp_path):
  out = tmp_path / "out"
  with pytest.raises(ValueError, match="in: found nothing, expected a folder"):
    tfds_dcase.prepare(tmp_path / "in", out)
  put_machine(tmp_path / "in" / "fan")
  with pytest.raises(ValueError, match="found no machine 'pump'"):
    tfds_dcase.prepare(tmp_path / "in", out, machines=["pump"])
  for name in ("", "../a", "a/b", ".a", "int16"):
    with pytest.raises(ValueError, match=f"name: found {name!r}, expected"):
      tfds_dcase.prepare(tmp_path / "in", out, name=name)
  with pytest.raises(ValueError, match="clips.*found no data set"):
    tfds_dcase.load(out)
  out.write_text("a file stands here")
  with pytest.raises(ValueError, match="clips.*: cannot be written: "):
    tfds_dcase.prepare(tmp_path / "in", out)


def test_a_clip_that_cannot_be_decoded_leaves_no_data_set(tmp_path):
  put_machine(tmp_path / "in" / "fan", subtype="FLOAT")
  path = tmp_path / "in" / "fan" / "test" / LABELLED[1]
  samples = np.full((40, 2), np.nan, np.float32)
  soundfile.write(path, samples, 16_000, subtype="FLOAT")
  with pytest.raises(ValueError, match=f"{LABELLED[1]}: found nan at sample 0"):
    tfds_dcase.prepare(tmp_path / "in", tmp_path / "out")
  assert not list((tmp_path / "out").rglob("*array_record*"))
  with pytest.raises(ValueError, match="found no data set"):
    tfds_dcase.load(tmp_path / "out")


def test_the_folder_reader_does_not_wait_for_tfds():
  code = (
    "import sys; from asd_jax.data import clips, sources;"
    "assert 'tensorflow_datasets' not in sys.modules"
  )
  subprocess.run([sys.executable, "-c", code], check=True)
