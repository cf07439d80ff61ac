import dataclasses
import os
import pathlib
import struct
import threading

import jax.numpy as jnp
import numpy as np
import pytest
import soundfile

from asd_jax.data import audio


@dataclasses.dataclass(frozen=True)
class File:
  path: pathlib.Path
  header: audio.Header


def noise(num_samples=160, num_channels=2, seed=0):
  rng = np.random.default_rng(seed)
  return rng.integers(-3000, 3000, (num_samples, num_channels), np.int16)


def write(path, samples=None, rate=16_000, subtype="PCM_16"):
  samples = noise() if samples is None else samples
  soundfile.write(path, samples, rate, subtype=subtype)
  return File(path, audio.read_header(path))


def write_many(folder, lengths, **kwargs):
  return [
    write(folder / f"{i}.wav", noise(n, seed=i), **kwargs)
    for i, n in enumerate(lengths)
  ]


def data_size_at(content):
  return content.index(b"data") + 4


def test_header_says_channels_samples_rate_and_format(tmp_path):
  header = write(tmp_path / "a.wav", noise(123, 2), 22_050).header
  assert header == audio.Header(2, 123, 22_050, "PCM_16")


@pytest.mark.parametrize(
  ("content", "found"),
  [
    (b"", "found an empty file"),
    (b"hello", "starts with b'hello'"),
    (b"ID3\x03 this is no wave file, whatever its name", "starts with b'ID3"),
    (b"RIFF\x24\0\0\0AVI LIST", "starts with b'RIFF"),
    (b"RIFF\x24\0\0\0WAVEfmt ", "found 0 bytes of samples"),
    (b"RIFF\x04\0\0\0WAVE", "found 0 bytes of samples"),
    (b"RIFF\x24\0\0\0WAVEdata\0\0\0\0", "found damaged content"),
  ],
)
def test_files_that_are_no_waves_are_refused_by_name(tmp_path, content, found):
  path = tmp_path / "bad, 'file'.wav"
  path.write_bytes(content)
  with pytest.raises(ValueError, match="found") as caught:
    audio.read_header(path)
  message = str(caught.value)
  assert message.startswith(f"{path}: found")
  assert found in message
  assert "expected" in message


@pytest.mark.parametrize("container", ["WAV", "WAVEX", "RF64"])
@pytest.mark.parametrize("lost", [2, 100, 600])
def test_a_file_cut_short_is_refused(tmp_path, container, lost):
  path = tmp_path / "cut.wav"
  soundfile.write(path, noise(), 16_000, format=container)
  content = path.read_bytes()
  assert audio.read_header(path).num_samples == 160
  path.write_bytes(content[:-lost])
  with pytest.raises(ValueError, match="cut short"):
    audio.read_header(path)
  with pytest.raises(ValueError, match="cut short"):
    audio.read(path)


@pytest.mark.parametrize("size", [0, 0x7FFFF000, 0xFFFFFFFF])
def test_sizes_left_open_by_a_pipe_are_tolerated(tmp_path, size):
  path = tmp_path / "pipe.wav"
  write(path)
  content = bytearray(path.read_bytes())
  at = data_size_at(content)
  content[4:8] = content[at : at + 4] = struct.pack("<I", size)
  path.write_bytes(content)
  assert audio.read_header(path).num_samples == 160
  np.testing.assert_array_equal(audio.read(path)[0], noise().T)


def test_chunks_after_the_samples_do_not_matter(tmp_path):
  path = tmp_path / "list.wav"
  write(path)
  content = path.read_bytes() + b"LIST" + struct.pack("<I", 4) + b"INFO"
  path.write_bytes(content)
  assert audio.read_header(path).num_samples == 160


def test_a_chunk_of_odd_size_before_the_samples_is_skipped(tmp_path):
  path = tmp_path / "odd.wav"
  write(path)
  content = path.read_bytes()
  at = data_size_at(content) - 4
  extra = b"note" + struct.pack("<I", 3) + b"abc\0"
  path.write_bytes(content[:at] + extra + content[at:])
  assert audio.read_header(path).num_samples == 160


def test_a_file_without_samples_is_refused(tmp_path):
  path = tmp_path / "none.wav"
  soundfile.write(path, noise(0), 16_000)
  with pytest.raises(ValueError, match="found no samples"):
    audio.read_header(path)


def test_a_missing_file_a_folder_and_a_pipe_are_refused(tmp_path):
  with pytest.raises(ValueError, match=r"gone\.wav: found no readable file"):
    audio.read_header(tmp_path / "gone.wav")
  with pytest.raises(ValueError, match="found no regular file"):
    audio.read_header(tmp_path)
  os.mkfifo(tmp_path / "fifo.wav")
  with pytest.raises(ValueError, match="found no regular file"):
    audio.read_header(tmp_path / "fifo.wav")


def test_names_of_any_kind_are_read(tmp_path):
  for name in (
    "a, b.wav",
    'it\'s "x".wav',
    "<script>.wav",
    "Lüfter 扇.WAV",
    "two\nlines.wav",
  ):
    np.testing.assert_array_equal(
      audio.read(write(tmp_path / name).path)[0], noise().T
    )


def test_names_that_are_no_utf8_are_read(tmp_path):
  path = write(tmp_path / "a.wav").path
  odd = pathlib.Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.wav"))
  try:
    path.rename(odd)
  except OSError:
    pytest.skip("this file system takes only UTF-8")
  assert audio.read_header(odd).num_samples == 160


def test_sixteen_bit_clips_stay_integers(tmp_path):
  path = write(tmp_path / "a.wav").path
  samples, notes = audio.read(path)
  assert samples.dtype == np.int16
  assert samples.flags.c_contiguous
  assert notes == ()
  np.testing.assert_array_equal(samples, noise().T)


@pytest.mark.parametrize(
  ("subtype", "step"),
  [
    ("PCM_U8", 2.0**-7),
    ("PCM_24", 2.0**-23),
    ("PCM_32", 2.0**-24),
    ("FLOAT", 2.0**-24),
    ("DOUBLE", 2.0**-24),
  ],
)
def test_other_sample_formats_become_floats(tmp_path, subtype, step):
  wanted = noise() / 32_768
  samples, notes = audio.read(
    write(tmp_path / "a.wav", wanted, subtype=subtype).path
  )
  assert samples.dtype == np.float32
  assert notes == ()
  np.testing.assert_allclose(samples, wanted.T, rtol=0, atol=step)


def test_mono_has_one_channel(tmp_path):
  assert audio.read(write(tmp_path / "a.wav", noise(50, 1)).path)[0].shape == (
    1,
    50,
  )


@pytest.mark.parametrize("rate", [8_000, 25_600, 44_100, 48_000])
def test_other_rates_are_resampled_and_reported(tmp_path, rate):
  time = np.arange(rate // 4 + 1) / rate
  tone = 0.5 * np.sin(2 * np.pi * 440 * time)
  file = write(tmp_path / "a.wav", np.stack([tone, -tone], 1), rate)
  samples, notes = audio.read(file.path)
  assert samples.dtype == np.float32
  assert samples.shape == (2, -(-len(time) * 16_000 // rate))
  assert notes == (f"resampled from {rate} to 16000 Hz",)
  wanted = 0.5 * np.sin(2 * np.pi * 440 * np.arange(samples.shape[1]) / 16_000)
  middle = slice(100, -100)
  # Pass-band ripple of the polyphase filter: up to 1.2e-3 measured.
  np.testing.assert_allclose(samples[0, middle], wanted[middle], atol=2e-3)
  np.testing.assert_allclose(samples[1], -samples[0], atol=1e-4)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers_are_refused(tmp_path, bad):
  samples = noise() / 32_768
  samples[7, 1] = samples[9, 0] = bad
  path = write(tmp_path / "a.wav", samples, subtype="FLOAT").path
  with pytest.raises(ValueError, match="sample 7 of channel 1") as caught:
    audio.read(path)
  assert str(caught.value).startswith(f"{path}: found {bad}")


def test_silence_is_noted_with_its_channel(tmp_path):
  samples = noise()
  samples[:, 1] = 0
  _, notes = audio.read(write(tmp_path / "a.wav", samples).path)
  assert notes == ("channel 1 is silent (all samples are zero)",)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "FLOAT"])
@pytest.mark.parametrize("sign", [1, -1])
def test_clipping_is_noted_with_its_share(tmp_path, subtype, sign):
  samples = noise(1000) / 32_768
  samples[:25, 0] = sign
  samples[:1, 1] = sign
  file = write(tmp_path / "a.wav", samples, subtype=subtype)
  _, notes = audio.read(file.path)
  assert notes == ("channel 0 is clipped at 2.50% of samples",)


def test_batches_hold_every_clip_once_and_pad_the_last(tmp_path):
  files = write_many(tmp_path, [160] * 7)
  found = list(audio.batches(files, batch_size=3))
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
  found = list(audio.batches(files, batch_size=2))
  assert [b.index.tolist() for b in found] == [[0, 4], [1, -1], [2, 5], [3, -1]]
  assert found[2].audio.dtype == np.float32
  assert found[2].notes == ((5, "resampled from 48000 to 16000 Hz"),)


def test_batches_are_the_same_for_any_number_of_workers(tmp_path):
  files = write_many(tmp_path, [160, 80] * 9)
  one, many = (
    list(audio.batches(files, batch_size=4, num_workers=n)) for n in (1, 8)
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
  for i, _ in enumerate(audio.batches(files, batch_size=2)):
    assert len(started) <= 2 * (i + 2)
  assert len(started) == 40


def test_abandoned_batches_end_their_threads(tmp_path):
  files = write_many(tmp_path, [160] * 20)
  before = threading.active_count()
  stream = audio.batches(files, batch_size=2)
  next(stream)
  del stream
  assert threading.active_count() == before


def test_a_file_that_vanished_is_named(tmp_path):
  files = write_many(tmp_path, [160] * 5)
  files[3].path.unlink()
  stream = audio.batches(files, batch_size=2)
  next(stream)
  with pytest.raises(ValueError, match=r"3\.wav: found no readable file"):
    next(stream)


def test_a_file_that_changed_is_named(tmp_path):
  files = write_many(tmp_path, [160] * 2)
  write(files[1].path, noise(100))
  with pytest.raises(ValueError, match=r"1\.wav: found .* has changed"):
    list(audio.batches(files, batch_size=2))


def test_no_clips_make_no_batches():
  assert list(audio.batches([], batch_size=2)) == []


@pytest.mark.parametrize("name", ["batch_size", "sample_rate", "num_workers"])
def test_settings_below_one_are_refused_at_once(name):
  with pytest.raises(ValueError, match=f"{name}: found 0"):
    audio.batches([], **{"batch_size": 1, name: 0})


def test_to_float_scales_integers_of_numpy_and_jax():
  values = np.array([-32_768, 0, 32_767], np.int16)
  wanted = np.array([-1, 0, 32_767 / 32_768], np.float32)
  for array in (values, jnp.asarray(values)):
    scaled = audio.to_float(array)
    assert type(scaled) is type(array)
    assert scaled.dtype == np.float32
    np.testing.assert_array_equal(scaled, wanted)
  np.testing.assert_array_equal(audio.to_float(wanted), wanted)
