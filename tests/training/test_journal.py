"""The logs of a training, read by a reader of our own."""

import json
import struct

import pytest

from asd_jax import errors
from asd_jax.training import events, journal


def test_checksums_are_those_of_the_standard():
  # RFC 3720, B.4.
  assert events.crc32c(bytes(32)) == 0x8A9136AA
  assert events.crc32c(b"\xff" * 32) == 0x62A8AB43
  assert events.crc32c(bytes(range(32))) == 0x46DD794E


def records(data):
  while data:
    (size,) = struct.unpack("<Q", data[:8])
    body = data[12 : 12 + size]
    for part, crc in ((data[:8], data[8:12]), (body, data[12 + size :][:4])):
      found = (struct.unpack("<I", crc)[0] - 0xA282EAD8) & 0xFFFFFFFF
      assert (found << 15 | found >> 17) & 0xFFFFFFFF == events.crc32c(part)
    yield body
    data = data[16 + size :]


def varint(data):
  number = shift = 0
  for i, byte in enumerate(data):
    number |= (byte & 0x7F) << shift
    shift += 7
    if byte < 0x80:
      return number, data[i + 1 :]
  raise AssertionError("torn")


def fields(data):
  """Field number to value, of a serialised buffer."""
  while data:
    tag, data = varint(data)
    if tag & 7 == 0:
      value, data = varint(data)
    else:
      size = {1: 8, 5: 4}.get(tag & 7)
      if size is None:
        size, data = varint(data)
      value, data = data[:size], data[size:]
    yield tag >> 3, value


def read(path):
  """Steps with their scalars, and where older ones end."""
  out, start = [], None
  for record in records(path.read_bytes()):
    event = dict(fields(record))
    if 7 in event:
      start = event[2]
    if 5 in event:
      pairs = [dict(fields(value)) for _, value in fields(event[5])]
      out.append(
        (event[2], {p[1].decode(): struct.unpack("<f", p[2])[0] for p in pairs})
      )
  return out, start


def test_a_log_goes_on_where_the_training_does(tmp_path):
  first = journal.Journal(tmp_path, 0)
  for step in (1, 2, 3, 300):
    first.tell(step, {"loss": 1 / step, "rate": 2.5})
  first.tell(4, {}, clips=["a.wav"])
  first.close()
  with open(tmp_path / "metrics.jsonl", "a") as file:
    file.write('{"step": 1, "lo')  # killed
  (events_file,) = tmp_path.glob("events.out.tfevents.*")
  found, start = read(events_file)
  assert start == 1
  assert found == [
    (step, pytest.approx({"loss": 1 / step, "rate": 2.5}))
    for step in (1, 2, 3, 300)
  ]
  second = journal.Journal(tmp_path, 2)
  second.tell(3, {"loss": 7.0})
  second.close()
  text = (tmp_path / "metrics.jsonl").read_text()
  assert [json.loads(x) for x in text.splitlines()] == [
    {"step": 1, "loss": 1.0, "rate": 2.5},
    {"step": 2, "loss": 0.5, "rate": 2.5},
    {"step": 3, "loss": 7.0},
  ]
  (newer,) = set(tmp_path.glob("events.out.tfevents.*")) - {events_file}
  assert read(newer) == ([(3, {"loss": 7.0})], 3)


def test_a_log_that_cannot_be_written_is_refused(tmp_path):
  (tmp_path / "logs").write_text("")
  with pytest.raises(errors.InputError, match="cannot be written"):
    journal.Journal(tmp_path / "logs", 0)
