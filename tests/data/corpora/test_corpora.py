import zipfile

import numpy as np
import pytest

from asd_jax import errors
from asd_jax.data import audio
from asd_jax.data.corpora import (
  base,
  checksums,
  demand,
  files,
  folder,
  fsd50k,
  qut_noise,
  wham,
)
from tests.data.corpora import look_alike


@pytest.fixture(autouse=True)
def _short_recordings(monkeypatch):
  """So that a recording of noise may be 60 ms long."""
  monkeypatch.setattr(base, "MIN_SECONDS", 0.05)


def names(corpus, split):
  return [r.name for r in corpus.recordings if r.split == split]


def put_demand(root, without=(), lacking=()):
  root.mkdir(exist_ok=True)
  for env in demand.ENVIRONMENTS:
    if env not in without:
      lost = (7,) if env in lacking else ()
      data = look_alike.zipped(look_alike.demand(env, without=lost))
      (root / f"{env}_16k.zip").write_bytes(data)


def test_sixty_seconds_are_too_short(monkeypatch):
  monkeypatch.undo()
  header = audio.Header(1, 960_000, 16_000, "PCM_16")
  assert not base.long_enough(header)
  assert base.long_enough(header._replace(num_samples=960_001))


@pytest.mark.parametrize("form", ["archives", "folder", "joined"])
def test_fsd50k_is_read_in_every_form(tmp_path, form):
  if form == "folder":
    look_alike.put(tmp_path, look_alike.fsd50k())
  else:
    look_alike.put_fsd50k(tmp_path)
  if form == "joined":
    for path in tmp_path.glob("FSD50K.dev_audio.z*"):
      path.unlink()
    of_dev = {k: v for k, v in look_alike.fsd50k().items() if "dev_audio" in k}
    joined = tmp_path / "FSD50K.dev_audio.unsplit.zip"
    joined.write_bytes(look_alike.zipped(of_dev))
  found = fsd50k.read(tmp_path)
  assert names(found, "train") == ["10", "12", "7"]
  assert names(found, "valid") == ["8"]
  assert names(found, "test") == ["9"]
  assert found.counts == {"dev": (4, 4), "eval": (1, 1)}
  assert found.missing == ()
  (remark,) = found.remarks
  assert remark.endswith("left out: 11")
  first = found.recordings[0]
  assert (first.labels, first.licence) == ("Bark,Dog", "CC0")
  assert found.recordings[1].licence == ""
  for r in found.recordings:
    assert r.num_samples == r.samples().shape[1]
    assert r.samples().shape[0] == 1


def test_fsd50k_without_a_part_names_it_and_its_clips(tmp_path):
  look_alike.put_fsd50k(tmp_path, parts=(9_000, 25_000))
  (tmp_path / "FSD50K.dev_audio.z01").unlink()
  found = fsd50k.read(tmp_path)
  assert found.missing[0] == "FSD50K.dev_audio.z01 is missing"
  assert "clips of dev have no file in FSD50K.dev_audio: 7" in found.missing[1]
  for r in found.recordings:
    r.samples()
  with pytest.raises(errors.InputError, match=r"expected all of it.*\.z01 is"):
    fsd50k.read(tmp_path, strict=True)
  (tmp_path / "FSD50K.dev_audio.zip").unlink()
  with pytest.raises(
    errors.InputError, match=r"dev_audio\.zip: found only the"
  ):
    fsd50k.read(tmp_path)
  # What was unpacked needs no archive.
  look_alike.put(tmp_path, look_alike.fsd50k())
  assert fsd50k.read(tmp_path).missing == ()


def test_fsd50k_without_a_split_or_its_tables_is_refused(tmp_path):
  look_alike.put_fsd50k(tmp_path)
  (tmp_path / "FSD50K.eval_audio.zip").unlink()
  with pytest.raises(
    errors.InputError, match="for the split test.*1 of 1 clip"
  ):
    fsd50k.read(tmp_path)
  found = fsd50k.read(tmp_path, splits=("train", "valid"))
  assert {r.split for r in found.recordings} == {"train", "valid"}
  (tmp_path / "FSD50K.ground_truth.zip").unlink()
  with pytest.raises(errors.InputError, match="no dev.csv.*ground_truth.zip"):
    fsd50k.read(tmp_path)


def test_strict_fsd50k_counts_as_its_authors(tmp_path):
  look_alike.put_fsd50k(tmp_path)
  with pytest.raises(errors.InputError, match="dev.csv lists 4 clips of 40966"):
    fsd50k.read(tmp_path, strict=True)


@pytest.mark.parametrize(
  ("table", "message"),
  [
    (b"fname,labels\n10,a\n", "expected split too"),
    (b"fname,labels,split\n10,a,maybe\n", "the split 'maybe' of 10"),
    (b"fname,labels,split\n10\n", "row 2 cut short"),
    (b"", "found the columns none"),
    (b"\xff\xfe", "found no csv table"),
  ],
)
def test_bad_tables_are_refused(tmp_path, table, message):
  look_alike.put(tmp_path, look_alike.fsd50k())
  path = tmp_path / "FSD50K.ground_truth" / "dev.csv"
  path.write_bytes(table)
  with pytest.raises(errors.InputError, match=f"dev.csv: .*{message}"):
    fsd50k.read(tmp_path)


def test_another_rate_in_a_corpus_is_refused(tmp_path):
  look_alike.put(tmp_path, look_alike.fsd50k())
  path = tmp_path / "FSD50K.dev_audio" / "7.wav"
  path.write_bytes(look_alike.wav(look_alike.noise(99), 48_000))
  with pytest.raises(errors.InputError, match=r"7\.wav: found 1 ch.* 48000 Hz"):
    fsd50k.read(tmp_path)


@pytest.mark.parametrize("form", ["folder", "archive", "pieces"])
def test_wham_is_read_in_every_form(tmp_path, form, monkeypatch):
  monkeypatch.setattr(base, "MIN_SECONDS", 60)
  content = look_alike.wham()
  data = look_alike.zipped(content)
  if form == "folder":
    look_alike.put(tmp_path, content)
  elif form == "archive":
    (tmp_path / "high_res_wham.zip").write_bytes(data)
  else:
    (tmp_path / "high_res_wham.zip.aa").write_bytes(data[:5_000])
    (tmp_path / "high_res_wham.zip.ab").write_bytes(data[5_000:])
  found = wham.read(tmp_path)
  assert names(found, "train") == ["a", "f"]
  assert (names(found, "valid"), names(found, "test")) == (["c"], ["d"])
  assert found.recordings[0].channels == (1, 2)
  assert "1 recordings of 60 s or less" in found.remarks[0]
  samples = found.recordings[0].samples()
  assert (samples.shape, samples.dtype) == ((2, 320), np.int16)
  # Channels differ, and each is itself.
  source, _ = audio.samples_in("", files.io.BytesIO(content[_WHAM + "a.wav"]))
  assert source.num_channels == 2
  assert not np.array_equal(samples[0], samples[1])


_WHAM = "high_res_wham/audio/"


def test_wham_names_what_is_missing(tmp_path, monkeypatch):
  monkeypatch.setattr(base, "MIN_SECONDS", 60)
  content = look_alike.wham()
  del content[_WHAM + "f.wav"]
  look_alike.put(tmp_path, content)
  found = wham.read(tmp_path)
  assert found.missing == ("1 of 2 recordings of train are missing: f.wav",)
  (tmp_path / _WHAM / "c.wav").unlink()
  with pytest.raises(errors.InputError, match="for the split valid"):
    wham.read(tmp_path)
  (tmp_path / "high_res_wham" / "high_res_metadata.csv").unlink()
  with pytest.raises(errors.InputError, match="found no high_res_metadata.csv"):
    wham.read(tmp_path)


def test_demand_takes_what_is_there_and_names_the_rest(tmp_path):
  put_demand(tmp_path, without=("TBUS",), lacking=("NPARK",))
  found = demand.read(tmp_path)
  assert found.missing == ("TBUS: missing", "NPARK lacks ch07")
  assert found.counts == {"environments": (16, 17), "channels": (255, 272)}
  assert len(found.recordings) == 255
  park = [r.channels[0] for r in found.recordings if r.name == "NPARK"]
  assert park == [c for c in range(1, 17) if c != 7]
  # At this rate nothing is resampled.
  source = look_alike.noise(960, seed=3)
  (third,) = [
    r for r in found.recordings if (r.name, r.channels) == ("NPARK", (3,))
  ]
  np.testing.assert_array_equal(third.samples()[0], source[:, 0])


def test_demand_prefers_the_edition_at_16_khz(tmp_path):
  put_demand(tmp_path, without=("TBUS", "TCAR"))
  for env in ("TCAR", "TMETRO", "SCAFE"):
    data = look_alike.zipped(look_alike.demand(env, rate=48_000))
    (tmp_path / f"{env}_48k.zip").write_bytes(data)
  look_alike.put(tmp_path / "own", look_alike.demand("TBUS"))
  found = demand.read(tmp_path, strict=True)
  rate = {r.name: r.header.sample_rate for r in found.recordings}
  assert len(rate) == 17
  assert (rate["TBUS"], rate["TMETRO"], rate["TCAR"]) == (
    16_000,
    16_000,
    48_000,
  )
  extra = demand.read(tmp_path, extra=True)
  assert len({r.name for r in extra.recordings}) == 18


def test_a_broken_archive_is_named_where_it_is_needed(tmp_path):
  put_demand(tmp_path)
  path = tmp_path / "TBUS_16k.zip"
  path.write_bytes(path.read_bytes()[:900])
  with pytest.raises(
    errors.InputError, match="TBUS_16k.zip: found no directory"
  ):
    demand.read(tmp_path)
  look_alike.put(tmp_path, look_alike.demand("TBUS"))
  assert demand.read(tmp_path).missing == ()


LABELS = "0 0.1 sweep\n0.1 0.1 start\n0.3 0.35 bad microphone\n0.9 0.9 finish\n"


def put_qut_noise(root):
  root.mkdir(exist_ok=True)
  cafe = {
    **look_alike.qut_noise("CAFE-CAFE-1", 1.0, LABELS),
    **look_alike.qut_noise("CAFE-CAFE-2", 0.07),
  }
  home = look_alike.qut_noise("HOME-KITCHEN-1", 0.04)
  (root / "qutnoisecafe.zip").write_bytes(look_alike.zipped(cafe))
  old = look_alike.zipped(home, zipfile.ZIP_STORED)
  (root / "QUT-NOISEhome.zip").write_bytes(old)


def test_qut_noise_is_read_from_old_and_new_archives(tmp_path):
  put_qut_noise(tmp_path)
  found = qut_noise.read(tmp_path)
  assert names(found, "train") == ["CAFE-CAFE-1", "CAFE-CAFE-2"]
  assert found.archives == ("QUT-NOISEhome.zip", "qutnoisecafe.zip")
  assert found.counts == {"recordings": (3, 20)}
  assert "HOME-KITCHEN-1 has no more than 0.05 s" in found.remarks[0]
  assert found.missing[0].startswith("CAFE-FOODCOURTB-1, CAFE-FOODCOURTB-2, ")
  assert found.missing[0].endswith("REVERB-CARPARK-2: missing")
  first, second = found.recordings
  assert first.main == ((4_800, 14_400), (16_800, 43_200))
  assert second.main is None
  assert first.samples().shape == (2, 16_000)


def test_main_parts_of_qut_noise_leave_out_what_failed(tmp_path):
  put_qut_noise(tmp_path)
  with pytest.raises(errors.InputError, match="no CAFE-CAFE-2.lab.txt"):
    qut_noise.read(tmp_path, main_only=True)
  (tmp_path / "qutnoisecafe.zip").write_bytes(
    look_alike.zipped(look_alike.qut_noise("CAFE-CAFE-1", 1.0, LABELS))
  )
  (tmp_path / "QUT-NOISEhome.zip").unlink()
  found = qut_noise.read(tmp_path, main_only=True)
  lengths = [r.samples().shape[1] for r in found.recordings]
  assert lengths == [r.num_samples for r in found.recordings] == [3_200, 8_800]
  starts = [r.name for r in found.recordings]
  assert starts == ["CAFE-CAFE-1@00000.1s", "CAFE-CAFE-1@00000.3s"]


@pytest.mark.parametrize("line", ["1 2", "x y bad", "inf 2 bad"])
def test_bad_labels_are_refused(tmp_path, line):
  content = look_alike.qut_noise("CAFE-CAFE-1", 0.06, f"{line}\n")
  look_alike.put(tmp_path, content)
  if line == "1 2":
    assert qut_noise.read(tmp_path).recordings[0].main is None
    return
  with pytest.raises(errors.InputError, match=r"lab\.txt: found line 1"):
    qut_noise.read(tmp_path)


def put_folder(root):
  content = {
    "dog_1-a.wav": look_alike.wav(look_alike.noise(500), 16_000),
    "cat/cat_2-b.wav": look_alike.wav(
      look_alike.noise(441, 2), 44_100, "FLOAT"
    ),
    "cat/cat_1-c.WAV": look_alike.wav(look_alike.noise(80), 8_000, "PCM_U8"),
    "readme.txt": b"",
  }
  look_alike.put(root, content)


def test_a_folder_of_any_rates_and_channels_is_read(tmp_path):
  put_folder(tmp_path)
  found = folder.read(tmp_path)
  assert names(found, "train") == ["cat/cat_1-c", "cat/cat_2-b", "dog_1-a"]
  lengths = [r.samples().shape for r in found.recordings]
  assert lengths == [(1, 160), (2, 160), (1, 500)]
  assert found.remarks == (
    "1 files at 8000 Hz are resampled to 16000 Hz",
    "1 files at 44100 Hz are resampled to 16000 Hz",
    "1 files are no recordings: ignored",
  )


def test_a_part_of_a_folder_is_held_out(tmp_path):
  put_folder(tmp_path)
  found = folder.read(tmp_path, holdout="*_1-*")
  assert names(found, "train") == ["cat/cat_2-b"]
  assert names(found, "valid") == ["cat/cat_1-c", "dog_1-a"]
  for bad in ("*", "*.mp3", 0.999_999, 1.0, -0.1):
    with pytest.raises(errors.InputError, match="holdout: found"):
      folder.read(tmp_path, holdout=bad)


def test_a_share_is_held_out_by_name(tmp_path):
  data = look_alike.wav(look_alike.noise(20), 16_000)
  look_alike.put(tmp_path, {f"{i}.wav": data for i in range(60)})
  held = set(names(folder.read(tmp_path, holdout=0.25), "valid"))
  assert 5 < len(held) < 30
  look_alike.put(tmp_path, {f"more{i}.wav": data for i in range(10)})
  again = set(names(folder.read(tmp_path, holdout=0.25), "valid"))
  assert held == {name for name in again if not name.startswith("more")}


def test_an_empty_folder_is_refused(tmp_path):
  with pytest.raises(errors.InputError, match="found no wave files"):
    folder.read(tmp_path)
  with pytest.raises(
    errors.InputError, match="found nothing, expected a folder"
  ):
    folder.read(tmp_path / "a")


def test_samples_above_full_scale_are_cut(tmp_path):
  loud = np.array([[-2.0], [0.5], [2.0]])
  look_alike.put(tmp_path, {"a.wav": look_alike.wav(loud, 16_000, "FLOAT")})
  (found,) = folder.read(tmp_path).recordings
  assert found.samples().tolist() == [[-32_768, 16_384, 32_767]]


def test_resampling_keeps_tones_below_8_khz_and_removes_others(tmp_path):
  time = np.arange(44_100) / 44_100
  low, high = (0.5 * np.sin(2 * np.pi * f * time) for f in (1_000, 12_000))
  both = np.stack([low, high], axis=1)
  look_alike.put(tmp_path, {"a.wav": look_alike.wav(both, 44_100)})
  samples = folder.read(tmp_path).recordings[0].samples() / 32_768
  expected = 0.5 * np.sin(2 * np.pi * 1_000 * np.arange(16_000) / 16_000)
  inner = slice(200, -200)
  np.testing.assert_allclose(samples[0, inner], expected[inner], atol=2e-3)
  assert np.abs(samples[1, inner]).max() < 2e-3


def test_md5_sums_are_compared_on_request(tmp_path):
  (tmp_path / "TBUS_16k.zip").write_bytes(b"a")
  (tmp_path / "qutnoise.zip").write_bytes(b"a")
  first, second = checksums.remarks(
    tmp_path, ("TBUS_16k.zip", "qutnoise.zip", "TCAR_16k.zip")
  )
  assert first.startswith(
    "TBUS_16k.zip: found MD5 0cc175b9c0f1b6a831c399e26977"
  )
  assert second == "MD5 of qutnoise.zip is not known: not compared"
