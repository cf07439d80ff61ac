"""Sizes in headers, as recorders leave them."""

import os
import pathlib
import struct

import numpy as np
import pytest
import soundfile

from asd_jax import errors
from asd_jax.data import audio
from tests.data import containers as made

WAVE = np.round(np.clip(made.tone(), -1, 1) * 32_767).astype(np.int16)
DATA = WAVE.tobytes()
NUM = len(DATA)
OPEN = "the header was never finished"
WRONG = f"{NUM} are there: all of them are read"
LONG = (1 << 32) - 1


def read(tmp_path, content, name="a.wav"):
  path = tmp_path / name
  path.write_bytes(content)
  samples, notes = audio.read(path)
  assert audio.read_header(path).num_samples == samples.shape[1]
  return samples, notes


SIZES = {
  "as it should be": (made.riff(DATA), ""),
  "with chunks behind": (made.riff(DATA, after=made.BEHIND), ""),
  "zeros behind, to fill a block": (made.riff(DATA) + bytes(4000), ""),
  "a tag behind": (made.riff(DATA) + b"TAG" + bytes(125), ""),
  "a chunk behind that was cut": (
    made.riff(DATA, after=made.BEHIND)[:-40],
    "",
  ),
  "another file behind": (made.riff(DATA) * 2, ""),
  # A recorder that lost power.
  "open": (made.riff(DATA, declared=0, outer=0), OPEN),
  "open, with chunks behind": (
    made.riff(DATA, declared=0, outer=0, after=made.BEHIND),
    OPEN,
  ),
  "open, but for the size of all": (made.riff(DATA, declared=0), OPEN),
  "of a pipe": (made.riff(DATA, declared=LONG, outer=LONG), OPEN),
  "of a pipe, with chunks behind": (
    made.riff(DATA, declared=LONG, outer=LONG, after=made.BEHIND),
    OPEN,
  ),
  # One that passed 4 GB.
  "wrapped": (made.riff(DATA, declared=1200, outer=1236), WRONG),
  "wrapped, with chunks behind": (
    made.riff(DATA, declared=1200, outer=1400, after=made.BEHIND),
    WRONG,
  ),
  "fewer declared": (made.riff(DATA, declared=NUM - 400), WRONG),
  "more declared": (made.riff(DATA, declared=NUM + 4000), WRONG),
  "more declared, with chunks behind": (
    made.riff(DATA, declared=NUM + 4000, after=made.BEHIND),
    WRONG,
  ),
  "declared with the chunks behind": (
    made.riff(DATA, declared=NUM + len(made.BEHIND), after=made.BEHIND),
    None,
  ),
  "RF64": (
    made.riff(
      DATA, magic=b"RF64", declared=LONG, outer=LONG, long_sizes=(NUM + 72, NUM)
    ),
    "",
  ),
  "RF64, never finished": (
    made.riff(
      DATA, magic=b"RF64", declared=LONG, outer=LONG, long_sizes=(0, 0)
    ),
    OPEN,
  ),
  "RF64, wrong": (
    made.riff(
      DATA, magic=b"RF64", declared=LONG, outer=LONG, long_sizes=(900, 800)
    ),
    WRONG,
  ),
  "BW64": (
    made.riff(
      DATA,
      magic=b"BW64",
      declared=LONG,
      outer=LONG,
      long_sizes=(NUM + 72, NUM),
      after=made.BEHIND,
    ),
    "",
  ),
  "BW64, short sizes": (made.riff(DATA, magic=b"BW64"), ""),
  "W64": (made.w64(DATA), ""),
  "W64, zeros behind": (made.w64(DATA) + bytes(800), ""),
  "W64, never finished": (made.w64(DATA, declared=0), OPEN),
  "W64, wrong": (made.w64(DATA, declared=824), WRONG),
  "W64, with chunks behind": (
    made.w64(
      DATA, after=b"levl" + made._GUID + struct.pack("<Q", 32) + bytes(8)
    ),
    "",
  ),
}


@pytest.mark.parametrize("name", SIZES)
def test_all_samples_are_read_whatever_the_sizes_say(tmp_path, name):
  content, told = SIZES[name]
  samples, notes = read(tmp_path, content)
  if told is None:  # nothing tells those chunks from samples
    np.testing.assert_array_equal(samples[:, : len(WAVE)], WAVE.T)
    return
  np.testing.assert_array_equal(samples, WAVE.T)
  assert len(notes) == bool(told)
  assert told in "".join(notes)


@pytest.mark.parametrize("magic", [b"RIFF", b"RF64", b"BW64", b"riff"])
@pytest.mark.parametrize("lost", [1200, 5000])
def test_what_both_sizes_say_is_missing_is_missing(tmp_path, magic, lost):
  sizes = (NUM + 72, NUM) if magic in (b"RF64", b"BW64") else None
  content = made.riff(DATA, magic=magic, long_sizes=sizes)
  if magic == b"riff":
    content = made.w64(DATA)
  (tmp_path / "a.wav").write_bytes(content[:-lost])
  with pytest.raises(errors.InputError, match=r"a\.wav: found \d+ bytes of sa"):
    audio.read_header(tmp_path / "a.wav")


def test_nothing_but_chunks_behind_an_open_header_is_no_recording(tmp_path):
  content = made.riff(b"", declared=0, outer=0, after=made.BEHIND)
  (tmp_path / "a.wav").write_bytes(content)
  with pytest.raises(errors.InputError, match="found no samples"):
    audio.read_header(tmp_path / "a.wav")


@pytest.mark.parametrize("magic", [b"RIFF", b"RF64"])
def test_more_than_4_gb_are_all_there(tmp_path, magic):
  """A file with a hole: it takes no room."""
  path = tmp_path / "long.wav"
  frames = (1 << 30) + 3000
  sizes = (0, 0) if magic == b"RF64" else None
  wrapped = frames * 4 % (1 << 32)
  declared = LONG if sizes else wrapped
  head = made.riff(
    b"", magic=magic, declared=declared, outer=wrapped + 36, long_sizes=sizes
  )
  path.write_bytes(head + DATA)  # behind the wrapped size no zeros
  os.truncate(path, len(head) + frames * 4)
  header = audio.read_header(path)
  assert (header.num_samples, header.num_channels) == (frames, 2)


def test_a_file_in_big_endian_is_mended_too(tmp_path):
  path = tmp_path / "big.wav"
  soundfile.write(path, WAVE, 16_000, endian="BIG", format="WAV")
  content = bytearray(path.read_bytes())
  assert content[:4] == b"RIFX"
  at = content.index(b"data") + 4
  content[4:8] = content[at : at + 4] = bytes(4)
  samples, notes = read(tmp_path, content)
  np.testing.assert_array_equal(samples, WAVE.T)
  assert OPEN in notes[0]


# Kinds of files.

RECORDERS = pathlib.Path(__file__).parent / "recorders"


@pytest.mark.parametrize(
  "name", ["G721_32_1.wav", "GSM610_1.wav", "NMS_ADPCM_32_1.wav"]
)
def test_codecs_that_cannot_seek_are_decoded(name):
  samples, _ = audio.read(RECORDERS / name)
  assert samples.shape[0] == 1
  assert 8020 <= samples.shape[1] <= 8320
  assert 0.01 < np.std(samples) < 0.5


def expanded(codes, law):
  """Decodes G.711 by its definition."""
  codes = codes.astype(int)
  if law == 7:  # mu
    codes = 255 - codes
    step, mantissa = codes >> 4 & 7, codes & 15
    size = ((2 * mantissa + 33) << step) - 33
    return np.where(codes & 128, -size, size) * 4
  codes = codes ^ 0x55
  step, mantissa = codes >> 4 & 7, codes & 15
  size = np.where(
    step, (2 * mantissa + 33) << np.maximum(step - 1, 0), 2 * mantissa + 1
  )
  return np.where(codes & 128, size, -size) * 8


@pytest.mark.parametrize("tag", [6, 7])
def test_laws_of_telephones_are_those_of_the_standard(tmp_path, tag):
  codes = np.tile(np.arange(256, dtype=np.uint8), 4)
  content = made.riff(codes.tobytes(), channels=1, bits=8, tag=tag)
  samples, _ = read(tmp_path, content)
  np.testing.assert_array_equal(samples[0] * 32_768, expanded(codes, tag))


def test_odd_bytes_without_padding_before_a_chunk(tmp_path):
  codes = (128 + (WAVE[:3199, 0] >> 8)).astype(np.uint8)
  content = made.riff(codes.tobytes(), channels=1, bits=8)[:-1]
  content += b"LIST" + struct.pack("<I", 4) + b"INFO"
  samples, notes = read(tmp_path, content)
  assert (samples.shape, notes) == ((1, 3199), ())


def test_24_bits_in_32(tmp_path):
  wide = WAVE.astype("<i4") << 16
  content = bytearray(made.riff(wide.tobytes(), bits=32, tag=0xFFFE))
  extra = struct.pack("<HHI", 22, 24, 3)
  extra += bytes.fromhex("0100000000001000800000aa00389b71")
  content[36:36] = extra
  content[16:20] = struct.pack("<I", 40)
  content[4:8] = struct.pack("<I", len(content) - 8)
  samples, notes = read(tmp_path, bytes(content))
  np.testing.assert_array_equal(samples * 32_768, WAVE.T)
  assert notes == ()


@pytest.mark.parametrize(
  "before",
  [
    made.chunk(b"LIST", bytes(100_000)),
    made.chunk(b"pad ", bytes(64_000)),
    made.chunk(b"bext", bytes(602)) + made.chunk(b"iXML", b"<a/>"),
  ],
)
def test_chunks_before_the_samples_do_not_matter(tmp_path, before):
  samples, notes = read(tmp_path, made.riff(DATA, before=before))
  np.testing.assert_array_equal(samples, WAVE.T)
  assert notes == ()


@pytest.mark.parametrize(
  ("kind", "subtype", "error"),
  [
    ("FLAC", "PCM_16", 0.0),
    ("FLAC", "PCM_24", 1e-6),
    ("AIFF", "PCM_16", 0.0),
    ("AU", "PCM_16", 0.0),
    ("CAF", "FLOAT", 1e-6),
    ("W64", "PCM_24", 1e-6),
    ("WAV", "IMA_ADPCM", 0.03),
    ("WAV", "MS_ADPCM", 0.03),
    ("OGG", "VORBIS", 0.1),
    ("OGG", "OPUS", 0.1),
    ("MP3", "MPEG_LAYER_III", 0.1),
  ],
)
def test_every_kind_is_read_whatever_its_name(tmp_path, kind, subtype, error):
  path = tmp_path / "x.WAV"
  soundfile.write(path, WAVE / 32_768, 16_000, format=kind, subtype=subtype)
  samples, _ = audio.read(path)
  assert audio.read_header(path).num_samples == samples.shape[1]
  found = audio.to_float(samples)[:, : len(WAVE)]
  assert abs(samples.shape[1] - len(WAVE)) <= 2048
  off = np.abs(found - WAVE.T / 32_768)
  assert np.mean(off) <= error
  # The end is as sound as the beginning.
  assert samples[:, -1200:-900].any()


def test_an_mp3_file_without_a_count_is_counted(tmp_path):
  rng = np.random.default_rng(0)
  quiet = np.zeros(32_000)
  quiet[20_000:] = 0.2 * rng.standard_normal(12_000)
  path = tmp_path / "a.mp3"
  soundfile.write(
    path, quiet, 16_000, bitrate_mode="VARIABLE", compression_level=0.5
  )
  content = path.read_bytes()
  bare = content[content.index(b"\xff\xf3", 4) :]
  samples, _ = read(tmp_path, bare, "b.mp3")
  assert 32_000 <= samples.shape[1] <= 35_000
  path.write_bytes(content[: len(content) // 2])
  with pytest.raises(errors.InputError, match=r"a\.mp3: found .* cut short"):
    audio.read_header(path)


@pytest.mark.parametrize("kind", ["AIFF", "CAF", "FLAC"])
def test_other_kinds_cut_short_are_refused(tmp_path, kind):
  path = tmp_path / "a.bin"
  soundfile.write(path, WAVE, 16_000, format=kind)
  path.write_bytes(path.read_bytes()[:-2000])
  with pytest.raises(errors.InputError, match=r"a\.bin: found "):
    audio.read(path)


def test_samples_without_a_header_are_refused(tmp_path):
  (tmp_path / "a.RAW").write_bytes(DATA)
  with pytest.raises(errors.InputError, match="found raw samples"):
    audio.read_header(tmp_path / "a.RAW")


@pytest.mark.parametrize("num", [1000, 3200, 9216])
@pytest.mark.parametrize("lost", [0, 9])
def test_a_flac_file_of_open_length_is_read_to_its_last_frame(
  tmp_path, num, lost
):
  samples = np.tile(WAVE, (3, 1))[:num]
  path = tmp_path / "a.flac"
  soundfile.write(path, samples, 16_000)
  content = bytearray(path.read_bytes())
  content[21] &= 0xF0
  content[22:26] = bytes(4)
  content = content[: len(content) - lost]
  if lost and num < 4096:  # its only frame is cut
    (tmp_path / "b.flac").write_bytes(content)
    with pytest.raises(errors.InputError, match=r"b\.flac: found "):
      audio.read_header(tmp_path / "b.flac")
    return
  found, notes = read(tmp_path, content, "b.flac")
  assert found.shape[1] == (num // 4096 * 4096 if lost else num)
  np.testing.assert_array_equal(found, samples[: found.shape[1]].T)
  assert f"all {found.shape[1]} samples that are there are read" in notes[0]
