import os
import pathlib
import struct

import jax.numpy as jnp
import numpy as np
import pytest
import soundfile

from asd_jax.data import audio
from tests.data.wave_files import noise, write


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
  assert notes[1:] == (f"resampled from {rate} to 16000 Hz",)
  assert "with its sign reversed" in notes[0]
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


def test_to_float_scales_integers_of_numpy_and_jax():
  values = np.array([-32_768, 0, 32_767], np.int16)
  wanted = np.array([-1, 0, 32_767 / 32_768], np.float32)
  for array in (values, jnp.asarray(values)):
    scaled = audio.to_float(array)
    assert type(scaled) is type(array)
    assert scaled.dtype == np.float32
    np.testing.assert_array_equal(scaled, wanted)
  np.testing.assert_array_equal(audio.to_float(wanted), wanted)


@pytest.mark.parametrize(
  ("kind", "subtype", "rate"),
  [
    ("WAV", "PCM_16", 16_000),
    ("WAV", "FLOAT", 16_000),
    ("WAV", "GSM610", 8_000),  # which cannot seek
    ("WAV", "IMA_ADPCM", 8_000),
  ],
)
def test_a_part_is_that_part_of_the_whole(tmp_path, kind, subtype, rate):
  path = tmp_path / "a.wav"
  samples = noise(160_000, 1) / 32_768
  soundfile.write(path, samples, rate, format=kind, subtype=subtype)
  whole, _ = audio.read(path, sample_rate=rate)
  for start, num in ((0, 100), (37, 1000), (123_456, 4000), (159_990, 10)):
    part, notes = audio.read(
      path, sample_rate=rate, start=start, num_samples=num
    )
    assert notes == ()
    assert part.dtype == whole.dtype
    np.testing.assert_array_equal(part, whole[:, start : start + num])
  rest, _ = audio.read(path, sample_rate=rate, start=100_000)
  np.testing.assert_array_equal(rest, whole[:, 100_000:])


def test_a_part_that_is_not_there_is_refused(tmp_path):
  path = write(tmp_path / "a.wav").path
  for start in (100, 1000):
    with pytest.raises(ValueError, match="found .* samples, expected") as e:
      audio.read(path, start=start, num_samples=61)
    assert f"expected {start + 61}" in str(e.value)


def test_no_number_of_a_part_is_named_by_its_place_in_the_file(tmp_path):
  samples = noise() / 32_768
  samples[107, 1] = np.nan
  path = write(tmp_path / "a.wav", samples, subtype="FLOAT").path
  with pytest.raises(ValueError, match="sample 107 of channel 1"):
    audio.read(path, start=100, num_samples=20)
  audio.read(path, start=0, num_samples=100)


def test_where_a_file_is_cut_changes_only_ends_of_resampled_parts(tmp_path):
  path = write(tmp_path / "a.wav", noise(48_000, 1), 48_000).path
  whole, _ = audio.read(path)
  # Starts at whole samples of both rates.
  part, notes = audio.read(path, start=12_000, num_samples=9_000)
  assert notes == ("resampled from 48000 to 16000 Hz",)
  assert part.shape == (1, 3_000)
  reach = 10  # of the filter, at the lower rate
  same = slice(reach, -reach)
  np.testing.assert_allclose(
    part[:, same], whole[:, 4_000:7_000][:, same], atol=1e-6
  )
