import pickle

import numpy as np
import pytest
import tensorflow_datasets as tfds

from asd_jax import errors
from asd_jax.data import pools, tfds_base, tfds_sources
from asd_jax.data.corpora import base, demand, fsd50k, qut_noise, wham
from tests.data.corpora import look_alike


@pytest.fixture(autouse=True)
def _short(monkeypatch):
  """So that recordings of noise may be short, and lie in several records."""
  monkeypatch.setattr(base, "MIN_SECONDS", 0.05)
  monkeypatch.setattr(tfds_sources, "PIECE_SAMPLES", 300)


def check_equal(builder, corpus, out, name):
  """Compares every sample with the reader of the archives."""
  for split in {r.split for r in corpus.recordings}:
    pool = pools.Built(out, corpus.name, split=split, name=name)
    places = [
      (r, row)
      for r in corpus.recordings
      if r.split == split
      for row in range(len(r.channels))
    ]
    assert len(places) == len(pool.recordings)
    for number, (recording, row) in enumerate(places):
      samples = recording.samples()[row]
      found = pool.recordings[number]
      expected = recording.name, recording.channels[row], len(samples)
      assert found == expected
      ranges = [(0, len(samples)), (len(samples) - 1, len(samples))]
      ranges += [(250, 350), (300, 600)] if len(samples) > 600 else []
      for start, stop in ranges:
        np.testing.assert_array_equal(
          pool.read(number, start, stop), samples[start:stop]
        )


def build(corpus, root, **kwargs):
  out = root / "out"
  return tfds_sources.prepare(corpus, root / "in", out, **kwargs), out


def test_fsd50k_comes_back_from_its_records(tmp_path):
  look_alike.put_fsd50k(tmp_path / "in")
  builder, out = build("fsd50k", tmp_path)
  check_equal(builder, fsd50k.read(tmp_path / "in"), out, "default")
  facts = tfds_base.load(tfds_sources.Fsd50k, out, "default").info.metadata
  assert facts["counts"] == {"dev": [4, 4], "eval": [1, 1]}
  assert facts["missing"] == []
  assert "FSD50K.dev_audio.z01" in facts["archives"]
  first = builder.as_data_source("train")[0]
  assert (first["recording"], first["corpus"]) == (b"10", b"fsd50k")
  assert (first["labels"], first["licence"]) == (b"Bark,Dog", b"CC0")
  assert (first["start_sample"], first["source_rate"]) == (0, 44_100)
  assert first["total_samples"] == 3_200


def test_two_builds_are_the_same(tmp_path):
  look_alike.put_fsd50k(tmp_path / "in")
  records = []
  for name in ("one", "two"):
    builder, _ = build("fsd50k", tmp_path, name=name)
    records.append(
      [r["audio"].tobytes() for r in builder.as_data_source("train")]
    )
  assert records[0] == records[1]


def test_a_partial_corpus_is_built_and_says_what_is_missing(tmp_path):
  look_alike.put_fsd50k(tmp_path / "in", parts=(9_000, 25_000))
  (tmp_path / "in" / "FSD50K.dev_audio.z01").unlink()
  _, out = build("fsd50k", tmp_path)
  notes = pools.Built(out, "fsd50k", split="train").notes
  assert notes[0] == "fsd50k: FSD50K.dev_audio.z01 is missing"
  with pytest.raises(errors.InputError, match=r"\.z01 is missing"):
    build("fsd50k", tmp_path, name="strict")
  (tmp_path / "in" / "FSD50K.eval_audio.zip").unlink()
  with pytest.raises(errors.InputError, match="for the split test"):
    build("fsd50k", tmp_path, name="again")
  builder, _ = build("fsd50k", tmp_path, name="no_test")
  assert set(builder.info.splits) == {"train", "valid"}
  assert not list(out.rglob("*again*/**/*array_record*"))


def test_wham_keeps_its_channels_apart(tmp_path, monkeypatch):
  monkeypatch.setattr(base, "MIN_SECONDS", 60)
  look_alike.put(tmp_path / "in", look_alike.wham())
  builder, out = build("wham48k", tmp_path)
  check_equal(builder, wham.read(tmp_path / "in"), out, "default")
  titles = [
    r.title for r in pools.Built(out, "wham48k", split="valid").recordings
  ]
  assert titles == ["c, channel 1", "c, channel 2"]


def test_demand_and_qut_noise_come_back_in_many_shards(tmp_path, monkeypatch):
  monkeypatch.setattr(tfds_base, "_SHARD_BYTES", 5_000)
  for env in ("TBUS", "NPARK"):
    look_alike.put(tmp_path / "in", look_alike.demand(env))
  builder, out = build("demand", tmp_path)
  assert len(builder.info.splits["train"].shard_lengths) > 4
  check_equal(builder, demand.read(tmp_path / "in"), out, "default")
  labels = "0 0.01 start\n0.08 0.1 finish\n"
  look_alike.put(
    tmp_path / "in", look_alike.qut_noise("CAFE-CAFE-1", 0.1, labels)
  )
  builder, out = build("qut_noise", tmp_path)
  check_equal(builder, qut_noise.read(tmp_path / "in"), out, "default")
  flags = [r["in_main"] for r in builder.as_data_source("train")]
  # From sample 160 on, to 1280, in records of 300; for each channel.
  assert flags == [b"no", b"yes", b"yes", b"yes", b"no", b"no"] * 2


def test_a_shard_can_be_made_by_another_process(tmp_path):
  look_alike.put_fsd50k(tmp_path / "in")
  found = fsd50k.read(tmp_path / "in").recordings
  again = pickle.loads(pickle.dumps(found))
  for one, other in zip(found, again, strict=True):
    np.testing.assert_array_equal(one.samples(), other.samples())


def test_a_folder_is_built_with_a_part_held_out(tmp_path):
  content = {
    f"{i}.wav": look_alike.wav(look_alike.noise(700, 2), 8_000)
    for i in range(4)
  }
  look_alike.put(tmp_path / "in", content)
  _, out = build("wav_folder", tmp_path, name="mine", holdout="[01]")
  held = pools.Built(out, "wav_folder", split="valid", name="mine")
  assert [r.name for r in held.recordings] == ["0", "0", "1", "1"]
  assert held.recordings[0].num_samples == 1_400
  assert held.notes == (
    "wav_folder: 4 files at 8000 Hz are resampled to 16000 Hz",
  )
  with pytest.raises(errors.InputError, match="found no split test, expected"):
    pools.Built(out, "wav_folder", split="test", name="mine")


def test_tfds_finds_and_builds_a_corpus(tmp_path):
  look_alike.put(tmp_path / "in", look_alike.demand("TBUS"))
  builder = tfds.builder(
    "demand/default", data_dir=tmp_path / "out", file_format="array_record"
  )
  builder.download_and_prepare(
    download_config=tfds.download.DownloadConfig(
      manual_dir=tmp_path / "in", try_download_gcs=False
    )
  )
  pool = pools.Built(tmp_path / "out", "demand", split="train")
  assert len(pool.recordings) == 16
  assert len(pickle.loads(pickle.dumps(pool)).read(3, 0, 400)) == 400


def test_bad_input_is_refused_and_leaves_nothing(tmp_path):
  with pytest.raises(errors.InputError, match="corpus: found 'esc', expected"):
    build("esc", tmp_path)
  with pytest.raises(
    errors.InputError, match="in: found nothing, expected a f"
  ):
    build("demand", tmp_path)
  (tmp_path / "in").mkdir()
  with pytest.raises(errors.InputError, match="in: found nothing in it"):
    build("demand", tmp_path)
  (tmp_path / "in" / "a.txt").write_text("a")
  with pytest.raises(errors.InputError, match="found no recordings of demand"):
    build("demand", tmp_path)
  look_alike.put(tmp_path / "in", look_alike.demand("TBUS"))
  with pytest.raises(errors.InputError, match="exta: found it as a setting"):
    build("demand", tmp_path, name="mine", exta=True)
  with pytest.raises(errors.InputError, match="name: found 'strict'"):
    build("demand", tmp_path, name="strict", extra=True)
  with pytest.raises(errors.InputError, match="splits: found valid"):
    build("demand", tmp_path, name="mine", splits=("valid",))
  path = tmp_path / "in" / "TBUS" / "ch05.wav"
  samples = np.array([0.5, np.nan] * 600)
  path.write_bytes(look_alike.wav(samples, 16_000, "FLOAT"))
  with pytest.raises(
    errors.InputError, match=r"ch05\.wav: found nan at sample"
  ):
    build("demand", tmp_path)
  assert not list((tmp_path / "out").rglob("*array_record*"))
  with pytest.raises(errors.InputError, match="found no data set"):
    pools.Built(tmp_path / "out", "demand", split="train")


def test_pools_are_opened_by_name_or_path(tmp_path):
  content = {
    f"{i}.wav": look_alike.wav(look_alike.noise(99), 16_000) for i in "ab"
  }
  look_alike.put(tmp_path / "own", content)
  look_alike.put(tmp_path / "in", look_alike.demand("TBUS"))
  _, out = build("demand", tmp_path)
  own = str(tmp_path / "own")
  assert tuple(tfds_sources.BUILDERS) == pools.CORPORA
  named = pools.opened("demand/default", data_dir=out, split="train")
  assert named.name == "demand"
  places = ("wham48k", "demand", own)
  found, notes = pools.of_noise(places, data_dir=out, split="train")
  assert [pool.name for pool in found] == ["demand", own]
  assert notes == [
    f"wham48k is not built in {out}: noises are drawn from demand, {own} only"
  ]
  found, _ = pools.of_noise(places, data_dir=out, split="valid", holdout="a")
  assert [pool.name for pool in found] == [own]
  with pytest.raises(errors.InputError, match="none of the noises wham48k for"):
    pools.of_noise(("wham48k",), data_dir=out, split="train")
  with pytest.raises(errors.InputError, match="esc: found nothing, expected"):
    pools.opened("esc", data_dir=out, split="train")
