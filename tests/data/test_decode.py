import threading

import numpy as np
import pytest

from asd_jax.data import audio, decode, hearing
from tests.data.wave_files import noise, write, write_many


def test_batches_hold_every_clip_once_and_pad_the_last(tmp_path):
  files = write_many(tmp_path, [160] * 7)
  found = list(decode.batches(files, batch_size=3))
  assert [b.index.tolist() for b in found] == [
    [0, 1, 2],
    [3, 4, 5],
    [6, -1, -1],
  ]
  for batch in found:
    assert batch.audio.shape == (3, 2, 160)
    assert batch.audio.dtype == np.int16
    assert batch.index.dtype == np.int32
    for i, row in zip(batch.index, batch.audio, strict=True):
      wanted = noise(seed=i if i >= 0 else batch.index[0])
      np.testing.assert_array_equal(row, wanted.T)


def test_batches_do_not_mix_lengths_channels_or_formats(tmp_path):
  files = [
    write(tmp_path / "0.wav", noise(160)),
    write(tmp_path / "1.wav", noise(80)),
    write(tmp_path / "2.wav", noise(160), subtype="PCM_24"),
    write(tmp_path / "3.wav", noise(160, 1)),
    write(tmp_path / "4.wav", noise(160)),
    write(tmp_path / "5.wav", noise(480), 48_000),
  ]
  found = list(decode.batches(files, batch_size=2))
  assert [b.index.tolist() for b in found] == [[0, 4], [1, -1], [2, 5], [3, -1]]
  assert found[2].audio.dtype == np.float32
  odd, heard = hearing.split(f"{i}: {text}" for i, text in found[2].notes)
  assert odd == ["5: resampled from 48000 to 16000 Hz"]
  assert [i for i, _ in heard] == ["2", "5"]


def test_batches_are_the_same_for_any_number_of_workers(tmp_path):
  files = write_many(tmp_path, [160, 80] * 9)
  one, many = (
    list(decode.batches(files, batch_size=4, num_workers=n)) for n in (1, 8)
  )
  for a, b in zip(one, many, strict=True):
    np.testing.assert_array_equal(a.index, b.index)
    np.testing.assert_array_equal(a.audio, b.audio)


def test_batches_look_only_two_ahead(tmp_path, monkeypatch):
  files = write_many(tmp_path, [160] * 40)
  started = []
  read = audio.read

  def counting_read(path, **kwargs):
    started.append(path)
    return read(path, **kwargs)

  monkeypatch.setattr(audio, "read", counting_read)
  for i, _ in enumerate(decode.batches(files, batch_size=2)):
    assert len(started) <= 2 * (i + 2)
  assert len(started) == 40


def test_abandoned_batches_end_their_threads(tmp_path):
  files = write_many(tmp_path, [160] * 20)
  before = threading.active_count()
  stream = decode.batches(files, batch_size=2)
  next(stream)
  del stream
  assert threading.active_count() == before


def test_a_file_that_vanished_is_named(tmp_path):
  files = write_many(tmp_path, [160] * 5)
  files[3].path.unlink()
  stream = decode.batches(files, batch_size=2)
  next(stream)
  with pytest.raises(ValueError, match=r"3\.wav: found no readable file"):
    next(stream)


def test_a_file_that_changed_is_named(tmp_path):
  files = write_many(tmp_path, [160] * 2)
  write(files[1].path, noise(100))
  with pytest.raises(ValueError, match=r"1\.wav: found .* has changed"):
    list(decode.batches(files, batch_size=2))


def test_no_clips_make_no_batches():
  assert list(decode.batches([], batch_size=2)) == []


@pytest.mark.parametrize("name", ["batch_size", "sample_rate", "num_workers"])
def test_settings_below_one_are_refused_at_once(name):
  with pytest.raises(ValueError, match=f"{name}: found 0"):
    decode.batches([], **{"batch_size": 1, name: 0})
