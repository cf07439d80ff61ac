"""Own signals and a writer of wave files whose sizes may lie."""

import struct

import numpy as np

RIGHT = object()


def tone(seed=0, seconds=0.2, channels=2, rate=16_000):
  """A machine `[S, C]` near and, softer and in other noise, far."""
  rng = np.random.default_rng(seed)
  time = np.arange(round(seconds * rate)) / rate
  hum = 0.2 * np.sin(2 * np.pi * (200 + 3 * rng.standard_normal()) * time)
  noise = rng.standard_normal((len(time), 2)) * (0.02, 0.03)
  return (hum[:, None] * (1, 0.4) + noise)[:, :channels]


def pcm16(samples):
  return np.round(np.clip(samples, -1, 1) * 32_767).astype("<i2").tobytes()


def chunk(name, content):
  size = struct.pack("<I", len(content))
  return name + size + content + bytes(len(content) % 2)


BEHIND = chunk(b"cue ", struct.pack("<I", 0)) + chunk(b"LIST", b"adtl" * 25)


def riff(  # noqa: PLR0913
  data,
  *,
  channels=2,
  rate=16_000,
  bits=16,
  tag=1,
  before=b"",
  after=b"",
  declared=RIGHT,
  outer=RIGHT,
  magic=b"RIFF",
  long_sizes=None,
):
  """A wave file; `declared` and `outer` are the sizes in its header."""
  block = channels * bits // 8
  form = (tag, channels, rate, rate * block, block, bits)
  body = b"WAVE"
  if long_sizes:
    body += chunk(b"ds64", struct.pack("<QQQI", *long_sizes, 0, 0))
  body += chunk(b"fmt ", struct.pack("<HHIIHH", *form)) + before
  size = len(data) if declared is RIGHT else declared
  body += b"data" + struct.pack("<I", size) + data + bytes(len(data) % 2)
  body += after
  size = len(body) if outer is RIGHT else outer
  return magic + struct.pack("<I", size) + body


_GUID = bytes.fromhex("f3acd3118cd100c04f8edb8a")


def w64(data, *, declared=RIGHT, after=b""):
  """A Sony Wave64 file of two channels."""

  def part(name, content, size=RIGHT):
    size = 24 + len(content) if size is RIGHT else size
    padding = bytes(-len(content) % 8)
    return name + _GUID + struct.pack("<Q", size) + content + padding

  form = struct.pack("<HHIIHH", 1, 2, 16_000, 64_000, 4, 16)
  size = 24 + len(data) if declared is RIGHT else declared
  body = b"wave" + _GUID + part(b"fmt ", form) + part(b"data", data, size)
  body += after
  head = b"riff" + bytes.fromhex("2e91cf11a5d628db04c10000")
  return head + struct.pack("<Q", 24 + len(body)) + body
